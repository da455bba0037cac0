//! What members see of each other when some join, crash, leave, come back or are cut off.

mod world;

use quorate_gossip::MemberEventKind::{Failed, Join, Leave, Reap, Refute, Suspect, Update};
use quorate_protocol::MemberStatus;
use std::collections::BTreeSet;
use std::time::Duration;
use world::{World, address, secs};

fn others(agents: usize, but: usize) -> BTreeSet<usize> {
    (0..agents).filter(|n| *n != but).collect()
}

#[test]
fn sixteen_join_through_one_seed() {
    for seed in 0..5 {
        let mut world = World::new(16, seed);
        for n in 1..16 {
            world.join(n, 0);
        }
        let took = world.run_until(secs(5), "all see all", World::agrees);
        assert!(took < secs(2), "{took:?}");
        for n in 0..16 {
            assert_eq!(world.had(Join, n).len(), 16, "each joined everywhere, at itself too");
            let joins = world.events.iter().filter(|(_, _, e)| e.kind == Join && e.member.id == world::node_id(n));
            assert_eq!(joins.count(), 16, "once each");
        }
        assert!(world.events.iter().all(|(_, _, e)| !e.member.name.is_empty() && e.kind == Join));
        assert_eq!(world.joined.len(), 15);
        assert!(world.joined.iter().all(|(_, seed, members)| *seed == address(0) && *members >= 2));
    }
}

#[test]
fn an_idle_cluster_is_quiet() {
    let mut world = World::joined(16, 3);
    world.run(secs(20));
    world.sent = (0, 0);
    world.run(secs(60));
    assert_eq!(world.events, []);
    let (packets, bytes) = (world.sent.0 as f64 / 60.0 / 16.0, world.sent.1 as f64 / 60.0 / 16.0);
    println!("idle: {packets:.2} packets/s, {bytes:.0} bytes/s per agent");
    assert!(packets < 4.5 && bytes < 800.0, "{packets} packets/s, {bytes} bytes/s");
}

#[test]
fn a_crash_is_failed_everywhere_within_five_seconds() {
    for agents in [2, 4, 5, 16] {
        for seed in 0..5 {
            let mut world = World::joined(agents, seed);
            world.crash(1);
            world.run_until(secs(5), "failed everywhere", |world| world.all_see(1, MemberStatus::Failed));
            assert_eq!(world.had(Failed, 1), others(agents, 1));
            assert_eq!(world.had(Leave, 1).len(), 0);
            assert!((0..agents).filter(|n| *n != 1).all(|n| world.had(Failed, n).is_empty()), "nobody else is accused");
            world.run(secs(30));
            assert!(world.agrees());
        }
    }
}

#[test]
fn one_who_leaves_has_left_and_did_not_fail() {
    for (agents, loss) in [(2, 0), (4, 0), (16, 0), (16, 20)] {
        for seed in 0..5 {
            let mut world = World::joined(agents, seed);
            world.loss_percent = loss;
            let now = world.now;
            world.with(1, |gossip| gossip.leave(now));
            assert_eq!(world.get(1).me().status, MemberStatus::Leaving);
            let known = world.run_until(secs(5), "left everywhere", |world| world.all_see(1, MemberStatus::Left));
            assert!(loss > 0 || known < Duration::from_millis(500), "{known:?}");
            world.run_until(secs(2), "done leaving", |world| world.get(1).has_left());
            assert_eq!(world.get(1).deadline(), None);
            world.run(secs(40));
            assert!(world.all_see(1, MemberStatus::Left));
            assert_eq!(world.had(Failed, 1).len(), 0, "seed {seed} of {agents}");
            assert_eq!(world.had(Leave, 1).len(), agents);
            let leaves = world.events.iter().filter(|(_, _, e)| e.kind == Leave).count();
            assert_eq!(leaves, agents, "once each");
        }
    }
}

#[test]
fn the_only_member_leaves_at_once() {
    let mut world = World::new(1, 1);
    let now = world.now;
    world.with(0, |gossip| gossip.leave(now));
    assert!(world.get(0).has_left());
}

#[test]
fn one_who_left_can_come_back_in_another_role() {
    let mut world = World::joined(5, 1);
    let now = world.now;
    world.with(2, |gossip| gossip.leave(now));
    world.run_until(secs(3), "left", |world| world.all_see(2, MemberStatus::Left) && world.get(2).has_left());
    world.crash(2);
    world.events.clear();
    world.restart(2, 0, |config| {
        config.tags.insert("role".to_owned(), "consul".to_owned());
    });
    world.run_until(secs(3), "back", World::agrees);
    assert_eq!(world.had(Join, 2).len(), 5);
    assert!(world.events.iter().all(|(_, _, e)| e.member.id != world::node_id(2) || e.member.is_server()));
    // Its old leave is still told by some; it must not count.
    world.run(secs(60));
    assert!(world.agrees());
    assert_eq!(world.had(Leave, 2).len(), 0);
}

#[test]
fn a_quick_restart_is_no_failure() {
    for seed in 0..5 {
        let mut world = World::joined(8, seed);
        world.crash(3);
        world.run(Duration::from_millis(300));
        // From another address, too.
        world.restart(3, 0, |config| config.address = address(100 + seed as usize));
        let took = world.run_until(secs(3), "back", World::agrees);
        assert!(took < secs(2), "{took:?}");
        world.run(secs(60));
        assert!(world.agrees());
        assert_eq!(world.had(Failed, 3).len(), 0, "seed {seed}: {}", world.trace());
        assert!(world.had(Update, 3).len() >= 7);
    }
}

#[test]
fn a_restart_that_knows_nobody_is_met_by_those_who_probe_it() {
    for seed in 0..5 {
        let mut world = World::joined(4, seed);
        world.crash(3);
        world.run(Duration::from_millis(300));
        world.restart(3, 3, |_| ());
        world.run_until(secs(3), "back", World::agrees);
        assert_eq!(world.had(Failed, 3).len(), 0, "seed {seed}: {}", world.trace());
    }
}

#[test]
fn a_failed_member_comes_back() {
    let mut world = World::joined(8, 1);
    world.crash(3);
    world.run_until(secs(6), "failed", |world| world.all_see(3, MemberStatus::Failed));
    world.restart(3, 0, |_| ());
    let took = world.run_until(secs(3), "back", World::agrees);
    assert!(took < secs(1), "{took:?}");
    assert_eq!(world.had(Join, 3).len(), 8);
}

#[test]
fn a_restart_with_an_older_clock_outbids_its_past() {
    let mut world = World::joined(5, 1);
    world.crash(3);
    world.run_until(secs(6), "failed", |world| world.all_see(3, MemberStatus::Failed));
    world.restart(3, 0, |config| config.generation = 0);
    world.run_until(secs(5), "back", World::agrees);
    assert_eq!(world.get(3).me().generation, 2);
    world.run(secs(40));
    assert!(world.agrees());
}

#[test]
fn another_agent_may_take_the_address_of_a_dead_one() {
    let mut world = World::joined(5, 1);
    world.crash(3);
    world.restart(3, 0, |config| {
        config.id = quorate_protocol::NodeId([0xee; 16]);
        config.name = "newcomer".to_owned();
    });
    world.run_until(secs(8), "the old one is failed", |world| {
        world.running().all(|(_, gossip)| {
            let status = |id| gossip.member(id).map(|member| member.status);
            status(world::node_id(3)).is_none_or(|s| s == MemberStatus::Failed)
                && status(quorate_protocol::NodeId([0xee; 16])) == Some(MemberStatus::Alive)
        })
    });
}

#[test]
fn halves_of_a_partition_find_each_other() {
    for (agents, cut) in [(2, 1), (5, 2), (16, 8)] {
        for seed in 0..3 {
            let mut world = World::joined(agents, seed);
            for n in 0..cut {
                world.agents[n].group = 1;
            }
            world.run(secs(20));
            for n in 0..agents {
                for other in 0..agents {
                    let expected = if (n < cut) == (other < cut) { MemberStatus::Alive } else { MemberStatus::Failed };
                    assert_eq!(world.sees(n, other), Some(expected), "{n} of {other}");
                }
            }
            for agent in &mut world.agents {
                agent.group = 0;
            }
            let took = world.run_until(secs(60), "one cluster again", World::agrees);
            assert!(took < secs(12), "{took:?}");
            world.run(secs(60));
            assert!(world.agrees(), "and stays one");
        }
    }
}

#[test]
fn one_cut_off_accuses_everybody_and_all_recover() {
    let mut world = World::joined(8, 2);
    world.agents[5].group = 1;
    world.run_until(secs(120), "it holds all others for failed", |world| {
        (0..8).filter(|n| *n != 5).all(|n| world.sees(5, n) == Some(MemberStatus::Failed))
    });
    world.agents[5].group = 0;
    let took = world.run_until(secs(60), "all alive again", World::agrees);
    assert!(took < secs(12), "{took:?}");
}

#[test]
fn nobody_stays_suspected_by_one_that_was_cut_off() {
    for tenths in 10..50 {
        let mut world = World::joined(5, tenths);
        world.agents[3].group = 1;
        world.run(Duration::from_millis(tenths * 100));
        world.agents[3].group = 0;
        let all_alive = |world: &World| (0..5).all(|n| world.all_see(n, MemberStatus::Alive));
        world.run_until(secs(10), &format!("all alive after {tenths} tenths of a second"), all_alive);
    }
}

#[test]
fn new_tags_reach_all() {
    for seed in 0..5 {
        let mut world = World::joined(16, seed);
        let now = world.now;
        let mut tags = world.get(4).me().tags.clone();
        tags.insert("load".to_owned(), "high".to_owned());
        assert!(world.with(4, |gossip| gossip.set_tags(now, tags.clone())));
        let took = world.run_until(secs(3), "all know", World::agrees);
        assert!(took < secs(1), "{took:?}");
        assert_eq!(world.had(Update, 4).len(), 16);
        tags.insert("long".to_owned(), "x".repeat(600));
        assert!(!world.with(4, |gossip| gossip.set_tags(now, tags)), "beyond the limit");
        assert!(!world.get(4).me().tags.contains_key("long"));
    }
}

#[test]
fn a_fifth_of_all_datagrams_may_be_lost() {
    for seed in 0..3 {
        let mut world = World::new(12, seed);
        world.loss_percent = 20;
        for n in 1..12 {
            world.join(n, n - 1);
        }
        world.run_until(secs(30), "all see all", World::agrees);
        world.crash(7);
        world.run_until(secs(30), "failed everywhere", |world| world.all_see(7, MemberStatus::Failed));
        world.loss_percent = 0;
        world.run_until(secs(60), "the rest agrees", World::agrees);
    }
}

#[test]
fn suspicion_and_refutation_are_told() {
    let mut world = World::joined(6, 1);
    world.agents[2].group = 1;
    world.run(Duration::from_millis(2300));
    world.agents[2].group = 0;
    world.run_until(secs(15), "well again", World::agrees);
    assert!(!world.had(Suspect, 2).is_empty());
    assert!(!world.had(Refute, 2).is_empty() || !world.had(Join, 2).is_empty());
}

#[test]
fn the_seed_may_come_late() {
    let mut world = World::new(3, 1);
    let late = world.agents[0].gossip.take();
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(20));
    assert_eq!(world.joined, []);
    world.agents[0].gossip = late;
    world.run_until(secs(40), "all see all", World::agrees);
    assert_eq!(world.joined.len(), 2);
}

#[test]
fn all_agents_but_one_restart_and_it_finds_them_again() {
    let mut world = World::joined(3, 1);
    world.crash(1);
    world.crash(2);
    world.run_until(secs(10), "alone", |world| world.all_see(1, MemberStatus::Failed));
    world.run(secs(100));
    // They come back knowing nobody, and nobody told them of the survivor.
    for n in [1, 2] {
        world.restart(n, n, |_| ());
    }
    world.run_until(secs(20), "found", World::agrees);
}

#[test]
fn a_failed_member_can_be_declared_gone_and_a_living_one_cannot() {
    let mut world = World::joined(5, 1);
    let now = world.now;
    assert!(!world.with(0, |gossip| gossip.force_leave(now, "agent-3", false)), "it lives");
    assert!(!world.with(0, |gossip| gossip.force_leave(now, "nobody", false)));
    world.crash(3);
    world.run_until(secs(6), "failed", |world| world.all_see(3, MemberStatus::Failed));
    let now = world.now;
    assert!(world.with(0, |gossip| gossip.force_leave(now, "agent-3", false)));
    world.run_until(secs(2), "left", |world| world.all_see(3, MemberStatus::Left));
    world.restart(3, 0, |_| ());
    world.run_until(secs(3), "back all the same", World::agrees);
}

#[test]
fn a_pruned_member_is_forgotten_by_all_at_once_and_shown_again_if_it_comes_back() {
    let mut world = World::joined(5, 1);
    world.crash(3);
    world.agents[4].group = 1;
    let unseen = |world: &World| (0..3).all(|n| world.sees(n, 3).is_none());
    // The one that is cut off doubts itself for longer.
    let failed = |world: &World| (0..3).all(|n| world.sees(n, 3) == Some(MemberStatus::Failed));
    world.run_until(secs(10), "failed", failed);
    let now = world.now;
    assert!(world.with(0, |gossip| gossip.force_leave(now, "agent-3", true)));
    world.run_until(secs(2), "forgotten", unseen);
    assert_eq!(world.had(Reap, 3), [0, 1, 2].into());
    world.agents[4].group = 0;
    world
        .run_until(secs(60), "forgotten by who was cut off, too", |world| world.agrees() && world.sees(4, 3).is_none());
    world.run(secs(120));
    assert!(unseen(&world), "no hearsay brings it back");
    world.restart(3, 0, |_| ());
    world.run_until(secs(3), "back all the same", World::agrees);
}

#[test]
fn one_who_left_can_be_pruned() {
    let mut world = World::joined(3, 2);
    let now = world.now;
    world.with(2, |gossip| gossip.leave(now));
    world.run_until(secs(5), "left", |world| world.all_see(2, MemberStatus::Left));
    let now = world.now;
    assert!(world.with(0, |gossip| gossip.force_leave(now, "agent-2", true)));
    world.run_until(secs(2), "forgotten", |world| (0..2).all(|n| world.sees(n, 2).is_none()));
}

#[test]
fn a_member_declared_gone_while_it_lives_takes_that_back() {
    let mut world = World::joined(5, 1);
    world.agents[3].group = 1;
    world.run_until(secs(10), "failed", |world| world.sees(0, 3) == Some(MemberStatus::Failed));
    let now = world.now;
    assert!(world.with(0, |gossip| gossip.force_leave(now, "agent-3", false)));
    world.run(secs(5));
    world.agents[3].group = 0;
    world.run_until(secs(60), "alive again", World::agrees);
}

#[test]
fn the_long_failed_are_forgotten_by_all_and_for_good() {
    let mut world = World::new(0, 1);
    for n in 0..4 {
        let mut config = world::config(n, 1);
        config.timing.reap_after = secs(300);
        world.agents.push(world::Agent::new(config, world.now));
    }
    for n in 1..4 {
        world.join(n, 0);
    }
    world.run_until(secs(5), "all see all", World::agrees);
    world.crash(3);
    world.run(secs(200));
    assert!(world.all_see(3, MemberStatus::Failed));
    world.run(secs(400));
    assert!(world.running().all(|(_, gossip)| gossip.members().count() == 3));
    assert_eq!(world.had(quorate_gossip::MemberEventKind::Reap, 3).len(), 3);
    world.run(secs(300));
    assert!(world.running().all(|(_, gossip)| gossip.members().count() == 3), "not told of again");
}

#[test]
fn one_seed_one_story() {
    let story = |seed| {
        let mut world = World::joined(8, seed);
        world.loss_percent = 10;
        world.crash(2);
        world.run(secs(10));
        world.restart(2, 0, |_| ());
        world.run(secs(10));
        world.trace()
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

/// All start again while the network is parted: each half finds a seed that answers, and is content.
#[test]
fn islands_that_never_knew_each_other_are_one_soon_after_the_network_is() {
    let mut world = World::new(4, 1);
    for n in [2, 3] {
        world.agents[n].group = 1;
    }
    let seeds: Vec<_> = (0..4).map(address).collect();
    for n in 0..4 {
        let (now, seeds) = (world.now, seeds.clone());
        world.with(n, |gossip| gossip.join(now, seeds));
    }
    world.run(secs(8));
    assert!(world.sees(0, 1) == Some(MemberStatus::Alive) && world.sees(0, 2).is_none());
    for n in [2, 3] {
        world.agents[n].group = 0;
    }
    let took = world.run_until(secs(60), "one cluster", World::agrees);
    assert!(took < secs(10), "{took:?}");
}
