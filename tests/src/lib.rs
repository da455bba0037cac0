//! The simulated world and its checkers; runs of the real binary.
//!
//! ```text
//!                        seed
//!                          │ dice
//!     faults ──▶ ┌─────────┴──────────┐ ◀── clients
//!                │       World        │       what they did and were told ─▶ history
//!   network ◀──▶ │  one queue by time │
//!      disk ◀──▶ │  Engine × agents   │ ──▶ trace (its hash: same seed, same trace)
//!     clock ──▶  └─────────┬──────────┘
//!                          ▼ observer
//!                       checks/  one property, one file
//! ```
//!
//! [`world`] is the place to start: it turns the same crank as the shell of the real agent does, with every effect simulated. What
//! can go wrong is in [`faults`], [`network`] and [`disk`]; what must hold anyway is in [`checks`]. `just sim SEED` replays one seed.

pub mod agent;
pub mod brief;
pub mod checks;
pub mod clients;
pub mod clock;
pub mod dice;
pub mod disk;
pub mod faults;
pub mod happened;
pub mod history;
pub mod model;
pub mod network;
pub mod observer;
pub mod options;
pub mod queue;
pub mod trace;
pub mod world;

pub use happened::{Happened, Happening};
pub use options::{Failure, Options, Plant, Summary};
pub use world::World;

/// The seeds in `tests/seeds.txt`: each once showed a bug, and is run for ever.
pub fn committed_seeds() -> Vec<u64> {
    let lines = include_str!("../seeds.txt").lines();
    lines.filter_map(|line| line.split('#').next()?.trim().parse().ok()).collect()
}
