//! Waiting for locks: in order, without herds, across a change of leader, and when whoever waited has gone.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Input, Ticket};
use quorate_protocol::{
    Ask, KvWrite, LockRequest, LogIndex, OperatorRequest, Outcome, Reply, Request, Session, SessionId, SessionWrite,
    TxnOperation, Write,
};
use std::time::Duration;
use support::*;

const HALF: Duration = Duration::from_millis(500);

fn lock(key: &str, session: SessionId, seconds: u64) -> Ask {
    Ask::Lock(LockRequest { pair: pair(key, "locked"), session, wait: Duration::from_secs(seconds) })
}

fn sessions(agents: &mut Agents, number: u8) -> [SessionId; 3] {
    [(); 3].map(|()| agents.session(number, Session::default()))
}

#[test]
fn those_who_wait_get_the_lock_in_the_order_in_which_they_came() {
    let mut agents = server_and_client();
    let [a, b, c] = sessions(&mut agents, 2);
    agents.ask(2, acquire("k", a));
    let second = agents.send(2, lock("k", b, 60));
    let third = agents.send(1, lock("k", c, 60));
    agents.pass(SECOND);
    let before = agents.last_index(1);
    agents.ask(2, release("k", a));
    let (token, _) = acquired(agents.replies.remove(&second));
    assert!(!agents.replies.contains_key(&third));
    assert_eq!(agents.last_index(1) - before, 2, "a release and one acquire: the others are not woken in vain");
    agents.ask(2, release("k", b));
    let (later, _) = acquired(agents.replies.remove(&third));
    assert!(later > token, "a later hold has a greater token");
}

#[test]
fn whoever_waited_in_vain_is_told_who_holds_it() {
    let mut agents = server_and_client();
    let [a, b, _] = sessions(&mut agents, 2);
    agents.ask(2, acquire("k", a));
    let waiting = agents.send(2, lock("k", b, 10));
    agents.pass(9 * SECOND);
    assert!(!agents.replies.contains_key(&waiting));
    agents.pass(SECOND);
    let reply = agents.replies.remove(&waiting);
    assert!(matches!(reply, Some(Reply::Written { outcome: Outcome::Held { by }, .. }) if by == Some(a)), "{reply:?}");
}

#[test]
fn a_lock_of_a_session_that_ends_is_got_when_its_delay_is_over() {
    let mut agents = server_and_client();
    let [_, b, _] = sessions(&mut agents, 2);
    let a = agents.session(2, Session { lock_delay: 15 * SECOND, ..Session::default() });
    agents.ask(2, acquire("k", a));
    let waiting = agents.send(2, lock("k", b, 60));
    agents.ask(2, Ask::Write(Write::Session(SessionWrite::Destroy { id: a })));
    agents.pass(15 * SECOND - Duration::from_millis(1));
    assert!(!agents.replies.contains_key(&waiting), "nobody has it before");
    agents.pass(SECOND);
    acquired(agents.replies.remove(&waiting));
}

/// The holder would wait for its own release.
#[test]
fn whoever_holds_a_lock_does_not_queue_behind_those_who_wait_for_it() {
    let mut agents = server_and_client();
    let [a, b, _] = sessions(&mut agents, 2);
    let held = agents.send(2, lock("k", a, 60));
    let (token, _) = acquired(agents.replies.remove(&held));
    let waiting = agents.send(2, lock("k", b, 60));
    assert_eq!(held_already(&agents.ask(2, lock("k", a, 60))), token);
    assert!(!agents.replies.contains_key(&waiting));
}

/// The fencing token of a lock that its holder asked for once more.
fn held_already(reply: &Reply) -> LogIndex {
    match reply {
        Reply::Written { outcome: Outcome::Holds { token }, .. } => *token,
        other => panic!("{other:?}"),
    }
}

/// A request whose answer was lost is asked again; by then the holder may have written.
#[test]
fn a_wait_that_is_asked_twice_undoes_nothing_that_its_holder_wrote() {
    let mut agents = server_and_client();
    let [a, ..] = sessions(&mut agents, 2);
    let first = agents.ask(2, lock("k", a, 60));
    let (token, _) = acquired(Some(first));
    agents.ask(2, put("k", "written since"));
    assert_eq!(held_already(&agents.ask(2, lock("k", a, 60))), token);
    let view = agents.engines[&1].store().unwrap().view();
    assert_eq!(view.entry("k").unwrap().value.value, "written since");
}

#[test]
fn a_lock_got_for_somebody_who_has_gone_is_given_to_the_next() {
    let mut agents = server_and_client();
    let [a, b, _] = sessions(&mut agents, 1);
    agents.hung.insert(1);
    let gone = agents.send(1, lock("k", a, 60));
    agents.engines.get_mut(&1).unwrap().handle(agents.now, Input::Abandon { ticket: Ticket(gone) });
    let next = agents.send(1, lock("k", b, 60));
    agents.hung.remove(&1);
    agents.send(1, put("other", "x"));
    acquired(agents.replies.remove(&next));
    assert_eq!((agents.replies.contains_key(&gone), agents.holder(1, "k")), (false, Some(b)));
}

/// A disk that flushes several entries at once has them applied at once.
#[test]
fn a_lock_that_is_got_and_released_in_one_flush_goes_to_the_next() {
    let mut agents = server_and_client();
    let [a, b, _] = sessions(&mut agents, 1);
    agents.hung.insert(1);
    let first = agents.send(1, lock("k", a, 60));
    let next = agents.send(1, lock("k", b, 60));
    agents.send(1, release("k", a));
    agents.hung.remove(&1);
    agents.send(1, put("other", "x"));
    acquired(agents.replies.remove(&first));
    acquired(agents.replies.remove(&next));
}

#[test]
fn a_lock_that_somebody_knows_of_is_not_given_up_for_one_who_has_gone() {
    let mut agents = server_and_client();
    let [a, ..] = sessions(&mut agents, 1);
    agents.hung.insert(1);
    let gone = agents.send(1, lock("k", a, 60));
    agents.engines.get_mut(&1).unwrap().handle(agents.now, Input::Abandon { ticket: Ticket(gone) });
    // The same session tries again, with a plain acquire: this one will be told that it holds the key.
    let told = agents.send(1, acquire("k", a));
    agents.hung.remove(&1);
    agents.send(1, put("other", "x"));
    acquired(agents.replies.remove(&told));
    assert_eq!(agents.holder(1, "k"), Some(a));
}

/// An acquire of an equal value by the holder leaves the key's index as it is: that cannot tell that somebody knows.
#[test]
fn nor_where_it_was_acquired_again_with_the_same_value() {
    for in_a_transaction in [false, true] {
        let mut agents = server_and_client();
        let [a, ..] = sessions(&mut agents, 1);
        agents.hung.insert(1);
        let gone = agents.send(1, lock("k", a, 60));
        let again = KvWrite::Acquire { pair: pair("k", "locked"), session: a };
        let write = if in_a_transaction { Write::Txn(vec![TxnOperation::Kv(again)]) } else { Write::Kv(again) };
        let told = agents.send(1, Ask::Write(write));
        agents.engines.get_mut(&1).unwrap().handle(agents.now, Input::Abandon { ticket: Ticket(gone) });
        agents.hung.remove(&1);
        agents.send(1, put("other", "x"));
        agents.pass(SECOND);
        assert!(agents.replies.contains_key(&told));
        assert_eq!(agents.holder(1, "k"), Some(a));
    }
}

#[test]
fn those_who_wait_go_on_waiting_at_the_next_leader_the_first_first() {
    let (mut agents, leader, other) = three_servers();
    let third = 6 - leader - other;
    let [a, b, c] = sessions(&mut agents, other);
    agents.ask(other, acquire("k", a));
    let first = agents.send(other, lock("k", b, 60));
    let second = agents.send(other, lock("k", c, 60));
    agents.engines.remove(&leader);
    agents.pass(5 * SECOND);
    agents.send(third, release("k", a));
    agents.pass(SECOND);
    acquired(agents.replies.remove(&first));
    assert!(!agents.replies.contains_key(&second));
    agents.send(third, release("k", b));
    agents.pass(SECOND);
    acquired(agents.replies.remove(&second));
}

/// Gossip would find out much later that the leader is gone.
#[test]
fn those_who_wait_are_asked_for_at_the_next_leader_as_soon_as_there_is_one() {
    let (mut agents, leader, other) = three_servers();
    let third = 6 - leader - other;
    let [a, b, _] = sessions(&mut agents, other);
    agents.ask(other, acquire("k", a));
    agents.ask(other, acquire("j", a));
    let waiting = agents.send(other, lock("k", b, 60));
    let in_vain = agents.send(third, lock("j", b, 8));
    agents.pass(SECOND);
    agents.cut_off.insert(leader);
    agents.pass(SECOND);
    assert!(agents.leader().is_some());
    agents.send(third, release("k", a));
    agents.pass(HALF);
    acquired(agents.replies.remove(&waiting));

    // The wait goes on where it was.
    agents.pass(5 * SECOND);
    assert!(!agents.replies.contains_key(&in_vain));
    agents.pass(SECOND);
    let reply = agents.replies.remove(&in_vain);
    assert!(matches!(reply, Some(Reply::Written { outcome: Outcome::Held { by }, .. }) if by == Some(a)), "{reply:?}");
}

#[test]
fn a_wait_for_a_lock_is_no_longer_because_there_was_no_leader_at_first() {
    let (mut agents, leader, other) = three_servers();
    let [a, b, _] = sessions(&mut agents, other);
    agents.ask(other, acquire("k", a));
    agents.raft_is_lost = true;
    agents.pass(2 * SECOND);
    assert_eq!(agents.leader(), None);
    let waiting = agents.send(leader, lock("k", b, 4));
    agents.pass(3 * SECOND);
    agents.raft_is_lost = false;
    agents.pass(SECOND - Duration::from_millis(10));
    assert!(agents.leader().is_some() && !agents.replies.contains_key(&waiting));
    agents.pass(Duration::from_millis(50));
    let reply = agents.replies.remove(&waiting);
    assert!(matches!(reply, Some(Reply::Written { outcome: Outcome::Held { by }, .. }) if by == Some(a)), "{reply:?}");
}

/// The leader that hands over refuses to write, and is still the one that everybody knows: asked again in the same breath, it refused for ever.
#[test]
fn a_lock_that_is_asked_for_while_the_leader_hands_over_is_got_from_the_next() {
    let (mut agents, leader, other) = three_servers();
    let [a, b, _] = sessions(&mut agents, other);
    let transfer = Ask::Operator(OperatorRequest::TransferLeader { to: Some(id(other)) });
    let asks = [(900, transfer), (901, lock("k", a, 60)), (902, put("x", "y")), (903, lock("j", b, 60))];
    for (ticket, ask) in asks {
        let input = Input::Request { ticket: Ticket(ticket), request: Request::here(ask) };
        agents.engines.get_mut(&leader).unwrap().handle(agents.now, input);
    }
    agents.travel();
    agents.pass(SECOND);
    assert_eq!(agents.leader(), Some(other));
    assert_eq!(agents.replies.remove(&900), Some(Reply::Done));
    acquired(agents.replies.remove(&901));
    assert!(matches!(agents.replies.remove(&902), Some(Reply::Written { outcome: Outcome::Done, .. })));
    acquired(agents.replies.remove(&903));
}

#[test]
fn a_leader_that_finds_no_successor_in_time_leads_on_and_serves_what_had_to_wait() {
    let (mut agents, leader, other) = three_servers();
    let [a, ..] = sessions(&mut agents, other);
    agents.hung.insert(other);
    agents.raft_is_lost = true;
    let to = Some(id(other));
    let transfer = agents.send(leader, Ask::Operator(OperatorRequest::TransferLeader { to }));
    let locked = agents.send(leader, lock("k", a, 60));
    agents.raft_is_lost = false;
    agents.hung.remove(&other);
    agents.pass(2 * SECOND);
    assert!(agents.replies.contains_key(&transfer), "the operator is told how it went");
    acquired(agents.replies.remove(&locked));
}
