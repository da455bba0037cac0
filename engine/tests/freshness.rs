//! How old an answer may be: what a client may ask of a server that does not lead.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use quorate_protocol::{Ask, Consistency, LogIndex, ReadRequest, Refusal, Reply};
use std::time::Duration;
use world::{SECOND, get, keys, put, three_servers};

fn stale(key: &str) -> ReadRequest {
    ReadRequest { consistency: Consistency::Stale, ..ReadRequest::now(get(key)) }
}

fn index_of(reply: &Reply) -> LogIndex {
    match reply {
        Reply::Written { index, .. } => *index,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_is_cut_off_tells_its_age_and_answers_only_who_takes_that() {
    let (mut agents, _, other) = three_servers();
    agents.deaf_to_raft.insert(other);
    agents.pass(10 * SECOND);
    let reply = agents.ask(other, Ask::Read(stale("a")));
    let Reply::Read { known_leader, last_contact, .. } = reply else { panic!("{reply:?}") };
    assert!(!known_leader && last_contact >= 10 * SECOND && last_contact <= 11 * SECOND, "{last_contact:?}");
    let patient = ReadRequest { max_stale: Some(60 * SECOND), ..stale("a") };
    assert!(matches!(agents.ask(other, Ask::Read(patient)), Reply::Read { .. }));

    let demanding = agents.send(other, Ask::Read(ReadRequest { max_stale: Some(5 * SECOND), ..stale("a") }));
    agents.pass(6 * SECOND);
    assert_eq!(agents.replies.remove(&demanding), Some(Reply::Refused(Refusal::NoLeader)));
}

#[test]
fn a_server_that_hears_its_leader_answers_by_itself() {
    let (mut agents, leader, other) = three_servers();
    let fresh = ReadRequest { max_stale: Some(SECOND), ..stale("a") };
    agents.hung.insert(leader);
    assert!(matches!(agents.ask(other, Ask::Read(fresh)), Reply::Read { known_leader: true, .. }));
}

#[test]
fn whoever_has_seen_an_index_is_never_answered_from_before_it() {
    let (mut agents, leader, other) = three_servers();
    agents.deaf_to_raft.insert(other);
    let index = index_of(&agents.ask(leader, put("a", "1")));
    let asked = agents.send(other, Ask::Read(ReadRequest { at_least: index, ..stale("a") }));
    assert!(!agents.replies.contains_key(&asked), "it has not seen that yet");
    agents.deaf_to_raft.clear();
    agents.pass(Duration::from_millis(200));
    assert_eq!(keys(agents.replies.remove(&asked)), ["a"]);
}

#[test]
fn a_server_that_stays_behind_asks_the_leader() {
    let (mut agents, leader, other) = three_servers();
    let index = index_of(&agents.ask(leader, put("a", "1")));
    // The index is applied nowhere but will be: the other server's disk is not in the way of the leader.
    let next = LogIndex(index.0 + 1);
    let asked = agents.send(other, Ask::Read(ReadRequest { at_least: next, ..stale("b") }));
    agents.pass(SECOND);
    assert!(!agents.replies.contains_key(&asked));
    agents.deaf_to_raft.insert(other);
    agents.send(leader, put("b", "1"));
    agents.pass(Duration::from_millis(100));
    assert_eq!(keys(agents.replies.remove(&asked)), ["b"], "from the leader");
}

#[test]
fn an_index_from_the_future_is_refused_in_time() {
    let (mut agents, leader, other) = three_servers();
    for number in [leader, other] {
        let asked = agents.send(number, Ask::Read(ReadRequest { at_least: LogIndex(1 << 40), ..stale("a") }));
        agents.pass(12 * SECOND);
        assert_eq!(agents.replies.remove(&asked), Some(Reply::Refused(Refusal::TimedOut)), "{number}");
    }
}
