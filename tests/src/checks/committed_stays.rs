//! State machine safety and leader completeness: what one server has applied at an index, every server applies there, no
//! log loses it, and every later leader has it (dissertation, figure 3.2).

use super::logs_match::{Held, Logs, Mark};
use super::{Checked, Violation};
use quorate_protocol::raft::LogEntry;
use quorate_protocol::{LogIndex, Term};
use std::collections::BTreeMap;

const PROPERTY: &str = "committed_stays";

/// The entries that some server has applied, each at `index - 1`.
#[derive(Debug, Default)]
pub struct CommittedStays {
    marks: Vec<Mark>,
    /// The term of the first server that applied it: it was committed in that term or before. A server that was paused may still win an
    /// election of an earlier term afterwards, and need not have it.
    by: Vec<Term>,
    /// What each leader knew as committed when it was elected, with its term.
    known: BTreeMap<usize, (Term, LogIndex)>,
}

impl CommittedStays {
    /// A server has, in a term, applied everything up to an index, after everything up to `before`. Its log is the one in its memory: what a majority
    /// has on its disks may be applied by a server whose own disk is still behind. What is no longer in it came with a snapshot.
    ///
    /// # Errors
    /// When it applied what it does not have, or something else than another server.
    pub fn applied(&mut self, agent: usize, by: Term, before: LogIndex, up_to: LogIndex, log: Held) -> Checked {
        let covered = log.before;
        self.is_applied(agent, covered)?;
        for index in before.0.max(covered.0.min(up_to.0)) + 1..=up_to.0 {
            let Some(mark) = log.at(LogIndex(index)).map(Mark::of) else {
                return Violation::seen(
                    PROPERTY,
                    format!("agent {agent} applies entry {index}, which it does not have"),
                );
            };
            let place = index as usize - 1;
            match self.marks.get(place) {
                None if place == self.marks.len() => {
                    self.marks.push(mark);
                    self.by.push(by);
                }
                Some(first) if *first == mark => {}
                None | Some(_) => {
                    let seen = format!(
                        "agent {agent} applies at {index} another entry than a server before (term {})",
                        mark.term
                    );
                    return Violation::seen(PROPERTY, seen);
                }
            }
        }
        Ok(())
    }

    /// A server has a snapshot that ends with an entry of this index and term.
    ///
    /// # Errors
    /// When that is not the entry that was applied there.
    pub fn stands_for(&self, agent: usize, index: LogIndex, term: Term) -> Checked {
        if self.covered(index).last().is_some_and(|mark| mark.term == term) {
            return Ok(());
        }
        let seen = format!("agent {agent} has a snapshot up to {index} of term {term}, which no server has applied");
        Violation::seen(PROPERTY, seen)
    }

    fn is_applied(&self, agent: usize, index: LogIndex) -> Checked {
        if index <= self.last() {
            return Ok(());
        }
        Violation::seen(PROPERTY, format!("the log of agent {agent} begins after {index}, which no server has applied"))
    }

    /// A server is about to replace its log from the first entry's index on; `logs` is still the log before.
    ///
    /// # Errors
    /// When that removes a committed entry that it has.
    pub fn replaces(&self, agent: usize, entries: &[LogEntry], logs: &Logs) -> Checked {
        let Some(first) = entries.first() else { return Ok(()) };
        let from = first.index.previous().0 as usize;
        let had = logs.of(agent).iter().zip(&self.marks).enumerate().skip(from);
        for (place, (mark, committed)) in had {
            let is_kept = entries.get(place - from).is_some_and(|entry| entry.term == mark.term);
            if mark == committed && !is_kept {
                return Violation::seen(PROPERTY, format!("agent {agent} removes the committed entry {}", place + 1));
            }
        }
        Ok(())
    }

    /// A leader knows now that everything up to an index is committed: whatever it has learnt as a leader ends with an entry of its own term. Copies of
    /// earlier ones are not counted, since another leader may still remove them (dissertation, figure 3.7).
    ///
    /// # Errors
    /// When it counted copies of an entry of an earlier term.
    pub fn counted(&self, agent: usize, term: Term, commit: LogIndex, log: Held) -> Checked {
        let Some((_, known)) = self.known.get(&agent).filter(|(led, known)| *led == term && *known < commit) else {
            return Ok(());
        };
        match log.at(commit) {
            Some(entry) if entry.term != term => {
                let seen = format!(
                    "agent {agent}, leader in term {term}, went from {known} to {commit}, an entry of term {}",
                    entry.term
                );
                Violation::seen(PROPERTY, seen)
            }
            _ => Ok(()),
        }
    }

    /// An agent has become leader, which knows so much as committed, with this log in its memory.
    ///
    /// # Errors
    /// When it lacks an entry that was committed in an earlier term.
    pub fn leads(&mut self, agent: usize, term: Term, commit: LogIndex, log: Held) -> Checked {
        self.known.insert(agent, (term, commit));
        let covered = log.before;
        self.is_applied(agent, covered)?;
        let behind = self.marks.iter().zip(&self.by).enumerate().skip(covered.0 as usize);
        for (place, (mark, by)) in behind {
            let index = LogIndex(place as u64 + 1);
            if *by < term && log.at(index).map(Mark::of) != Some(*mark) {
                let seen = format!("agent {agent} leads in term {term} without the committed entry {index}");
                return Violation::seen(PROPERTY, seen);
            }
        }
        Ok(())
    }

    /// The entries up to an index, as far as they were applied.
    pub fn covered(&self, index: LogIndex) -> &[Mark] {
        self.marks.get(..index.0 as usize).unwrap_or_default()
    }

    /// The digest of the entry that was applied at an index.
    pub fn digest(&self, index: LogIndex) -> Option<u64> {
        self.marks.get(index.0.checked_sub(1)? as usize).map(|mark| mark.digest)
    }

    /// The last index that any server has applied.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.marks.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::logs_match::tests::entry;
    use super::*;

    fn two_logs() -> (CommittedStays, Logs, [Vec<LogEntry>; 2]) {
        let one = vec![entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")];
        let other = vec![entry(1, 1, "a"), entry(2, 2, "x")];
        let mut logs = Logs::new(2);
        logs.written(0, &one).expect("it matches");
        logs.written(1, &other).expect("it matches");
        let mut check = CommittedStays::default();
        check.applied(0, Term(2), LogIndex(0), LogIndex(2), Held::whole(&one)).expect("it is the first");
        (check, logs, [one, other])
    }

    #[test]
    fn the_same_again_and_uncommitted_tails_are_fine() {
        let (mut check, logs, [one, other]) = two_logs();
        assert_eq!(check.applied(1, Term(2), LogIndex(0), LogIndex(1), Held::whole(&other)), Ok(()));
        assert_eq!(
            check.applied(0, Term(2), LogIndex(0), LogIndex(3), Held::whole(&one)),
            Ok(()),
            "after a restart, from the beginning"
        );
        assert_eq!(check.replaces(1, &[entry(2, 1, "b")], &logs), Ok(()), "it did not have the committed one");
        assert_eq!(check.leads(0, Term(3), LogIndex::ZERO, Held::whole(&one)), Ok(()));
        assert_eq!(
            check.leads(1, Term(2), LogIndex::ZERO, Held::whole(&other)),
            Ok(()),
            "elected before it was committed, told so late"
        );
        assert_eq!(check.last(), LogIndex(3));
    }

    #[test]
    fn what_breaks_it_is_seen() {
        let (mut check, logs, [one, other]) = two_logs();
        assert!(check.applied(1, Term(2), LogIndex(1), LogIndex(2), Held::whole(&other)).is_err(), "another entry");
        assert!(
            check.applied(0, Term(2), LogIndex(2), LogIndex(4), Held::whole(&one)).is_err(),
            "an entry that it does not have"
        );
        assert!(check.replaces(0, &[entry(2, 3, "z")], &logs).is_err(), "a committed entry is overwritten");
        assert!(check.replaces(0, &[entry(1, 1, "a")], &logs).is_err(), "a committed entry is cut off");
        assert!(check.leads(1, Term(3), LogIndex::ZERO, Held::whole(&other)).is_err(), "a leader without it");
    }

    #[test]
    fn copies_of_earlier_terms_are_not_counted() {
        let log = [entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 4, "c")];
        let mut check = CommittedStays::default();
        check
            .leads(0, Term(4), LogIndex(1), Held { before: LogIndex::ZERO, entries: &[] })
            .expect("nothing is committed");
        let counted = |commit| check.counted(0, Term(4), LogIndex(commit), Held::whole(&log));
        assert_eq!(counted(1), Ok(()), "it knew that before");
        assert!(counted(2).is_err());
        assert_eq!(counted(3), Ok(()), "with an entry of its own term");
    }

    #[test]
    fn a_snapshot_stands_for_what_was_applied() {
        let (mut check, _, [one, other]) = two_logs();
        let behind = |index, entries| Held { before: LogIndex(index), entries };
        let mut applied = |log| check.applied(1, Term(2), LogIndex(0), LogIndex(2), log);
        assert_eq!(applied(behind(2, &[])), Ok(()), "it installed one");
        assert_eq!(applied(behind(1, &one[1..])), Ok(()));
        assert!(applied(behind(1, &other[1..])).is_err(), "another entry behind it");
        assert!(check.applied(1, Term(2), LogIndex(0), LogIndex(3), behind(3, &[])).is_err(), "of the future");
        assert_eq!(check.stands_for(1, LogIndex(2), Term(1)), Ok(()));
        assert!(check.stands_for(1, LogIndex(2), Term(2)).is_err(), "of another history");
        assert_eq!(check.leads(1, Term(3), LogIndex::ZERO, behind(2, &one[2..])), Ok(()));
        assert!(check.leads(1, Term(3), LogIndex::ZERO, behind(1, &[])).is_err(), "a leader without what follows it");
    }
}
