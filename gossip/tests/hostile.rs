//! What a stranger can do with datagrams and streams: nothing but make counters count.

#![allow(clippy::unwrap_used, reason = "a test may end by it")]

mod world;

use proptest::prelude::*;
use quorate_gossip::{Gossip, Keyring, Output};
use quorate_protocol::wire::digest::Parts;
use quorate_protocol::wire::gossip::{
    GossipMessage, Liveness, MAX_PUSH_PULL, MemberRecord, MemberState, PushPull, RecentEvents, Stamp,
};
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{Member, NodeId, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use world::{World, address, node_id, secs};

/// Datagrams to agent 0 that nobody received yet, from a cluster of three.
fn cluster_and_datagrams(seed: u64) -> (World, Vec<Vec<u8>>) {
    let mut world = World::joined(3, seed);
    world.agents[1].group = 1;
    world.agents[2].group = 1;
    world.tap = Some(Vec::new());
    world.run(secs(2));
    let datagrams =
        world.tap.take().unwrap().into_iter().filter(|(to, _)| *to == address(0)).map(|(_, bytes)| bytes).collect();
    world.with(0, |gossip| while gossip.poll().is_some() {});
    (world, datagrams)
}

fn view(gossip: &Gossip) -> (Vec<Member>, Option<Time>) {
    (gossip.members().cloned().collect(), gossip.deadline())
}

fn count(gossip: &Gossip, reason: &str) -> u64 {
    gossip.counters().get(reason).copied().unwrap_or(0)
}

/// Hands in a datagram and demands that nothing came of it but one count of this.
fn check_refused(gossip: &mut Gossip, now: Time, bytes: &[u8], reason: &str) {
    let before = (view(gossip), gossip.counters().values().sum::<u64>(), count(gossip, reason));
    gossip.handle_datagram(now, address(99), bytes);
    assert_eq!(view(gossip), before.0, "{reason}");
    assert_eq!(gossip.poll(), None, "{reason}: it answered");
    assert_eq!(gossip.counters().values().sum::<u64>(), before.1 + 1, "{:?}", gossip.counters());
    assert_eq!(count(gossip, reason), before.2 + 1, "{reason}: {:?}", gossip.counters());
}

#[test]
fn truncated_flipped_and_too_long() {
    let (mut world, datagrams) = cluster_and_datagrams(1);
    let now = world.now;
    let datagram = datagrams.last().unwrap().clone();
    world.with(0, |gossip| {
        for length in 0..datagram.len() {
            let reason = if length <= 45 { "datagram_truncated" } else { "datagram_not_authentic" };
            check_refused(gossip, now, &datagram[..length], reason);
        }
        for bit in 0..datagram.len() * 8 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let reason = match bit / 8 {
                0 => "datagram_version",
                1..=4 => "datagram_unknown_key",
                _ => "datagram_not_authentic",
            };
            check_refused(gossip, now, &flipped, reason);
        }
        let mut long = datagram.clone();
        long.push(0);
        check_refused(gossip, now, &long, "datagram_not_authentic");
        long.resize(1233, 0);
        check_refused(gossip, now, &long, "datagram_too_long");
        check_refused(gossip, now, &vec![1; 65_000], "datagram_too_long");
    });
    // And whole it is good.
    world.with(0, |gossip| {
        gossip.handle_datagram(now, address(1), &datagram);
        assert!(gossip.poll().is_some());
    });
}

#[test]
fn replayed() {
    let (mut world, datagrams) = cluster_and_datagrams(2);
    assert!(datagrams.len() > 3);
    let now = world.now;
    world.with(0, |gossip| {
        for datagram in &datagrams {
            gossip.handle_datagram(now, address(1), datagram);
        }
        while gossip.poll().is_some() {}
        for datagram in &datagrams {
            check_refused(gossip, now, datagram, "datagram_replayed");
        }
    });
    // Nor after the sender restarted, when they speak for a former life.
    for agent in &mut world.agents {
        agent.group = 0;
    }
    for n in [1, 2] {
        world.crash(n);
        world.restart(n, 0, |_| ());
    }
    world.run_until(secs(20), "all see all", World::agrees);
    let now = world.now;
    world.with(0, |gossip| {
        for datagram in &datagrams {
            check_refused(gossip, now, datagram, "datagram_replayed");
        }
    });
}

#[test]
fn sealed_under_another_key_or_label() {
    for (change, reason) in [
        (
            Box::new(|c: &mut quorate_gossip::Config| c.keyring = Keyring::new([8; 32])) as Box<dyn Fn(&mut _)>,
            "datagram_unknown_key",
        ),
        (Box::new(|c: &mut quorate_gossip::Config| c.label = "dc2".to_owned()), "datagram_not_authentic"),
    ] {
        let mut strangers = World::new(0, 5);
        for n in 0..2 {
            let mut config = world::config(n, 5);
            change(&mut config);
            strangers.agents.push(world::Agent::new(config, strangers.now));
        }
        strangers.tap = Some(Vec::new());
        strangers.join(1, 0);
        strangers.run(secs(5));
        let datagrams: Vec<_> = strangers.tap.take().unwrap();
        assert!(datagrams.len() > 10);

        let mut world = World::joined(3, 5);
        let now = world.now;
        world.with(0, |gossip| {
            for (_, bytes) in &datagrams {
                check_refused(gossip, now, bytes, reason);
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..1500), start in prop::option::of(Just([1u8]))) {
        let mut gossip = Gossip::new(world::config(0, 1), Time::ZERO);
        while gossip.poll().is_some() {}
        let before = view(&gossip);
        let bytes: Vec<u8> = start.into_iter().flatten().chain(bytes).collect();
        gossip.handle_datagram(Time::ZERO, address(9), &bytes);
        prop_assert_eq!(view(&gossip), before);
        prop_assert_eq!(gossip.poll(), None);
        prop_assert_eq!(gossip.counters().values().sum::<u64>(), 1);
    }

    /// Whoever holds the key may say nonsense; it must not break anything.
    #[test]
    fn nonsense_in_a_push_pull(
        members in prop::collection::vec((0usize..6, 0u64..4, 0u32..3, any::<u16>(), 0..3u8, any::<u32>(), "[a-z]{0,200}", any::<bool>()), 0..40),
        reply: bool,
    ) {
        let mut world = World::joined(3, 9);
        let now = world.now;
        let members = members.into_iter().map(|(n, generation, renewal, incarnation, liveness, down_for_s, name, left)| MemberState {
            id: node_id(n),
            address: address(n),
            generation,
            renewal,
            incarnation,
            liveness: [Liveness::Alive, Liveness::Suspect, Liveness::Down][usize::from(liveness)],
            down_for_s,
            record: Some(MemberRecord { stamp: Stamp { generation, version: renewal }, name, tags: BTreeMap::new() }),
            left: left.then_some(Stamp { generation, version: renewal + 1 }),
            pruned: left && generation % 2 == 0,
        }).collect();
        let state = PushPull { exchange: 1, label: "dc1".to_owned(), members, parts: Parts::ALL, events: RecentEvents::default(), keys: 0, coordinates: BTreeMap::new()  };
        let message = if reply { GossipMessage::PushPullReply(state) } else { GossipMessage::PushPull(state) };
        world.with(0, |gossip| gossip.handle_message(now, Origin { id: node_id(1), address: address(1) }, message));
        for (_, gossip) in world.running() {
            prop_assert!(gossip.me().is_alive());
        }
        world.run(secs(5));
        // The three that live stay alive to each other, whatever was said of them; the others were never there.
        world.run_until(secs(90), "the living see each other", |world| {
            (0..3).all(|n| (0..3).all(|other| world.sees(n, other) == Some(quorate_protocol::MemberStatus::Alive)))
        });
    }
}

#[test]
fn streams_of_other_clusters_and_of_ourselves() {
    let mut world = World::joined(3, 1);
    let now = world.now;
    let stranger = MemberState {
        id: node_id(50),
        address: address(50),
        generation: 1,
        renewal: 0,
        incarnation: 0,
        liveness: Liveness::Alive,
        down_for_s: 0,
        record: Some(MemberRecord {
            stamp: Stamp { generation: 1, version: 0 },
            name: "stranger".to_owned(),
            tags: BTreeMap::new(),
        }),
        left: None,
        pruned: false,
    };
    let state = |label: &str, members: usize| {
        GossipMessage::PushPull(PushPull {
            exchange: 1,
            label: label.to_owned(),
            members: vec![stranger.clone(); members],
            parts: Parts::ALL,
            events: RecentEvents::default(),
            keys: 0,
            coordinates: BTreeMap::new(),
        })
    };
    let from = |n| Origin { id: node_id(n), address: address(n) };
    world.with(0, |gossip| {
        for (origin, message, reason) in [
            (from(50), state("dc2", 1), "message_wrong_label"),
            (from(50), state("dc1", MAX_PUSH_PULL + 1), "message_too_long"),
            (from(0), state("dc1", 1), "message_from_self"),
        ] {
            let before = view(gossip);
            gossip.handle_message(now, origin, message);
            assert_eq!(view(gossip), before);
            assert_eq!(gossip.poll(), None);
            assert_eq!(count(gossip, reason), 1);
        }
        gossip.handle_message(now, from(50), state("dc1", 1));
        assert!(gossip.member(NodeId(node_id(50).0)).is_some());
        assert!(matches!(gossip.poll(), Some(Output::Datagram { .. } | Output::Event(_) | Output::Message { .. })));
    });
}

#[test]
fn a_seed_that_is_ourselves_is_not_asked_for_ever() {
    let alias: SocketAddr = "10.0.0.1:8301".parse().unwrap();
    let mut gossip = Gossip::new(world::config(0, 1), Time::ZERO);
    while gossip.poll().is_some() {}
    gossip.join(Time::ZERO, vec![alias]);
    let Some(Output::Message { to, message }) = gossip.poll() else { panic!() };
    assert_eq!((to.id, to.address), (None, alias));
    gossip.handle_message(Time::ZERO, Origin { id: node_id(0), address: address(0) }, message);
    for second in 1..100 {
        gossip.handle_timeout(Time::ZERO + secs(second));
        assert_eq!(gossip.poll(), None);
    }
}
