//! `GET`: takes a snapshot and sends it.

use super::archive::{Writer, framed_size};
use crate::call::Call;
use crate::error::Error;
use crate::headers::{self, Freshness};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use quorate_protocol::{Ask, Consistency, Reply, SnapshotDescription, SnapshotRequest};
use std::io;

/// Bytes of chunks that are kept from measuring, so that most snapshots are fetched once. The rest of larger ones is fetched twice.
const KEPT_AT_MOST: u64 = 8 * 1024 * 1024;

/// Tar says the size of a file before its bytes, so the chunks are measured first.
pub(super) async fn save(call: Call) -> Result<Response, Error> {
    let stale = call.query.has("stale");
    let snapshot = match call.ask(call.dc(), Ask::Snapshot(SnapshotRequest::Open { stale })).await? {
        Reply::Snapshot(snapshot) => snapshot,
        _ => return Err(Error::WrongReply),
    };
    let source = Source { call, stale, handle: snapshot.handle };
    let measured = source.measure().await?;
    let config = source.call.config();
    let writer = Writer::new(&snapshot, measured.size, source.call.datacenter(), (config.wall_clock)())
        .map_err(|why| Error::Refused(format!("failed to write snapshot: {why}")))?;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    freshness(&snapshot).write_to(headers);
    headers::write_snapshot_size(measured.size, headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-gzip"));
    let sender = Sender { source, kept: measured.kept.into_iter(), number: 0, writer: Some(writer) };
    *response.body_mut() = Body::from_stream(stream::try_unfold(sender, Sender::next));
    Ok(response)
}

fn freshness(snapshot: &SnapshotDescription) -> Freshness {
    Freshness {
        index: snapshot.index,
        known_leader: snapshot.known_leader,
        last_contact: snapshot.last_contact,
        consistency: Consistency::Default,
    }
}

/// A snapshot that was taken.
struct Source {
    call: Call,
    stale: bool,
    handle: u64,
}

struct Chunk {
    bytes: Bytes,
    last: bool,
}

/// How large the chunks are together with their lengths, and the first of them.
struct Measured {
    size: u64,
    kept: Vec<Chunk>,
}

impl Source {
    async fn measure(&self) -> Result<Measured, Error> {
        let mut measured = Measured { size: 0, kept: Vec::new() };
        for number in 0.. {
            let chunk = self.chunk(number).await?;
            measured.size = measured.size.saturating_add(framed_size(chunk.bytes.len()));
            let last = chunk.last;
            if measured.size <= KEPT_AT_MOST {
                measured.kept.push(chunk);
            }
            if last {
                break;
            }
        }
        Ok(measured)
    }

    async fn chunk(&self, number: u64) -> Result<Chunk, Error> {
        let request = SnapshotRequest::Chunk { stale: self.stale, handle: self.handle, number };
        match self.call.ask(self.call.dc(), Ask::Snapshot(request)).await? {
            Reply::SnapshotChunk { bytes, last } => Ok(Chunk { bytes, last }),
            _ => Err(Error::WrongReply),
        }
    }

    /// Says that it is no longer needed. If nobody hears it, a minute without questions says the same.
    async fn close(&self) {
        let request = SnapshotRequest::Close { stale: self.stale, handle: self.handle };
        let _ = self.call.ask(self.call.dc(), Ask::Snapshot(request)).await;
    }
}

/// Who sends it, chunk by chunk. An error breaks the connection off, so that nobody takes a part for the whole.
struct Sender {
    source: Source,
    kept: std::vec::IntoIter<Chunk>,
    number: u64,
    /// None when all is sent.
    writer: Option<Writer>,
}

impl Sender {
    async fn next(mut self) -> io::Result<Option<(Bytes, Sender)>> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        loop {
            let chunk = match self.kept.next() {
                Some(chunk) => chunk,
                None => self.source.chunk(self.number).await.map_err(|why| io::Error::other(why.sentence()))?,
            };
            self.number = self.number.saturating_add(1);
            writer.chunk(&chunk.bytes)?;
            if chunk.last {
                self.source.close().await;
                return Ok(Some((writer.finish()?, self)));
            }
            let bytes = writer.take();
            if !bytes.is_empty() {
                self.writer = Some(writer);
                return Ok(Some((bytes, self)));
            }
        }
    }
}
