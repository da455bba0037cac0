//! The index of a question never goes back, and a changed answer has a greater one: blocking queries stand on it.

use super::{Checked, Violation};
use quorate_protocol::{Answer, LogIndex, Read, Time};
use std::collections::BTreeMap;

const PROPERTY: &str = "index_never_goes_back";

/// What was seen last, by server and question, and what clients were told, by question.
#[derive(Debug, Default)]
pub struct IndexNeverGoesBack {
    views: BTreeMap<(usize, Read), (Answer, LogIndex)>,
    told: BTreeMap<Read, Vec<(Time, LogIndex)>>,
}

impl IndexNeverGoesBack {
    /// A server's view gives this answer now.
    ///
    /// # Errors
    /// When its index is lower than before, or is the same while the answer changed, or is 0.
    pub fn viewed(&mut self, agent: usize, read: &Read, answer: Answer, index: LogIndex) -> Checked {
        if index == LogIndex::ZERO {
            return Violation::seen(PROPERTY, format!("agent {agent} answers {read:?} with index 0"));
        }
        let Some((last_answer, last)) = self.views.get_mut(&(agent, read.clone())) else {
            self.views.insert((agent, read.clone()), (answer, index));
            return Ok(());
        };
        if index < *last {
            return Violation::seen(PROPERTY, format!("agent {agent}: {read:?} went from index {last} to {index}"));
        }
        if index == *last && *last_answer != answer {
            let seen = format!(
                "agent {agent}: {read:?} changed at index {index} without a new index: {last_answer:?} → {answer:?}"
            );
            return Violation::seen(PROPERTY, seen);
        }
        (*last_answer, *last) = (answer, index);
        Ok(())
    }

    /// A server starts anew, with an empty view.
    pub fn restarted(&mut self, agent: usize) {
        self.views.retain(|(owner, _), _| *owner != agent);
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
        assert_eq!(check.viewed(0, &key(), keys(&[]), LogIndex(3)), Ok(()));
        assert_eq!(check.viewed(0, &key(), keys(&["a"]), LogIndex(4)), Ok(()));
        assert_eq!(check.viewed(0, &key(), keys(&["a"]), LogIndex(4)), Ok(()));
        assert_eq!(check.viewed(1, &key(), keys(&[]), LogIndex(3)), Ok(()), "another server may be behind");
        assert!(check.viewed(0, &key(), keys(&["a", "b"]), LogIndex(4)).is_err());
        assert!(check.viewed(0, &key(), keys(&["a"]), LogIndex(3)).is_err());
        assert!(check.viewed(2, &key(), keys(&[]), LogIndex(0)).is_err());
        check.restarted(0);
        assert_eq!(check.viewed(0, &key(), keys(&[]), LogIndex(1)), Ok(()));
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
