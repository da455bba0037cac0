//! Changing the keys: under load, one step after the other, and for members that were away.

mod world;

use quorate_gossip::MemberEventKind;
use quorate_protocol::keyring::KeyringChange::{self, Install, Remove, Use};
use quorate_protocol::keyring::{GossipKey, KeyStamp};
use quorate_protocol::wire::gossip::GossipMessage;
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{EventFilter, EventId};
use std::time::Duration;
use world::{World, address, node_id, secs};

/// The key that the agents are configured with, and another.
fn keys() -> (GossipKey, GossipKey) {
    (GossipKey::from([7; 32]), GossipKey::from([8; 32]))
}

/// What an order in a query makes of the members `whom`.
fn order(world: &mut World, whom: &[usize], ltime: u64, change: &KeyringChange) {
    for n in whom {
        let stamp = KeyStamp { ltime, order: EventId([1; 16]) };
        assert_eq!(world.with(*n, |gossip| gossip.change_keys(change, stamp)), Ok(true));
        world.run(Duration::from_millis(20));
    }
}

fn has(world: &World, n: usize) -> Vec<GossipKey> {
    world.get(n).keyring().keys().cloned().collect()
}

#[test]
fn nobody_fails_and_no_event_is_lost_while_the_key_changes() {
    let mut world = World::joined(8, 1);
    world.loss_percent = 5;
    let all: Vec<usize> = (0..8).collect();
    let (old, new) = keys();
    let mut fired = 0;
    for (ltime, change) in [(1, Install(new.clone())), (2, Use(new.clone())), (3, Remove(old))] {
        for n in &all {
            let now = world.now;
            fired += 1;
            let name = format!("e{fired}");
            world.with(*n, |gossip| gossip.fire_event(now, name, "x".into(), EventFilter::default())).expect("fired");
            order(&mut world, &[*n], ltime, &change);
        }
        world.run(secs(3));
    }
    world.run_until(secs(60), "all heard all", |world| world.user_events.len() == 8 * fired);
    assert!(all.iter().all(|n| world.had(MemberEventKind::Failed, *n).is_empty()));
    assert!(all.iter().all(|n| has(&world, *n) == [new.clone()]));
}

#[test]
fn who_missed_a_step_or_was_away_catches_up() {
    let mut world = World::joined(5, 2);
    let (old, new) = keys();
    // One is cut off before the key is so much as installed; another misses only that it is used.
    world.agents[4].group = 1;
    order(&mut world, &[0, 1, 2, 3], 1, &Install(new.clone()));
    order(&mut world, &[0, 1, 2], 2, &Use(new.clone()));
    world.run_until(secs(60), "all but one seal with it", |world| (0..4).all(|n| has(world, n)[0] == new));
    world.agents[4].group = 0;
    world.run_until(secs(90), "it is back and seals with it", |world| {
        has(world, 4) == [new.clone(), old.clone()] && world.agrees()
    });
    order(&mut world, &[2], 3, &Remove(old));
    world.run_until(secs(90), "all forgot the old one", |world| (0..5).all(|n| has(world, n) == [new.clone()]));
    assert!(world.had(MemberEventKind::Failed, 0).iter().all(|n| *n == 4), "but by the one that was cut off");

    // After a restart orders go on where they were, although the clocks began anew.
    let state = world.get(3).keyring().state().clone();
    world.crash(3);
    world.restart(3, 0, |config| config.keyring = quorate_gossip::Keyring::from_state(state));
    world.run_until(secs(20), "it is back", World::agrees);
    let now = world.now;
    let event = world.with(3, |gossip| gossip.fire_event(now, "e".into(), "x".into(), EventFilter::default()));
    assert!(event.expect("fired").ltime > 3);
}

#[test]
fn who_is_a_stranger_by_label_is_told_no_key_and_brings_none() {
    let mut world = World::joined(2, 3);
    let state = world.get(1).keyring().state().clone();
    let now = world.now;
    let from = Origin { id: node_id(1), address: address(1) };
    let message = GossipMessage::Keys { label: "dc2".to_owned(), state };
    world.with(0, |gossip| gossip.handle_message(now, from, message));
    assert_eq!(world.get(0).counters().get("message_wrong_label"), Some(&1));
}
