//! A snapshot knows the servers that take part: the last configuration at or before its last entry (dissertation, 5.1). A server that starts
//! from one without it would count other majorities than the rest.

use super::{Checked, Violation};
use quorate_protocol::LogIndex;
use quorate_protocol::raft::{Configuration, SnapshotMeta};

/// The configurations that were committed, in the order of the log.
#[derive(Debug, Default)]
pub struct Configurations(Vec<(LogIndex, Configuration)>);

impl Configurations {
    /// A configuration was applied for the first time.
    pub fn committed(&mut self, index: LogIndex, configuration: &Configuration) {
        self.0.push((index, configuration.clone()));
    }

    /// The configuration in force at an index, and the one after it, as far as they are committed.
    pub fn around(&self, index: LogIndex) -> impl Iterator<Item = &Configuration> {
        let next = self.0.partition_point(|(at, _)| *at <= index);
        self.0.iter().skip(next.saturating_sub(1)).take(2).map(|(_, configuration)| configuration)
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A server makes or takes a snapshot.
    ///
    /// # Errors
    /// When it has another configuration than the log has there.
    pub fn check(&self, agent: usize, meta: &SnapshotMeta) -> Checked {
        let in_force = self.0.partition_point(|(at, _)| *at <= meta.index).checked_sub(1).map(|last| &self.0[last]);
        let carried = (meta.configuration_index, &meta.configuration);
        if in_force.is_some_and(|(at, configuration)| (*at, configuration) == carried) {
            return Ok(());
        }
        let seen = format!("agent {agent} has a snapshot {meta:?}, and the log has {in_force:?}");
        Violation::seen("snapshots_carry_configuration", seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::raft::Peer;
    use quorate_protocol::{NodeId, Term};

    #[test]
    fn another_configuration_is_seen() {
        let of = |numbers: &[u8]| Configuration {
            peers: numbers
                .iter()
                .map(|n| (NodeId([*n; 16]), Peer { address: ([10, 0, 0, *n], 1).into(), voter: true }))
                .collect(),
            founder: None,
        };
        let mut all = Configurations::default();
        all.committed(LogIndex(1), &of(&[1]));
        all.committed(LogIndex(5), &of(&[1, 2]));
        let check = |index, configuration_index, numbers: &[u8]| {
            let (index, configuration_index) = (LogIndex(index), LogIndex(configuration_index));
            all.check(0, &SnapshotMeta { index, term: Term(1), configuration: of(numbers), configuration_index })
        };
        assert_eq!(check(4, 1, &[1]), Ok(()));
        assert_eq!(check(5, 5, &[1, 2]), Ok(()));
        assert!(check(6, 1, &[1]).is_err(), "an old one");
        assert!(check(4, 5, &[1, 2]).is_err(), "one that is not committed there");
        assert!(check(6, 5, &[]).is_err(), "none");
        assert_eq!(all.around(LogIndex(4)).count(), 2);
        assert_eq!(all.around(LogIndex(9)).count(), 1);
    }
}
