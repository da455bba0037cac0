//! What a member makes of another's view, when it differs from its own.

#![allow(clippy::expect_used, reason = "a test may end by it")]

mod world;

use quorate_gossip::MemberEventKind::{Failed, Refute, Suspect};
use quorate_gossip::Output;
use quorate_protocol::MemberStatus;
use quorate_protocol::wire::digest::Parts;
use quorate_protocol::wire::gossip::{GossipMessage, Liveness, MemberState, PushPull, RecentEvents};
use quorate_protocol::wire::stream::Origin;
use std::collections::BTreeMap;
use std::time::Duration;
use world::{World, address, node_id, secs};

fn state(n: usize, generation: u64, renewal: u32, liveness: Liveness) -> MemberState {
    MemberState {
        id: node_id(n),
        address: address(n),
        generation,
        renewal,
        incarnation: 0,
        liveness,
        down_for_s: 0,
        record: None,
        left: None,
        pruned: false,
    }
}

/// Agent 1 tells agent 0.
fn tell(world: &mut World, member: MemberState) {
    let (now, from) = (world.now, Origin { id: node_id(1), address: address(1) });
    let state = PushPull {
        exchange: 0,
        label: "dc1".to_owned(),
        members: vec![member],
        parts: Parts::ALL,
        events: RecentEvents::default(),
        keys: 0,
        coordinates: BTreeMap::new(),
    };
    world.with(0, |gossip| gossip.handle_message(now, from, GossipMessage::PushPullReply(state)));
}

#[test]
fn that_a_living_member_is_down_is_a_suspicion() {
    let mut world = World::joined(4, 1);
    tell(&mut world, state(2, 1, 0, Liveness::Down));
    assert_eq!(world.sees(0, 2), Some(MemberStatus::Suspect));
    world.run(secs(20));
    assert!(world.agrees());
    assert!(world.had(Suspect, 2).contains(&0) && world.had(Refute, 2).contains(&0));
    assert!(world.had(Failed, 2).is_empty());
}

#[test]
fn and_comes_true_if_nobody_refutes_it() {
    let mut world = World::joined(4, 1);
    world.crash(2);
    tell(&mut world, state(2, 1, 0, Liveness::Down));
    // Two seconds of suspicion, without the wait for a probe to fail first.
    let took = world.run_until(secs(5), "failed", |world| world.all_see(2, MemberStatus::Failed));
    assert!(took < secs(3), "{took:?}");
}

#[test]
fn that_we_are_down_makes_us_come_back() {
    let mut world = World::joined(4, 1);
    tell(&mut world, state(0, 1, 0, Liveness::Down));
    assert_eq!(world.get(0).counters().get("identity_renewed"), Some(&1));
    world.run(secs(5));
    assert!(world.agrees());
    assert!(world.had(Failed, 0).is_empty());
}

/// Cut off, agent 0 suspects agent 2; then it comes back under a new identity, which ends its timers, and what it tells of it is lost as well.
#[test]
fn a_suspicion_that_nobody_heard_of_is_refuted_all_the_same() {
    for seed in 0..10 {
        let mut world = World::joined(4, seed);
        world.agents[0].group = 1;
        tell(&mut world, state(2, 1, 0, Liveness::Suspect));
        world.run(Duration::from_millis(600));
        tell(&mut world, state(0, 1, 0, Liveness::Down));
        world.run(Duration::from_millis(500));
        world.agents[0].group = 0;
        world.run_until(secs(12), &format!("seed {seed}: all alive"), World::agrees);
    }
}

#[test]
fn that_a_later_life_of_ours_was_seen_is_outbid() {
    let mut world = World::joined(4, 1);
    tell(&mut world, state(0, 41, 0, Liveness::Alive));
    assert_eq!(world.get(0).me().generation, 42);
    world.run_until(secs(5), "all know", World::agrees);
}

#[test]
fn that_one_we_hold_down_is_alive_makes_us_call_it() {
    let mut world = World::joined(4, 1);
    world.crash(2);
    world.run_until(secs(5), "failed", |world| world.all_see(2, MemberStatus::Failed));
    let (now, from) = (world.now, Origin { id: node_id(1), address: address(1) });
    let members = vec![state(2, 1, 0, Liveness::Alive)];
    let told = GossipMessage::PushPullReply(PushPull {
        exchange: 0,
        label: "dc1".to_owned(),
        members,
        parts: Parts::ALL,
        events: RecentEvents::default(),
        keys: 0,
        coordinates: BTreeMap::new(),
    });
    let gossip = world.agents[0].gossip.as_mut().expect("it runs");
    gossip.handle_message(now, from, told);
    let called = std::iter::from_fn(|| gossip.poll())
        .any(|output| matches!(output, Output::Datagram { to, .. } if to == address(2)));
    assert!(called);
    assert_eq!(world.sees(0, 2), Some(MemberStatus::Failed), "hearsay alone revives nobody");
}
