//! Several engines that hear each other, on one clock: what one agent alone cannot show.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, Input};
use quorate_protocol::wire::stream::{Message, Origin};
use quorate_protocol::{
    Ask, Check, LocalRequest, LogIndex, Node, ReadRequest, Refusal, Registration, Reply, Request, Status, Wait, Write,
};
use std::time::Duration;
use support::*;

#[test]
fn a_restarted_agent_is_not_given_answers_to_its_former_self() {
    let mut agents = server_and_client();
    agents.ask(2, put("a", "1"));
    let index = agents.engines[&1].store().unwrap().applied_index();
    let wait = |key: &str| {
        let wait = Some(Wait { index, timeout: 300 * SECOND });
        Ask::Read(ReadRequest { wait, ..ReadRequest::now(get(key)) })
    };
    // Every number that the next life could use for its question is taken by one of this life's.
    (0..20).for_each(|_| {
        agents.send(2, wait("a"));
    });
    agents.start(Config { generation: 2, ..config(2, None) });
    agents.pass(2 * SECOND);
    let asked: Vec<u64> = (0..10).map(|_| agents.send(2, wait("b"))).collect();
    agents.ask(1, put("a", "2"));
    assert!(asked.iter().all(|ticket| !agents.replies.contains_key(ticket)), "key a is none of its business");
    agents.ask(1, put("b", "1"));
    for ticket in asked {
        assert_eq!(keys(agents.replies.remove(&ticket)), ["b"]);
    }
}

#[test]
fn an_agent_with_a_taken_name_harms_nobody_and_does_not_fill_the_log() {
    let mut agents = server_and_client();
    agents.register(2, "web");
    agents.start(Config { name: "n2".into(), ..config(3, None) });
    agents.register(3, "other");
    agents.pass(10 * SECOND);
    assert_eq!(agents.services_of(1, "n2"), ["web"]);
    assert!(agents.failed_syncs > 0, "the operator is told");
    let before = agents.last_index(1);
    agents.pass(600 * SECOND);
    assert_eq!(agents.services_of(1, "n2"), ["web"]);
    let written = agents.last_index(1) - before;
    assert!(written < 30, "{written} entries in ten minutes");

    // When the owner of the name is dead it is free, and what is on the newcomer is seen soon.
    agents.engines.remove(&2);
    agents.pass(240 * SECOND);
    assert_eq!(agents.services_of(1, "n2"), ["other"]);
}

#[test]
fn a_client_turns_away_from_a_server_that_finds_no_leader() {
    let mut agents = Agents::default();
    agents.start(config(1, Some(1)));
    agents.pass(5 * SECOND);
    // A server that everybody sees and that sees no leader.
    agents.raft_is_lost = true;
    agents.start(config(2, Some(0)));
    agents.pass(SECOND);
    // Whatever server a client prefers at first, before long none sticks to the one that is of no use.
    let clients: Vec<u8> = (10..20).collect();
    for number in &clients {
        agents.start(config(*number, None));
    }
    agents.pass(10 * SECOND);
    let asked: Vec<u64> = clients.iter().map(|n| agents.send(*n, Ask::Read(ReadRequest::now(get("a"))))).collect();
    let answered = |ticket| matches!(agents.replies.get(ticket), Some(Reply::Read { .. }));
    assert_eq!(asked.iter().filter(|ticket| answered(ticket)).count(), clients.len());
}

#[test]
fn three_new_servers_beside_a_cluster_found_no_second_one() {
    let mut agents = Agents::default();
    agents.start(config(9, Some(1)));
    agents.pass(5 * SECOND);
    assert_eq!(agents.bootstrapped.len(), 1);
    // Its disk hangs, so it does not add them before they have all seen each other.
    agents.hung.insert(9);
    for number in 1..=3 {
        agents.start(Config { join: vec![address(9)], ..config(number, Some(3)) });
    }
    agents.pass(30 * SECOND);
    assert_eq!(agents.bootstrapped.len(), 1, "{:?}", agents.bootstrapped);
}

#[test]
fn no_request_waits_longer_than_its_patience_for_a_hung_disk() {
    let mut agents = server_and_client();
    agents.hung.insert(1);
    let written = agents.send(1, put("a", "1"));
    agents.pass(10 * SECOND);
    assert_eq!(agents.replies.remove(&written), Some(Reply::Refused(Refusal::Unknown)));
}

#[test]
fn what_belongs_to_one_agent_is_not_done_for_another() {
    let mut agents = server_and_client();
    let request = Box::new(Request::here(Ask::Local(LocalRequest::Leave)));
    let from = Origin { id: id(2), address: address(2) };
    let message = Message::Forward { id: 1, hops: 1, request };
    agents.travelling.push_back((1, Input::Message { from, message }));
    agents.travel();
    agents.pass(20 * SECOND);
    assert!(matches!(agents.ask(2, put("a", "1")), Reply::Written { index, .. } if index > LogIndex::ZERO));
}

#[test]
fn a_question_that_a_dead_leader_has_goes_to_the_next_one() {
    let (mut agents, leader, other) = three_servers();
    agents.engines.remove(&leader);
    let asked = agents.send(other, Ask::Read(ReadRequest::now(get("a"))));
    agents.pass(2 * SECOND);
    assert!(matches!(agents.replies.get(&asked), Some(Reply::Read { .. })), "it knows the new leader by now");
}

#[test]
fn a_blocking_question_waits_no_longer_because_its_leader_died() {
    let (mut agents, leader, other) = three_servers();
    agents.ask(leader, put("a", "1"));
    let index = agents.engines[&leader].store().unwrap().applied_index();
    let wait = Some(Wait { index, timeout: 60 * SECOND });
    let asked = agents.send(other, Ask::Read(ReadRequest { wait, ..ReadRequest::now(get("a")) }));
    agents.pass(50 * SECOND);
    agents.engines.remove(&leader);
    agents.pass(9 * SECOND);
    assert!(!agents.replies.contains_key(&asked), "the new leader waits on");
    agents.pass(2 * SECOND);
    assert!(matches!(agents.replies.get(&asked), Some(Reply::Read { .. })), "for what was left");
}

/// A server that founds a cluster of its own, as `-dev` does, and then meets another one.
#[test]
fn two_clusters_that_meet_are_not_mixed() {
    let mut agents = Agents::default();
    agents.start(config(1, Some(1)));
    agents.pass(Duration::from_secs(2));
    agents.start(config(2, Some(1)));
    agents.pass(Duration::from_secs(30));
    for number in [1, 2] {
        let engine = &agents.engines[&number];
        assert_eq!(engine.members().count(), 2, "they do know each other");
        let raft = engine.raft().unwrap();
        assert_eq!(raft.leader(), Some(id(number)), "each leads its own");
        assert_eq!(raft.configuration().peers.len(), 1);
        assert!(raft.term().0 <= 3, "nobody disturbs anybody's terms");
        assert!(matches!(agents.ask(number, put("a", "1")), Reply::Written { .. }));
    }
}

/// A server, and a node in its catalogue that is called as this client is and has another id: a former life, of which gossip knows nothing.
fn server_with_a_former_life_of(client: &Config) -> Agents {
    let mut agents = Agents::default();
    agents.start(config(1, Some(1)));
    agents.pass(5 * SECOND);
    let former = Registration {
        node: Node {
            id: Some(id(9)),
            name: client.name.clone(),
            address: client.address.ip().to_string(),
            ..Node::default()
        },
        skip_node_update: false,
        service: None,
        checks: vec![Check {
            node: client.name.clone(),
            id: quorate_protocol::check::SERF_HEALTH.to_owned(),
            status: Status::Passing,
            ..Check::default()
        }],
    };
    agents.ask(1, Ask::Write(Write::Register(Box::new(former))));
    agents
}

#[test]
fn a_node_that_lost_its_disk_has_its_name_again_though_nobody_remembers_its_former_life() {
    let client = config(2, None);
    let name = client.name.clone();
    let mut agents = server_with_a_former_life_of(&client);
    agents.start(client);
    agents.pass(3 * SECOND);
    let view = agents.engines[&1].store().unwrap().view();
    assert_eq!(view.node(&name).unwrap().id, Some(id(2)), "long before the next pass over all nodes");
    assert_eq!(view.checks_of(&name).next().map(|check| check.status), Some(Status::Passing));
}

/// Its former life and it are compared in turn: where both are refused, neither may ask for the other at once.
#[test]
fn a_node_that_lost_its_disk_has_its_name_later_where_the_leader_is_busy() {
    const MORE_THAN_A_LEADER_TAKES: usize = 16_385;
    let client = config(2, None);
    let name = client.name.clone();
    let mut agents = server_with_a_former_life_of(&client);
    agents.hung.insert(1);
    let last = (0..MORE_THAN_A_LEADER_TAKES).map(|_| agents.send(1, put("k", "v"))).last();
    assert_eq!(last.and_then(|last| agents.replies.remove(&last)), Some(Reply::Refused(Refusal::Busy)));
    agents.start(client);
    agents.flush(1);
    agents.pass(70 * SECOND);
    let view = agents.engines[&1].store().unwrap().view();
    assert_eq!(view.node(&name).unwrap().id, Some(id(2)));
}
