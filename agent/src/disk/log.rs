//! The Raft log and hard state in one redb file.
//!
//! Term, vote, cutting and appending go into one transaction, so that no crash can part them. redb is told to commit in two phases: the
//! flush of the content ends before the flush of the root that points to it begins. With one phase a root that does not verify after a
//! crash may be an unfinished commit or a rotten one, and redb takes the commit before in both cases; with two, a root was only ever
//! written after its content was safe, so a root that does not verify is damage and is refused.

use super::directory::{make_private_directory, open_private, sync_directory};
use super::record::{State, decode_log_row, encode_log_row};
use super::witness::Witness;
use super::writer::Storage;
use super::{DiskError, Recovered};
use quorate_protocol::raft::{HardState, LogEntry};
use quorate_protocol::{LogIndex, NodeId, Term};
use quorate_raft::Persist;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition,
    TableError,
};
use std::path::{Path, PathBuf};

/// Entries by index.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// One row, [`STATE_ROW`].
const STATE: TableDefinition<u64, &[u8]> = TableDefinition::new("state");
const STATE_ROW: u64 = 0;

/// Pages that redb keeps in memory, in bytes. The log is only read at the start, so the default of 1 GiB would be wasted.
const CACHE: usize = 32 * 1024 * 1024;

/// The log on disk.
#[derive(Debug)]
pub(super) struct RaftLog {
    database: Database,
    witness: Witness,
    path: PathBuf,
    state: State,
}

impl RaftLog {
    /// Opens and verifies the log of a node, or makes an empty one.
    pub(super) fn open(data_dir: &Path, id: NodeId) -> Result<(Recovered, RaftLog), DiskError> {
        let directory = data_dir.join("raft");
        make_private_directory(data_dir)?;
        make_private_directory(&directory)?;
        let path = directory.join("raft.redb");
        let damaged = |what: String| DiskError::DamagedLog { path: path.clone(), what };

        // The witness is made first: a log without one has lost it.
        let witness_path = directory.join("witness");
        if path.metadata().is_ok_and(|metadata| metadata.len() > 0) && !witness_path.exists() {
            return Err(damaged(format!("{} beside it is missing", witness_path.display())));
        }
        let (witness, commits) = Witness::open(&witness_path)?;
        drop(open_private(&path)?);
        sync_directory(&directory)?;
        let database = Database::builder()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .create(&path)
            .map_err(|error| refused_to_open(error, &path))?;
        let fresh = State { node: id, commits: 0, hard_state: HardState::default(), last: LogIndex::ZERO };
        let mut log = RaftLog { database, witness, path: path.clone(), state: fresh };
        let Some(state) = log.read_state()? else {
            if commits > 0 {
                return Err(damaged(format!("it is empty, although {commits} commits were made")));
            }
            log.commit(&[])?;
            return Ok((Recovered::default(), log));
        };
        if state.node != id {
            return Err(DiskError::Foreign { path, owner: state.node, wanted: id });
        }
        if state.commits < commits {
            return Err(damaged(format!("commit {commits} was made, and it holds only {}", state.commits)));
        }
        log.state = state;
        let entries = log.read_entries()?;
        Ok((Recovered { hard_state: state.hard_state, entries }, log))
    }

    /// The state; none in a database that was never committed to.
    fn read_state(&self) -> Result<Option<State>, DiskError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = match transaction.open_table(STATE) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            Ok(Some(table.get(STATE_ROW)?.map(|row| row.value().to_vec()).unwrap_or_default()))
        };
        match read().map_err(|error| self.failed("read", error))? {
            None => Ok(None),
            Some(row) => State::decode(&row)
                .map(Some)
                .map_err(|error| self.damaged(format!("the record of term and vote: {error}"))),
        }
    }

    /// All entries, verified: from the first to the last without a gap, terms never falling.
    fn read_entries(&self) -> Result<Vec<LogEntry>, DiskError> {
        let failed = |error: redb::Error| self.failed("read", error);
        let transaction = self.database.begin_read().map_err(|error| failed(error.into()))?;
        let table = transaction.open_table(LOG).map_err(|error| failed(error.into()))?;
        let mut entries: Vec<LogEntry> = Vec::new();
        let (mut expected, mut term) = (LogIndex(1), Term::ZERO);
        for row in table.iter().map_err(|error| failed(error.into()))? {
            let (key, value) = row.map_err(|error| failed(error.into()))?;
            if key.value() != expected.0 {
                return Err(self.damaged(format!("entry {expected} is missing before entry {}", key.value())));
            }
            let entry = decode_log_row(key.value(), value.value())
                .map_err(|error| self.damaged(format!("entry {expected} of up to {}: {error}", self.state.last)))?;
            if entry.term < term || entry.term > self.state.hard_state.term {
                return Err(self.damaged(format!(
                    "entry {expected} has term {}, after term {term}, in a log whose latest term is {}",
                    entry.term, self.state.hard_state.term
                )));
            }
            (expected, term) = (expected.next(), entry.term);
            entries.push(entry);
        }
        if expected.previous() != self.state.last {
            return Err(self.damaged(format!(
                "its last entry is {}, and it was written up to {}",
                expected.previous(),
                self.state.last
            )));
        }
        Ok(entries)
    }

    fn write(&self, batch: &[Persist], state: &mut State) -> Result<(), Failure> {
        let mut transaction = self.database.begin_write().map_err(redb::Error::from)?;
        transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
        transaction.set_two_phase_commit(true);
        {
            let mut log = transaction.open_table(LOG).map_err(redb::Error::from)?;
            for persist in batch {
                state.hard_state = persist.hard_state;
                state.last = replace_from(&mut log, state.last, &persist.entries)?;
            }
            let mut states = transaction.open_table(STATE).map_err(redb::Error::from)?;
            states.insert(STATE_ROW, state.encode().as_slice()).map_err(redb::Error::from)?;
        }
        Ok(transaction.commit().map_err(redb::Error::from)?)
    }

    fn failed(&self, doing: &'static str, error: redb::Error) -> DiskError {
        let path = self.path.clone();
        match error {
            redb::Error::Io(cause) => DiskError::System { doing, path, cause },
            redb::Error::Corrupted(what) => DiskError::DamagedLog { path, what },
            other => DiskError::Database { doing, path, cause: other.to_string() },
        }
    }

    fn damaged(&self, what: String) -> DiskError {
        DiskError::DamagedLog { path: self.path.clone(), what }
    }
}

impl Storage for RaftLog {
    fn commit(&mut self, batch: &[Persist]) -> Result<(), DiskError> {
        let mut state = State { commits: self.state.commits.saturating_add(1), ..self.state };
        self.write(batch, &mut state).map_err(|failure| match failure {
            Failure::Database(error) => self.failed("write to", error),
            Failure::Gap { index, last } => DiskError::Gap { index: index.0, last: last.0 },
        })?;
        self.state = state;
        self.witness.record(state.commits)
    }
}

/// Why a batch was not written.
enum Failure {
    Database(redb::Error),
    Gap { index: LogIndex, last: LogIndex },
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Failure {
        Failure::Database(error)
    }
}

/// Cuts the log before the first of these and appends them. Returns the last entry then.
fn replace_from(
    log: &mut Table<'_, u64, &'static [u8]>,
    last: LogIndex,
    entries: &[LogEntry],
) -> Result<LogIndex, Failure> {
    let Some(first) = entries.first() else { return Ok(last) };
    if first.index == LogIndex::ZERO || first.index > last.next() {
        return Err(Failure::Gap { index: first.index, last });
    }
    if first.index <= last {
        log.retain_in(first.index.0..=last.0, |_, _| false).map_err(redb::Error::from)?;
    }
    let mut last = first.index.previous();
    for entry in entries {
        if entry.index != last.next() {
            return Err(Failure::Gap { index: entry.index, last });
        }
        log.insert(entry.index.0, encode_log_row(entry).as_slice()).map_err(redb::Error::from)?;
        last = entry.index;
    }
    Ok(last)
}

fn refused_to_open(error: DatabaseError, path: &Path) -> DiskError {
    let path = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen => DiskError::InUse { path, process: None },
        DatabaseError::Storage(StorageError::Io(cause)) if cause.kind() == std::io::ErrorKind::InvalidData => {
            DiskError::DamagedLog { path, what: cause.to_string() }
        }
        DatabaseError::Storage(StorageError::Io(cause)) => DiskError::System { doing: "open", path, cause },
        other => DiskError::DamagedLog { path, what: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::raft::Payload;
    use std::fs;

    const ME: NodeId = NodeId([1; 16]);

    fn entry(index: u64, term: u64) -> LogEntry {
        let payload = Payload::Command(format!("entry {index} of term {term}").into_bytes().into());
        LogEntry { term: Term(term), index: LogIndex(index), payload }
    }

    fn persist(number: u64, term: u64, entries: &[(u64, u64)]) -> Persist {
        let hard_state = HardState { term: Term(term), vote: Some(NodeId([term as u8; 16])) };
        Persist { number, hard_state, entries: entries.iter().map(|(index, term)| entry(*index, *term)).collect() }
    }

    fn open(dir: &Path) -> (Recovered, RaftLog) {
        RaftLog::open(dir, ME).unwrap()
    }

    fn recovered(term: u64, entries: &[(u64, u64)]) -> Recovered {
        let Persist { hard_state, entries, .. } = persist(0, term, entries);
        Recovered { hard_state, entries }
    }

    #[test]
    fn a_restart_finds_exactly_what_was_committed() {
        let dir = tempfile::tempdir().unwrap();
        let (found, mut log) = open(dir.path());
        assert_eq!(found, Recovered::default());
        log.commit(&[persist(1, 1, &[(1, 1), (2, 1)]), persist(2, 1, &[(3, 1)])]).unwrap();
        log.commit(&[persist(3, 2, &[])]).unwrap();
        drop(log);
        let (found, mut log) = open(dir.path());
        assert_eq!(found, recovered(2, &[(1, 1), (2, 1), (3, 1)]));
        // A new leader's entries replace a tail, twice in one batch.
        log.commit(&[persist(1, 3, &[(2, 3), (3, 3), (4, 3)]), persist(2, 4, &[(3, 4)])]).unwrap();
        drop(log);
        assert_eq!(open(dir.path()).0, recovered(4, &[(1, 1), (2, 3), (3, 4)]));
    }

    #[test]
    fn a_gap_is_refused_and_nothing_of_its_batch_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (_, mut log) = open(dir.path());
        log.commit(&[persist(1, 1, &[(1, 1)])]).unwrap();
        for bad in [persist(2, 9, &[(4, 1)]), persist(2, 9, &[(0, 1)]), persist(2, 9, &[(2, 1), (4, 1)])] {
            assert!(matches!(log.commit(&[persist(1, 8, &[(2, 1)]), bad]), Err(DiskError::Gap { .. })));
        }
        drop(log);
        assert_eq!(open(dir.path()).0, recovered(1, &[(1, 1)]));
    }

    #[test]
    fn another_nodes_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let stranger = NodeId([2; 16]);
        let error = RaftLog::open(dir.path(), stranger).unwrap_err();
        assert!(matches!(error, DiskError::Foreign { owner: ME, wanted, .. } if wanted == stranger), "{error}");
    }

    /// Writes a row past the code under test, with redb's own checksums right.
    fn tamper(dir: &Path, change: impl FnOnce(&mut Table<'_, u64, &'static [u8]>)) {
        let database = Database::create(dir.join("raft/raft.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&mut transaction.open_table(LOG).unwrap());
        transaction.commit().unwrap();
    }

    #[test]
    fn damage_to_single_entries_is_named() {
        type Change = fn(&mut Table<'_, u64, &'static [u8]>);
        let cases: [(Change, &str); 5] = [
            (
                |log| {
                    let mut row = log.get(2).unwrap().unwrap().value().to_vec();
                    *row.last_mut().unwrap() ^= 1;
                    log.insert(2, row.as_slice()).unwrap();
                },
                "entry 2 of up to 3: its checksum is wrong",
            ),
            (|log| drop(log.remove(2).unwrap()), "entry 2 is missing before entry 3"),
            (|log| drop(log.remove(3).unwrap()), "its last entry is 2, and it was written up to 3"),
            (
                |log| {
                    let row = log.get(1).unwrap().unwrap().value().to_vec();
                    log.insert(2, row.as_slice()).unwrap();
                },
                "entry 2 of up to 3: its checksum is wrong",
            ),
            (
                |log| drop(log.insert(3, encode_log_row(&entry(3, 9)).as_slice()).unwrap()),
                "entry 3 has term 9, after term 1, in a log whose latest term is 1",
            ),
        ];
        for (change, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            let (_, mut log) = open(dir.path());
            log.commit(&[persist(1, 1, &[(1, 1), (2, 1), (3, 1)])]).unwrap();
            drop(log);
            tamper(dir.path(), change);
            let error = RaftLog::open(dir.path(), ME).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("raft.redb"), "{error}");
        }
    }

    #[test]
    fn a_lost_or_older_database_is_not_taken_for_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("raft/raft.redb");
        let (_, mut log) = open(dir.path());
        log.commit(&[persist(1, 1, &[(1, 1)])]).unwrap();
        drop(log);
        let older = fs::read(&file).unwrap();
        let (_, mut log) = open(dir.path());
        log.commit(&[persist(1, 1, &[(2, 1)])]).unwrap();
        drop(log);
        let good = fs::read(&file).unwrap();
        let refused = |what: &str| {
            let error = RaftLog::open(dir.path(), ME).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        fs::write(&file, older).unwrap();
        refused("commit 3 was made, and it holds only 2");
        fs::remove_file(&file).unwrap();
        refused("it is empty, although 3 commits were made");
        fs::write(&file, &good).unwrap();
        fs::remove_file(dir.path().join("raft/witness")).unwrap();
        refused("witness beside it is missing");
    }

    /// One flipped bit at a time: in every byte of redb's header (its first 320 bytes), then here and there. Whatever is opened is the truth,
    /// and everything else is refused with a sentence, never a panic.
    #[test]
    fn no_flipped_bit_in_the_file_goes_unnoticed() {
        // In memory where there is such a place: every opening flushes, and nothing here is about flushing.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let file = dir.path().join("raft/raft.redb");
        let (_, mut log) = open(dir.path());
        for index in 1..=20 {
            log.commit(&[persist(index, index, &[(index, index)])]).unwrap();
        }
        let witness = fs::read(dir.path().join("raft/witness")).unwrap();
        // As after a kill: not closed in order.
        let killed = fs::read(&file).unwrap();
        drop(log);
        let closed = fs::read(&file).unwrap();
        let truth = recovered(20, &(1..=20).map(|index| (index, index)).collect::<Vec<_>>());
        let mut refused = 0;
        for good in [killed, closed] {
            let places = (0..320).chain((320..good.len()).step_by(good.len() / 80));
            for place in places {
                let mut bad = good.clone();
                bad[place] ^= 1 << (place % 8);
                fs::write(&file, &bad).unwrap();
                fs::write(dir.path().join("raft/witness"), &witness).unwrap();
                match RaftLog::open(dir.path(), ME) {
                    Ok((found, _)) => {
                        assert_eq!(found, truth, "a flipped bit in byte {place} changed the log unnoticed")
                    }
                    Err(DiskError::DamagedLog { .. }) => refused += 1,
                    Err(other) => panic!("byte {place}: {other}"),
                }
            }
        }
        assert!(refused > 20, "only {refused}: the test flips nothing that matters");
    }
}
