//! The leader brings the members into the catalogue: who lives passes `serfHealth`, who was killed fails it, who left is gone.

use super::members_converge_after_heal::{Expected, Fate};
use super::{Checked, Violation};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{Check, Member, MemberStatus, Node, Row, Status, Time};
use std::sync::Arc;
use std::time::Duration;

/// How soon what the leader's own gossip knows is in its catalogue. An event does it within a flush; the pass over all members, which repairs what an event
/// missed, comes every 8 s here: so a missing event is seen.
const BOUND: Duration = Duration::from_secs(4);

/// The time between two passes over all members.
const PASS: Duration = Duration::from_secs(8);

/// Watches that the leader follows its own members promptly.
#[derive(Debug, Default)]
pub struct CatalogFollowsMembers {
    behind: Option<(usize, String, Time)>,
    /// Until then the catalogue may be an old one that was put back.
    old_until: Time,
}

impl CatalogFollowsMembers {
    /// An old catalogue was put back: nothing of it follows from an event, so only the next pass over all members repairs it.
    pub fn catalog_put_back(&mut self, now: Time) {
        self.old_until = now + PASS;
    }

    /// Looks at the leader's members and its catalogue.
    ///
    /// # Errors
    /// When they have differed in the same way for too long.
    pub fn look<'a>(
        &mut self,
        now: Time,
        leader: usize,
        members: impl Iterator<Item = &'a Member>,
        checks: &[Arc<Row<Check>>],
    ) -> Checked {
        let members: Vec<&Member> = members.collect();
        // Who goes by the name of one that is gone stands for it.
        let stands = |member: &&&Member| {
            let is_gone = matches!(member.status, MemberStatus::Failed | MemberStatus::Left);
            !is_gone || !members.iter().any(|other| other.name == member.name && other.id != member.id)
        };
        let differs = members.iter().filter(stands).find_map(|member| {
            let health = checks.iter().find(|check| check.node == member.name && check.id == SERF_HEALTH);
            let wanted = match member.status {
                MemberStatus::Alive | MemberStatus::Suspect | MemberStatus::Leaving => Some(Status::Passing),
                MemberStatus::Failed => Some(Status::Critical),
                MemberStatus::Left => None,
            };
            let found = health.map(|check| check.status);
            (found != wanted).then(|| format!("{} is {:?} and has serfHealth {found:?}", member.name, member.status))
        });
        let Some(differs) = differs.filter(|_| now >= self.old_until) else {
            self.behind = None;
            return Ok(());
        };
        match &self.behind {
            Some((who, what, since)) if *who == leader && *what == differs => {
                if now.since(*since) > BOUND {
                    let seen = format!("agent {leader} leads, and for {:?} {differs}", now.since(*since));
                    return Violation::seen("catalog_follows_members", seen);
                }
            }
            _ => self.behind = Some((leader, differs, now)),
        }
        Ok(())
    }
}

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

    #[test]
    fn a_leader_that_does_not_follow_its_members_is_seen() {
        let member = Member {
            id: expected(1, Fate::Running).id,
            name: "n1".into(),
            address: ([10, 0, 0, 1], 8301).into(),
            tags: std::collections::BTreeMap::new(),
            status: MemberStatus::Failed,
            generation: 1,
        };
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let mut check = CatalogFollowsMembers::default();
        let mut look = |now, status| check.look(now, 0, std::iter::once(&member), &[health(1, status)]);
        assert_eq!(look(at(1), Status::Passing), Ok(()), "it has only just failed");
        assert_eq!(look(at(2), Status::Critical), Ok(()));
        assert_eq!(look(at(9), Status::Passing), Ok(()));
        assert!(look(at(14), Status::Passing).is_err());
    }
}
