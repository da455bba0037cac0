//! A consistent read stands on a round of heartbeats that was sent after it was asked, and that a majority has answered: nobody else led by then
//! (dissertation, 6.4). A round that was under way already tells nothing of what happened since it was sent.

use super::{Checked, Violation};
use quorate_protocol::{NodeId, Term, Time};
use std::collections::BTreeMap;

/// Which rounds were sent when, and what a majority has answered.
#[derive(Debug, Default)]
pub struct ReadsAreConfirmed {
    /// By agent, term and number.
    sent: BTreeMap<(usize, Term, u64), Time>,
    /// By agent and term: when the last round was sent that each of the others has answered.
    answered: BTreeMap<(usize, Term), BTreeMap<NodeId, Time>>,
    /// When the last round was sent that a majority has answered, of whichever leader.
    confirmed: Time,
    /// There was a voter who is a majority by itself, and asks nobody.
    alone: bool,
}

impl ReadsAreConfirmed {
    /// A leader sends a round.
    pub fn sent(&mut self, now: Time, agent: usize, term: Term, round: u64) {
        self.sent.entry((agent, term, round)).or_insert(now);
    }

    /// A round is answered to a leader, who has these voters, itself among them.
    pub fn answered(
        &mut self,
        agent: usize,
        term: Term,
        (from, round): (NodeId, u64),
        voters: impl Iterator<Item = NodeId>,
        me: NodeId,
    ) {
        let Some(sent) = self.sent.get(&(agent, term, round)).copied() else { return };
        let answered = self.answered.entry((agent, term)).or_default();
        let last = answered.entry(from).or_default();
        *last = sent.max(*last);
        self.count(agent, term, voters, me);
    }

    /// Counts what was answered to a leader who has these voters now.
    ///
    /// An answer that a server gave before it had a vote counts: of the voters of that time all but one of the same number have answered, too, and
    /// without them nobody else could have been elected.
    pub fn count(&mut self, agent: usize, term: Term, voters: impl Iterator<Item = NodeId>, me: NodeId) {
        let Some(answered) = self.answered.get(&(agent, term)) else { return };
        let of = |voter| if voter == me { Time::NEVER } else { answered.get(&voter).copied().unwrap_or_default() };
        let mut times: Vec<Time> = voters.map(of).collect();
        times.sort_unstable();
        // The earliest of the latest majority.
        let majority = times.len() / 2 + 1;
        let reached = times.len().checked_sub(majority).map(|place| times[place]).filter(|time| *time != Time::NEVER);
        self.confirmed = self.confirmed.max(reached.unwrap_or_default());
    }

    /// A configuration has so many voters.
    pub fn configured(&mut self, voters: usize) {
        self.alone |= voters == 1;
    }

    /// A consistent read was answered that had been asked then.
    ///
    /// # Errors
    /// When no round that was sent since has been answered by a majority.
    pub fn check(&self, asked: Time) -> Checked {
        if self.alone || asked <= self.confirmed {
            return Ok(());
        }
        let seen = format!(
            "a consistent read asked at {asked:?} was answered, and the last round that a majority has confirmed was sent at {:?}",
            self.confirmed
        );
        Violation::seen("reads_are_confirmed", seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    #[test]
    fn a_read_that_joins_a_round_is_seen() {
        let at = Time::from_nanos;
        let mut check = ReadsAreConfirmed::default();
        let answer = |check: &mut ReadsAreConfirmed, from, round| {
            check.answered(0, Term(2), (id(from), round), (0..5).map(id), id(0));
        };
        check.sent(at(10), 0, Term(2), 1);
        answer(&mut check, 1, 1);
        assert!(check.check(at(5)).is_err(), "two of five");
        answer(&mut check, 2, 1);
        assert_eq!(check.check(at(10)), Ok(()));
        assert!(check.check(at(11)).is_err(), "asked after the round was sent");
        check.sent(at(20), 0, Term(2), 2);
        check.sent(at(30), 0, Term(2), 3);
        answer(&mut check, 1, 2);
        answer(&mut check, 3, 3);
        assert_eq!(check.check(at(20)), Ok(()), "both have answered a round that was sent at 20 or later");
        assert!(check.check(at(21)).is_err());
        answer(&mut check, 4, 9);
        assert!(check.check(at(21)).is_err(), "an answer to what was never asked");
        check.configured(1);
        assert_eq!(check.check(at(21)), Ok(()), "who votes alone need not ask");
    }
}
