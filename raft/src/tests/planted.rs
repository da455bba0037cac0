//! A simulation that sees nothing proves nothing: each mistake made on purpose is seen by it.

use super::simulation::World;
use crate::PlantedBug;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn every_planted_bug_is_seen() {
    /// Each is about a second of computing at most for ten of them.
    const SEEDS: u64 = 2_000;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let seen_at = |bug: PlantedBug| {
        let seen = |seed: &u64| {
            let world = || World::with(*seed, |config| config.planted = Some(bug)).run();
            catch_unwind(AssertUnwindSafe(world)).is_err()
        };
        (0..SEEDS).find(seen)
    };
    let found: Vec<(PlantedBug, Option<u64>)> = PlantedBug::ALL.into_iter().map(|bug| (bug, seen_at(bug))).collect();
    std::panic::set_hook(usual);
    println!("{found:?}");
    let missed: Vec<_> = found.iter().filter(|(_, seed)| seed.is_none()).collect();
    assert!(missed.is_empty(), "not seen with {SEEDS} seeds: {missed:?}");
}
