//! First everything goes wrong, by dice; then nothing does, and all must agree.

mod world;

use quorate_protocol::MemberStatus;
use std::time::Duration;
use world::{World, address, secs};

const AGENTS: usize = 8;

/// As operators configure it: everybody is given the same few seeds.
fn join_seeds(world: &mut World, n: usize) {
    let now = world.now;
    world.with(n, |gossip| gossip.join(now, (0..3).map(address).collect()));
}

fn restart(world: &mut World, n: usize) {
    world.restart(n, n, |_| ());
    join_seeds(world, n);
}

fn hurt(world: &mut World) {
    for _ in 0..40 {
        let n = world.dice(AGENTS);
        let is_up = world.agents[n].gossip.as_ref().is_some_and(|gossip| !gossip.has_left());
        match world.dice(7) {
            0 if is_up => world.crash(n),
            1 if is_up => {
                let now = world.now;
                world.with(n, |gossip| gossip.leave(now));
            }
            2 | 3 if !is_up => {
                restart(world, n);
            }
            4 => world.agents[n].group = u8::try_from(world.dice(3)).unwrap_or(0),
            5 if is_up => {
                let now = world.now;
                let mut tags = world.get(n).me().tags.clone();
                tags.insert("moment".to_owned(), format!("{now:?}"));
                world.with(n, |gossip| gossip.set_tags(now, tags));
            }
            6 => world.loss_percent = [0, 5, 20, 50][world.dice(4)],
            _ => {}
        }
        let pause = world.dice(5000);
        world.run(Duration::from_millis(pause as u64));
    }
}

fn heal(world: &mut World) {
    world.loss_percent = 0;
    // Whoever is leaving goes; whoever is down comes back.
    world.run(secs(3));
    for n in 0..AGENTS {
        world.agents[n].group = 0;
        if world.agents[n].gossip.as_ref().is_none_or(quorate_gossip::Gossip::has_left) {
            restart(world, n);
        }
    }
}

#[test]
fn members_converge_after_heal() {
    for seed in 0..30 {
        let mut world = World::joined(AGENTS, seed);
        (0..AGENTS).for_each(|n| join_seeds(&mut world, n));
        hurt(&mut world);
        heal(&mut world);
        let took = world.run_until(secs(60), "all agree", World::agrees);
        assert!(took < secs(40), "seed {seed}: {took:?}");
        world.run(secs(60));
        assert!(world.agrees(), "seed {seed}: and go on agreeing");
        for (n, _) in world.running() {
            assert!((0..AGENTS).all(|other| world.sees(n, other) == Some(MemberStatus::Alive)));
        }
    }
}

#[test]
fn nobody_healthy_is_accused_at_five_percent_loss() {
    for seed in 0..10 {
        let mut world = World::joined(16, seed);
        world.loss_percent = 5;
        world.run(secs(120));
        let failed: Vec<_> =
            world.events.iter().filter(|(_, _, e)| e.kind == quorate_gossip::MemberEventKind::Failed).collect();
        assert!(failed.is_empty(), "seed {seed}: {failed:?}");
    }
}

#[test]
fn a_hundred_join_within_a_second() {
    let mut world = World::new(100, 1);
    for n in 1..100 {
        world.join(n, 0);
        world.run(Duration::from_millis(10));
    }
    let took = world.run_until(secs(20), "all see all", World::agrees);
    assert!(took < secs(5), "{took:?}");
}
