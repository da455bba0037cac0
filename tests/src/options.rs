//! What a run is told at the start and what it says at the end.

use crate::checks::Violation;
use crate::clients::Counts;
use crate::happened::Happened;
use crate::network;
use quorate_protocol::{LogIndex, Time};
use std::fmt;
use std::time::Duration;

/// What a run is told at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Everything is drawn from it.
    pub seed: u64,
    /// How many agents there are.
    pub agents: usize,
    /// How many of them are servers.
    pub servers: usize,
    /// How long it lasts; below a minute there is not enough time to heal in.
    pub seconds: u64,
    /// Whether operators put snapshots back: then keys change in ways that no client asked for, and what only looks at clients looks away.
    pub restores: bool,
    /// A bug in the world itself, to see that the checkers notice.
    pub plant: Option<Plant>,
    /// Bugs in the servers, to see the same.
    #[cfg(feature = "planted-bugs")]
    pub planted: quorate_engine::Planted,
    /// Whether every event is printed as it happens.
    pub print: bool,
}

/// A bug in the world itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A crash takes entries that were flushed.
    DiskLosesEntries,
    /// Clocks run at rates that no lease allows for.
    WildClocks,
}

impl Options {
    /// Five agents, three of them servers, for two minutes; snapshots are put back in every eighth of such runs.
    pub const fn new(seed: u64) -> Options {
        Options {
            seed,
            agents: 5,
            servers: 3,
            seconds: 120,
            restores: seed % 8 == 5,
            plant: None,
            #[cfg(feature = "planted-bugs")]
            planted: quorate_engine::Planted { raft: None, store: None },
            print: false,
        }
    }
}

/// What happened in a run in which everything held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What the run was told.
    pub options: Options,
    /// The hash of all that happened.
    pub hash: u64,
    /// How many things happened.
    pub events: u64,
    /// How much time passed in the world.
    pub simulated: Duration,
    /// How much went wrong.
    pub faults: u64,
    /// How often processes were started.
    pub starts: u64,
    /// How many entries were committed.
    pub log_length: LogIndex,
    /// How much of what may go wrong was there at all.
    pub happened: Happened,
    /// What became of the clients' requests.
    pub requests: Counts,
    /// What became of what was sent.
    pub network: network::Counts,
    /// How long after the last change everything agreed.
    pub converged_after: Option<Duration>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, agents, servers, .. } = &self.options;
        writeln!(
            f,
            "seed {seed}: {agents} agents, {servers} of them servers, {:?}: every property held",
            self.simulated
        )?;
        writeln!(f, "  trace       {:016x} over {} events", self.hash, self.events)?;
        writeln!(f, "  trouble     {} faults, {} process starts", self.faults, self.starts)?;
        writeln!(f, "  log         {} entries", self.log_length)?;
        writeln!(f, "  happened    {}", self.happened)?;
        writeln!(f, "  requests    {:?}", self.requests)?;
        writeln!(f, "  network     {:?}", self.network)?;
        write!(f, "  converged   {:?} after the last change", self.converged_after.unwrap_or_default())
    }
}

/// A run in which a property did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the run was told.
    pub options: Options,
    /// What did not hold.
    pub violation: Violation,
    /// When it was seen.
    pub at: Time,
    /// The hash of all that happened until then.
    pub hash: u64,
    /// What happened last.
    pub tail: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.tail {
            writeln!(f, "{line}")?;
        }
        let Options { seed, agents, servers, seconds, restores, .. } = &self.options;
        writeln!(f, "seed {seed} at {:?}: {}", self.at, self.violation)?;
        writeln!(f, "  trace {:016x}", self.hash)?;
        let restores = if *restores && !Options::new(*seed).restores { " --restores" } else { "" };
        write!(f, "  again: just sim {seed} --agents {agents} --servers {servers} --seconds {seconds}{restores}")
    }
}

impl std::error::Error for Failure {}
