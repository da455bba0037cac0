//! Replicas do not diverge: at the same applied index, every store has the same hash and answers the same.

use super::{Checked, Violation};
use quorate_protocol::{Answer, LogIndex};
use std::collections::HashMap;

const PROPERTY: &str = "applied_states_equal";

/// The hash of the first store that was seen at each index, and what it answered there.
#[derive(Debug, Default)]
pub struct AppliedStatesEqual {
    hashes: HashMap<LogIndex, (usize, u64)>,
    answers: HashMap<(LogIndex, usize), (usize, Answer, LogIndex)>,
    compared: u64,
}

impl AppliedStatesEqual {
    /// A store has this hash after applying everything up to this index.
    ///
    /// # Errors
    /// When another store had another hash there.
    pub fn applied(&mut self, agent: usize, index: LogIndex, hash: u64) -> Checked {
        let (first, expected) = *self.hashes.entry(index).or_insert((agent, hash));
        self.compared += u64::from(first != agent);
        if hash == expected {
            return Ok(());
        }
        let seen = format!("at index {index} agent {first} had the state {expected:x}, and agent {agent} has {hash:x}");
        Violation::seen(PROPERTY, seen)
    }

    /// After applying everything up to this index, a store gives this answer, with this index, to the question of this number.
    ///
    /// # Errors
    /// When another store gave another one there.
    pub fn answered(
        &mut self,
        agent: usize,
        at: LogIndex,
        question: usize,
        answer: Answer,
        index: LogIndex,
    ) -> Checked {
        let Some((first, expected, its_index)) = self.answers.get(&(at, question)) else {
            self.answers.insert((at, question), (agent, answer, index));
            return Ok(());
        };
        if (expected, *its_index) == (&answer, index) {
            return Ok(());
        }
        let seen = format!(
            "at index {at} agent {first} answered {expected:?} with index {its_index}, and agent {agent} {answer:?} with {index}"
        );
        Violation::seen(PROPERTY, seen)
    }

    /// How often the states of two agents were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diverging_states_are_seen() {
        let mut check = AppliedStatesEqual::default();
        assert_eq!(check.applied(0, LogIndex(1), 7), Ok(()));
        assert_eq!(check.applied(1, LogIndex(1), 7), Ok(()));
        assert_eq!(check.applied(1, LogIndex(2), 9), Ok(()));
        assert!(check.applied(0, LogIndex(2), 8).is_err());
        assert_eq!(check.compared(), 2);
    }

    #[test]
    fn answers_that_differ_are_seen() {
        let keys = |name: &str| Answer::Keys(vec![name.to_owned()]);
        let mut check = AppliedStatesEqual::default();
        assert_eq!(check.answered(0, LogIndex(4), 0, keys("a"), LogIndex(3)), Ok(()));
        assert_eq!(check.answered(1, LogIndex(4), 0, keys("a"), LogIndex(3)), Ok(()));
        assert_eq!(check.answered(1, LogIndex(5), 0, keys("b"), LogIndex(5)), Ok(()));
        assert_eq!(check.answered(1, LogIndex(4), 1, keys("b"), LogIndex(4)), Ok(()));
        assert!(check.answered(2, LogIndex(4), 0, keys("b"), LogIndex(3)).is_err());
        assert!(check.answered(2, LogIndex(4), 0, keys("a"), LogIndex(4)).is_err());
    }
}
