//! The disk of one agent: slow, sometimes failing, and forgetful of what was not flushed.
//!
//! It works as the shell's does: while one flush runs, what comes in is gathered for the next (group commit), and a flush is
//! one transaction. A crash keeps the transactions that were finished, and of the unfinished ones a beginning: the
//! power may go after the disk has written and before it could say so.

use crate::dice::Dice;
use quorate_protocol::Time;
use quorate_protocol::raft::{HardState, LogEntry};
use quorate_protocol::wire::log::{decode_entry, encode_entry};
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
}

/// What is to be written in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its number; they come in order.
    pub number: u64,
    /// The term and vote to keep.
    pub hard_state: HardState,
    /// Entries that replace the log from the first one's index on.
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
    entries: Vec<LogEntry>,
    /// The agent's own services and checks, as it saved them.
    pub local: Vec<u8>,
    flushing: Vec<Record>,
    gathered: Vec<Record>,
    quality: Quality,
    lie: Lie,
    dice: Dice,
}

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Everything up to this record is on the disk; if more was gathered, its flush ends at that time.
    UpTo(u64, Option<Time>),
    /// It failed: the process must end, and nobody may count on what it held.
    Failed,
}

impl Disk {
    /// An empty one.
    pub fn new(quality: Quality, lie: Lie, dice: Dice) -> Disk {
        Disk {
            hard_state: HardState::default(),
            entries: Vec::new(),
            local: Vec::new(),
            flushing: Vec::new(),
            gathered: Vec::new(),
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
    pub fn submit(&mut self, now: Time, record: Record) -> Option<Time> {
        self.gathered.push(record);
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
        for record in std::mem::take(&mut self.flushing) {
            last = record.number;
            self.write(record)?;
        }
        let next = (!self.gathered.is_empty()).then(|| self.begin(now));
        Ok(Flushed::UpTo(last, next))
    }

    /// The process has ended: what was under way is partly written or not at all.
    ///
    /// # Errors
    /// As [`Disk::finish`].
    pub fn crash(&mut self) -> Result<(), String> {
        let mut pending = std::mem::take(&mut self.flushing);
        pending.append(&mut self.gathered);
        let kept = self.dice.below(pending.len() + 1);
        for record in pending.into_iter().take(kept) {
            self.write(record)?;
        }
        match self.lie {
            Lie::None => {}
            Lie::LosesEntries => {
                let lost = self.dice.below(4);
                self.entries.truncate(self.entries.len().saturating_sub(lost));
            }
        }
        Ok(())
    }

    /// What a new process finds: the log has gone through the bytes that a real disk would hold.
    ///
    /// # Errors
    /// A sentence when an entry does not survive its encoding.
    pub fn read(&self) -> Result<(HardState, Vec<LogEntry>), String> {
        let entries = self.entries.iter().map(|entry| {
            let back = decode_entry(&encode_entry(entry)).map_err(|error| error.to_string())?;
            if back == *entry {
                Ok(back)
            } else {
                Err(format!("entry {} came back from its bytes changed", entry.index))
            }
        });
        Ok((self.hard_state, entries.collect::<Result<_, String>>()?))
    }

    /// The entries that survive any crash.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    fn begin(&mut self, now: Time) -> Time {
        self.flushing = std::mem::take(&mut self.gathered);
        let length = self.quality.flush + self.dice.around(self.quality.jitter);
        // A stall that began before the heal must end within what convergence is given.
        now + if self.dice.chance(self.quality.stall) { (length * 100).min(MAX_STALL) } else { length }
    }

    fn write(&mut self, record: Record) -> Result<(), String> {
        self.hard_state = record.hard_state;
        let Some(first) = record.entries.first() else { return Ok(()) };
        let kept = first.index.previous().0 as usize;
        if first.index.0 == 0 || kept > self.entries.len() {
            return Err(format!("entry {} does not join a log of {} entries", first.index, self.entries.len()));
        }
        self.entries.truncate(kept);
        for entry in record.entries {
            if entry.index.0 as usize != self.entries.len() + 1 {
                return Err(format!("entry {} follows entry {}", entry.index, self.entries.len()));
            }
            self.entries.push(entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Stream;
    use quorate_protocol::raft::Payload;
    use quorate_protocol::{LogIndex, Term};

    fn record(number: u64, term: u64, indexes: std::ops::RangeInclusive<u64>) -> Record {
        let entry = |index| LogEntry { term: Term(term), index: LogIndex(index), payload: Payload::Empty };
        Record { number, hard_state: HardState { term: Term(term), vote: None }, entries: indexes.map(entry).collect() }
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
            assert_eq!(disk.read().map(|(_, entries)| entries.len()), Ok(disk.entries().len()));
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
}
