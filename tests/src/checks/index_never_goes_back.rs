//! The index of a question never goes back, and a changed answer has a greater one: blocking queries stand on it. Neither a restart nor a
//! snapshot, installed or restored, is an exception.

use super::{Checked, Violation};
use quorate_protocol::{Answer, LogIndex, Read, Time};
use std::collections::BTreeMap;

const PROPERTY: &str = "index_never_goes_back";

/// What was seen last, by server and question, and what clients were told, by question.
#[derive(Debug, Default)]
pub struct IndexNeverGoesBack {
    views: BTreeMap<(usize, Read), Seen>,
    told: BTreeMap<Read, Vec<(Time, LogIndex)>>,
}

/// What a server's view showed.
#[derive(Debug)]
struct Seen {
    /// What had been applied.
    at: LogIndex,
    answer: Answer,
    index: LogIndex,
}

impl IndexNeverGoesBack {
    /// A server's view gives this answer now that it has applied everything up to `at`. One that has started anew is looked at again when it has
    /// come as far as it was.
    ///
    /// # Errors
    /// When its index is lower than before, or is the same while the answer changed, or is 0.
    pub fn viewed(&mut self, agent: usize, at: LogIndex, read: &Read, answer: Answer, index: LogIndex) -> Checked {
        if index == LogIndex::ZERO {
            return Violation::seen(PROPERTY, format!("agent {agent} answers {read:?} with index 0"));
        }
        let Some(last) = self.views.get_mut(&(agent, read.clone())) else {
            self.views.insert((agent, read.clone()), Seen { at, answer, index });
            return Ok(());
        };
        if at < last.at {
            return Ok(());
        }
        if index < last.index {
            let seen = format!("agent {agent}: {read:?} went from index {} to {index}", last.index);
            return Violation::seen(PROPERTY, seen);
        }
        if index == last.index && last.answer != answer {
            let seen = format!(
                "agent {agent}: {read:?} changed at index {index} without a new index: {:?} → {answer:?}",
                last.answer
            );
            return Violation::seen(PROPERTY, seen);
        }
        *last = Seen { at, answer, index };
        Ok(())
    }

    /// A client was told an index by a reader that is not stale.
    ///
    /// # Errors
    /// When an earlier client had been told a greater one before this one asked.
    pub fn told(&mut self, read: &Read, asked: Time, answered: Time, index: LogIndex) -> Checked {
        let told = self.told.entry(read.clone()).or_default();
        let before = told.partition_point(|(when, _)| *when < asked);
        // The indexes in the list only grow, so the last one before is the greatest.
        let greatest = before.checked_sub(1).map_or(LogIndex::ZERO, |last| told[last].1);
        if index < greatest {
            let seen = format!(
                "{read:?} was answered with index {index} at {answered:?}, after index {greatest} had been told"
            );
            return Violation::seen(PROPERTY, seen);
        }
        if told.last().is_none_or(|(_, last)| *last < index) {
            told.push((answered, index));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::KvRead;

    fn key() -> Read {
        Read::Kv(KvRead::Get { key: "k".into() })
    }

    fn keys(names: &[&str]) -> Answer {
        Answer::Keys(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn views_that_go_back_or_change_silently_are_seen() {
        let mut check = IndexNeverGoesBack::default();
        let mut viewed =
            |agent, at, names: &[&str], index| check.viewed(agent, LogIndex(at), &key(), keys(names), LogIndex(index));
        assert_eq!(viewed(0, 3, &[], 3), Ok(()));
        assert_eq!(viewed(0, 4, &["a"], 4), Ok(()));
        assert_eq!(viewed(0, 5, &["a"], 4), Ok(()));
        assert_eq!(viewed(1, 3, &[], 3), Ok(()), "another server may be behind");
        assert!(viewed(0, 6, &["a", "b"], 4).is_err());
        assert!(viewed(0, 6, &["a"], 3).is_err());
        assert!(viewed(2, 1, &[], 0).is_err());
        assert_eq!(viewed(0, 2, &[], 1), Ok(()), "it has started anew and catches up");
        assert!(viewed(0, 5, &["a"], 3).is_err(), "it is where it was, and the index is not");
    }

    #[test]
    fn answers_that_go_back_are_seen() {
        let at = Time::from_nanos;
        let mut check = IndexNeverGoesBack::default();
        assert_eq!(check.told(&key(), at(1), at(2), LogIndex(5)), Ok(()));
        assert_eq!(check.told(&key(), at(1), at(3), LogIndex(9)), Ok(()));
        assert_eq!(check.told(&key(), at(2), at(4), LogIndex(5)), Ok(()), "it was asked before 9 was told");
        assert!(check.told(&key(), at(4), at(5), LogIndex(8)).is_err());
    }
}
