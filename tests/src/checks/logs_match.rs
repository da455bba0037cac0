//! Log matching: two logs with an entry of the same index and term are equal up to there (dissertation, figure 3.2).
//!
//! By induction it is enough that such entries carry the same and follow an entry of the same term.

use super::{Checked, Violation};
use crate::trace::Hash;
use quorate_protocol::raft::{LogEntry, Payload};
use quorate_protocol::wire::log::encode_entry;
use quorate_protocol::{LogIndex, Term};
use std::collections::HashMap;

/// An entry without its content, as far as logs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The term in which it was made.
    pub term: Term,
    /// A digest of all it is.
    pub digest: u64,
}

impl Mark {
    /// The mark of an entry.
    pub fn of(entry: &LogEntry) -> Mark {
        let digest = match &entry.payload {
            Payload::Command(bytes) => Hash::of(bytes),
            Payload::Empty | Payload::Configuration(_) => Hash::of(&encode_entry(entry)),
        };
        Mark { term: entry.term, digest }
    }
}

/// A log as a server has it in its memory: from some entry on.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The last entry that is no longer in it, which a snapshot stands for.
    pub before: LogIndex,
    /// What follows.
    pub entries: &'a [LogEntry],
}

impl<'a> Held<'a> {
    /// A log from its first entry on.
    pub const fn whole(entries: &'a [LogEntry]) -> Held<'a> {
        Held { before: LogIndex::ZERO, entries }
    }

    /// The entry at an index, if it is in it.
    pub fn at(&self, index: LogIndex) -> Option<&'a LogEntry> {
        self.entries.get(index.0.checked_sub(self.before.0 + 1)? as usize)
    }
}

/// The logs of all agents as they wrote them, flushed or not, and what entries were seen. What a snapshot stands for is remembered.
#[derive(Debug)]
pub struct Logs {
    logs: Vec<Vec<Mark>>,
    /// By index and term: the digest, and the term of the entry before.
    seen: HashMap<(LogIndex, Term), (u64, Term)>,
}

impl Logs {
    /// Empty logs.
    pub fn new(agents: usize) -> Logs {
        Logs { logs: vec![Vec::new(); agents], seen: HashMap::new() }
    }

    /// An agent writes entries, replacing its log from the first one's index on.
    ///
    /// # Errors
    /// When an entry differs from one of the same index and term, or follows another.
    pub fn written(&mut self, agent: usize, entries: &[LogEntry]) -> Checked {
        let Some(first) = entries.first() else { return Ok(()) };
        let log = &mut self.logs[agent];
        let kept = first.index.previous().0 as usize;
        if kept > log.len() {
            let seen = format!("agent {agent} writes entry {} after a log of {} entries", first.index, log.len());
            return Violation::seen("logs_match", seen);
        }
        log.truncate(kept);
        for entry in entries {
            let before = log.last().map_or(Term::ZERO, |mark| mark.term);
            let mark = Mark::of(entry);
            log.push(mark);
            let first = *self.seen.entry((entry.index, entry.term)).or_insert((mark.digest, before));
            if entry.index.0 as usize != log.len() || entry.term < before {
                let seen = format!("agent {agent} writes entry {} of term {} after {before}", entry.index, entry.term);
                return Violation::seen("logs_match", seen);
            }
            if first != (mark.digest, before) {
                let seen = format!(
                    "agent {agent} has an entry {} of term {} that differs from another's or follows a different one \
                     (after term {before}; elsewhere after term {})",
                    entry.index, entry.term, first.1
                );
                return Violation::seen("logs_match", seen);
            }
        }
        Ok(())
    }

    /// The log that an agent has in its memory ends so, and everything that it had to write it has handed to its disk.
    ///
    /// # Errors
    /// When it acts on another log than the one that it wrote.
    pub fn is_held(&self, agent: usize, last: LogIndex, term: Option<Term>) -> Checked {
        let log = &self.logs[agent];
        let written = log.last().map(|mark| mark.term);
        if log.len() as u64 == last.0 && (term.is_none() || term == written) {
            return Ok(());
        }
        let seen = format!(
            "agent {agent} has a log up to {last} (term {term:?}) and has written one of {} entries (term {written:?})",
            log.len()
        );
        Violation::seen("logs_match", seen)
    }

    /// A snapshot from another server takes the place of an agent's log up to its last entry; `covered` are the entries that it stands for. A
    /// log that has that entry goes on from it, any other goes.
    pub fn installed(&mut self, agent: usize, covered: &[Mark]) {
        let log = &mut self.logs[agent];
        let goes_on = covered.len().checked_sub(1).is_some_and(|last| log.get(last) == covered.last());
        if !goes_on {
            *log = covered.to_vec();
        }
    }

    /// A new process has read this log from its disk, where it follows these entries.
    pub fn restarted(&mut self, agent: usize, covered: &[Mark], entries: &[LogEntry]) {
        self.logs[agent] = covered.iter().copied().chain(entries.iter().map(Mark::of)).collect();
    }

    /// An agent's log.
    pub fn of(&self, agent: usize) -> &[Mark] {
        &self.logs[agent]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An entry that carries a few bytes.
    pub(crate) fn entry(index: u64, term: u64, content: &'static str) -> LogEntry {
        let payload = Payload::Command(bytes::Bytes::from_static(content.as_bytes()));
        LogEntry { term: Term(term), index: LogIndex(index), payload }
    }

    #[test]
    fn equal_logs_and_replaced_tails_are_fine() {
        let mut logs = Logs::new(2);
        assert_eq!(logs.written(0, &[entry(1, 1, "a"), entry(2, 1, "b")]), Ok(()));
        assert_eq!(logs.written(1, &[entry(1, 1, "a"), entry(2, 2, "c")]), Ok(()));
        assert_eq!(logs.written(0, &[entry(2, 2, "c")]), Ok(()));
        assert_eq!(logs.of(0), logs.of(1));
    }

    #[test]
    fn a_snapshot_stands_for_entries() {
        let mut logs = Logs::new(1);
        let all: Vec<LogEntry> = (1..=4).map(|index| entry(index, 1, "a")).collect();
        let covered: Vec<Mark> = all[..3].iter().map(Mark::of).collect();
        logs.written(0, &all).expect("it matches");
        logs.installed(0, &covered);
        assert_eq!(logs.of(0).len(), 4, "it is the same log");
        let other = [entry(2, 2, "b"), entry(3, 2, "b"), entry(4, 2, "b")];
        logs.written(0, &other).expect("it follows the first");
        logs.installed(0, &covered);
        assert_eq!(logs.of(0), covered, "another log");
        assert_eq!(logs.written(0, &all[3..]), Ok(()));
        logs.restarted(0, &covered[..2], &all[2..]);
        assert_eq!(logs.of(0).len(), 4);
    }

    #[test]
    fn a_log_in_memory_that_was_not_written_is_seen() {
        let mut logs = Logs::new(1);
        assert_eq!(logs.is_held(0, LogIndex::ZERO, None), Ok(()));
        logs.written(0, &[entry(1, 1, "a"), entry(2, 2, "b")]).expect("it matches");
        assert_eq!(logs.is_held(0, LogIndex(2), Some(Term(2))), Ok(()));
        assert!(logs.is_held(0, LogIndex(1), Some(Term(1))).is_err(), "it forgot one");
        assert!(logs.is_held(0, LogIndex(2), Some(Term(1))).is_err(), "another one");
        assert!(logs.is_held(0, LogIndex(3), Some(Term(2))).is_err(), "one that was never written");
    }

    #[test]
    fn what_breaks_matching_is_seen() {
        let bad: [(&str, &[LogEntry]); 4] = [
            ("another content", &[entry(1, 1, "a"), entry(2, 1, "x")]),
            ("another entry before", &[entry(1, 2, "a"), entry(2, 3, "b")]),
            ("a gap", &[entry(2, 1, "b")]),
            ("a lower term after a higher", &[entry(1, 4, "y"), entry(2, 3, "z")]),
        ];
        for (why, entries) in bad {
            let mut logs = Logs::new(2);
            assert_eq!(logs.written(0, &[entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 3, "c")]), Ok(()));
            assert_eq!(logs.written(0, &[entry(2, 3, "b")]), Ok(()));
            assert!(logs.written(1, entries).is_err(), "{why}");
        }
    }
}
