//! A disk that is nearly full: another server leads, if there is one with room, and only where there is none are writes refused.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::Input;
use quorate_protocol::{
    Ask, CatalogOperation, KvWrite, LockRequest, LogIndex, OperatorRequest, Outcome, Refusal, Reply, Session,
    TxnOperation, TxnRead, Write,
};
use std::time::Duration;
use support::*;

fn disk(agents: &mut Agents, number: u8, low: bool) {
    agents.engines.get_mut(&number).unwrap().handle(agents.now, Input::DiskSpace { low });
    agents.travel();
    agents.pass(Duration::ZERO);
}

fn delete(key: &str) -> KvWrite {
    KvWrite::Delete { key: key.into(), cas: None }
}

fn is_taken(reply: &Reply) -> bool {
    matches!(reply, Reply::Written { outcome: Outcome::Done | Outcome::Txn(_), .. })
}

fn is_refused(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(Refusal::Invalid(why)) if why.contains("nearly full"))
}

fn transfers(agents: &Agents) -> u64 {
    agents.engines.values().map(|engine| engine.raft().unwrap().counters().transfers).sum()
}

#[test]
fn a_leader_whose_disk_is_low_hands_over_and_no_write_is_refused() {
    let (mut agents, leader, other) = three_servers();
    disk(&mut agents, leader, true);
    let through_old = agents.send(leader, put("a", "1"));
    let through_other = agents.send(other, put("b", "1"));
    agents.pass(SECOND);
    assert_ne!(agents.leader(), Some(leader));
    for ticket in [through_old, through_other] {
        assert!(is_taken(&agents.replies.remove(&ticket).unwrap()));
    }
    agents.pass(300 * SECOND);
    assert_eq!(transfers(&agents), 1, "and that is all");
}

#[test]
fn the_one_with_room_is_asked() {
    for full in [1, 2, 3] {
        let (mut agents, leader, _) = three_servers();
        if full == leader {
            continue;
        }
        disk(&mut agents, full, true);
        agents.pass(5 * SECOND);
        disk(&mut agents, leader, true);
        agents.pass(SECOND);
        assert_eq!(agents.leader(), Some(6 - full - leader), "the third has room");
    }
}

#[test]
fn where_all_are_low_the_leader_stays_and_takes_only_what_makes_room() {
    let (mut agents, leader, other) = three_servers();
    assert!(is_taken(&agents.ask(other, put("a", "1"))));
    let session = agents.session(other, Session::default());
    for number in [6 - leader - other, other, leader] {
        disk(&mut agents, number, true);
        agents.pass(5 * SECOND);
    }
    agents.pass(120 * SECOND);
    assert_eq!((agents.leader(), transfers(&agents)), (Some(leader), 0));
    assert!(is_refused(&agents.ask(other, put("b", "1"))));
    let lock = LockRequest { pair: pair("l", "1"), session, wait: SECOND };
    assert!(is_refused(&agents.ask(other, Ask::Lock(lock))), "a lock that is waited for is a write too");
    assert!(is_taken(&agents.ask(other, Ask::Write(Write::Kv(delete("a"))))));

    // Room is made on one that does not lead: it takes over.
    disk(&mut agents, other, false);
    agents.pass(5 * SECOND);
    assert_eq!(agents.leader(), Some(other));
    assert!(is_taken(&agents.ask(leader, put("b", "1"))));
}

#[test]
fn disks_that_fill_up_at_the_same_moment_do_not_pass_the_leadership_round() {
    let (mut agents, leader, _) = three_servers();
    for number in 1..=3 {
        agents.engines.get_mut(&number).unwrap().handle(agents.now, Input::DiskSpace { low: true });
    }
    agents.pass(300 * SECOND);
    assert!(agents.leader().is_some() && transfers(&agents) <= 1, "{} transfers, first {leader}", transfers(&agents));
}

#[test]
fn one_that_does_not_take_over_is_not_the_only_one_asked() {
    let (mut agents, leader, _) = three_servers();
    let [first, second] = [1, 2, 3].into_iter().filter(|n| *n != leader).collect::<Vec<_>>()[..] else { panic!() };
    // Its vote for itself never reaches its disk.
    agents.hung.insert(first);
    disk(&mut agents, leader, true);
    agents.pass(5 * SECOND);
    assert_eq!(agents.leader(), Some(second));
}

#[test]
fn a_leadership_that_comes_to_a_low_disk_goes_on_to_one_with_room() {
    let (mut agents, leader, other) = three_servers();
    disk(&mut agents, other, true);
    agents.pass(5 * SECOND);
    let to = Some(id(other));
    agents.send(leader, Ask::Operator(OperatorRequest::TransferLeader { to }));
    agents.pass(Duration::from_millis(500));
    assert_eq!(agents.leader(), Some(other));
    agents.pass(2 * SECOND);
    assert_ne!(agents.leader(), Some(other));
    assert!(is_taken(&agents.ask(other, put("a", "1"))));
}

#[test]
fn a_transaction_that_only_deletes_makes_room() {
    let mut agents = server_and_client();
    assert!(is_taken(&agents.ask(2, put("a", "1"))));
    disk(&mut agents, 1, true);
    let check = TxnRead::CheckIndex { key: "a".into(), index: LogIndex(agents.last_index(1)) };
    let node = CatalogOperation::DeleteNode { node: "gone".into(), cas: None };
    let deletes = vec![check.into(), TxnOperation::Kv(delete("a")), TxnOperation::Catalog(node)];
    let mut adds = deletes.clone();
    adds.push(TxnOperation::Kv(KvWrite::Put { pair: pair("b", "1"), cas: None }));
    assert!(is_refused(&agents.ask(2, Ask::Write(Write::Txn(adds)))));
    let reply = agents.ask(2, Ask::Write(Write::Txn(deletes)));
    assert!(is_taken(&reply), "{reply:?}");
}
