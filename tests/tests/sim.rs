//! The simulated world: the same seed twice, the seeds that once failed, a fixed range, and bugs planted in the world itself.

use quorate_tests::{Options, Plant, World, committed_seeds};
use std::ops::Range;

/// Runs the seeds and shows every failure in full.
fn hold(seeds: impl IntoIterator<Item = u64>) {
    let failures: Vec<_> = seeds.into_iter().filter_map(|seed| World::new(Options::new(seed)).run().err()).collect();
    for failure in &failures {
        println!("{failure}\n");
    }
    let seeds: Vec<u64> = failures.iter().map(|failure| failure.options.seed).collect();
    assert!(seeds.is_empty(), "seeds {seeds:?} failed; add them to tests/seeds.txt");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| World::new(Options { seconds: 60, ..Options::new(seed) }).run();
    for seed in [1, 2] {
        assert_eq!(run(seed), run(seed));
    }
    let hash = |seed| run(seed).map(|summary| summary.hash).ok();
    assert_ne!(hash(1), hash(2));
}

#[test]
fn committed_seeds_hold() {
    hold(committed_seeds());
}

// Two hundred seeds of five agents for two minutes each; in parts, so that both cores have work.

#[test]
fn seeds_0_to_49_hold() {
    hold(0..50);
}

#[test]
fn seeds_50_to_99_hold() {
    hold(50..100);
}

#[test]
fn seeds_100_to_149_hold() {
    hold(100..150);
}

#[test]
fn seeds_150_to_199_hold() {
    hold(150..200);
}

#[test]
fn other_sizes_hold() {
    for (agents, servers) in [(1, 1), (4, 1), (7, 5), (3, 3)] {
        let run = World::new(Options { agents, servers, ..Options::new(7) }).run();
        if let Err(failure) = run {
            panic!("{failure}");
        }
    }
}

/// The properties that a bug in the world breaks over a range of seeds.
fn broken(plant: Plant, seeds: Range<u64>) -> Vec<&'static str> {
    let run = |seed| World::new(Options { plant: Some(plant), ..Options::new(seed) }).run().err();
    seeds.filter_map(run).map(|failure| failure.violation.property).collect()
}

#[test]
fn a_disk_that_loses_entries_is_caught() {
    let broken = broken(Plant::DiskLosesEntries, 0..10);
    assert!(broken.len() >= 5, "{broken:?}");
}

#[test]
fn clocks_beyond_the_lease_are_caught() {
    let broken = broken(Plant::WildClocks, 0..20);
    assert!(!broken.is_empty(), "{broken:?}");
}
