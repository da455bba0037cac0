//! Writes inside log entries, and log entries and what comes with snapshots on disk.

use super::{VERSION_MAX, WireError, from_named, to_named};
use crate::Write;
use crate::raft::{LogEntry, SnapshotMeta};
use bytes::Bytes;

/// A write as the payload of a log entry, in an allocation of its size: the log keeps it for long, and a buffer that grew would be half empty.
pub fn encode_write(write: &Write) -> Bytes {
    Bytes::copy_from_slice(&to_named(VERSION_MAX, write))
}

/// Reads what [`encode_write`] wrote.
pub fn decode_write(bytes: &[u8]) -> Result<Write, WireError> {
    from_named(bytes)
}

/// An entry as it is kept on disk; the disk adds its own checksum.
pub fn encode_entry(entry: &LogEntry) -> Vec<u8> {
    to_named(VERSION_MAX, entry)
}

/// Reads what [`encode_entry`] wrote.
pub fn decode_entry(bytes: &[u8]) -> Result<LogEntry, WireError> {
    from_named(bytes)
}

/// What Raft must know about a snapshot, as it is kept on disk beside it.
pub fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    to_named(VERSION_MAX, meta)
}

/// Reads what [`encode_snapshot_meta`] wrote.
pub fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, WireError> {
    from_named(bytes)
}
