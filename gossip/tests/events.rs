//! User events: who hears them, how often, and what a flood of them cannot do.

mod world;

use bytes::Bytes;
use quorate_gossip::FireError;
use quorate_protocol::wire::gossip::GossipMessage;
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{EventFilter, EventId, MemberStatus, UserEvent};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use world::{World, address, node_id, secs};

fn fire(world: &mut World, n: usize, name: &str) -> Result<UserEvent, FireError> {
    let now = world.now;
    let payload = Bytes::from_static(b"payload");
    world.with(n, |gossip| gossip.fire_event(now, name.to_owned(), payload, EventFilter::default()))
}

/// How many heard an event of this name, each of them once.
fn heard(world: &World, name: &str) -> usize {
    let who: Vec<usize> = world.user_events.iter().filter(|(_, _, e)| e.name == name).map(|(_, n, _)| *n).collect();
    assert_eq!(who.iter().collect::<BTreeSet<_>>().len(), who.len(), "twice: {name}");
    who.len()
}

#[test]
fn an_event_is_heard_by_all_at_once_and_once() {
    // Where a quarter of all datagrams is lost, the last ones may hear it by the exchange of full state.
    for (agents, loss, within) in [(1, 0, 0), (2, 0, 200), (32, 0, 300), (32, 5, 700), (32, 25, 40_000)] {
        for seed in 0..2 {
            let mut world = World::joined(agents, seed);
            world.loss_percent = loss;
            let event = fire(&mut world, agents / 2, "deploy").unwrap();
            let limit = Duration::from_millis(within);
            let took = world.run_until(limit, "all heard", |world| heard(world, "deploy") == agents);
            if seed == 0 {
                println!("{agents} agents, {loss} % loss: {took:?}");
            }
            world.run(secs(5));
            assert_eq!(heard(&world, "deploy"), agents, "and never again");
            assert!(world.user_events.iter().all(|(_, _, heard)| *heard == event));
        }
    }
}

#[test]
fn what_follows_from_an_event_has_a_later_time() {
    let mut world = World::joined(3, 1);
    let first = fire(&mut world, 0, "cause").unwrap();
    world.run_until(secs(1), "all heard", |world| heard(world, "cause") == 3);
    let second = fire(&mut world, 2, "effect").unwrap();
    assert!(second.ltime > first.ltime);
}

#[test]
fn who_was_cut_off_hears_later_and_who_joins_does_not() {
    let mut world = World::joined(8, 2);
    world.agents[7].group = 1;
    fire(&mut world, 0, "meanwhile").unwrap();
    fire(&mut world, 7, "alone").unwrap();
    world.run(secs(20));
    assert_eq!((heard(&world, "meanwhile"), heard(&world, "alone")), (7, 1));
    world.agents[7].group = 0;
    world.run_until(secs(60), "each side heard the other", |world| {
        heard(world, "meanwhile") == 8 && heard(world, "alone") == 8
    });

    world.crash(3);
    world.run_until(secs(10), "failed", |world| world.all_see(3, MemberStatus::Failed));
    world.restart(3, 0, |_| {});
    world.run(secs(60));
    assert_eq!((heard(&world, "meanwhile"), heard(&world, "alone")), (8, 8), "what is over is not told to newcomers");
    let new = fire(&mut world, 3, "new").unwrap();
    assert!(new.ltime > 1, "but they know what time it is");
    world.run_until(secs(1), "all heard", |world| heard(world, "new") == 8);
}

#[test]
fn a_quiet_cluster_exchanges_no_events_again() {
    let mut world = World::joined(4, 3);
    for n in 0..40 {
        fire(&mut world, n % 4, &format!("e{n}")).unwrap();
    }
    world.run(secs(60));
    world.sent = (0, 0);
    world.run(secs(60));
    let (packets, bytes) = (world.sent.0 as f64 / 240.0, world.sent.1 as f64 / 240.0);
    assert!(packets < 4.5 && bytes < 800.0, "{packets} packets/s, {bytes} bytes/s");
}

#[test]
fn too_many_and_too_long_are_refused_with_the_limit() {
    let mut world = World::joined(2, 4);
    let now = world.now;
    let mut long = |name: &str, payload: usize, filter: EventFilter| {
        let payload = Bytes::from(vec![0; payload]);
        world.with(0, |gossip| gossip.fire_event(now, name.to_owned(), payload, filter))
    };
    assert!(long("n", 9215, EventFilter::default()).is_ok());
    let refused = long("n", 9216, EventFilter::default()).unwrap_err();
    assert!(refused.to_string().contains("9217 bytes are more than the 9216"), "{refused}");
    assert!(long("", 1, EventFilter::default()).is_err());
    assert!(long("n", 1, EventFilter { node: "x".repeat(129), ..EventFilter::default() }).is_err());

    let sent = (0..200).filter(|n| fire(&mut world, 0, &format!("many{n}")).is_ok()).count();
    assert_eq!(sent, 63);
    assert_eq!(fire(&mut world, 0, "more"), Err(FireError::TooMany));
    world.run(secs(5));
    assert_eq!(world.user_events.iter().filter(|(_, n, _)| *n == 1).count(), 64);
    assert!(fire(&mut world, 0, "later").is_ok());
}

#[test]
fn a_burst_from_everybody_arrives_and_nobody_fails_by_it() {
    let mut world = World::joined(16, 5);
    world.loss_percent = 5;
    for n in 0..16 {
        for i in 0..30 {
            fire(&mut world, n, &format!("{n}-{i}")).unwrap();
        }
    }
    world.run_until(secs(30), "all heard all", |world| world.user_events.len() == 16 * 16 * 30);
    assert_eq!(world.events, [], "no member was as much as suspected");
}

#[test]
fn changed_members_and_events_do_not_wait_for_each_other() {
    let mut world = World::joined(16, 6);
    // Every member has something long to say of itself, and half of them crash.
    for n in 0..16 {
        let now = world.now;
        let tags = BTreeMap::from([("note".to_owned(), "x".repeat(480))]);
        assert!(world.with(n, |gossip| gossip.set_tags(now, tags)));
    }
    (8..16).for_each(|n| world.crash(n));
    for n in 0..8 {
        for i in 0..20 {
            fire(&mut world, n, &format!("{n}-{i}")).unwrap();
        }
    }
    // Half of all that is sent goes to the dead; the exchange of full state brings what nobody else did.
    world.run_until(secs(40), "events are heard", |world| {
        world.user_events.iter().filter(|(_, n, _)| *n < 8).count() == 8 * 8 * 20
    });
    world.run_until(secs(40), "members are seen", |world| {
        (8..16).all(|n| world.all_see(n, MemberStatus::Failed))
            && (0..8).all(|n| {
                let id = node_id(n);
                world.running().all(|(_, gossip)| gossip.member(id).is_some_and(|m| m.tags.contains_key("note")))
            })
    });
}

#[test]
fn leaps_floods_and_nonsense_from_the_inside_change_nothing_but_counters() {
    let mut world = World::joined(2, 7);
    fire(&mut world, 0, "sane").unwrap();
    world.run(secs(1));
    let event = |ltime, name: &str, n: u8| UserEvent {
        id: EventId([n; 16]),
        ltime,
        origin: node_id(9),
        name: name.to_owned(),
        payload: Bytes::new(),
        filter: EventFilter::default(),
    };
    let from = Origin { id: node_id(1), address: address(1) };
    let now = world.now;
    let label = || "dc1".to_owned();
    world.with(0, |gossip| {
        for (message, reason) in [
            (GossipMessage::Events { label: label(), events: vec![event(u64::MAX, "x", 1)] }, "news_clock_leapt"),
            (GossipMessage::Events { label: label(), events: vec![event(1, "", 2)] }, "message_bad_event"),
            (GossipMessage::Events { label: "dc2".to_owned(), events: vec![event(1, "x", 3)] }, "message_wrong_label"),
        ] {
            gossip.handle_message(now, from, message);
            assert_eq!(gossip.counters().get(reason), Some(&1), "{reason}");
            assert_eq!(gossip.poll(), None);
        }
        let many = (0..2000).map(|n| event(2 + n, "x", n as u8)).collect();
        gossip.handle_message(now, from, GossipMessage::Events { label: label(), events: many });
    });
    assert_eq!(world.user_events.iter().filter(|(_, n, e)| *n == 0 && e.name == "x").count(), 512);
    assert_eq!(world.user_events.iter().filter(|(_, _, e)| e.name == "sane").count(), 2);
}
