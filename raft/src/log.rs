//! The log in memory: what is there, what is committed, what was handed to the application.
//!
//! * It begins behind a *base*: the last entry that is known to be committed but no longer kept. Entry base + i is at
//!   place i - 1: nothing behind the base is ever missing.
//! * Terms never fall from one entry to the next.
//! * What is committed is never removed; from the front, it may be forgotten once a snapshot covers it.

use quorate_protocol::raft::{LogEntry, Payload, SnapshotMeta};
use quorate_protocol::{LogIndex, Term};

/// How many committed entries one [`crate::Output::Committed`] holds at most: bounds the copy made after a restart.
const MAX_COMMITTED_BATCH: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The entry before the first that is kept; zero if all are.
    base: (LogIndex, Term),
    entries: Vec<LogEntry>,
    commit: LogIndex,
    /// How far committed entries have been handed out.
    handed: LogIndex,
}

impl Log {
    /// The log that a disk holds: a snapshot, if there ever was one, and entries that may begin before its end. False
    /// if none of the entries on disk count any more.
    ///
    /// A snapshot is on disk before the log is moved behind it, and may be of entries that only others had on disk. So
    /// after a crash in between, the log may end before the snapshot does, or hold entries that contradict it: they were
    /// never committed, and are passed over here. They may be of a later term than the snapshot (the paper, figure 8: a
    /// leader whose entry nobody else had, and a still later one that committed what was there before).
    pub(crate) fn recovered(
        snapshot: Option<&SnapshotMeta>,
        mut entries: Vec<LogEntry>,
        max_term: Term,
    ) -> Result<(Log, bool), &'static str> {
        let covered = snapshot.map_or((LogIndex::ZERO, Term::ZERO), |meta| (meta.index, meta.term));
        let Some(first) = entries.first() else { return Ok((Log::behind(covered, entries), true)) };
        if first.index == LogIndex::ZERO || first.index > covered.0.next() {
            return Err("entries are missing at its beginning");
        }
        let before = (first.index.previous(), if first.index == LogIndex(1) { Term::ZERO } else { first.term });
        if let Some(damage) = check(before, &entries, max_term) {
            return Err(damage);
        }
        let place = usize::try_from(covered.0.0 + 1 - first.index.0).unwrap_or(usize::MAX);
        // The entry at the end of the snapshot, or the one behind it, tells.
        let at_end = place.checked_sub(1).and_then(|place| entries.get(place));
        let behind = entries.get(place);
        let agrees = match (at_end, behind) {
            (Some(at_end), _) => at_end.term == covered.1,
            (None, Some(behind)) => behind.term >= covered.1,
            (None, None) => false,
        };
        if !agrees {
            return Ok((Log::behind(covered, Vec::new()), false));
        }
        let base = if first.index == covered.0.next() {
            covered
        } else if first.index == LogIndex(1) {
            (LogIndex::ZERO, Term::ZERO)
        } else {
            // What came before the first is unknown: it becomes the base itself.
            let first = entries.remove(0);
            (first.index, first.term)
        };
        let mut log = Log::behind(base, entries);
        (log.commit, log.handed) = (covered.0, covered.0);
        Ok((log, true))
    }

    /// Entries that follow a base up to which everything is committed and known to the application.
    fn behind(base: (LogIndex, Term), entries: Vec<LogEntry>) -> Log {
        Log { base, entries, commit: base.0, handed: base.0 }
    }

    pub(crate) fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// The last entry that is no longer kept.
    pub(crate) fn base(&self) -> LogIndex {
        self.base.0
    }

    pub(crate) fn get(&self, index: LogIndex) -> Option<&LogEntry> {
        self.entries.get(self.position(index)?)
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        self.entries.last().map_or(self.base.0, |entry| entry.index)
    }

    pub(crate) fn last_term(&self) -> Term {
        self.entries.last().map_or(self.base.1, |entry| entry.term)
    }

    /// The term of an entry; of the base, too, but `None` before it and beyond the last.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.0 { Some(self.base.1) } else { self.get(index).map(|entry| entry.term) }
    }

    pub(crate) fn commit(&self) -> LogIndex {
        self.commit
    }

    /// The last entry that was handed out as committed, or came with a snapshot.
    pub(crate) fn handed(&self) -> LogIndex {
        self.handed
    }

    /// The last entry at or before `index` whose term is at most `term`; `None` if it would be before the base.
    pub(crate) fn last_at_or_before(&self, index: LogIndex, term: Term) -> Option<LogIndex> {
        let end = usize::try_from(index.0.checked_sub(self.base.0.0)?).unwrap_or(usize::MAX).min(self.entries.len());
        let upper = self.entries.get(..end).unwrap_or_default();
        let count = upper.partition_point(|entry| entry.term <= term) as u64;
        (count > 0 || self.base.1 <= term).then_some(LogIndex(self.base.0.0 + count))
    }

    /// Everything from `index` on.
    pub(crate) fn from(&self, index: LogIndex) -> &[LogEntry] {
        self.position(index).and_then(|start| self.entries.get(start..)).unwrap_or_default()
    }

    /// As many entries from `index` on as fit into `max_bytes`, but at least one if there is one; and their size.
    pub(crate) fn batch(&self, index: LogIndex, max_bytes: usize) -> (Vec<LogEntry>, usize) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for entry in self.from(index) {
            let size = size(entry);
            if !batch.is_empty() && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            batch.push(entry.clone());
        }
        (batch, bytes)
    }

    /// The entry before the last ones up to `index` that are neither more than so many nor, together, larger than `max_bytes`.
    pub(crate) fn before_trailing(&self, index: LogIndex, max_entries: u64, max_bytes: usize) -> LogIndex {
        let (mut before, mut bytes) = (index, 0);
        while index.0 - before.0 < max_entries
            && let Some(entry) = self.get(before)
        {
            bytes += size(entry);
            if bytes > max_bytes {
                break;
            }
            before = before.previous();
        }
        before
    }

    pub(crate) fn append(&mut self, entry: LogEntry) {
        assert_eq!(entry.index, self.last_index().next(), "the log has no gaps");
        assert!(entry.term >= self.last_term(), "terms never fall along the log");
        self.entries.push(entry);
    }

    /// Removes everything from `index` on.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        assert!(
            index > self.commit,
            "a committed entry is never removed: {index} is, {} is the commit index",
            self.commit
        );
        if let Some(length) = self.position(index) {
            self.entries.truncate(length);
        }
    }

    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        assert!(index >= self.commit, "the commit index never goes back");
        assert!(index <= self.last_index(), "only what is in the log is committed");
        self.commit = index;
    }

    /// The next committed entries for the application, each once.
    pub(crate) fn next_committed(&mut self) -> Option<Vec<LogEntry>> {
        let ready = usize::try_from(self.commit.0 - self.handed.0).unwrap_or(usize::MAX).min(MAX_COMMITTED_BATCH);
        let batch: Vec<LogEntry> = self.from(self.handed.next()).iter().take(ready).cloned().collect();
        self.handed = batch.last()?.index;
        Some(batch)
    }

    /// Forgets everything up to `index`, which the application has.
    pub(crate) fn compact_to(&mut self, index: LogIndex) {
        assert!(index <= self.handed, "only what the application has is forgotten: it has {}", self.handed);
        let Some(entry) = self.get(index) else { return };
        self.base = (entry.index, entry.term);
        let count = self.entries.partition_point(|entry| entry.index <= index);
        self.entries.drain(..count);
    }

    /// Begins again behind a snapshot: nothing that was here is known to agree with it. (To keep what stood behind its
    /// end is a mistake that is only made on purpose.)
    pub(crate) fn install(&mut self, meta: &SnapshotMeta, keeps_suffix: bool) {
        assert!(meta.index > self.commit, "a snapshot takes nothing back: it ends at {}", meta.index);
        let suffix = if keeps_suffix { self.from(meta.index.next()).to_vec() } else { Vec::new() };
        *self = Log::behind((meta.index, meta.term), suffix);
    }

    fn position(&self, index: LogIndex) -> Option<usize> {
        index.0.checked_sub(self.base.0.0)?.checked_sub(1).and_then(|position| usize::try_from(position).ok())
    }
}

/// Why a list of entries is no log, or `None` if it follows an entry of this index and term and ends at most in
/// `max_term`.
pub(crate) fn check(previous: (LogIndex, Term), entries: &[LogEntry], max_term: Term) -> Option<&'static str> {
    let (mut index, mut term) = previous;
    for entry in entries {
        if index.0.checked_add(1) != Some(entry.index.0) {
            return Some("entries are missing, doubled or out of order");
        }
        if entry.term < term || entry.term == Term::ZERO {
            return Some("terms fall along the log");
        }
        (index, term) = (entry.index, entry.term);
    }
    if term > max_term {
        return Some("an entry is of a later term than the server");
    }
    None
}

/// About how much an entry weighs in a message.
fn size(entry: &LogEntry) -> usize {
    /// Index, term and the names of fields.
    const FRAME: usize = 48;
    /// Identity, address, flag and their names.
    const PEER: usize = 64;
    FRAME
        + match &entry.payload {
            Payload::Empty => 0,
            Payload::Command(bytes) => bytes.len(),
            Payload::Configuration(configuration) => configuration.peers.len() * PEER,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(terms: &[u64]) -> Vec<LogEntry> {
        let entry = |(i, term): (usize, &u64)| LogEntry {
            term: Term(*term),
            index: LogIndex(i as u64 + 1),
            payload: Payload::Command(vec![0; 100].into()),
        };
        terms.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn finds_the_last_entry_of_a_term() {
        let log = Log::recovered(None, entries(&[1, 1, 2, 4, 4, 7]), Term(7)).unwrap().0;
        let check = |index, term, expected| {
            assert_eq!(log.last_at_or_before(LogIndex(index), Term(term)), Some(LogIndex(expected)), "{index} {term}");
        };
        check(6, 7, 6);
        check(6, 6, 5);
        check(5, 3, 3);
        check(2, 3, 2);
        check(99, 9, 6);
        check(u64::MAX, 1, 2);
        check(6, 0, 0);
        check(0, 9, 0);
    }

    #[test]
    fn batches_by_bytes_but_never_empty() {
        let log = Log::recovered(None, entries(&[1; 10]), Term(1)).unwrap().0;
        let check = |from, max, expected| assert_eq!(log.batch(LogIndex(from), max).0.len(), expected, "{from} {max}");
        check(1, 1000, 6);
        check(8, 1000, 3);
        check(1, 0, 1);
        check(11, 1000, 0);
        check(0, 1000, 0);
    }

    #[test]
    fn what_trails_is_bounded_in_number_and_bytes() {
        let log = Log::recovered(None, entries(&[1; 10]), Term(1)).unwrap().0;
        let check = |index, entries, bytes, expected| {
            let before = log.before_trailing(LogIndex(index), entries, bytes);
            assert_eq!(before, LogIndex(expected), "{index} {entries} {bytes}");
        };
        check(8, 3, usize::MAX, 5);
        check(8, 3, 2 * 148, 6);
        check(8, 0, usize::MAX, 8);
        check(8, 3, 0, 8);
        check(8, u64::MAX, usize::MAX, 0);
    }

    #[test]
    fn hands_out_each_committed_entry_once() {
        let mut log = Log::recovered(None, entries(&[1; 3000]), Term(1)).unwrap().0;
        assert_eq!(log.next_committed(), None);
        log.commit_to(LogIndex(2500));
        let mut seen = Vec::new();
        while let Some(batch) = log.next_committed() {
            seen.extend(batch.iter().map(|entry| entry.index.0));
        }
        assert_eq!(seen, (1..=2500).collect::<Vec<_>>());
    }

    #[test]
    fn checks_what_comes_from_outside() {
        let ok = |entries: &[LogEntry]| check((LogIndex::ZERO, Term::ZERO), entries, Term(5)).is_none();
        assert!(ok(&[]));
        assert!(ok(&entries(&[1, 1, 5])));
        assert!(!ok(&entries(&[1, 1, 6])));
        assert!(!ok(&entries(&[2, 1])));
        assert!(!ok(&entries(&[0])));
        assert!(!ok(&entries(&[1, 1, 1])[1..]));
        assert!(check((LogIndex(u64::MAX), Term(1)), &entries(&[1]), Term(5)).is_some());
    }
}
