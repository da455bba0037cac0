//! Servers that come, go, fail and come back, and what operators may ask of them.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use quorate_engine::{Config, ServerConfig};
use quorate_protocol::{
    Ask, AutopilotConfig, AutopilotState, LocalRequest, NodeId, OperatorRequest, Outcome, PeerSelector,
    RaftConfiguration, Refusal, Reply, Write,
};
use std::collections::BTreeMap;
use world::{Agents, SECOND, address, config, id, put, three_servers};

/// Who takes part, and whether with a vote.
fn peers(agents: &Agents, server: u8) -> BTreeMap<u8, bool> {
    let configuration = agents.engines[&server].raft().unwrap().configuration();
    configuration.peers.iter().map(|(id, peer)| (id.0[0], peer.voter)).collect()
}

fn voters(numbers: &[u8]) -> BTreeMap<u8, bool> {
    numbers.iter().map(|number| (*number, true)).collect()
}

fn operator(request: OperatorRequest) -> Ask {
    Ask::Operator(request)
}

fn state(agents: &mut Agents, server: u8) -> AutopilotState {
    match agents.ask(server, operator(OperatorRequest::AutopilotState)) {
        Reply::Autopilot(state) => state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_server_votes_when_it_has_been_healthy_for_a_while() {
    let mut agents = Agents::default();
    agents.start(config(1, Some(1)));
    agents.pass(5 * SECOND);
    agents.start(config(2, Some(0)));
    agents.pass(8 * SECOND);
    assert_eq!(peers(&agents, 1), [(1, true), (2, false)].into(), "it receives the log");
    agents.pass(10 * SECOND);
    assert_eq!(peers(&agents, 1), voters(&[1, 2]));
}

#[test]
fn nothing_changes_in_a_new_cluster_of_voters() {
    let (agents, leader, _) = three_servers();
    assert_eq!(peers(&agents, leader), voters(&[1, 2, 3]));
    let configuration = agents.engines[&leader].raft().unwrap().entries();
    let changes =
        configuration.iter().filter(|entry| matches!(entry.payload, quorate_protocol::raft::Payload::Configuration(_)));
    assert_eq!(changes.count(), 1);
}

#[test]
fn a_dead_server_is_taken_out_while_the_others_are_a_healthy_majority() {
    let (mut agents, leader, other) = three_servers();
    let third = 6 - leader - other;
    agents.engines.remove(&third);
    agents.pass(60 * SECOND);
    assert_eq!(peers(&agents, leader), voters(&[leader, other]));
    assert_eq!(state(&mut agents, leader).failure_tolerance, 0);
    agents.engines.remove(&other);
    agents.pass(120 * SECOND);
    assert_eq!(peers(&agents, leader), voters(&[leader, other]), "one of two is no majority");
}

#[test]
fn a_dead_server_stays_where_the_operator_wants_that() {
    for settings in [
        AutopilotConfig { cleanup_dead_servers: false, ..AutopilotConfig::default() },
        AutopilotConfig { min_quorum: 3, ..AutopilotConfig::default() },
    ] {
        let (mut agents, leader, other) = three_servers();
        let reply = agents.ask(leader, Ask::Write(Write::Autopilot { config: settings, cas: None }));
        assert!(matches!(reply, Reply::Written { outcome: Outcome::Done, .. }), "{reply:?}");
        agents.engines.remove(&(6 - leader - other));
        agents.pass(120 * SECOND);
        assert_eq!(peers(&agents, leader), voters(&[1, 2, 3]));
    }
}

#[test]
fn gossip_alone_takes_no_vote_away() {
    let (mut agents, leader, other) = three_servers();
    agents.deaf_to_gossip.insert(other);
    agents.pass(120 * SECOND);
    let status =
        |agents: &Agents| agents.engines[&leader].members().find(|member| member.id == id(other)).unwrap().status;
    assert_eq!(status(&agents), quorate_protocol::MemberStatus::Failed);
    assert_eq!(peers(&agents, leader), voters(&[1, 2, 3]), "Raft hears it");
    let state = state(&mut agents, leader);
    assert!(!state.healthy && state.servers.iter().any(|one| one.server.id == id(other) && !one.healthy));
}

#[test]
fn a_server_that_comes_back_without_its_data_takes_the_place_of_its_former_self() {
    let (mut agents, leader, other) = three_servers();
    let third = 6 - leader - other;
    agents.engines.remove(&third);
    agents.pass(SECOND);
    let server = Some(ServerConfig { rejoin: true, ..ServerConfig::lan(3) });
    agents.start(Config { name: format!("n{third}"), generation: 2, server, ..config(4, Some(3)) });
    agents.pass(120 * SECOND);
    assert_eq!(peers(&agents, leader), voters(&[leader, other, 4]));
}

#[test]
fn a_server_that_leaves_is_taken_out_at_once() {
    let (mut agents, leader, other) = three_servers();
    assert_eq!(agents.ask(other, Ask::Local(LocalRequest::Leave)), Reply::Done);
    agents.pass(5 * SECOND);
    assert_eq!(peers(&agents, leader).get(&other), None);
}

#[test]
fn what_the_leader_was_started_with_counts_and_is_shown_until_somebody_sets_it() {
    let settings = AutopilotConfig { server_stabilization_time: SECOND, ..AutopilotConfig::default() };
    let server = Some(ServerConfig { autopilot: settings.clone(), ..ServerConfig::lan(1) });
    let mut agents = Agents::default();
    agents.start(Config { server, ..config(1, Some(1)) });
    agents.pass(5 * SECOND);
    let read = Ask::Read(quorate_protocol::ReadRequest::now(quorate_protocol::Read::Autopilot));
    let reply = agents.ask(1, read);
    assert!(
        matches!(&reply, Reply::Read { answer: quorate_protocol::Answer::Autopilot(row), .. } if row.value == settings),
        "{reply:?}"
    );
    agents.start(config(2, Some(0)));
    agents.pass(7 * SECOND);
    assert_eq!(peers(&agents, 1), voters(&[1, 2]), "after a second, not ten");
}

#[test]
fn an_operator_sees_the_servers_and_takes_one_out() {
    let (mut agents, leader, other) = three_servers();
    let reply = agents.ask(other, operator(OperatorRequest::RaftConfiguration));
    let Reply::RaftConfiguration(RaftConfiguration { servers, index }) = reply else { panic!("{reply:?}") };
    assert_eq!((servers.len(), index.0), (3, 1));
    assert!(servers.iter().all(|one| one.voter && one.leader == (one.id == id(leader))));
    assert_eq!(servers.iter().map(|one| one.node.as_str()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);

    let well = state(&mut agents, other);
    assert!(well.healthy && well.failure_tolerance == 1, "{well:?}");
    assert!(well.servers.iter().all(|one| one.last_index.0 > 0 && one.last_term.0 > 0 && one.serf_status == "alive"));

    let unknown = PeerSelector::Address(address(77));
    let why = "address \"127.0.0.77:8301\" was not found in the Raft configuration".to_owned();
    let reply = agents.ask(other, operator(OperatorRequest::RemovePeer(unknown)));
    assert_eq!(reply, Reply::Refused(Refusal::NotFound(why)));
    let third = 6 - leader - other;
    let by_address = PeerSelector::Address(address(third));
    assert_eq!(agents.ask(other, operator(OperatorRequest::RemovePeer(by_address))), Reply::Done);
    assert_eq!(peers(&agents, leader), voters(&[leader, other]));
}

#[test]
fn the_leader_itself_can_be_taken_out() {
    let (mut agents, leader, other) = three_servers();
    let asked = agents.send(other, operator(OperatorRequest::RemovePeer(PeerSelector::Id(id(leader)))));
    agents.pass(SECOND);
    assert_eq!(agents.replies.remove(&asked), Some(Reply::Done));
    agents.engines.remove(&leader);
    agents.pass(2 * SECOND);
    assert_ne!(agents.leader(), leader);
}

#[test]
fn nobody_is_handed_the_leadership_who_cannot_have_it() {
    let (mut agents, leader, _) = three_servers();
    for to in [NodeId([9; 16]), id(leader)] {
        let reply = agents.ask(leader, operator(OperatorRequest::TransferLeader { to: Some(to) }));
        assert!(matches!(reply, Reply::Refused(Refusal::Invalid(_))), "{reply:?}");
    }
}

#[test]
fn a_lost_quorum_is_given_up_only_when_somebody_says_so_and_nobody_leads() {
    let (mut agents, leader, other) = three_servers();
    let third = 6 - leader - other;
    agents.ask(leader, put("a", "1"));
    let recover = || Ask::Local(LocalRequest::RecoverQuorum);
    assert!(matches!(agents.ask(other, recover()), Reply::Refused(Refusal::Invalid(_))), "a leader is heard");
    agents.engines.remove(&leader);
    agents.engines.remove(&third);
    agents.pass(30 * SECOND);
    assert_eq!(agents.ask(other, recover()), Reply::Done);
    agents.pass(SECOND);
    assert_eq!((agents.leader(), peers(&agents, other)), (other, voters(&[other])));
    assert!(matches!(agents.ask(other, put("b", "1")), Reply::Written { .. }));
}
