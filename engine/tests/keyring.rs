//! Changing the keys of agents without any server: who did what, and who could not.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_protocol::keyring::KeyringChange::{Install, Remove, Use};
use quorate_protocol::keyring::{GossipKey, KeyringReport, KeyringRequest};
use quorate_protocol::{Ask, LocalRequest, Reply};
use support::*;

fn order(agents: &mut Agents, number: u8, request: KeyringRequest, local: bool) -> KeyringReport {
    let ticket = agents.send(number, Ask::Local(LocalRequest::Keyring { request, relays: 0, local }));
    let begun = agents.now;
    while !agents.replies.contains_key(&ticket) {
        assert!(agents.now.since(begun) < 10 * SECOND, "no reply");
        agents.pass(SECOND / 20);
    }
    match agents.replies.remove(&ticket) {
        Some(Reply::Keyring(report)) => report,
        other => panic!("{other:?}"),
    }
}

fn key(n: u8) -> GossipKey {
    GossipKey::from([n; 32])
}

fn done(report: &KeyringReport) -> (usize, usize, usize) {
    (report.answered, report.members, report.refused.len())
}

#[test]
fn a_key_is_installed_used_and_the_old_one_removed_everywhere() {
    let mut agents = Agents::clients(3);
    let list = |agents: &mut Agents| order(agents, 2, KeyringRequest::List, false);
    let before = list(&mut agents);
    assert_eq!((before.keys, before.primaries), ([(key(7), 3)].into(), [(key(7), 3)].into()));
    for (change, keys) in
        [(Install(key(8)), vec![key(7), key(8)]), (Use(key(8)), vec![key(8), key(7)]), (Remove(key(7)), vec![key(8)])]
    {
        let begun = agents.now;
        assert_eq!(done(&order(&mut agents, 1, KeyringRequest::Change(change), false)), (3, 3, 0));
        assert!(agents.now.since(begun) < SECOND, "it waits for nobody who has answered");
        for number in 1..=3 {
            assert_eq!(agents.keys[&number].installed().cloned().collect::<Vec<_>>(), keys, "kept by {number}");
        }
    }
    let after = list(&mut agents);
    assert_eq!((after.members, after.keys, after.primaries), (3, [(key(8), 3)].into(), [(key(8), 3)].into()));
    assert_eq!(order(&mut agents, 1, KeyringRequest::List, true).keys, [(key(8), 1)].into());
}

#[test]
fn what_is_not_done_is_said_of_each() {
    let mut agents = Agents::clients(3);
    let change = |agents: &mut Agents, change| order(agents, 1, KeyringRequest::Change(change), false);
    let primary = change(&mut agents, Remove(key(7)));
    assert_eq!(done(&primary), (3, 3, 3));
    assert!(primary.refused.values().all(|why| why == "Removing the primary key is not allowed"));
    let unknown = change(&mut agents, Use(key(9)));
    assert_eq!(unknown.refused["n2"], "Requested key is not in the keyring");

    agents.keeps_no_keys.insert(2);
    let unsaved = change(&mut agents, Install(key(8)));
    assert_eq!(unsaved.refused.keys().collect::<Vec<_>>(), ["n2"]);
    assert!(unsaved.refused["n2"].contains("the disk is full"), "{unsaved:?}");

    agents.keeps_no_keys.clear();
    agents.cut_off.insert(3);
    assert_eq!(done(&change(&mut agents, Use(key(8)))), (2, 3, 0), "one is silent");
    agents.cut_off.remove(&3);
    agents.pass(60 * SECOND);
    assert_eq!(agents.keys[&3].installed().next(), Some(&key(8)), "and catches up");
}
