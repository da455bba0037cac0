//! Stories of what happens to a data directory: restarts, crashes after any operation, damage in any bit, a full disk.

mod crash;
mod damage;
mod full;
mod rejoin;
mod restart;
mod speed;

use super::log::RaftLog;
use super::recorder::{Crash, Op, Recorder, leave};
use super::writer::Storage;
use super::{DiskError, Options, Recovered};
use bytes::Bytes;
use quorate_protocol::raft::{Configuration, HardState, LogEntry, Payload, Peer, SnapshotMeta};
use quorate_protocol::{LogIndex, NodeId, Term};
use quorate_raft::{Persist, Snapshot};
use std::fs;
use std::path::{Path, PathBuf};

const ME: NodeId = NodeId([1; 16]);

/// Segments of eight sectors, and no reserve.
fn small() -> Options {
    Options { may_rejoin: true, segment_size: 8 * 512, reserve: 0 }
}

/// In memory where there is such a place: every start flushes, and most tests are not about the time that takes.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn open(dir: &Path) -> (Recovered, RaftLog) {
    RaftLog::open(dir, ME, &small()).unwrap()
}

fn refusal(dir: &Path) -> String {
    let error = RaftLog::open(dir, ME, &small()).map(|(recovered, _)| recovered).unwrap_err();
    assert!(matches!(error, DiskError::Damaged { .. }), "{error}");
    error.to_string()
}

fn entry(index: u64, term: u64) -> LogEntry {
    let payload = Payload::Command(format!("entry {index} of term {term}").into_bytes().into());
    LogEntry { term: Term(term), index: LogIndex(index), payload }
}

fn entries(places: &[(u64, u64)]) -> Vec<LogEntry> {
    places.iter().map(|(index, term)| entry(*index, *term)).collect()
}

/// From one index to another, all of a term.
fn run(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
    indexes.map(|index| entry(index, term)).collect()
}

fn hard_state(term: u64) -> HardState {
    HardState { term: Term(term), vote: Some(NodeId([term as u8; 16])) }
}

fn persist(term: u64, entries: Vec<LogEntry>) -> Persist {
    Persist { number: 1, hard_state: hard_state(term), entries, snapshot: None, compact_to: None }
}

fn compacting(term: u64, first: u64) -> Persist {
    Persist { compact_to: Some(LogIndex(first)), ..persist(term, Vec::new()) }
}

fn receiving(term: u64, snapshot: Snapshot) -> Persist {
    Persist { snapshot: Some(snapshot), ..persist(term, Vec::new()) }
}

/// A snapshot at an entry whose state is the entries up to it, one a chunk.
fn snapshot(covered: &[LogEntry]) -> Snapshot {
    let last = covered.last().unwrap();
    let peer = Peer { address: ([127, 0, 0, 1], 7).into(), voter: true };
    let configuration = Configuration { peers: [(ME, peer)].into(), founder: None };
    let meta = SnapshotMeta { index: last.index, term: last.term, configuration, configuration_index: LogIndex(1) };
    Snapshot { meta, chunks: covered.iter().map(chunk).collect() }
}

fn chunk(entry: &LogEntry) -> Bytes {
    quorate_protocol::wire::log::encode_entry(entry).into()
}

/// As the snapshots' thread does it.
fn save(log: &RaftLog, Snapshot { meta, chunks }: Snapshot) -> Result<(), DiskError> {
    let shelf = log.shelf();
    shelf.put(super::snapshot::Origin::Own, &meta, chunks.into_iter(), || true)?;
    shelf.tidy()
}

/// All entries that there ever were, from the snapshot and from the log.
fn history(recovered: &Recovered) -> Vec<LogEntry> {
    let covered = recovered.snapshot.iter().flat_map(|snapshot| &snapshot.chunks);
    let mut history: Vec<LogEntry> =
        covered.map(|chunk| quorate_protocol::wire::log::decode_entry(chunk).unwrap()).collect();
    let index = history.last().map_or(0, |entry| entry.index.0);
    history.extend(recovered.entries.iter().filter(|entry| entry.index.0 > index).cloned());
    history
}

fn raft_files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir.join("raft"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != "spare");
    names.sort();
    names
}

/// The files below a directory, with their content.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
    }
    found.sort();
    found
}
