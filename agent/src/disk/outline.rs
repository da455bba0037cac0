//! The log's shape: where it begins and ends, and in which terms; and the log itself as it is told by the records of its batches.

use super::record::Record;
use quorate_protocol::raft::LogEntry;
use quorate_protocol::{LogIndex, Term};

/// Where the log begins and ends, and the term of each entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    first: LogIndex,
    last: LogIndex,
    /// Where each term begins, in order; the first of these may begin before `first`.
    terms: Vec<(LogIndex, Term)>,
}

impl Outline {
    /// Of a log that begins somewhere and holds nothing.
    pub(super) fn empty(first: LogIndex) -> Outline {
        Outline { first, last: first.previous(), terms: Vec::new() }
    }

    pub(super) fn first(&self) -> LogIndex {
        self.first
    }

    pub(super) fn last(&self) -> LogIndex {
        self.last
    }

    /// The term of an entry that is there.
    pub(super) fn term(&self, index: LogIndex) -> Option<Term> {
        if index < self.first || index > self.last {
            return None;
        }
        self.terms.iter().rev().find(|(begin, _)| *begin <= index).map(|(_, term)| *term)
    }

    /// Puts an entry in its place, and deletes those after it. False where that would leave a gap.
    #[must_use]
    pub(super) fn put(&mut self, index: LogIndex, term: Term) -> bool {
        if index < self.first || index > self.last.next() {
            return false;
        }
        self.terms.retain(|(begin, _)| *begin < index);
        if self.terms.last().is_none_or(|(_, last)| *last != term) {
            self.terms.push((index, term));
        }
        self.last = index;
        true
    }

    /// Deletes the entries below. False where there is none at `first` that could follow.
    #[must_use]
    pub(super) fn begin(&mut self, first: LogIndex) -> bool {
        if first > self.last.next() {
            return false;
        }
        self.first = self.first.max(first);
        let begun = self.terms.partition_point(|(begin, _)| *begin <= self.first);
        self.terms.drain(..begun.saturating_sub(1));
        true
    }
}

/// The log while its batches are read. Of a log whose first segments are deleted only the end is seen, and the rest must not be needed.
#[derive(Debug)]
pub(super) struct Replay {
    first: LogIndex,
    last: LogIndex,
    /// The last entries, those that were seen.
    entries: Vec<LogEntry>,
}

impl Replay {
    pub(super) fn new(first: LogIndex, last: LogIndex) -> Replay {
        Replay { first, last, entries: Vec::new() }
    }

    pub(super) fn first(&self) -> LogIndex {
        self.first
    }

    pub(super) fn last(&self) -> LogIndex {
        self.last
    }

    fn seen_from(&self) -> LogIndex {
        LogIndex(self.last.0 + 1 - self.entries.len() as u64)
    }

    /// Does what a record says; the error says why it cannot be.
    pub(super) fn take(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Entry(entry) => self.put(entry),
            Record::Begin(first) if first > self.last.next() => {
                Err(format!("entries below {first} are deleted, and the last one is {}", self.last))
            }
            Record::Begin(first) => {
                self.first = self.first.max(first);
                let unneeded = self.first.0.saturating_sub(self.seen_from().0) as usize;
                self.entries.drain(..unneeded.min(self.entries.len()));
                Ok(())
            }
            Record::Reset(first) => {
                *self = Replay::new(first, first.previous());
                Ok(())
            }
        }
    }

    fn put(&mut self, entry: LogEntry) -> Result<(), String> {
        if entry.index < self.first || entry.index > self.last.next() {
            return Err(format!("entry {} stands in a log from {} to {}", entry.index, self.first, self.last));
        }
        let before = entry.index.0.saturating_sub(self.seen_from().0) as usize;
        self.entries.truncate(before);
        if let Some(previous) = self.entries.last()
            && previous.term > entry.term
        {
            return Err(format!("entry {} has term {}, after term {}", entry.index, entry.term, previous.term));
        }
        self.last = entry.index;
        self.entries.push(entry);
        Ok(())
    }

    /// The log from its first entry to its last; the error names the first one that is missing.
    pub(super) fn finish(self) -> Result<(Outline, Vec<LogEntry>), LogIndex> {
        let Replay { first, last, entries } = self;
        if last >= first && entries.first().is_none_or(|entry| entry.index != first) {
            return Err(first);
        }
        let mut outline = Outline::empty(first);
        for entry in &entries {
            if !outline.put(entry.index, entry.term) {
                return Err(entry.index);
            }
        }
        Ok((outline, entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_known_for_every_entry_that_is_there() {
        let mut outline = Outline::empty(LogIndex(1));
        for (index, term) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4)] {
            assert!(outline.put(LogIndex(index), Term(term)));
        }
        let terms = |outline: &Outline| {
            (1..=6).map(|at| outline.term(LogIndex(at)).map_or(0, |term| term.0)).collect::<Vec<_>>()
        };
        assert_eq!(terms(&outline), [1, 1, 2, 2, 4, 0]);
        assert!(outline.begin(LogIndex(4)));
        assert_eq!(terms(&outline), [0, 0, 0, 2, 4, 0]);
        assert!(!outline.put(LogIndex(3), Term(5)), "it is deleted");
        assert!(!outline.put(LogIndex(7), Term(5)), "a gap");
        assert!(outline.put(LogIndex(5), Term(5)));
        assert_eq!(terms(&outline), [0, 0, 0, 2, 5, 0]);
        assert!(!outline.begin(LogIndex(7)));
        assert!(outline.begin(LogIndex(6)));
        assert_eq!((terms(&outline), outline.last()), (vec![0; 6], LogIndex(5)));
        assert!(outline.put(LogIndex(6), Term(5)));
        assert_eq!(terms(&outline), [0, 0, 0, 0, 0, 5]);
    }
}
