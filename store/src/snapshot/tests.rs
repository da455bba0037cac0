//! Damage: whatever is done to the chunks is noticed before a byte of them is used.

use super::*;
use crate::Store;
use crate::testing::{Scene, With, on, session};
use quorate_protocol::{LogIndex, Outcome, RestoreWrite, Session, Status, Write};
use std::time::Duration;

fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.done(on("n1", Some(1)).service("web", "web", &["a"]).check("c", "web", Status::Passing));
    scene.session(Session { ttl: Some(Duration::from_secs(10)), ..session(1, "n1") });
    for key in ["a", "b", "c"] {
        scene.acquire(key, 1);
    }
    scene.delete("b");
    scene
}

fn chunks(scene: &Scene) -> Vec<Vec<u8>> {
    let mut chunks = SnapshotChunks::new(scene.store.view());
    (0..).map_while(|number| chunks.chunk(number)).map(|chunk| chunk.bytes.to_vec()).collect()
}

fn load(chunks: &[Vec<u8>]) -> Result<Store, SnapshotError> {
    Store::from_chunks(chunks.iter().map(Vec::as_slice))
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut chunks = chunks(&scene());
    assert!(chunks.len() > 3 && load(&chunks).is_ok());
    for number in 0..chunks.len() {
        for bit in 0..chunks[number].len() * 8 {
            chunks[number][bit / 8] ^= 1 << (bit % 8);
            assert!(load(&chunks).is_err(), "bit {bit} of chunk {number}");
            chunks[number][bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert!(load(&chunks).is_ok());
}

#[test]
fn every_truncation_is_noticed() {
    let whole = chunks(&scene());
    for number in 0..whole.len() {
        for length in 0..whole[number].len() {
            let mut chunks = whole.clone();
            chunks[number].truncate(length);
            assert!(load(&chunks).is_err(), "{length} bytes of chunk {number}");
        }
        assert!(matches!(load(&whole[..number]), Err(SnapshotError::Incomplete { .. })), "only {number} chunks");
    }
}

#[test]
fn chunks_out_of_order_are_noticed() {
    let whole = chunks(&scene());
    for (one, other) in (0..whole.len()).flat_map(|one| (0..whole.len()).map(move |other| (one, other))) {
        let mut missing = whole.clone();
        missing.remove(one);
        assert!(load(&missing).is_err(), "without {one}");
        let mut doubled = whole.clone();
        doubled.insert(other, whole[one].clone());
        assert!(load(&doubled).is_err(), "{one} again at {other}");
        let mut swapped = whole.clone();
        swapped.swap(one, other);
        assert_eq!(load(&swapped).is_ok(), one == other, "{one} and {other} swapped");
    }
}

#[test]
fn chunks_of_two_snapshots_are_not_one() {
    let mut scene = scene();
    let one = chunks(&scene);
    // As long as before, so that nothing but the checksum of all can tell.
    scene.delete("a");
    scene.acquire("a", 1);
    let other = chunks(&scene);
    assert_eq!(one.len(), other.len());
    for number in (0..one.len()).filter(|number| one[*number] != other[*number]) {
        let mut mixed = one.clone();
        mixed[number].clone_from(&other[number]);
        assert!(load(&mixed).is_err(), "chunk {number} of another");
    }
}

#[test]
fn another_version_is_told_from_damage() {
    let mut chunks = chunks(&scene());
    chunks[0][0] = VERSION + 1;
    assert_eq!(load(&chunks).unwrap_err(), SnapshotError::Version(VERSION + 1));
    assert_eq!(load(&[]).unwrap_err(), SnapshotError::Incomplete { chunks: 0 });
}

/// A chunk whose checksum is right, with anything in it.
fn forged(number: u64, records: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(records);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn nonsense_under_a_right_checksum_is_refused() {
    let nothing_but = |length: u32| forged(0, &length.to_be_bytes());
    for chunk in [forged(0, &[1]), nothing_but(1), nothing_but(u32::MAX), forged(0, &[0, 0, 0, 1, 0xc1])] {
        assert!(matches!(load(&[chunk]), Err(SnapshotError::Malformed { .. })));
    }
    let record = |record: &Record| {
        let mut bytes = Vec::new();
        append(&mut bytes, record);
        bytes
    };
    let piece = record(&Record::StagedPiece(0, 0, Bytes::new()));
    assert!(matches!(load(&[forged(0, &piece)]), Err(SnapshotError::Malformed { .. })), "a piece of nothing");
    let whole = chunks(&scene());
    let first = &whole[0][HEADER..whole[0].len() - CHECKSUM];
    let twice = forged(0, &[first, first].concat());
    assert!(matches!(load(&[twice]), Err(SnapshotError::Malformed { .. })), "rows twice");
    let second = &whole[1][HEADER..whole[1].len() - CHECKSUM];
    assert!(matches!(load(&[forged(0, second)]), Err(SnapshotError::Malformed { .. })), "a service without its node");
}

#[test]
fn a_chunk_has_its_size_unless_a_record_is_larger() {
    let mut scene = scene();
    let large = "x".repeat(3 * CHUNK_SIZE);
    scene.put("large", &large);
    for n in 0..50 {
        scene.put(&format!("small{n}"), "v");
    }
    let sizes: Vec<usize> = chunks(&scene).iter().map(Vec::len).collect();
    let room = CHUNK_SIZE + CHECKSUM + 128;
    assert_eq!(sizes.iter().filter(|size| **size > room).count(), 1, "{sizes:?}");
    let small = sizes.iter().filter(|size| **size < CHUNK_SIZE / 4).count();
    assert!(small <= 2, "{sizes:?}");
}

#[test]
fn what_is_in_a_snapshot() {
    let scene = scene();
    let chunks = chunks(&scene);
    let summary = Summary::of(chunks.iter().map(Vec::as_slice)).unwrap();
    assert_eq!((summary.index, summary.hash), (LogIndex(7), scene.store.hash()));
    assert_eq!(summary.chunks, chunks.len() as u64);
    assert_eq!(summary.bytes, chunks.iter().map(Vec::len).sum::<usize>() as u64);
    let rows: Vec<_> = summary.tables.iter().map(|table| (table.name, table.rows)).collect();
    let expected = [
        ("nodes", 1),
        ("services", 1),
        ("checks", 1),
        ("sessions", 1),
        ("keys", 2),
        ("tombstones", 1),
        ("timers", 1),
        ("indexes", 13),
    ];
    assert_eq!(rows, expected);
    let in_tables: u64 = summary.tables.iter().map(|table| table.bytes).sum();
    assert!(in_tables < summary.bytes && in_tables > summary.bytes / 2);
    assert!(Summary::of(chunks[1..].iter().map(Vec::as_slice)).is_err());
    let mut hint = SnapshotChunks::new(scene.store.view());
    assert!(hint.size_hint() > summary.bytes / 4 && hint.size_hint() < summary.bytes * 4, "{summary:?}");
    assert!(hint.chunk(0).is_some());
}

/// What a restore write becomes of, and whether it touched anything.
fn restore(scene: &mut Scene, write: RestoreWrite) -> Result<bool, String> {
    match scene.write(&Write::Restore(write)) {
        Outcome::Done => Ok(!scene.touched.is_empty()),
        Outcome::Refused(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

fn stage(scene: &mut Scene, id: u64, chunks: &[Vec<u8>]) {
    assert_eq!(restore(scene, RestoreWrite::Begin { id }), Ok(false));
    for (number, chunk) in (0..).zip(chunks) {
        let bytes = chunk.clone().into();
        assert_eq!(restore(scene, RestoreWrite::Chunk { id, number, bytes }), Ok(false));
    }
}

#[test]
fn a_restore_takes_effect_at_its_commit() {
    let chunks = chunks(&scene());
    let mut scene = Scene::new();
    scene.put("mine", "v");
    stage(&mut scene, 5, &chunks);
    assert!(scene.entry("mine").is_some() && scene.entry("a").is_none());
    assert_eq!(restore(&mut scene, RestoreWrite::Commit { id: 5 }), Ok(true));
    assert!(scene.entry("mine").is_none() && scene.entry("a").is_some() && scene.lives(1));
    let why = "there is no restore 5 on its way; begin it again".to_owned();
    assert_eq!(restore(&mut scene, RestoreWrite::Commit { id: 5 }), Err(why));
}

#[test]
fn what_does_not_follow_is_not_taken() {
    let chunks = chunks(&scene());
    let mut scene = Scene::new();
    let chunk = |id, number, bytes: &[u8]| RestoreWrite::Chunk { id, number, bytes: bytes.to_vec().into() };
    assert!(restore(&mut scene, chunk(1, 0, &chunks[0])).unwrap_err().starts_with("there is no restore 1"));
    stage(&mut scene, 1, &chunks[..1]);
    assert!(restore(&mut scene, chunk(2, 1, &chunks[1])).unwrap_err().starts_with("there is no restore 2"));
    let again = restore(&mut scene, chunk(1, 0, &chunks[0]));
    assert_eq!(again, Err("chunk 0 of the restore does not follow; send chunk 1".to_owned()));
    let damaged = [&chunks[1][..40], &[0], &chunks[1][41..]].concat();
    assert_eq!(
        restore(&mut scene, chunk(1, 1, &damaged)),
        Err("chunk 1 of the snapshot is damaged: its checksum does not match".to_owned())
    );
    let large = vec![0; crate::MAX_RESTORE_CHUNK + 1];
    assert!(restore(&mut scene, chunk(1, 1, &large)).unwrap_err().contains("at most 8388608 are taken"));
    // None of that has done any harm.
    for (number, bytes) in (0..).zip(&chunks).skip(1) {
        assert_eq!(restore(&mut scene, chunk(1, number, bytes)), Ok(false));
    }
    assert_eq!(restore(&mut scene, RestoreWrite::Commit { id: 1 }), Ok(true));
    assert!(scene.entry("a").is_some());
}

#[test]
fn what_is_not_whole_changes_nothing() {
    let chunks = chunks(&scene());
    let mut scene = Scene::new();
    scene.put("mine", "v");
    stage(&mut scene, 1, &chunks[..chunks.len() - 1]);
    let why = restore(&mut scene, RestoreWrite::Commit { id: 1 }).unwrap_err();
    assert_eq!(why, format!("the snapshot ends after {} chunks without its last one", chunks.len() - 1));
    assert!(scene.entry("mine").is_some() && scene.entry("a").is_none());
    assert_eq!(restore(&mut scene, RestoreWrite::Abandon { id: 9 }), Ok(false), "another one's is left alone");
    assert_eq!(
        scene.store.state().staged.as_ref().map(|staged| staged.size()),
        Some(size(&chunks[..chunks.len() - 1]))
    );
    assert_eq!(restore(&mut scene, RestoreWrite::Abandon { id: 1 }), Ok(false));
    assert!(scene.store.state().staged.is_none());
}

fn size(chunks: &[Vec<u8>]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}
