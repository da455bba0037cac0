//! Servers that come, go, die and return, and what becomes of their votes.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, Input};
use quorate_protocol::{
    Ask, AutopilotConfig, AutopilotState, LogIndex, MemberStatus, NodeId, OperatorRequest, Outcome, PeerSelector,
    RaftConfiguration, Refusal, Reply, Write,
};
use std::time::Duration;
use support::*;

const fn operator(request: OperatorRequest) -> Ask {
    Ask::Operator(request)
}

fn state(agents: &mut Agents, asked: u8) -> AutopilotState {
    match agents.ask(asked, operator(OperatorRequest::AutopilotState)) {
        Reply::Autopilot(state) => state,
        other => panic!("{other:?}"),
    }
}

fn configure(agents: &mut Agents, config: AutopilotConfig) {
    let leader = agents.leader().unwrap();
    let reply = agents.ask(leader, Ask::Write(Write::Autopilot { config, cas: None }));
    assert!(matches!(reply, Reply::Written { outcome: Outcome::Done, .. }));
}

const TENTH: Duration = Duration::from_millis(100);

/// Whether a server votes; none if it takes no part.
fn votes(agents: &Agents, id: NodeId) -> Option<bool> {
    let leader = agents.leader().unwrap();
    agents.configuration(leader).get(&id).map(|peer| peer.voter)
}

/// Lets time pass until something holds, and tells how long that took, to a tenth of a second.
#[track_caller]
fn wait_until(agents: &mut Agents, holds: impl Fn(&Agents) -> bool) -> Duration {
    let start = agents.now;
    while !holds(agents) {
        agents.pass(TENTH);
        assert!(agents.now.since(start) < 300 * SECOND, "never");
    }
    agents.now.since(start)
}

fn followers(agents: &Agents) -> Vec<u8> {
    let leader = agents.leader().unwrap();
    (1..=3).filter(|number| *number != leader).collect()
}

#[test]
fn a_new_server_votes_when_it_was_well_for_ten_seconds() {
    let (mut agents, leader, _) = three_servers();
    agents.start(config(4, Some(0)));
    wait_until(&mut agents, |agents| votes(agents, id(4)) == Some(false));
    let waited = wait_until(&mut agents, |agents| votes(agents, id(4)) == Some(true));
    assert!((10 * SECOND - TENTH..=13 * SECOND).contains(&waited), "{waited:?}");
    agents.pass(SECOND);
    let state = state(&mut agents, leader);
    assert!(state.healthy && state.failure_tolerance == 1 && state.servers.len() == 4, "{state:?}");
    let new = state.servers.iter().find(|one| one.server.id == id(4)).unwrap();
    assert!(new.healthy && new.stable_for > 10 * SECOND && new.serf_status == "alive" && new.version == "test");
    assert_eq!((new.last_index.0, new.server.node.as_str()), (agents.last_index(leader), "n4"));
    assert!(new.last_term > quorate_protocol::Term::ZERO);
}

#[test]
fn the_time_to_a_vote_begins_anew_after_a_break() {
    let (mut agents, ..) = three_servers();
    agents.start(config(4, Some(0)));
    wait_until(&mut agents, |agents| votes(agents, id(4)) == Some(false));
    agents.pass(8 * SECOND);
    agents.cut_off.insert(4);
    agents.pass(3 * SECOND);
    agents.cut_off.clear();
    let waited = wait_until(&mut agents, |agents| votes(agents, id(4)) == Some(true));
    assert!(waited >= 10 * SECOND - TENTH, "{waited:?}");
}

#[test]
fn a_short_stabilization_time_is_kept_as_well() {
    let (mut agents, ..) = three_servers();
    let server_stabilization_time = Duration::from_millis(200);
    configure(&mut agents, AutopilotConfig { server_stabilization_time, ..AutopilotConfig::default() });
    agents.pass(3 * SECOND);
    agents.start(config(4, Some(0)));
    let waited = wait_until(&mut agents, |agents| votes(agents, id(4)) == Some(true));
    assert!(waited < 2 * SECOND, "{waited:?}");
}

/// A cluster of more servers than three, all of which vote.
fn servers(count: u8) -> Agents {
    let (mut agents, ..) = three_servers();
    (4..=count).for_each(|number| agents.start(config(number, Some(0))));
    wait_until(&mut agents, |agents| (1..=count).all(|number| votes(agents, id(number)) == Some(true)));
    agents
}

/// Kills one of the servers that do not lead.
fn kill_one(agents: &mut Agents) -> NodeId {
    let leader = agents.leader().unwrap();
    let number = *agents.engines.keys().find(|number| **number != leader).unwrap();
    agents.engines.remove(&number);
    id(number)
}

#[test]
fn dead_servers_are_taken_out_down_to_three() {
    let mut agents = servers(5);
    for left in [4, 3] {
        let dead = kill_one(&mut agents);
        wait_until(&mut agents, |agents| votes(agents, dead).is_none());
        assert_eq!(agents.configuration(agents.leader().unwrap()).len(), left);
    }
    let dead = kill_one(&mut agents);
    agents.pass(120 * SECOND);
    assert_eq!(votes(&agents, dead), Some(true), "two that are left tolerate no more without it");
}

/// Two voters would be left: when one of them is hurt before the first is back with its vote, nobody serves.
#[test]
fn a_server_that_is_killed_and_comes_back_has_its_vote_when_the_next_is_killed() {
    let (mut agents, ..) = three_servers();
    let first = followers(&agents)[0];
    agents.cut_off.insert(first);
    agents.pass(60 * SECOND);
    agents.cut_off.clear();
    agents.pass(SECOND);
    let leader = agents.leader().unwrap();
    agents.engines.remove(&leader);
    agents.pass(3 * SECOND);
    assert!(matches!(agents.ask(first, put("a", "1")), Reply::Written { .. }));
}

#[test]
fn a_dead_server_goes_when_another_votes_in_its_place() {
    let (mut agents, ..) = three_servers();
    let dead = kill_one(&mut agents);
    agents.start(config(4, Some(0)));
    wait_until(&mut agents, |agents| votes(agents, id(4)) == Some(true));
    let waited = wait_until(&mut agents, |agents| votes(agents, dead).is_none());
    assert!(waited <= 3 * SECOND, "{waited:?}");
    assert_eq!(agents.configuration(agents.leader().unwrap()).len(), 3);
}

#[test]
fn whoever_asks_for_fewer_voters_gets_a_majority_of_two() {
    let (mut agents, ..) = three_servers();
    configure(&mut agents, AutopilotConfig { min_quorum: 2, ..AutopilotConfig::default() });
    let first = kill_one(&mut agents);
    wait_until(&mut agents, |agents| votes(agents, first).is_none());
    let leader = agents.leader().unwrap();
    assert!(matches!(agents.ask(leader, put("a", "1")), Reply::Written { .. }));
    kill_one(&mut agents);
    agents.pass(120 * SECOND);
    assert!(agents.leader().is_none(), "one of two is no majority, whatever gossip says of the other");
    assert_eq!(agents.configuration(leader).len(), 2);
}

#[test]
fn a_dead_server_stays_where_operators_want_that() {
    let keep_four = AutopilotConfig { min_quorum: 4, ..AutopilotConfig::default() };
    let keep_all = AutopilotConfig { cleanup_dead_servers: false, ..AutopilotConfig::default() };
    for settings in [keep_four, keep_all] {
        let mut agents = servers(4);
        configure(&mut agents, settings);
        let dead = kill_one(&mut agents);
        agents.pass(120 * SECOND);
        assert_eq!(votes(&agents, dead), Some(true));
        let leader = agents.leader().unwrap();
        let state = state(&mut agents, leader);
        assert!(!state.healthy && state.failure_tolerance == 0, "{state:?}");
        let seen = state.servers.iter().find(|one| one.server.id == dead).unwrap();
        assert!(!seen.healthy && seen.last_contact > 100 * SECOND && seen.serf_status == "failed", "{seen:?}");
    }
}

#[test]
fn gossip_alone_takes_no_vote_away() {
    let (mut agents, leader, _) = three_servers();
    let mute = followers(&agents)[0];
    agents.gossip_is_lost.insert(mute);
    agents.pass(60 * SECOND);
    let status = |agents: &Agents| {
        agents.engines[&leader].members().find(|member| member.id == id(mute)).map(|member| member.status)
    };
    assert_eq!(status(&agents), Some(MemberStatus::Failed));
    agents.pass(120 * SECOND);
    assert_eq!(votes(&agents, id(mute)), Some(true), "Raft hears it");
    assert_eq!(agents.leader(), Some(leader));
}

#[test]
fn a_server_that_left_is_out_at_once() {
    let (mut agents, ..) = three_servers();
    let leaving = followers(&agents)[0];
    agents.engines.get_mut(&leaving).unwrap().handle(agents.now, Input::Leave);
    agents.travel();
    let waited = wait_until(&mut agents, |agents| votes(agents, id(leaving)).is_none());
    assert!(waited < 2 * SECOND, "{waited:?}");
}

#[test]
fn a_server_that_returns_under_a_new_identity_takes_the_place_of_its_former_self() {
    let (mut agents, ..) = three_servers();
    // No help from the cleanup: that would be slower and needs more.
    configure(&mut agents, AutopilotConfig { cleanup_dead_servers: false, ..AutopilotConfig::default() });
    let damaged = followers(&agents)[0];
    agents.engines.remove(&damaged);
    agents.pass(SECOND);
    let again = NodeId([damaged + 100; 16]);
    agents.start(Config { id: again, generation: 2, ..config(damaged, Some(0)) });
    wait_until(&mut agents, |agents| votes(agents, id(damaged)).is_none());
    let waited = wait_until(&mut agents, |agents| votes(agents, again) == Some(true));
    assert!(waited >= 10 * SECOND - TENTH, "it learns first: {waited:?}");
    let leader = agents.leader().unwrap();
    assert_eq!(agents.configuration(leader).len(), 3);
}

#[test]
fn operators_see_and_change_who_takes_part() {
    let (mut agents, leader, _) = three_servers();
    let dead = followers(&agents)[0];
    configure(&mut agents, AutopilotConfig { cleanup_dead_servers: false, ..AutopilotConfig::default() });
    agents.start(config(9, None));
    agents.engines.remove(&dead);
    agents.pass(30 * SECOND);
    // Asked of a client, as operators do.
    let Reply::RaftConfiguration(RaftConfiguration { servers, index }) =
        agents.ask(9, operator(OperatorRequest::RaftConfiguration))
    else {
        panic!()
    };
    assert_eq!(index, LogIndex(1));
    let shown: Vec<_> = servers.iter().map(|one| (one.node.as_str(), one.address, one.leader, one.voter)).collect();
    let expected = [1, 2, 3].map(|n| (["n1", "n2", "n3"][n as usize - 1], address(n), n == leader, true));
    assert_eq!(shown, expected);

    let remove = |selector| operator(OperatorRequest::RemovePeer(selector));
    let refused = agents.ask(9, remove(PeerSelector::Address(address(77))));
    let sentence = "address \"127.0.0.77:8301\" was not found in the Raft configuration";
    assert_eq!(refused, Reply::Refused(Refusal::NotFound(sentence.into())));
    let refused = agents.ask(9, remove(PeerSelector::Id(id(77))));
    let sentence = format!("id \"{}\" was not found in the Raft configuration", id(77));
    assert_eq!(refused, Reply::Refused(Refusal::NotFound(sentence)));
    assert_eq!(agents.ask(9, remove(PeerSelector::Address(address(dead)))), Reply::Done);
    assert_eq!(votes(&agents, id(dead)), None);
}

/// As in Consul: what gossip sees alive is added again. Who wants a running server out stops it, or has it leave.
#[test]
fn a_running_server_that_is_removed_comes_back_as_a_learner() {
    let (mut agents, leader, other) = three_servers();
    assert_eq!(agents.ask(leader, operator(OperatorRequest::RemovePeer(PeerSelector::Id(id(other))))), Reply::Done);
    assert_eq!(votes(&agents, id(other)), None);
    let waited = wait_until(&mut agents, |agents| votes(agents, id(other)) == Some(false));
    assert!(waited <= 3 * SECOND, "{waited:?}");
    let waited = wait_until(&mut agents, |agents| votes(agents, id(other)) == Some(true));
    assert!((9 * SECOND..=13 * SECOND).contains(&waited), "{waited:?}");
}

#[test]
fn a_removal_that_finds_no_majority_is_not_called_done() {
    let (mut agents, leader, other) = three_servers();
    agents.cut_off.insert(leader);
    let asked = agents.send(leader, operator(OperatorRequest::RemovePeer(PeerSelector::Id(id(other)))));
    agents.pass(10 * SECOND);
    assert_eq!(agents.replies.remove(&asked), Some(Reply::Refused(Refusal::Unknown)));
    agents.cut_off.clear();
    agents.pass(10 * SECOND);
    assert_eq!(votes(&agents, id(other)), Some(true), "and it was not done");
}

#[test]
fn operators_hand_the_leadership_over() {
    let (mut agents, leader, other) = three_servers();
    let transfer = |to| operator(OperatorRequest::TransferLeader { to });
    let stranger = agents.ask(leader, transfer(Some(id(77))));
    assert!(matches!(stranger, Reply::Refused(Refusal::NotFound(_))), "{stranger:?}");
    assert!(matches!(agents.ask(leader, transfer(Some(id(leader)))), Reply::Refused(Refusal::Invalid(_))));
    let asked = agents.send(leader, transfer(Some(id(other))));
    agents.pass(SECOND);
    assert_eq!(agents.replies.remove(&asked), Some(Reply::Done));
    assert_eq!(agents.leader(), Some(other));

    // To one that stops just then: nobody took over.
    agents.hung.insert(leader);
    agents.cut_off.insert(leader);
    let asked = agents.send(other, transfer(Some(id(leader))));
    agents.pass(5 * SECOND);
    assert!(matches!(agents.replies.remove(&asked), Some(Reply::Refused(Refusal::Invalid(_)))));
    assert_eq!(agents.leader(), Some(other));
}
