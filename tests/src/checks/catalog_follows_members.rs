//! The leader brings the members into the catalogue: who lives passes `serfHealth`, who was killed fails it, who left is gone.

use super::members_converge_after_heal::{Expected, Fate};
use super::{Checked, Violation};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{Check, Node, Row, Status};
use std::sync::Arc;

/// Whether a catalogue has every agent as it is.
///
/// # Errors
/// When it does not.
pub fn check(nodes: &[Arc<Row<Node>>], checks: &[Arc<Row<Check>>], expected: &[Expected]) -> Checked {
    for one in expected {
        let node = nodes.iter().find(|node| node.name == one.name);
        let health =
            checks.iter().find(|check| check.node == one.name && check.id == SERF_HEALTH).map(|check| check.status);
        let is_right = match one.fate {
            Fate::Running => health == Some(Status::Passing),
            Fate::Killed => health == Some(Status::Critical),
            Fate::Left => node.is_none(),
        };
        let is_same = node.is_none_or(|node| node.id == Some(one.id) && node.address == one.ip);
        if !is_right || !is_same {
            let seen =
                format!("{} ({:?}) has serfHealth {health:?} and is {node:?} in the catalogue", one.name, one.fate);
            return Violation::seen("catalog_follows_members", seen);
        }
    }
    match nodes.iter().find(|node| expected.iter().all(|one| one.name != node.name)) {
        Some(ghost) => {
            Violation::seen("catalog_follows_members", format!("the catalogue has {ghost:?}, who is nobody"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::members_converge_after_heal::tests::expected;
    use super::*;
    use quorate_protocol::LogIndex;

    fn row<T>(value: T) -> Arc<Row<T>> {
        Arc::new(Row { value, create_index: LogIndex(1), modify_index: LogIndex(1) })
    }

    fn node(number: u8) -> Arc<Row<Node>> {
        let Expected { id, name, ip, .. } = expected(number, Fate::Running);
        row(Node { id: Some(id), name, address: ip, ..Node::default() })
    }

    fn health(number: u8, status: Status) -> Arc<Row<Check>> {
        row(Check { node: format!("n{number}"), id: SERF_HEALTH.into(), status, ..Check::default() })
    }

    #[test]
    fn a_catalogue_that_differs_is_seen() {
        use Status::{Critical, Passing};
        let expected = [expected(1, Fate::Running), expected(2, Fate::Left), expected(3, Fate::Killed)];
        let check = |nodes: &[_], checks: &[_]| check(nodes, checks, &expected);
        assert_eq!(check(&[node(1), node(3)], &[health(1, Passing), health(3, Critical)]), Ok(()));
        let moved = row(Node { address: "10.9.9.9".into(), ..node(1).value.clone() });
        let bad = [
            ("one that lives is missing", vec![node(3)], vec![health(3, Critical)]),
            ("one that lives fails", vec![node(1), node(3)], vec![health(1, Critical), health(3, Critical)]),
            ("one that was killed passes", vec![node(1), node(3)], vec![health(1, Passing), health(3, Passing)]),
            ("one that left is there", vec![node(1), node(2), node(3)], vec![health(1, Passing), health(3, Critical)]),
            ("an old address", vec![moved, node(3)], vec![health(1, Passing), health(3, Critical)]),
            ("a ghost", vec![node(1), node(3), node(4)], vec![health(1, Passing), health(3, Critical)]),
        ];
        for (why, nodes, checks) in bad {
            assert!(check(&nodes, &checks).is_err(), "{why}");
        }
    }
}
