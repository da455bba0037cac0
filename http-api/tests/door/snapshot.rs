//! `/v1/snapshot`: what is saved is what is put back, and nothing else ever is. The `tar` crate, which knows nothing of ours, reads and writes the
//! archives.

use crate::fake::*;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use quorate_http_api::{Config, router};
use quorate_protocol::{
    Ask, LogIndex, Outcome, Refusal, Reply, RestoreWrite, SnapshotDescription, SnapshotRequest, Term, Write,
};
use sha2::{Digest, Sha256};
use std::io::{Read, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;

fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_072_000)
}

fn config() -> Config {
    Config { wall_clock: clock, ..Config::default() }
}

fn description() -> SnapshotDescription {
    SnapshotDescription {
        handle: 77,
        index: LogIndex(1234),
        term: Term(5),
        size_hint: 1,
        known_leader: true,
        last_contact: Duration::from_millis(3),
    }
}

/// Chunks that do not compress to nothing.
fn chunks(sizes: &[usize]) -> Vec<Bytes> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap()
    };
    sizes.iter().map(|size| (0..*size).map(|_| byte()).collect::<Vec<u8>>().into()).collect()
}

/// A server with a snapshot of these chunks.
fn keeper(chunks: Vec<Bytes>) -> impl Fn(&Ask) -> Reply + Send + Sync + 'static {
    move |ask| match ask {
        Ask::Snapshot(SnapshotRequest::Open { .. }) => Reply::Snapshot(description()),
        Ask::Snapshot(SnapshotRequest::Chunk { handle: 77, number, .. }) => {
            let number = usize::try_from(*number).unwrap();
            Reply::SnapshotChunk { bytes: chunks[number].clone(), last: number + 1 == chunks.len() }
        }
        Ask::Snapshot(SnapshotRequest::Close { handle: 77, .. }) => Reply::Done,
        other => panic!("{other:?}"),
    }
}

struct Saved {
    status: u16,
    headers: HeaderMap,
    body: Result<Bytes, String>,
    asked: Vec<SnapshotRequest>,
}

async fn save_from(path: &str, think: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Saved {
    let cluster = Thinking::of(think);
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (parts, body) = router(cluster.clone(), config()).oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).map_err(|why| why.to_string());
    let asked = cluster.asked(|ask| match ask {
        Ask::Snapshot(request) => request.clone(),
        other => panic!("{other:?}"),
    });
    Saved { status: parts.status.as_u16(), headers: parts.headers, body, asked }
}

async fn save(chunks: &[Bytes]) -> Bytes {
    save_from("/v1/snapshot", keeper(chunks.to_vec())).await.body.unwrap()
}

fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let file = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 1_764_072_000);
        let mut content = Vec::new();
        let _: usize = entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), content)
    };
    archive.entries().unwrap().map(file).collect()
}

fn framed(chunks: &[Bytes]) -> Vec<u8> {
    let frame = |chunk: &Bytes| [&u32::try_from(chunk.len()).unwrap().to_be_bytes()[..], chunk].concat();
    chunks.iter().flat_map(frame).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn an_archive_as_other_tools_read_it() {
    let chunks = chunks(&[1000, 1, 300_000]);
    let saved = save_from("/v1/snapshot", keeper(chunks.clone())).await;
    assert_eq!(saved.status, 200);
    let state = framed(&chunks);
    let size = state.len().to_string();
    for (name, value) in [
        ("x-consul-index", "1234"),
        ("x-consul-knownleader", "true"),
        ("x-consul-lastcontact", "3"),
        ("content-type", "application/x-gzip"),
        ("x-quorate-snapshot-size", &size),
    ] {
        assert_eq!(saved.headers.get(name).unwrap(), value, "{name}");
    }
    let meta = format!(
        r#"{{"Version":1,"ID":"5-1234-1764072000","Index":1234,"Term":5,"Size":{size},"Format":"quorate","FormatVersion":1,"Datacenter":"dc1","Created":"2025-11-25T12:00:00Z"}}"#
    );
    let sums = format!("{}  meta.json\n{}  state.bin\n", sha256(meta.as_bytes()), sha256(&state));
    let expected = [("meta.json", meta.into_bytes()), ("state.bin", state), ("SHA256SUMS", sums.into_bytes())];
    let expected: Vec<_> = expected.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
    assert!(files(&saved.body.unwrap()) == expected);

    // A small snapshot is fetched once.
    let chunk = |number| SnapshotRequest::Chunk { stale: false, handle: 77, number };
    let (open, close) = (SnapshotRequest::Open { stale: false }, SnapshotRequest::Close { stale: false, handle: 77 });
    assert_eq!(saved.asked, [open, chunk(0), chunk(1), chunk(2), close]);
}

#[tokio::test]
async fn a_large_snapshot_passes_through_little_memory() {
    let chunks = chunks(&[3_000_000; 4]);
    let saved = save_from("/v1/snapshot?stale", keeper(chunks.clone())).await;
    assert!(files(&saved.body.unwrap())[1].1 == framed(&chunks));
    let numbers: Vec<_> = saved
        .asked
        .iter()
        .filter_map(|request| match request {
            SnapshotRequest::Chunk { stale: true, number, .. } => Some(*number),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 2, 3], "measured first, and only the first two kept");
    assert!(saved.asked.iter().all(SnapshotRequest::is_stale));
}

#[tokio::test]
async fn what_goes_wrong_breaks_off() {
    let refused = |refusal: Refusal| move |_: &Ask| Reply::Refused(refusal.clone());
    let saved = save_from("/v1/snapshot", refused(Refusal::NoLeader)).await;
    assert_eq!((saved.status, saved.body.unwrap()), (500, Bytes::from_static(b"No cluster leader")));

    // Gone between measuring and sending, and other chunks than those that were measured.
    for replacement in [
        Reply::Refused(Refusal::NotFound("the snapshot is gone: begin again".to_owned())),
        Reply::SnapshotChunk { bytes: Bytes::from_static(b"short"), last: true },
        Reply::SnapshotChunk { bytes: vec![7; 3_000_001].into(), last: true },
    ] {
        let (keep, asked) = (keeper(chunks(&[3_000_000; 4])), std::sync::atomic::AtomicUsize::new(0));
        let saved =
            save_from("/v1/snapshot", move |ask| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                6 => replacement.clone(),
                _ => keep(ask),
            })
            .await;
        assert_eq!(saved.status, 200);
        assert!(saved.body.is_err(), "an archive that is not whole does not look whole");
    }
}

/// What a restore brought to the store, in order.
struct Restored {
    status: u16,
    body: String,
    writes: Vec<RestoreWrite>,
}

impl Restored {
    fn chunks(&self) -> Vec<Bytes> {
        let chunk = |write: &RestoreWrite| match write {
            RestoreWrite::Chunk { bytes, .. } => Some(bytes.clone()),
            _ => None,
        };
        self.writes.iter().filter_map(chunk).collect()
    }

    /// An error, and the store was told to drop what it had, if it had anything.
    fn refused(&self, sentence: &str) {
        assert_eq!((self.status, self.body.as_str()), (500, sentence));
        let committed = self.writes.iter().any(|write| matches!(write, RestoreWrite::Commit { .. }));
        let abandoned = matches!(self.writes.last(), None | Some(RestoreWrite::Abandon { .. }));
        assert!(!committed && abandoned, "{sentence}");
    }
}

/// A store that restores, asked as often as a test likes.
struct Store<F> {
    cluster: Arc<Thinking<F>>,
    router: Router,
}

fn store(
    think: impl Fn(&RestoreWrite) -> Outcome + Send + Sync + 'static,
) -> Store<impl Fn(&Ask) -> Reply + Send + Sync + 'static> {
    let cluster = Thinking::of(move |ask: &Ask| match ask {
        Ask::Write(Write::Restore(step)) => written(think(step)),
        other => panic!("{other:?}"),
    });
    Store { router: router(cluster.clone(), config()), cluster }
}

impl<F: Fn(&Ask) -> Reply + Send + Sync + 'static> Store<F> {
    async fn restore(&self, archive: impl Into<Body>) -> Restored {
        let before = self.cluster.asked(|_| ()).len();
        let request = Request::put("/v1/snapshot").body(archive.into()).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let mut writes = self.cluster.asked(|ask| match ask {
            Ask::Write(Write::Restore(step)) => step.clone(),
            other => panic!("{other:?}"),
        });
        if parts.status == 200 {
            assert_eq!(parts.headers.get("x-quorate-index").unwrap(), "386");
        }
        Restored { status: parts.status.as_u16(), body, writes: writes.split_off(before) }
    }
}

async fn restore(archive: impl Into<Body>) -> Restored {
    store(|_| Outcome::Done).restore(archive).await
}

#[tokio::test]
async fn what_was_saved_is_put_back() {
    for sizes in [&[1][..], &[1000, 1, 300_000], &[512], &[508, 1020], &[900_000, 900_000]] {
        let chunks = chunks(sizes);
        let restored = restore(save(&chunks).await).await;
        assert_eq!((restored.status, restored.body.as_str()), (200, ""), "{sizes:?}");
        let RestoreWrite::Begin { id } = restored.writes[0] else { panic!("{:?}", restored.writes[0]) };
        let mut expected = vec![RestoreWrite::Begin { id }];
        expected.extend((0..).zip(chunks).map(|(number, bytes)| RestoreWrite::Chunk { id, number, bytes }));
        expected.push(RestoreWrite::Commit { id });
        assert!(restored.writes == expected, "{sizes:?}");
    }
}

#[tokio::test]
async fn any_truncation_is_noticed() {
    let archive = save(&chunks(&[300, 200])).await;
    let store = store(|_| Outcome::Done);
    for length in 0..archive.len() {
        let restored = store.restore(archive.slice(..length)).await;
        restored.refused(&restored.body);
        assert_ne!(restored.status, 200, "{length} of {}", archive.len());
    }
}

#[tokio::test]
async fn any_flipped_bit_is_noticed_or_harmless() {
    let chunks = chunks(&[300, 200]);
    let archive = save(&chunks).await;
    let store = store(|_| Outcome::Done);
    let tar = gunzip(&archive);
    for bit in 0..archive.len() * 8 {
        let mut damaged = archive.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let restored = store.restore(damaged.clone()).await;
        if restored.status == 200 {
            // gzip's header says when and where; and there is more than one way to compress the same bytes.
            assert!(restored.chunks() == chunks && gunzip(&damaged) == tar, "bit {bit}");
        } else {
            restored.refused(&restored.body);
        }
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut unzipped = Vec::new();
    let _: usize = GzDecoder::new(bytes).read_to_end(&mut unzipped).unwrap();
    unzipped
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(content.len()).unwrap());
        builder.append_data(&mut header, name, *content).unwrap();
    }
    gzip(&builder.into_inner().unwrap())
}

const META: &[u8] = br#"{"Format":"quorate","FormatVersion":1}"#;

fn sums(meta: &[u8], state: &[u8]) -> String {
    format!("{}  meta.json\n{}  state.bin\n", sha256(meta), sha256(state))
}

#[tokio::test]
async fn archives_that_are_none() {
    let state = framed(&chunks(&[100, 100]));
    let good = sums(META, &state);
    let whole = |meta: &[u8], state: &[u8], sums: &str| {
        archive(&[("meta.json", meta), ("state.bin", state), ("SHA256SUMS", sums.as_bytes())])
    };
    assert_eq!(restore(whole(META, &state, &good)).await.status, 200, "another program may pack what ours unpacked");
    let mut trailing = whole(META, &state, &good);
    trailing.extend_from_slice(b"x");
    let huge = vec![b'x'; 20_000];
    let impossible = "failed to read snapshot: a part of its state has an impossible length";
    for (body, sentence) in [
        (b"not gzip at all".to_vec(), "failed to decompress snapshot: invalid gzip header"),
        (gzip(b"no tar"), "failed to read snapshot: it breaks off before its end"),
        (gzip(&[b'x'; 1024]), "failed to read snapshot: a header of the tar in it is damaged"),
        (gzip(&[0; 1024]), "failed to read snapshot: meta.json is missing"),
        (archive(&[("meta.json", META)]), "failed to read snapshot: state.bin is missing"),
        (archive(&[("state.bin", &state)]), "failed to read snapshot: the file state.bin is where meta.json should be"),
        (archive(&[("meta.json", &huge)]), "failed to read snapshot: meta.json is larger than 16384 bytes"),
        (archive(&[("meta.json", META), ("state.bin", b"")]), "failed to read snapshot: it holds no state"),
        (archive(&[("meta.json", META), ("state.bin", b"abc")]), impossible),
        (archive(&[("meta.json", META), ("state.bin", &[0; 600])]), impossible),
        (archive(&[("meta.json", META), ("state.bin", &[0, 0, 2, 85, 1, 1])]), impossible),
        (archive(&[("meta.json", META), ("state.bin", &[0xff; 600])]), impossible),
        (archive(&[("meta.json", META), ("state.bin", &state)]), "failed to read snapshot: SHA256SUMS is missing"),
        (
            whole(br#"{"Version":1,"ID":"2-167-1","Index":167,"Term":2}"#, &state, &good),
            "failed to read snapshot: another program made it; Quorate restores what Quorate saved",
        ),
        (
            whole(br#"{"Format":"quorate","FormatVersion":2}"#, &state, &good),
            "failed to read snapshot: it has format version 2, this is version 1",
        ),
        (
            whole(META, &state, &sums(b"other", &state)),
            r#"failed checking integrity of snapshot: hash check failed for "meta.json""#,
        ),
        (
            whole(META, &state, &sums(META, b"other")),
            r#"failed checking integrity of snapshot: hash check failed for "state.bin""#,
        ),
        (whole(META, &state, ""), r#"failed checking integrity of snapshot: hash check failed for "meta.json""#),
        (
            archive(&[("meta.json", META), ("state.bin", &state), ("SHA256SUMS", good.as_bytes()), ("x", b"x")]),
            "failed to read snapshot: there is something after its end",
        ),
        (trailing, "failed to read snapshot: there is something after its end"),
    ] {
        restore(body).await.refused(sentence);
    }
    let bad_json = restore(whole(b"{", &state, &good)).await;
    assert!(bad_json.body.starts_with("failed to read snapshot: meta.json: "), "{}", bad_json.body);
}

#[tokio::test]
async fn a_bomb_fills_no_memory() {
    // A gigabyte of zeros in a megabyte: refused at its first impossible length.
    let mut header = tar::Header::new_gnu();
    header.set_path("meta.json").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(header.as_bytes()).unwrap();
    for _ in 0..64 {
        gzip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    restore(gzip.finish().unwrap()).await.refused("failed to read snapshot: meta.json is larger than 16384 bytes");
}

#[tokio::test]
async fn what_the_store_refuses() {
    let archive = save(&chunks(&[100, 100])).await;
    let refused = |step: &RestoreWrite| match step {
        RestoreWrite::Chunk { number: 1, .. } => Outcome::Refused("another restore has begun".to_owned()),
        _ => Outcome::Done,
    };
    let restored = store(refused).restore(archive.clone()).await;
    restored.refused("another restore has begun");

    let refused = |step: &RestoreWrite| match step {
        RestoreWrite::Commit { .. } => Outcome::Refused("a chunk is damaged".to_owned()),
        _ => Outcome::Done,
    };
    let restored = store(refused).restore(archive).await;
    assert_eq!((restored.status, restored.body.as_str()), (500, "a chunk is damaged"));
    assert!(matches!(restored.writes.last(), Some(RestoreWrite::Abandon { .. })));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_abandoned() {
    let archive = save(&chunks(&[400_000, 400_000])).await;
    let half = archive.slice(..archive.len() * 3 / 4);
    let broken = futures_util::stream::iter([Ok(half), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
    let restored = restore(Body::from_stream(broken)).await;
    assert_eq!(restored.status, 400, "{}", restored.body);
    let kinds: Vec<_> = restored.writes.iter().map(std::mem::discriminant).collect();
    let id = 0;
    let expected = [
        RestoreWrite::Begin { id },
        RestoreWrite::Chunk { id, number: 0, bytes: Bytes::new() },
        RestoreWrite::Abandon { id },
    ];
    assert_eq!(kinds, expected.iter().map(std::mem::discriminant).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_that_goes_away_amid_a_restore_leaves_nothing_behind() {
    let archive = save(&chunks(&[400_000, 400_000])).await;
    let Store { cluster, router } = store(|_| Outcome::Done);
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let builder = Builder::new(TokioExecutor::new());
    let serve = builder.serve_connection(TokioIo::new(server), TowerToHyperService::new(router));
    let talk = async move {
        let head = format!("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", archive.len());
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&archive[..archive.len() * 3 / 4]).await.unwrap();
    };
    let _ = tokio::join!(serve, talk);
    let steps = cluster.asked(|ask| match ask {
        Ask::Write(Write::Restore(RestoreWrite::Begin { .. })) => "begin",
        Ask::Write(Write::Restore(RestoreWrite::Chunk { .. })) => "chunk",
        Ask::Write(Write::Restore(RestoreWrite::Abandon { .. })) => "abandon",
        other => panic!("{other:?}"),
    });
    assert_eq!(steps, ["begin", "chunk", "abandon"]);
}

#[tokio::test]
async fn two_restores_have_two_names() {
    let archive = save(&chunks(&[10])).await;
    let cluster = Thinking::of(|_: &Ask| written(Outcome::Done));
    let router = router(cluster.clone(), config());
    for _ in 0..2 {
        let request = Request::put("/v1/snapshot").body(Body::from(archive.clone())).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), 200);
    }
    let begun = cluster.asked(|ask| match ask {
        Ask::Write(Write::Restore(RestoreWrite::Begin { id })) => Some(*id),
        _ => None,
    });
    let ids: Vec<_> = begun.into_iter().flatten().collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
}
