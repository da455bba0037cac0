//! Members are found again after a restart, whatever the configuration says.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, Input, SavedLocal};
use quorate_protocol::MemberStatus;
use support::*;

/// A client that is told of nobody.
fn alone(number: u8, saved: SavedLocal) -> Config {
    Config { join: Vec::new(), saved, generation: 2, ..config(number, None) }
}

fn alive(agents: &Agents, number: u8) -> Vec<String> {
    let members = agents.engines[&number].members();
    members.filter(|member| member.status == MemberStatus::Alive).map(|member| member.name.clone()).collect()
}

#[test]
fn a_restarted_member_rejoins_through_those_it_knew() {
    let mut agents = Agents::clients(3);
    agents.pass(10 * SECOND);
    let kept = agents.saved[&3].clone();
    assert_eq!(kept.members, [address(1), address(2)].into());
    agents.engines.remove(&3);
    agents.pass(30 * SECOND);
    agents.start(alone(3, kept));
    agents.pass(2 * SECOND);
    assert_eq!(alive(&agents, 3), ["n1", "n2", "n3"]);
}

#[test]
fn those_that_had_failed_are_remembered_as_well_and_the_cut_off_forget_nobody() {
    let mut agents = Agents::clients(3);
    agents.pass(10 * SECOND);
    // One fails in the eyes of the others; then all of them stop, and only that one and another come back.
    agents.cut_off.insert(1);
    agents.pass(30 * SECOND);
    assert!(agents.saved[&2].members.contains(&address(1)), "failed");
    assert_eq!(agents.saved[&1].members, [address(2), address(3)].into(), "it sees nobody, and keeps them in mind");
    let kept: Vec<SavedLocal> = (1..=2).map(|number| agents.saved[&number].clone()).collect();
    agents.engines.clear();
    agents.cut_off.clear();
    for (number, saved) in (1..).zip(kept) {
        agents.start(alone(number, saved));
    }
    agents.pass(5 * SECOND);
    assert_eq!(alive(&agents, 1), ["n1", "n2"]);
}

#[test]
fn who_left_does_not_come_back_by_itself() {
    let mut agents = Agents::clients(2);
    agents.pass(10 * SECOND);
    agents.engines.get_mut(&2).unwrap().handle(agents.now, Input::Leave);
    agents.pass(10 * SECOND);
    assert!(agents.saved[&2].members.is_empty());
    assert!(agents.saved[&1].members.is_empty(), "nor is it looked for");
}
