//! User events that are too long for a datagram: told of in datagrams, fetched over streams.

#![allow(clippy::expect_used, reason = "a test may end by it")]

mod world;

use bytes::Bytes;
use quorate_protocol::wire::gossip::GossipMessage;
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{EventFilter, UserEvent};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{World, address, node_id, secs};

fn fire(world: &mut World, n: usize, length: usize) -> UserEvent {
    let (now, payload) = (world.now, Bytes::from(vec![7; length]));
    world.with(n, |gossip| gossip.fire_event(now, "big".to_owned(), payload, EventFilter::default())).expect("fired")
}

fn heard(world: &World, event: &UserEvent) -> usize {
    let who: Vec<usize> = world.user_events.iter().filter(|(_, _, heard)| heard == event).map(|(_, n, _)| *n).collect();
    assert_eq!(who.iter().collect::<BTreeSet<_>>().len(), who.len(), "twice");
    who.len()
}

#[test]
fn they_are_heard_by_all_once_and_datagrams_carry_only_a_hash() {
    for (agents, loss) in [(2, 0), (32, 0), (32, 25)] {
        let mut world = World::joined(agents, 1);
        world.loss_percent = loss;
        world.run(secs(2));
        world.sent = (0, 0);
        let event = fire(&mut world, agents / 2, 9000);
        let within = if loss == 0 { secs(1) } else { secs(40) };
        let took = world.run_until(within, "all heard", |world| heard(world, &event) == agents);
        if loss == 0 {
            assert!(world.sent.1 < 9000 * agents as u64, "{} bytes in datagrams, {took:?}", world.sent.1);
        }
        world.run(secs(10));
        assert_eq!(heard(&world, &event), agents, "and never again");
    }
}

#[test]
fn who_told_of_one_and_died_is_not_waited_for() {
    let mut world = World::joined(8, 2);
    let event = fire(&mut world, 0, 9000);
    // Those whom it told have heard; it dies before it can send the event to all of them.
    world.run_until(secs(1), "somebody has it", |world| heard(world, &event) >= 3);
    world.crash(0);
    world.run_until(secs(40), "all others have it", |world| heard(world, &event) == 8);
}

#[test]
fn another_event_than_the_one_told_of_is_not_taken_for_it() {
    let mut world = World::joined(2, 3);
    world.tap = Some(Vec::new());
    let event = fire(&mut world, 1, 9000);
    // It is told, and before the event itself comes, somebody sends another under its id.
    while !world.tap.as_ref().is_some_and(|tap| tap.iter().any(|(to, _)| *to == address(0))) {
        world.run(Duration::from_micros(100));
    }
    world.run(Duration::from_micros(600));
    let forged = UserEvent { payload: Bytes::from_static(b"evil"), ..event.clone() };
    let (now, from) = (world.now, Origin { id: node_id(1), address: address(1) });
    let message = GossipMessage::Events { label: "dc1".to_owned(), events: vec![forged] };
    world.with(0, |gossip| gossip.handle_message(now, from, message));
    world.run(secs(5));
    let taken: Vec<&UserEvent> = world.user_events.iter().filter(|(_, n, _)| *n == 0).map(|(_, _, e)| e).collect();
    assert!(taken == [&event], "{} events", taken.len());
    assert_eq!(world.get(0).counters().get("large_event_not_as_told"), Some(&1));
}
