//! The simulated world: the same seed twice, the seeds that once failed, a fixed range, and bugs planted in the world itself.

use quorate_tests::{Happened, Happening, Options, Plant, World, committed_seeds};
use std::ops::Range;

/// Runs the seeds, shows every failure in full, and tells what happened in them.
fn hold(seeds: impl IntoIterator<Item = u64>) -> Happened {
    let mut failed = Vec::new();
    let mut happened = Vec::new();
    for seed in seeds {
        match World::new(Options::new(seed)).run() {
            Ok(summary) => happened.push(summary.happened),
            Err(failure) => {
                println!("{failure}\n");
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?} failed; add them to tests/seeds.txt");
    happened.into_iter().sum()
}

/// What a part of the fixed range must have seen at the least: about half of what the four parts saw when this was measured, and of histories four fifths.
const AT_LEAST: [(Happening, u64); 22] = [
    (Happening::Term, 1000),
    (Happening::StatesCompared, 150_000),
    (Happening::WriteAcknowledged, 60_000),
    (Happening::Session, 2000),
    (Happening::LockGranted, 6000),
    (Happening::LockGrantedInTurn, 1000),
    (Happening::Expired, 2500),
    (Happening::Transaction, 6500),
    (Happening::ChangeStreamed, 65_000),
    (Happening::StreamCompacted, 65),
    (Happening::SnapshotSaved, 1500),
    (Happening::SnapshotInstalled, 45),
    (Happening::LogCompacted, 1500),
    (Happening::StartFromSnapshot, 600),
    (Happening::CrashWhileSaving, 3),
    (Happening::Transfer, 250),
    (Happening::DiskLost, 20),
    (Happening::ServerLeft, 15),
    (Happening::FailedFlush, 120),
    (Happening::SavedForPeople, 330),
    (Happening::Restored, 10),
    (Happening::HistoryExplained, 650),
];

/// Runs a part of the fixed range, and sees to it that it was not empty of what it is to prove.
fn hold_and_see(seeds: Range<u64>) {
    let happened = hold(seeds);
    let rare: Vec<_> = AT_LEAST.iter().filter(|(what, least)| happened.count(*what) < *least).collect();
    assert!(rare.is_empty(), "too rare to prove anything: {rare:?} in {happened}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| World::new(Options::new(seed)).run();
    for seed in [1, 2] {
        assert_eq!(run(seed), run(seed));
    }
    let hash = |seed| run(seed).unwrap().hash;
    assert_ne!(hash(1), hash(2));
}

#[test]
fn committed_seeds_hold() {
    hold(committed_seeds());
}

// Four hundred and eighty seeds of five agents for two minutes each; in parts, so that both cores have work. `just explore` runs as many as there is time for.

#[test]
fn seeds_0_to_119_hold() {
    hold_and_see(0..120);
}

#[test]
fn seeds_120_to_239_hold() {
    hold_and_see(120..240);
}

#[test]
fn seeds_240_to_359_hold() {
    hold_and_see(240..360);
}

#[test]
fn seeds_360_to_479_hold() {
    hold_and_see(360..480);
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
    let broken = broken(Plant::DiskLosesEntries, 0..20);
    assert!(broken.len() >= 5, "about half of the seeds show it: {broken:?}");
}

#[test]
fn clocks_beyond_the_lease_are_caught() {
    let broken = broken(Plant::WildClocks, 0..20);
    assert!(!broken.is_empty(), "{broken:?}");
}
