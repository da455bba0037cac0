//! A simulation that sees nothing proves nothing: each defect that can be switched on in a server is seen by a checker.
//!
//! Every defect comes with the seed that showed it first, so that this takes seconds. A change of what the world draws may make another seed of
//! it; then more are tried, and the seed that is printed belongs into the list.
#![cfg(feature = "planted-bugs")]

use quorate_engine::Planted;
use quorate_raft::PlantedBug as Raft;
use quorate_store::Bug as Store;
use quorate_tests::{Options, World};

/// Seeds that are tried where the known one shows nothing any more.
const SEEDS: u64 = 60;

/// Defects of Raft, each with a seed that shows it.
const OF_RAFT: [(Raft, u64); 6] = [
    (Raft::LeaseWithoutEnd, 1),
    (Raft::AcknowledgedBeforeWritten, 0),
    (Raft::VoteNotWritten, 0),
    (Raft::EarlierTermCounted, 3),
    (Raft::OwnDiskCountedEarly, 0),
    (Raft::TransferKeepsLease, 10),
];

/// Those for which no seed of this world is known yet. Raft's own tests see them (`raft/src/tests/planted.rs`).
const NOT_CAUGHT: [Raft; 5] = [
    // The engine gathers reads itself and never asks for a second round while one is under way.
    Raft::ReadJoinsRound,
    Raft::PromiseForgotten,
    // A snapshot without any voter is not well-formed, so none is made at all.
    Raft::SnapshotWithoutConfiguration,
    Raft::AppendCutsOff,
    Raft::InstallKeepsSuffix,
];

/// The defects of the store, each with a seed that shows it. The store alone shows them too (`tests/store.rs`).
const OF_THE_STORE: [(Store, u64); 6] = [
    (Store::AppliedTwice, 0),
    (Store::CasRace, 0),
    (Store::LockRegranted, 0),
    (Store::RenewalLost, 0),
    (Store::WatchGap, 0),
    (Store::IndexGoesBack, 0),
];

/// What the checkers say of a world whose servers have this defect: the first seed of these that shows it, and how.
fn seen(planted: Planted, seeds: impl IntoIterator<Item = u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let failure = World::new(Options { planted, ..Options::new(seed) }).run().err()?;
        let seen = failure.violation.to_string();
        Some((seed, format!("at {:?} {}", failure.at, seen.lines().next().unwrap_or_default())))
    })
}

/// Sees each of them, with its own seed or with another.
fn see_all(defects: impl IntoIterator<Item = (String, Planted, u64)>) {
    let mut missed = Vec::new();
    for (name, planted, known) in defects {
        match seen(planted, std::iter::once(known).chain(0..SEEDS)) {
            Some((seed, how)) => println!("{name}: seed {seed} {how}"),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "no checker sees {missed:?}");
}

#[test]
fn the_defects_of_raft_are_seen() {
    let listed = |bug: &Raft| OF_RAFT.iter().any(|(seen, _)| seen == bug) != NOT_CAUGHT.contains(bug);
    assert!(Raft::ALL.iter().all(listed), "each is in exactly one of the two lists");
    see_all(OF_RAFT.map(|(bug, seed)| (format!("{bug:?}"), Planted { raft: Some(bug), store: None }, seed)));
}

#[test]
fn the_defects_of_the_store_are_seen() {
    assert!(OF_THE_STORE.iter().map(|(bug, _)| *bug).eq(Store::ALL));
    see_all(OF_THE_STORE.map(|(bug, seed)| (format!("{bug:?}"), Planted { raft: None, store: Some(bug) }, seed)));
}

/// Looks for seeds that show the others: `cargo test --release -p quorate-tests --features planted-bugs --test planted -- --ignored`. What it prints belongs into the list of those that are seen.
#[test]
#[ignore = "takes hours of computing"]
fn seeds_for_the_others_are_looked_for() {
    see_all(NOT_CAUGHT.map(|bug| (format!("{bug:?}"), Planted { raft: Some(bug), store: None }, 0)));
}
