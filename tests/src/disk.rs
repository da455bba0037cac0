//! The disk of one agent: slow, sometimes failing or full, and forgetful of what was not flushed.
//!
//! It works as the shell's does: while one flush runs, what comes in is gathered for the next (group commit), and a flush is
//! one transaction. A crash keeps the transactions that were finished, and of the unfinished ones a beginning: the
//! power may go after the disk has written and before it could say so. A snapshot is a file of its own: it is there before the transaction
//! that counts on it, or it is not there.

use crate::dice::Dice;
use quorate_protocol::raft::{HardState, LogEntry, SnapshotMeta};
use quorate_protocol::wire::log::{decode_entry, encode_entry};
use quorate_protocol::{LogIndex, Term, Time};
use quorate_raft::{Persist, Snapshot};
use std::time::Duration;

/// The longest stall.
const MAX_STALL: Duration = Duration::from_secs(5);

/// How good a disk is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// The shortest flush.
    pub flush: Duration,
    /// The mean of what is added to it.
    pub jitter: Duration,
    /// The probability that a flush takes a hundred times as long, five seconds at most.
    pub stall: f64,
    /// The probability that a flush fails, which ends the process.
    pub failure: f64,
}

impl Quality {
    /// An SSD with nothing else to do.
    pub const GOOD: Quality =
        Quality { flush: Duration::from_micros(300), jitter: Duration::from_micros(300), stall: 0.0, failure: 0.0 };
    /// A busy disk that fails now and then.
    pub const BAD: Quality =
        Quality { flush: Duration::from_micros(500), jitter: Duration::from_millis(2), stall: 0.005, failure: 0.0005 };
    /// A disk that somebody else is using.
    pub const SLOW: Quality =
        Quality { flush: Duration::from_millis(20), jitter: Duration::from_millis(60), stall: 0.02, failure: 0.0 };
    /// A disk without space: every write fails until somebody makes room.
    pub const FULL: Quality =
        Quality { flush: Duration::from_micros(200), jitter: Duration::from_micros(300), stall: 0.0, failure: 1.0 };
}

/// What a new process finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The term and vote.
    pub hard_state: HardState,
    /// The snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
    /// The log behind it, or from before it on.
    pub entries: Vec<LogEntry>,
}

/// What a plan of lies does to a disk: only to see whether the checkers notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lie {
    /// None.
    #[default]
    None,
    /// A crash takes the last entries although they were flushed.
    LosesEntries,
}

/// The disk of one agent.
#[derive(Debug)]
pub struct Disk {
    hard_state: HardState,
    snapshot: Option<Snapshot>,
    log: Log,
    /// The agent's own services and checks, as it saved them.
    pub local: Vec<u8>,
    flushing: Vec<Persist>,
    gathered: Vec<Persist>,
    /// A snapshot of the own state that is being written.
    saving: Option<Snapshot>,
    quality: Quality,
    lie: Lie,
    dice: Dice,
}

/// The log from some index on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Log {
    /// The last entry that is no longer here.
    before: LogIndex,
    entries: Vec<LogEntry>,
}

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Everything up to this record is on the disk; if more was gathered, its flush ends at that time.
    UpTo(u64, Option<Time>),
    /// It failed: the process must end, and nobody may count on what it held.
    Failed,
}

/// What a disk has of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The entry.
    Entry(&'a LogEntry),
    /// A snapshot that covers it.
    InSnapshot,
    /// Nothing.
    Nothing,
}

impl Disk {
    /// An empty one.
    pub fn new(quality: Quality, lie: Lie, dice: Dice) -> Disk {
        Disk {
            hard_state: HardState::default(),
            snapshot: None,
            log: Log::default(),
            local: Vec::new(),
            flushing: Vec::new(),
            gathered: Vec::new(),
            saving: None,
            quality,
            lie,
            dice,
        }
    }

    /// Changes how good it is.
    pub fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
    }

    /// Takes something to write; gives when its flush ends if one begins now.
    pub fn submit(&mut self, now: Time, persist: Persist) -> Option<Time> {
        self.gathered.push(persist);
        self.flushing.is_empty().then(|| self.begin(now))
    }

    /// A flush has come to its end.
    ///
    /// # Errors
    /// A sentence when the records do not fit the log: the writer's fault.
    pub fn finish(&mut self, now: Time) -> Result<Flushed, String> {
        if self.dice.chance(self.quality.failure) {
            return Ok(Flushed::Failed);
        }
        let mut last = 0;
        for persist in std::mem::take(&mut self.flushing) {
            last = persist.number;
            self.write(persist)?;
        }
        let next = (!self.gathered.is_empty()).then(|| self.begin(now));
        Ok(Flushed::UpTo(last, next))
    }

    /// Begins to write a snapshot of the own state beside the log; gives when it is verified.
    pub fn save(&mut self, now: Time, snapshot: Snapshot) -> Time {
        self.saving = Some(snapshot);
        // Much longer than a flush, so that other things happen meanwhile.
        now + (self.quality.flush + self.dice.around(self.quality.jitter)) * 30
    }

    /// The snapshot of the own state is written and verified: its index. None if it was not to be: it is full.
    pub fn saved(&mut self) -> Option<LogIndex> {
        let snapshot = self.saving.take()?;
        if self.dice.chance(self.quality.failure) {
            return None;
        }
        let index = snapshot.meta.index;
        self.keep(snapshot);
        Some(index)
    }

    /// Whether a snapshot of the own state is being written.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// The process has ended: what was under way is partly written or not at all.
    ///
    /// # Errors
    /// As [`Disk::finish`].
    pub fn crash(&mut self) -> Result<(), String> {
        self.saving = None;
        let mut pending = std::mem::take(&mut self.flushing);
        pending.append(&mut self.gathered);
        let kept = self.dice.below(pending.len() + 1);
        let mut pending = pending.into_iter();
        for persist in pending.by_ref().take(kept) {
            self.write(persist)?;
        }
        // The file of a snapshot is there before the transaction that counts on it.
        if let Some(snapshot) = pending.next().and_then(|persist| persist.snapshot).filter(|_| self.dice.chance(0.5)) {
            self.keep(snapshot);
        }
        match self.lie {
            Lie::None => {}
            Lie::LosesEntries => {
                let lost = self.dice.below(4);
                let entries = &mut self.log.entries;
                entries.truncate(entries.len().saturating_sub(lost));
            }
        }
        Ok(())
    }

    /// What a new process finds: the log has gone through the bytes that a real disk would hold.
    ///
    /// # Errors
    /// A sentence when an entry does not survive its encoding.
    pub fn read(&mut self) -> Result<Recovered, String> {
        // A snapshot whose transaction never came: the log is an earlier one.
        if let Some(meta) = self.snapshot.as_ref().map(|snapshot| snapshot.meta.clone()) {
            self.log.join(&meta);
        }
        let entries = self.log.entries.iter().map(|entry| {
            let back = decode_entry(&encode_entry(entry)).map_err(|error| error.to_string())?;
            if back == *entry {
                Ok(back)
            } else {
                Err(format!("entry {} came back from its bytes changed", entry.index))
            }
        });
        Ok(Recovered {
            hard_state: self.hard_state,
            entries: entries.collect::<Result<_, String>>()?,
            snapshot: self.snapshot.clone(),
        })
    }

    /// The term and vote that survive any crash.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The last entry that survives any crash, in the log or in a snapshot.
    pub fn last(&self) -> LogIndex {
        self.log.last().max(self.covered().0)
    }

    /// The entries that survive any crash.
    pub fn entries(&self) -> &[LogEntry] {
        &self.log.entries
    }

    /// The index and term up to which a snapshot covers the log; zeros if there is none.
    pub fn covered(&self) -> (LogIndex, Term) {
        self.snapshot.as_ref().map(|snapshot| (snapshot.meta.index, snapshot.meta.term)).unwrap_or_default()
    }

    /// What survives any crash of the entry at an index.
    pub fn find(&self, index: LogIndex) -> Found<'_> {
        match self.log.at(index) {
            Some(entry) => Found::Entry(entry),
            None if index <= self.covered().0 => Found::InSnapshot,
            None => Found::Nothing,
        }
    }

    fn begin(&mut self, now: Time) -> Time {
        self.flushing = std::mem::take(&mut self.gathered);
        let length = self.quality.flush + self.dice.around(self.quality.jitter);
        // A stall that began before the heal must end within what convergence is given.
        now + if self.dice.chance(self.quality.stall) { (length * 100).min(MAX_STALL) } else { length }
    }

    fn write(&mut self, persist: Persist) -> Result<(), String> {
        let Persist { hard_state, snapshot, entries, compact_to, .. } = persist;
        self.hard_state = hard_state;
        if let Some(snapshot) = snapshot {
            self.log.join(&snapshot.meta);
            self.keep(snapshot);
        }
        if let Some(index) = compact_to {
            if index.previous() > self.covered().0 {
                return Err(format!("entries below {index} are to go, and the snapshot ends at {}", self.covered().0));
            }
            self.log.forget_below(index);
        }
        self.log.replace(entries)
    }

    /// Keeps the later of two snapshots.
    fn keep(&mut self, snapshot: Snapshot) {
        if snapshot.meta.index >= self.covered().0 {
            self.snapshot = Some(snapshot);
        }
    }
}

impl Log {
    fn last(&self) -> LogIndex {
        LogIndex(self.before.0 + self.entries.len() as u64)
    }

    fn at(&self, index: LogIndex) -> Option<&LogEntry> {
        self.entries.get(index.0.checked_sub(self.before.0 + 1)? as usize)
    }

    /// A log that has the last entry of a snapshot goes on from it; any other is another log, and goes.
    fn join(&mut self, meta: &SnapshotMeta) {
        let goes_on = match self.at(meta.index) {
            Some(entry) => entry.term == meta.term,
            // What was compacted was committed, and is equal everywhere.
            None => meta.index <= self.before && meta.index > LogIndex::ZERO,
        };
        if !goes_on {
            *self = Log { before: meta.index, entries: Vec::new() };
        }
    }

    fn replace(&mut self, entries: Vec<LogEntry>) -> Result<(), String> {
        let Some(first) = entries.first() else { return Ok(()) };
        let before = first.index.previous();
        if before < self.before || before > self.last() {
            return Err(format!("entry {} does not join a log from {} to {}", first.index, self.before, self.last()));
        }
        self.entries.truncate((before.0 - self.before.0) as usize);
        for entry in entries {
            if entry.index != self.last().next() {
                return Err(format!("entry {} follows entry {}", entry.index, self.last()));
            }
            self.entries.push(entry);
        }
        Ok(())
    }

    fn forget_below(&mut self, index: LogIndex) {
        let gone = index.previous().0.saturating_sub(self.before.0).min(self.entries.len() as u64);
        self.entries.drain(..gone as usize);
        self.before = LogIndex(self.before.0 + gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Stream;
    use bytes::Bytes;
    use quorate_protocol::raft::Payload;

    fn record(number: u64, term: u64, indexes: impl Iterator<Item = u64>) -> Persist {
        let entry = |index| LogEntry { term: Term(term), index: LogIndex(index), payload: Payload::Empty };
        let hard_state = HardState { term: Term(term), vote: None };
        Persist { number, hard_state, entries: indexes.map(entry).collect(), snapshot: None, compact_to: None }
    }

    fn disk(quality: Quality, seed: u64) -> Disk {
        Disk::new(quality, Lie::None, Dice::new(seed, Stream::Disk, 0))
    }

    fn terms(disk: &Disk) -> Vec<u64> {
        disk.entries().iter().map(|entry| entry.term.0).collect()
    }

    #[test]
    fn one_flush_at_a_time_and_the_rest_together() {
        let mut disk = disk(Quality::GOOD, 1);
        let first = disk.submit(Time::ZERO, record(1, 1, 1..=2)).expect("it begins at once");
        assert_eq!(disk.submit(Time::ZERO, record(2, 1, 3..=3)), None);
        assert_eq!(disk.submit(Time::ZERO, record(3, 2, 3..=4)), None);
        let Ok(Flushed::UpTo(1, Some(second))) = disk.finish(first) else { panic!("the first record is on disk") };
        assert_eq!(terms(&disk), [1, 1]);
        assert_eq!(disk.finish(second), Ok(Flushed::UpTo(3, None)));
        assert_eq!(terms(&disk), [1, 1, 2, 2], "entries replace the log from their first index on");
    }

    #[test]
    fn a_crash_keeps_what_was_flushed_and_a_beginning_of_the_rest() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut disk = disk(Quality::GOOD, seed);
            let done = disk.submit(Time::ZERO, record(1, 1, 1..=1)).expect("it begins at once");
            assert_eq!(disk.finish(done), Ok(Flushed::UpTo(1, None)));
            disk.submit(done, record(2, 1, 2..=2));
            disk.submit(done, record(3, 1, 3..=3));
            disk.crash().expect("the records fit");
            lengths.insert(disk.entries().len());
            assert_eq!(disk.read().map(|found| found.entries.len()), Ok(disk.entries().len()));
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_gap_is_the_writers_fault() {
        let mut disk = disk(Quality::GOOD, 1);
        let done = disk.submit(Time::ZERO, record(1, 1, 2..=2)).expect("it begins at once");
        assert!(disk.finish(done).is_err());
    }

    #[test]
    fn a_flush_can_fail() {
        let mut disk = disk(Quality { failure: 1.0, ..Quality::GOOD }, 1);
        let done = disk.submit(Time::ZERO, record(1, 1, 1..=1)).expect("it begins at once");
        assert_eq!(disk.finish(done), Ok(Flushed::Failed));
    }

    fn snapshot(index: u64, term: u64) -> Snapshot {
        let meta = SnapshotMeta { index: LogIndex(index), term: Term(term), ..SnapshotMeta::default() };
        Snapshot { meta, chunks: vec![Bytes::from_static(b"state")] }
    }

    /// A disk with entries 1 to 9 of term 1.
    fn with_nine(seed: u64) -> Disk {
        let mut disk = disk(Quality::GOOD, seed);
        let done = disk.submit(Time::ZERO, record(1, 1, 1..=9)).expect("it begins at once");
        assert_eq!(disk.finish(done), Ok(Flushed::UpTo(1, None)));
        disk
    }

    fn write(disk: &mut Disk, persist: Persist) -> Result<Flushed, String> {
        let done = disk.submit(Time::ZERO, persist).expect("it begins at once");
        disk.finish(done)
    }

    #[test]
    fn a_saved_snapshot_lets_the_log_go() {
        let mut disk = with_nine(1);
        let too_early = Persist { compact_to: Some(LogIndex(5)), ..record(2, 1, std::iter::empty()) };
        assert!(write(&mut with_nine(1), too_early.clone()).is_err(), "nothing stands for what would go");
        disk.save(Time::ZERO, snapshot(6, 1));
        assert_eq!(disk.saved(), Some(LogIndex(6)));
        assert_eq!(write(&mut disk, too_early), Ok(Flushed::UpTo(2, None)));
        assert_eq!((disk.find(LogIndex(4)), disk.find(LogIndex(10))), (Found::InSnapshot, Found::Nothing));
        assert!(matches!(disk.find(LogIndex(5)), Found::Entry(entry) if entry.index == LogIndex(5)));
        assert_eq!(write(&mut disk, record(3, 2, 8..=8)), Ok(Flushed::UpTo(3, None)));
        assert_eq!(terms(&disk), [1, 1, 1, 2]);
        assert!(write(&mut disk, record(4, 2, 3..=3)).is_err(), "that is compacted");
    }

    #[test]
    fn a_snapshot_that_is_not_finished_is_lost_in_a_crash() {
        let mut disk = with_nine(1);
        disk.save(Time::ZERO, snapshot(6, 1));
        disk.crash().expect("nothing is under way");
        assert_eq!((disk.saved(), disk.covered()), (None, (LogIndex::ZERO, Term::ZERO)));
    }

    #[test]
    fn a_received_snapshot_replaces_another_log_and_joins_its_own() {
        for (index, term, left) in [(6, 1, 9), (6, 3, 0), (20, 3, 0)] {
            let mut disk = with_nine(1);
            let install = Persist { snapshot: Some(snapshot(index, term)), ..record(2, 3, std::iter::empty()) };
            assert_eq!(write(&mut disk, install), Ok(Flushed::UpTo(2, None)));
            assert_eq!(disk.entries().len(), left, "{index} of term {term}");
            assert_eq!(disk.find(LogIndex(index)) == Found::InSnapshot, left == 0);
        }
    }

    #[test]
    fn a_crash_may_leave_the_file_without_its_transaction() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut disk = with_nine(seed);
            disk.submit(Time::ZERO, Persist { snapshot: Some(snapshot(20, 3)), ..record(2, 3, 21..=22) });
            disk.crash().expect("it fits");
            let found = disk.read().expect("it is readable");
            seen.insert((found.snapshot.is_some(), found.entries.len()));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(false, 9), (true, 0), (true, 2)]);
    }
}
