//! A log that is cut, and servers that need what it no longer holds.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, SnapshotPolicy};
use quorate_protocol::{
    Ask, Consistency, LocalRequest, ReadRequest, Refusal, Reply, SnapshotDescription, SnapshotRequest,
};
use support::*;

/// One whose log is cut after a few entries.
fn short(number: u8, expect: usize) -> Config {
    let mut config = config(number, Some(expect));
    if let Some(server) = &mut config.server {
        server.snapshots = SnapshotPolicy { entries: 20, bytes: u64::MAX, trailing: 5 };
    }
    config
}

fn three_short() -> (Agents, u8, u8) {
    let mut agents = Agents::default();
    (1..=3).for_each(|number| agents.start(short(number, 3)));
    agents.pass(10 * SECOND);
    let leader = agents.leader().unwrap();
    let other = if leader == 1 { 2 } else { 1 };
    (agents, leader, other)
}

fn write_many(agents: &mut Agents, asked: u8) {
    for number in 0..100 {
        let reply = agents.ask(asked, put(&format!("key/{number}"), "v"));
        assert!(matches!(reply, Reply::Written { .. }), "{reply:?}");
    }
    agents.pass(SECOND);
}

fn hashes(agents: &Agents) -> Vec<u64> {
    agents.engines.values().map(|engine| engine.store().unwrap().hash()).collect()
}

#[test]
fn the_log_is_cut_behind_a_snapshot() {
    let (mut agents, leader, _) = three_short();
    write_many(&mut agents, leader);
    let raft = agents.engines[&leader].raft().unwrap();
    assert!(raft.last_index().0 > 100 && raft.entries().len() < 60, "{} entries are left", raft.entries().len());
}

#[test]
fn a_large_state_is_not_written_down_for_a_little_log() {
    let (mut agents, leader, _) = three_short();
    let value = "x".repeat(100 * 1024);
    (0..40).for_each(|number| {
        agents.ask(leader, put(&format!("large/{number}"), &value));
    });
    agents.pass(SECOND);
    let before = agents.engines[&leader].raft().unwrap().entries().len();
    write_many(&mut agents, leader);
    let entries = agents.engines[&leader].raft().unwrap().entries().len();
    assert!(entries >= before + 100, "100 small entries are not worth 4 MB: there were {before}, now {entries}");
    (0..40).for_each(|number| {
        agents.ask(leader, put(&format!("large/{number}"), &value));
        agents.ask(leader, put(&format!("large/{number}"), ""));
    });
    agents.pass(SECOND);
    let entries = agents.engines[&leader].raft().unwrap().entries().len();
    assert!(entries < 60, "{entries} entries are left");
}

#[test]
fn a_server_that_was_away_for_long_takes_a_snapshot_and_goes_on() {
    let (mut agents, leader, other) = three_short();
    agents.cut_off.insert(other);
    write_many(&mut agents, leader);
    agents.cut_off.clear();
    agents.pass(10 * SECOND);
    let installed = agents.engines[&other].raft().unwrap().counters().snapshots_installed;
    assert_eq!(installed, 1);
    write_many(&mut agents, leader);
    let [first, second, third] = hashes(&agents)[..] else { panic!() };
    assert!(first == second && second == third);
}

#[test]
fn an_old_answer_never_comes_from_before_an_installed_snapshot() {
    let (mut agents, leader, other) = three_short();
    agents.cut_off.insert(other);
    write_many(&mut agents, leader);
    agents.cut_off.clear();
    agents.pass(10 * SECOND);
    let stale = ReadRequest { consistency: Consistency::Stale, ..ReadRequest::now(get("key/99")) };
    assert_eq!(keys(Some(agents.ask(other, Ask::Read(stale)))), ["key/99"]);
}

fn open(agents: &mut Agents, asked: u8) -> SnapshotDescription {
    match agents.ask(asked, Ask::Snapshot(SnapshotRequest::Open { stale: false })) {
        Reply::Snapshot(description) => description,
        other => panic!("{other:?}"),
    }
}

#[test]
fn people_read_one_state_however_much_is_written_meanwhile() {
    let (mut agents, leader, other) = three_short();
    write_many(&mut agents, leader);
    let SnapshotDescription { handle, index, .. } = open(&mut agents, other);
    agents.ask(leader, put("later", "v"));
    let mut chunks = Vec::new();
    loop {
        let number = chunks.len() as u64;
        match agents.ask(other, Ask::Snapshot(SnapshotRequest::Chunk { stale: false, handle, number })) {
            Reply::SnapshotChunk { bytes, last } => {
                chunks.push(bytes);
                if last {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let store = quorate_store::Store::from_chunks(chunks.iter().map(AsRef::as_ref)).unwrap();
    assert_eq!(store.applied_index(), index);
    assert!(store.view().entry("key/99").is_some() && store.view().entry("later").is_none());
}

#[test]
fn few_snapshots_are_held_and_not_for_ever() {
    let (mut agents, leader, _) = three_short();
    let handles: Vec<u64> = (0..4).map(|_| open(&mut agents, leader).handle).collect();
    let full = agents.ask(leader, Ask::Snapshot(SnapshotRequest::Open { stale: false }));
    assert_eq!(full, Reply::Refused(Refusal::Busy));
    agents.pass(61 * SECOND);
    let handle = handles[0];
    let gone = agents.ask(leader, Ask::Snapshot(SnapshotRequest::Chunk { stale: false, handle, number: 0 }));
    assert!(matches!(gone, Reply::Refused(Refusal::NotFound(_))), "{gone:?}");
    open(&mut agents, leader);
}

#[test]
fn one_server_goes_on_alone_when_a_person_gives_up_the_others() {
    let (mut agents, leader, other) = three_servers();
    let recover = || Ask::Local(LocalRequest::RecoverQuorum);
    assert!(matches!(agents.ask(other, recover()), Reply::Refused(Refusal::Invalid(_))), "there is a leader");
    agents.ask(leader, put("kept", "v"));
    agents.pass(SECOND);
    (1..=3).filter(|number| *number != other).for_each(|lost| drop(agents.engines.remove(&lost)));
    agents.pass(10 * SECOND);
    assert_eq!(agents.ask(other, recover()), Reply::Done);
    agents.pass(SECOND);
    assert!(matches!(agents.ask(other, put("new", "v")), Reply::Written { .. }));
    assert_eq!(keys(Some(agents.ask(other, Ask::Read(ReadRequest::now(get("kept")))))), ["kept"]);
    assert_eq!(agents.configuration(other).len(), 1);
}
