//! How often what happened: a run in which a thing never happened has proved nothing about it.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;

/// Something that a run must have seen to prove anything about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Happening {
    /// A term had a leader.
    Term,
    /// The states of two servers were compared at one index.
    StatesCompared,
    /// A client knows that its write is done.
    WriteAcknowledged,
    /// A session was made.
    Session,
    /// A client was told that it holds a lock.
    LockGranted,
    /// The same after waiting in the queue.
    LockGrantedInTurn,
    /// A session, a key or a lock delay ended by itself.
    Expired,
    /// A transaction was done.
    Transaction,
    /// A stream was shown a change.
    ChangeStreamed,
    /// A stream had to list again.
    StreamCompacted,
    /// A server made a snapshot of its own state.
    SnapshotSaved,
    /// A server took a snapshot from its leader.
    SnapshotInstalled,
    /// A log was cut at its beginning.
    LogCompacted,
    /// A server started from a snapshot.
    StartFromSnapshot,
    /// A process ended while it wrote a snapshot.
    CrashWhileSaving,
    /// A transfer of leadership was agreed to.
    Transfer,
    /// A disk was lost with its server's identity.
    DiskLost,
    /// A server left in an orderly way.
    ServerLeft,
    /// A configuration was committed.
    Configuration,
    /// A failing or full disk ended a process.
    FailedFlush,
    /// A snapshot was saved for people.
    SavedForPeople,
    /// People put a snapshot back.
    Restored,
    /// The history of a key was found to be linearizable.
    HistoryExplained,
    /// The search for an order of the history of a key that is locked gave up.
    HistoryUndecided,
}

/// How often what happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Happened(BTreeMap<Happening, u64>);

impl Happened {
    /// It happened once more.
    pub fn once(&mut self, what: Happening) {
        self.times(what, 1);
    }

    /// It happened so often.
    pub fn times(&mut self, what: Happening, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    /// How often it happened.
    pub fn count(&self, what: Happening) -> u64 {
        self.0.get(&what).copied().unwrap_or_default()
    }
}

impl Sum for Happened {
    fn sum<I: Iterator<Item = Happened>>(all: I) -> Happened {
        let mut sum = Happened::default();
        all.flat_map(|happened| happened.0).for_each(|(what, count)| sum.times(what, count));
        sum
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.0.iter().map(|(what, count)| format!("{what:?} {count}")).collect();
        f.write_str(&counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut one = Happened::default();
        one.once(Happening::Term);
        let mut other = one.clone();
        other.times(Happening::Restored, 3);
        let sum: Happened = [one, other].into_iter().sum();
        assert_eq!(
            (sum.count(Happening::Term), sum.count(Happening::Restored), sum.count(Happening::Session)),
            (2, 3, 0)
        );
        assert_eq!(sum.to_string(), "Term 2, Restored 3");
    }
}
