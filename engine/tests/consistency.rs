//! How old an answer may be, and what it tells of its age.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_protocol::{Answer, Ask, Consistency, LogIndex, ReadRequest, Refusal, Reply, Wait};
use std::time::Duration;
use support::*;

fn stale(key: &str) -> ReadRequest {
    ReadRequest { consistency: Consistency::Stale, ..ReadRequest::now(get(key)) }
}

/// Whether a leader is known, and how long ago it was heard.
fn age(reply: Option<Reply>) -> (bool, Duration) {
    match reply {
        Some(Reply::Read { known_leader, last_contact, .. }) => (known_leader, last_contact),
        other => panic!("{other:?}"),
    }
}

fn value(reply: Option<Reply>) -> String {
    match reply {
        Some(Reply::Read { answer: Answer::Entries(entries), .. }) => {
            entries.iter().map(|entry| String::from_utf8_lossy(&entry.value.value).into_owned()).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn written(reply: Reply) -> LogIndex {
    match reply {
        Reply::Written { index, .. } => index,
        other => panic!("{other:?}"),
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_stale_answer_tells_its_age() {
    let (mut agents, leader, follower) = three_servers();
    agents.start(config(4, Some(0)));
    agents.pass(5 * SECOND);
    let ask = |agents: &mut Agents, number| age(Some(agents.ask(number, Ask::Read(stale("a")))));
    assert_eq!(ask(&mut agents, leader), (true, Duration::ZERO));
    for number in [follower, 4] {
        let (known, contact) = ask(&mut agents, number);
        assert!(known && contact <= 60 * MILLISECOND, "{number}: {contact:?}");
    }
    for number in [4, follower] {
        agents.cut_off = [number].into();
        agents.pass(20 * SECOND);
        let (known, contact) = ask(&mut agents, number);
        assert!(contact >= 19 * SECOND, "{number}: {contact:?}");
        // A learner stands for nothing and goes on to wait for the leader it knew.
        assert_eq!(known, number == 4, "{number}");
    }
}

#[test]
fn an_answer_that_would_be_too_old_is_the_leaders() {
    let (mut agents, _, follower) = three_servers();
    agents.pass(30 * MILLISECOND);
    let within = |max_stale| Ask::Read(ReadRequest { max_stale: Some(max_stale), ..stale("a") });
    assert!(age(Some(agents.ask(follower, within(SECOND)))).1 <= 60 * MILLISECOND);

    agents.cut_off.insert(follower);
    agents.pass(2 * SECOND);
    let young_enough = agents.ask(follower, within(60 * SECOND));
    assert!(matches!(age(Some(young_enough)), (false, contact) if contact >= SECOND));
    let too_old = agents.send(follower, within(SECOND));
    assert_eq!(agents.replies.get(&too_old), None, "there is no leader to ask");
    agents.pass(SECOND);
    agents.cut_off.clear();
    agents.pass(3 * SECOND);
    assert_eq!(age(agents.replies.remove(&too_old)), (true, Duration::ZERO), "the leader answered");
}

#[test]
fn whoever_saw_an_index_reads_nothing_older() {
    let (mut agents, leader, follower) = three_servers();
    written(agents.ask(leader, put("a", "1")));
    agents.pass(SECOND);
    agents.cut_off.insert(follower);
    let at_least = written(agents.ask(leader, put("a", "2")));
    let guarded = |at_least| Ask::Read(ReadRequest { at_least, ..stale("a") });
    assert_eq!(value(Some(agents.ask(follower, guarded(LogIndex(1))))), "1");
    let asked = agents.send(follower, guarded(at_least));
    let wait = Some(Wait { index: at_least, timeout: 60 * SECOND });
    let blocking = agents.send(follower, Ask::Read(ReadRequest { wait, at_least, ..stale("a") }));
    agents.pass(2 * SECOND);
    assert_eq!(agents.replies.get(&asked), None);
    agents.cut_off.clear();
    agents.pass(2 * SECOND);
    assert_eq!(value(agents.replies.remove(&asked)), "2");
    assert_eq!(agents.replies.get(&blocking), None, "it has seen that one");
    written(agents.ask(leader, put("a", "3")));
    agents.pass(SECOND);
    assert_eq!(value(agents.replies.remove(&blocking)), "3");
}

#[test]
fn an_index_that_never_comes_is_refused_in_time() {
    let (mut agents, leader, follower) = three_servers();
    for number in [leader, follower] {
        for consistency in [Consistency::Stale, Consistency::Default, Consistency::Consistent] {
            let asked =
                agents.send(number, Ask::Read(ReadRequest { consistency, at_least: LogIndex(u64::MAX), ..stale("a") }));
            agents.pass(7 * SECOND);
            assert_eq!(agents.replies.get(&asked), None);
            agents.pass(2 * SECOND);
            assert_eq!(agents.replies.remove(&asked), Some(Reply::Refused(Refusal::TimedOut)), "{consistency:?}");
        }
    }
}

#[test]
fn a_write_wakes_those_who_watch_what_it_touched_among_many() {
    let (mut agents, leader, _) = three_servers();
    let index = written(agents.ask(leader, put("a", "1")));
    let wait = Some(Wait { index, timeout: 60 * SECOND });
    let watch = |agents: &mut Agents, key: &str| {
        agents.send(leader, Ask::Read(ReadRequest { wait, ..ReadRequest::now(get(key)) }))
    };
    let asked: Vec<u64> = (0..500).map(|n| watch(&mut agents, &format!("k{n}"))).collect();
    let twice = watch(&mut agents, "k77");
    agents.replies.clear();
    agents.ask(leader, put("k77", "1"));
    let woken: Vec<u64> = agents.replies.keys().copied().collect();
    assert_eq!(woken, [asked[77], twice]);
}
