//! Crowds that join at once through one seed.

mod world;

use std::time::Duration;
use world::{World, secs};

/// Agents that all join within a second, and how long it took after the last until all saw all.
fn joined_within_a_second(agents: usize, seed: u64) -> (World, Duration) {
    let mut world = World::new(agents, seed);
    for n in 1..agents {
        world.join(n, 0);
        world.run(secs(1) / u32::try_from(agents).unwrap_or(1));
    }
    let complete = |world: &World| world.running().all(|(_, gossip)| gossip.members().count() == agents);
    let took = world.run_until(secs(10), "all see all", complete);
    assert!(world.agrees());
    (world, took)
}

#[test]
fn a_crowd_that_joins_in_one_moment_is_complete_soon() {
    for (agents, seeds) in [(8, 20), (16, 20), (32, 10), (64, 4)] {
        let mut took: Vec<Duration> = (0..seeds)
            .map(|seed| {
                let mut world = World::new(agents, seed);
                for n in 1..agents {
                    world.join(n, 0);
                }
                // Who joined first is told of the next ones while few can pass it on; a digest finds what was missed.
                world.run_until(secs(4), "all see all", World::agrees)
            })
            .collect();
        took.sort_unstable();
        println!("{agents} agents: {took:?}");
        assert!(took[took.len() / 2] < Duration::from_millis(900), "{agents} agents: {took:?}");
    }
}

#[test]
fn hundreds_within_a_second_are_complete_within_ten_and_then_quiet() {
    let (mut world, took) = joined_within_a_second(250, 1);
    let (_, bytes) = world.streamed;
    println!("all see all {took:?} after the last joined; {} bytes over streams each", bytes / 250);
    assert!(bytes / 250 < 1_000_000, "{bytes}");
    world.run(secs(10));
    world.streamed = (0, 0);
    world.run(secs(60));
    let (messages, bytes) = world.streamed;
    println!("then {messages} messages, {bytes} bytes over streams in a minute");
    assert!(bytes / 60 / 250 < 20, "digests are equal, so nothing follows them: {messages} messages, {bytes} bytes");
}

#[test]
#[ignore = "takes minutes: `cargo test -p quorate-gossip --test crowd -- --ignored`"]
fn a_thousand_within_a_second_are_complete_within_ten() {
    let (world, took) = joined_within_a_second(1000, 1);
    println!("all see all {took:?} after the last joined; {} bytes over streams each", world.streamed.1 / 1000);
}
