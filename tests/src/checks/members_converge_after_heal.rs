//! After the world has healed, every agent knows every agent as it is.

use super::{Checked, Violation};
use quorate_protocol::{Member, MemberStatus, NodeId};

/// An agent as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its IP address, as the catalogue should have it.
    pub ip: String,
    /// How often it has been started, as its last generation says.
    pub generation: u64,
    /// How it ended, if it did.
    pub fate: Fate,
    /// The identities that it had before it lost its disk.
    pub former: Vec<NodeId>,
}

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Running,
    /// It left in an orderly way.
    Left,
    /// It was killed and never came back.
    Killed,
}

/// Whether an agent knows all the others.
///
/// # Errors
/// When it does not.
pub fn check<'a>(agent: usize, members: impl Iterator<Item = &'a Member>, expected: &[Expected]) -> Checked {
    let members: Vec<&Member> = members.collect();
    for one in expected {
        let member = members.iter().find(|member| member.id == one.id);
        let status = member.map(|member| member.status);
        let is_known = match one.fate {
            Fate::Running => {
                status == Some(MemberStatus::Alive)
                    && member.is_some_and(|member| member.generation == one.generation && member.name == one.name)
            }
            // Whoever left may be forgotten.
            Fate::Left => matches!(status, None | Some(MemberStatus::Left)),
            Fate::Killed => status == Some(MemberStatus::Failed),
        };
        if !is_known {
            let seen =
                format!("{} ({:?}, generation {}) is {member:?} to agent {agent}", one.name, one.fate, one.generation);
            return Violation::seen("members_converge_after_heal", seen);
        }
    }
    // Who lost its identity is gone, and may be forgotten.
    let is_former = |member: &Member| expected.iter().any(|one| one.former.contains(&member.id)) && !lives(member);
    let is_known = |member: &Member| expected.iter().any(|one| one.id == member.id) || is_former(member);
    match members.iter().find(|member| !is_known(member)) {
        Some(ghost) => {
            Violation::seen("members_converge_after_heal", format!("agent {agent} knows {ghost:?}, who is nobody"))
        }
        None => Ok(()),
    }
}

fn lives(member: &Member) -> bool {
    !matches!(member.status, MemberStatus::Failed | MemberStatus::Left)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// An agent for tests.
    pub(crate) fn expected(number: u8, fate: Fate) -> Expected {
        Expected {
            id: NodeId([number; 16]),
            name: format!("n{number}"),
            ip: format!("10.0.0.{number}"),
            generation: 2,
            fate,
            former: vec![NodeId([number + 100; 16])],
        }
    }

    fn member(number: u8, status: MemberStatus, generation: u64) -> Member {
        Member {
            id: NodeId([number; 16]),
            name: format!("n{number}"),
            address: ([10, 0, 0, number], 8301).into(),
            tags: BTreeMap::new(),
            status,
            generation,
        }
    }

    #[test]
    fn what_is_not_known_is_seen() {
        use MemberStatus::{Alive, Failed, Left, Suspect};
        let expected = [expected(1, Fate::Running), expected(2, Fate::Left), expected(3, Fate::Killed)];
        let check = |members: &[Member]| check(0, members.iter(), &expected);
        let (one, two, three) = (member(1, Alive, 2), member(2, Left, 2), member(3, Failed, 2));
        assert_eq!(check(&[one.clone(), two.clone(), three.clone()]), Ok(()));
        assert_eq!(check(&[one.clone(), three.clone()]), Ok(()), "the one that left is forgotten");
        let former = member(101, Failed, 1);
        assert_eq!(check(&[one.clone(), two.clone(), three.clone(), former]), Ok(()), "an identity that was lost");
        let bad = [
            ("a lost identity that lives", vec![one.clone(), two.clone(), three.clone(), member(101, Alive, 1)]),
            ("a missing member", vec![two.clone(), three.clone()]),
            ("a suspect that lives", vec![member(1, Suspect, 2), two.clone(), three.clone()]),
            ("an old generation", vec![member(1, Alive, 1), two.clone(), three.clone()]),
            ("one that left and seems to live", vec![one.clone(), member(2, Alive, 2), three.clone()]),
            ("one that was killed and seems to have left", vec![one.clone(), two.clone(), member(3, Left, 2)]),
            ("a ghost", vec![one, two, three, member(4, Alive, 2)]),
        ];
        for (why, members) in bad {
            assert!(check(&members).is_err(), "{why}");
        }
    }
}
