//! Snapshots: the whole state as a sequence of chunks, and back.
//!
//! ```text
//!   View ─ SnapshotChunks::chunk(n) ─▶ chunk 0 · chunk 1 · … · last ─ Store::from_chunks ─▶ Store
//!                                            │                      └ Summary::of ─▶ counts and sizes
//!                                            └─ RestoreWrite::Chunk, staged, then committed (restore.rs)
//!
//!   chunk   version 1 byte │ number 8 bytes │ records │ CRC-32 of all before, 4 bytes      (numbers are big-endian)
//!   record  length 4 bytes │ MessagePack with named fields (record.rs)
//! ```
//!
//! The records are those of a walk through all tables in a fixed order, so equal states make equal bytes; what can be derived
//! from rows (instances of a service, who holds what) is left out. The last record of the last chunk is the end: how many chunks
//! there are, a checksum over all their checksums, the log index and the rolling hash.

mod load;
mod reader;
mod record;
mod summary;

#[cfg(test)]
mod tests;

pub use reader::SnapshotError;
pub use summary::{Summary, TableSummary};

pub(crate) use load::Loader;
pub(crate) use reader::{Reader, check_chunk};

use crate::View;
use bytes::Bytes;
use record::{End, Place, Record, records_after};

/// The version of the chunks that this build writes, and the only one that it reads.
const VERSION: u8 = 1;

/// The size of a chunk, unless a single record is larger: a round trip of a millisecond for each still moves 256 MB in a second,
/// and a chunk goes between the messages of Raft without holding them up.
const CHUNK_SIZE: usize = if cfg!(test) { 256 } else { 256 * 1024 };

/// Before the records: version and number.
const HEADER: usize = 1 + 8;

/// After them: the checksum.
const CHECKSUM: usize = 4;

/// What stands before each record: its length.
const LENGTH: usize = 4;

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Opaque, and only of use together with the others.
    pub bytes: Bytes,
    /// Whether it is the last one.
    pub last: bool,
}

/// The chunks of a snapshot, drawn from a view one by one and as often as wanted. Each costs the same, wherever it is; the store
/// moves on meanwhile.
#[derive(Debug, Clone)]
pub struct SnapshotChunks {
    view: View,
    /// Where each chunk begins that may be drawn.
    beginnings: Vec<Beginning>,
}

/// Where a chunk begins.
#[derive(Debug, Clone)]
struct Beginning {
    /// The last record before it.
    after: Place,
    /// The checksum over the checksums of the chunks before it.
    sum: u32,
}

impl SnapshotChunks {
    /// A snapshot of a view.
    pub fn new(view: View) -> SnapshotChunks {
        SnapshotChunks { view, beginnings: vec![Beginning { after: Place::Start, sum: 0 }] }
    }

    /// The chunk with this number, from 0: any that was drawn before, or the next one. None after the last one, and for one
    /// that cannot be drawn yet.
    pub fn chunk(&mut self, number: u64) -> Option<Chunk> {
        let beginning = self.beginnings.get(usize::try_from(number).ok()?)?.clone();
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&number.to_be_bytes());
        let next = self.fill(&mut bytes, &beginning.after);
        let last = next.is_none();
        if last {
            self.append_end(&mut bytes, number.saturating_add(1), beginning.sum);
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        let is_furthest = self.beginnings.len() as u64 == number.saturating_add(1);
        if let Some(after) = next.filter(|_| is_furthest) {
            self.beginnings.push(Beginning { after, sum: add_checksum(beginning.sum, checksum) });
        }
        Some(Chunk { bytes: bytes.into(), last })
    }

    /// The view that they are drawn from.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Roughly how many bytes all chunks have together, for progress bars.
    pub fn size_hint(&self) -> u64 {
        // What the names of fields and the numbers of a row come to, by table.
        let state = &self.view.state;
        let rows: usize = state.catalog.all().map(|on| 1 + on.services.len() + on.checks.len()).sum();
        let staged = state.staged.as_ref().map_or(0, |staged| staged.size());
        let entries = state.kv.size().saturating_add(state.kv.len() as u64 * 128);
        entries.saturating_add((rows + state.sessions.len()) as u64 * 512).saturating_add(staged)
    }

    /// Adds the records that come after a place until the chunk is full, and tells after which one the next chunk begins; none if
    /// there are no more.
    fn fill(&self, bytes: &mut Vec<u8>, after: &Place) -> Option<Place> {
        let mut last: Option<Record> = None;
        for record in records_after(&self.view.state, after) {
            let before = bytes.len();
            append(bytes, &record);
            if let Some(last) = last.filter(|_| bytes.len() > CHUNK_SIZE) {
                bytes.truncate(before);
                return Some(last.place());
            }
            last = Some(record);
        }
        None
    }

    fn append_end(&self, bytes: &mut Vec<u8>, chunks: u64, sum: u32) {
        let View { index, hash, state } = &self.view;
        append(bytes, &Record::End(End { chunks, sum, index: *index, hash: *hash, floor: state.kv.floor() }));
    }
}

/// The checksum over one more checksum.
fn add_checksum(sum: u32, checksum: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(&checksum.to_be_bytes());
    hasher.finalize()
}

fn append(bytes: &mut Vec<u8>, record: &Record) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; LENGTH]);
    let written = rmp_serde::encode::write_named(bytes, record);
    debug_assert!(written.is_ok(), "writing to memory cannot fail: {written:?}");
    // A record is far below 4 GiB: the largest is a row, and that came in one log entry.
    let length = u32::try_from(bytes.len() - start - LENGTH).unwrap_or(u32::MAX).to_be_bytes();
    bytes.iter_mut().skip(start).zip(length).for_each(|(to, from)| *to = from);
}
