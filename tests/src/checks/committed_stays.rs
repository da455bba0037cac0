//! State machine safety and leader completeness: what one server has applied at an index, every server applies there, no
//! log loses it, and every later leader has it (dissertation, figure 3.2).

use super::logs_match::{Logs, Mark};
use super::{Checked, Violation};
use quorate_protocol::raft::LogEntry;
use quorate_protocol::{LogIndex, Term};

const PROPERTY: &str = "committed_stays";

/// The entries that some server has applied.
#[derive(Debug, Default)]
pub struct CommittedStays {
    /// At `index - 1`.
    committed: Vec<Committed>,
}

/// An entry that some server has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Committed {
    mark: Mark,
    /// The term of the first server that applied it: it was committed in that term or before. A server that was paused may still win an
    /// election of an earlier term afterwards, and need not have it.
    by: Term,
}

impl CommittedStays {
    /// A server has, in a term, applied everything up to an index, after everything up to `before`. Its log is the one in its memory: what a majority
    /// has on its disks may be applied by a server whose own disk is still behind.
    ///
    /// # Errors
    /// When it applied what it does not have, or something else than another server.
    pub fn applied(&mut self, agent: usize, by: Term, before: LogIndex, up_to: LogIndex, log: &[LogEntry]) -> Checked {
        for place in before.0 as usize..up_to.0 as usize {
            let index = place + 1;
            let Some(mark) = log.get(place).map(Mark::of) else {
                return Violation::seen(
                    PROPERTY,
                    format!("agent {agent} applies entry {index}, which it does not have"),
                );
            };
            match self.committed.get(place) {
                None if place == self.committed.len() => self.committed.push(Committed { mark, by }),
                Some(first) if first.mark == mark => {}
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

    /// A server is about to replace its log from the first entry's index on; `logs` is still the log before.
    ///
    /// # Errors
    /// When that removes a committed entry that it has.
    pub fn replaces(&self, agent: usize, entries: &[LogEntry], logs: &Logs) -> Checked {
        let Some(first) = entries.first() else { return Ok(()) };
        let from = first.index.previous().0 as usize;
        let had = logs.of(agent).iter().zip(&self.committed).enumerate().skip(from);
        for (place, (mark, committed)) in had {
            let is_kept = entries.get(place - from).is_some_and(|entry| entry.term == mark.term);
            if *mark == committed.mark && !is_kept {
                return Violation::seen(PROPERTY, format!("agent {agent} removes the committed entry {}", place + 1));
            }
        }
        Ok(())
    }

    /// An agent has become leader, with this log in its memory.
    ///
    /// # Errors
    /// When it lacks an entry that was committed in an earlier term.
    pub fn leads(&self, agent: usize, term: Term, log: &[LogEntry]) -> Checked {
        let lacks = |place: usize, committed: &Committed| log.get(place).map(Mark::of) != Some(committed.mark);
        let missing = self
            .committed
            .iter()
            .enumerate()
            .find(|(place, committed)| committed.by < term && lacks(*place, committed));
        match missing {
            Some((place, _)) => {
                let seen = format!("agent {agent} leads in term {term} without the committed entry {}", place + 1);
                Violation::seen(PROPERTY, seen)
            }
            None => Ok(()),
        }
    }

    /// The digest of the entry that was applied at an index.
    pub fn digest(&self, index: LogIndex) -> Option<u64> {
        self.committed.get(index.0.checked_sub(1)? as usize).map(|committed| committed.mark.digest)
    }

    /// The last index that any server has applied.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.committed.len() as u64)
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
        check.applied(0, Term(2), LogIndex(0), LogIndex(2), &one).expect("it is the first");
        (check, logs, [one, other])
    }

    #[test]
    fn the_same_again_and_uncommitted_tails_are_fine() {
        let (mut check, logs, [one, other]) = two_logs();
        assert_eq!(check.applied(1, Term(2), LogIndex(0), LogIndex(1), &other), Ok(()));
        assert_eq!(
            check.applied(0, Term(2), LogIndex(0), LogIndex(3), &one),
            Ok(()),
            "after a restart, from the beginning"
        );
        assert_eq!(check.replaces(1, &[entry(2, 1, "b")], &logs), Ok(()), "it did not have the committed one");
        assert_eq!(check.leads(0, Term(3), &one), Ok(()));
        assert_eq!(check.leads(1, Term(2), &other), Ok(()), "elected before it was committed, told so late");
        assert_eq!(check.last(), LogIndex(3));
    }

    #[test]
    fn what_breaks_it_is_seen() {
        let (mut check, logs, [one, other]) = two_logs();
        assert!(check.applied(1, Term(2), LogIndex(1), LogIndex(2), &other).is_err(), "another entry");
        assert!(check.applied(0, Term(2), LogIndex(2), LogIndex(4), &one).is_err(), "an entry that it does not have");
        assert!(check.replaces(0, &[entry(2, 3, "z")], &logs).is_err(), "a committed entry is overwritten");
        assert!(check.replaces(0, &[entry(1, 1, "a")], &logs).is_err(), "a committed entry is cut off");
        assert!(check.leads(1, Term(3), &other).is_err(), "a leader without it");
    }
}
