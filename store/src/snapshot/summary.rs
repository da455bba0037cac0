//! What is in a snapshot, for people.

use super::SnapshotError;
use super::reader::Reader;
use super::record::Record;
use quorate_protocol::LogIndex;

/// What is in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The log index of the state.
    pub index: LogIndex,
    /// The rolling hash of everything applied up to it.
    pub hash: u64,
    /// How many chunks there are.
    pub chunks: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// What they hold, by table; tables without rows are left out.
    pub tables: Vec<TableSummary>,
}

/// What a snapshot holds of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// Its name: `nodes`, `keys` …
    pub name: &'static str,
    /// How many rows.
    pub rows: u64,
    /// Their bytes as they are in the snapshot.
    pub bytes: u64,
}

impl Summary {
    /// Looks through a snapshot without keeping any of it.
    ///
    /// # Errors
    /// [`SnapshotError`] as [`Store::from_chunks`](crate::Store::from_chunks) has it, except that rows are not compared with each
    /// other.
    pub fn of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Summary, SnapshotError> {
        let mut bytes = 0u64;
        let mut tables: Vec<TableSummary> = Vec::new();
        let counted = chunks.into_iter().inspect(|chunk| bytes = bytes.saturating_add(chunk.len() as u64));
        let end = Reader::read(counted, |record, length| {
            add(&mut tables, table_of(&record), length as u64);
            Ok(())
        })?;
        Ok(Summary { index: end.index, hash: end.hash, chunks: end.chunks, bytes, tables })
    }
}

fn add(tables: &mut Vec<TableSummary>, name: &'static str, bytes: u64) {
    match tables.iter_mut().find(|table| table.name == name) {
        Some(table) => {
            table.rows = table.rows.saturating_add(1);
            table.bytes = table.bytes.saturating_add(bytes);
        }
        None => tables.push(TableSummary { name, rows: 1, bytes }),
    }
}

fn table_of(record: &Record) -> &'static str {
    match record {
        Record::Node(_) => "nodes",
        Record::Service(..) => "services",
        Record::Check(_) => "checks",
        Record::Session(_) => "sessions",
        Record::Entry(_) => "keys",
        Record::Tombstone(..) => "tombstones",
        Record::Timer(..) => "timers",
        Record::Index(..) => "indexes",
        Record::Autopilot(_) => "autopilot",
        Record::Staged(_) | Record::StagedPiece(..) => "restore",
        Record::End(_) => "end",
    }
}
