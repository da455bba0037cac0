//! Sessions: what an agent fills in, and when they end.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_protocol::{Ask, Outcome, Reply, Session, SessionId, SessionWrite, Write};
use std::time::Duration;
use support::*;

fn with_ttl(seconds: u64) -> Session {
    Session { ttl: Some(Duration::from_secs(seconds)), ..Session::default() }
}

fn create(session: Session) -> Ask {
    Ask::Write(Write::Session(SessionWrite::Create(Box::new(session))))
}

fn renew(id: SessionId) -> Ask {
    Ask::Write(Write::Session(SessionWrite::Renew { id }))
}

#[test]
fn the_agent_that_is_asked_fills_in_what_is_left_out() {
    let mut agents = server_and_client();
    let reply = agents.ask(2, create(Session::default()));
    let Reply::Written { outcome: Outcome::Session(Some(row)), .. } = reply else { panic!("{reply:?}") };
    assert_eq!(row.node, "n2");
    assert!(row.id != SessionId::default());
    assert_ne!(agents.session(2, Session::default()), row.id, "every session has an identity of its own");
}

#[test]
fn a_session_ends_two_ttls_after_its_last_renewal_and_never_earlier() {
    let mut agents = server_and_client();
    let session = agents.session(2, with_ttl(10));
    agents.ask(2, acquire("k", session));
    agents.pass(15 * SECOND);
    assert!(matches!(agents.ask(2, renew(session)), Reply::Written { outcome: Outcome::Session(Some(_)), .. }));
    agents.pass(20 * SECOND - Duration::from_millis(1));
    assert!(agents.has_session(1, session), "it was renewed less than two TTLs ago");
    agents.pass(SECOND);
    assert!(!agents.has_session(1, session), "and ends within five hundredths of that");
    assert_eq!(agents.holder(1, "k"), None);
    assert!(matches!(agents.ask(2, renew(session)), Reply::Written { outcome: Outcome::Session(None), .. }));
}

#[test]
fn a_session_ends_one_ttl_after_its_renewal_where_it_asked_for_that() {
    let mut agents = server_and_client();
    let session = agents.session(2, Session { exact_ttl: true, ..with_ttl(1) });
    agents.pass(SECOND - Duration::from_millis(1));
    assert!(agents.has_session(1, session));
    agents.pass(Duration::from_millis(51));
    assert!(!agents.has_session(1, session));
}

#[test]
fn a_deadline_survives_the_leader() {
    let (mut agents, leader, other) = three_servers();
    let session = agents.session(other, with_ttl(10));
    agents.pass(15 * SECOND);
    agents.engines.remove(&leader);
    agents.pass(5 * SECOND - Duration::from_millis(1));
    assert!(agents.has_session(other, session));
    agents.pass(SECOND);
    assert!(!agents.has_session(other, session), "the next leader does not begin to count anew");
}

#[test]
fn a_leader_that_is_cut_off_ends_nothing() {
    let (mut agents, leader, other) = three_servers();
    let session = agents.session(other, with_ttl(1));
    agents.pass(SECOND);
    let before = agents.last_index(leader);
    agents.raft_is_lost = true;
    agents.pass(30 * SECOND);
    assert_eq!(agents.last_index(leader), before, "it proposes nothing");
    assert!(agents.has_session(leader, session));
    agents.raft_is_lost = false;
    agents.pass(3 * SECOND);
    assert!(!agents.has_session(other, session));
}
