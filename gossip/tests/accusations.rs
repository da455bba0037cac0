//! Who is accused, who is believed, and what is left of it: Lifeguard's side of membership.

#![allow(clippy::unwrap_used, reason = "a test may end by it")]

mod world;

use quorate_gossip::MemberEventKind::{Failed, Suspect};
use quorate_protocol::{Cause, MemberStatus};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{World, node_id, secs};

/// Who called whom failed: observer and subject.
fn failures(world: &World) -> BTreeSet<(usize, usize)> {
    let subject = |id| (0..world.agents.len()).find(|n| node_id(*n) == id);
    let failed = world.events.iter().filter(|(_, _, event)| event.kind == Failed);
    failed.filter_map(|(_, n, event)| Some((*n, subject(event.member.id)?))).collect()
}

/// Members that have been together for so long that everybody has probed everybody.
fn settled(agents: usize, seed: u64) -> World {
    let mut world = World::joined(agents, seed);
    world.run(secs(20));
    world
}

#[test]
fn a_crash_is_confirmed_and_the_account_says_by_whom() {
    let mut known = Vec::new();
    for seed in 0..10 {
        let mut world = settled(32, seed);
        world.crash(7);
        let first = world.run_until(secs(9), "one knows", |world| !failures(world).is_empty());
        let rest = world.run_until(secs(2), "all know", |world| world.all_see(7, MemberStatus::Failed));
        assert!(rest < secs(1), "seed {seed}: {rest:?}");
        known.push(first);
        let now = world.now;
        let account = world.get(0).evidence(now, node_id(7)).unwrap();
        assert_eq!(account.status, MemberStatus::Failed);
        assert!(matches!(account.cause, Cause::Confirmed | Cause::HeardFailed), "{account:?}");
        let suspicion = account.suspicion.unwrap();
        // Two, where this agent itself was one of them and another had its verdict already.
        assert!(suspicion.accusers.len() >= 2, "seed {seed}: {suspicion:?}");
        assert_eq!(suspicion.confirmations_needed, 2);
        assert!(suspicion.accusers.iter().all(|accuser| accuser.name.starts_with("agent-")), "{suspicion:?}");
        assert!(suspicion.ended.is_some() && suspicion.verdict_in.is_none());
        assert!(failures(&world).iter().all(|(_, subject)| *subject == 7));
    }
    known.sort_unstable();
    println!("first knows after {known:?}");
    assert!(known[5] < Duration::from_millis(4500), "{known:?}");
}

#[test]
fn four_crashes_at_once_are_found_as_soon() {
    let mut known = Vec::new();
    for seed in 0..9 {
        let mut world = settled(32, seed);
        for n in [3, 9, 20, 31] {
            world.crash(n);
        }
        let all = |world: &World| [3, 9, 20, 31].iter().all(|n| world.all_see(*n, MemberStatus::Failed));
        known.push(world.run_until(secs(12), "all know of all", all));
    }
    known.sort_unstable();
    println!("all know after {known:?}");
    assert!(known[4] < Duration::from_millis(6000), "{known:?}");
}

#[test]
fn one_that_is_cut_off_fails_nobody_before_the_long_wait_is_over() {
    for seed in 0..5 {
        let mut world = World::joined(16, seed);
        for _ in 0..6 {
            world.agents[5].group = 1;
            world.run(secs(8));
            world.agents[5].group = 0;
            world.run(Duration::from_millis(300));
        }
        world.run_until(secs(20), "well again", World::agrees);
        assert!(failures(&world).iter().all(|(_, subject)| *subject == 5), "seed {seed}: {:?}", failures(&world));
    }
}

#[test]
fn verdicts_of_one_that_was_cut_off_for_long_convince_nobody() {
    for (agents, seed) in [(3, 1), (4, 1), (4, 2), (8, 1), (8, 2), (16, 1)] {
        let mut world = World::joined(agents, seed);
        world.agents[1].group = 1;
        world.run_until(secs(180), "it holds all others for failed", |world| {
            (0..agents).filter(|n| *n != 1).all(|n| world.sees(1, n) == Some(MemberStatus::Failed))
        });
        world.agents[1].group = 0;
        world.run_until(secs(30), "all alive again", World::agrees);
        world.run(secs(30));
        assert!(world.agrees());
        let wrong: Vec<_> = failures(&world).into_iter().filter(|(n, subject)| *n != 1 && *subject != 1).collect();
        assert!(wrong.is_empty(), "{agents} agents, seed {seed}: {wrong:?}");
    }
}

#[test]
fn one_that_slept_accuses_nobody() {
    for seed in 0..20 {
        let mut world = World::joined(8, seed);
        world.run(Duration::from_millis(seed * 37));
        world.pause(3, secs(25));
        world.run_until(secs(20), "it is failed", |world| {
            (0..8).filter(|n| *n != 3).all(|n| world.sees(n, 3) == Some(MemberStatus::Failed))
        });
        world.run(secs(25));
        world.run_until(secs(5), "it is back", World::agrees);
        world.run(secs(10));
        let accused: Vec<_> =
            world.events.iter().filter(|(_, n, event)| *n == 3 && matches!(event.kind, Suspect | Failed)).collect();
        assert!(accused.is_empty(), "seed {seed}: {accused:?}");
        let now = world.now;
        let pause = world.get(3).evidence(now, node_id(0)).unwrap().own_pause.unwrap();
        assert!(pause.length > secs(20), "{pause:?}");
    }
}

#[test]
fn where_datagrams_are_lost_streams_still_prove_life() {
    let mut world = World::joined(8, 1);
    world.agents[3].datagrams_are_lost = true;
    world.run(secs(60));
    assert_eq!(failures(&world), BTreeSet::new(), "it is suspected, and refutes when it is asked over a stream");
    let answered = |n: usize| world.get(n).counters().get("probe_answered_by_stream").copied().unwrap_or_default();
    let answered: u64 = (0..8).map(answered).sum();
    assert!(answered > 5, "{answered}");
}

#[test]
fn local_health_tells_the_ill_from_those_whose_peer_is() {
    let mut world = World::joined(16, 1);
    world.agents[5].group = 1;
    world.run(secs(12));
    assert_eq!(world.get(5).local_health(), 7, "its helpers do not even say that they got no answer");
    for n in (0..16).filter(|n| *n != 5) {
        assert!(world.get(n).local_health() <= 1, "{n}: it has nacks: {:?}", world.get(n).local_health());
    }
    world.agents[5].group = 0;
    world.run(secs(40));
    assert_eq!(world.get(5).local_health(), 0);
}

#[test]
fn a_suspicion_names_its_accuser_while_it_is_open() {
    let mut world = World::joined(16, 1);
    world.crash(5);
    world.run_until(secs(3), "all suspect it", |world| world.all_see(5, MemberStatus::Suspect));
    world.run(Duration::from_millis(200));
    let now = world.now;
    let suspicion = world.get(0).evidence(now, node_id(5)).unwrap().suspicion.unwrap();
    assert!(!suspicion.accusers.is_empty() && suspicion.ended.is_none());
    let own = (0..16).filter(|n| *n != 5).filter_map(|n| {
        let account = world.get(n).evidence(now, node_id(5))?;
        Some((account.cause, account.suspicion?.own_probe?))
    });
    let own: Vec<_> = own.collect();
    assert!(!own.is_empty());
    for (cause, probe) in own {
        assert!(matches!(cause, Cause::ProbeFailed | Cause::Accused));
        assert!(!probe.by_stream && probe.helpers == 3 && probe.nacks == 3, "{probe:?}");
    }
}
