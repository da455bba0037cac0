//! What an engine is told at the start.

use crate::local::SavedLocal;
use quorate_gossip::{Keyring, Timing};
use quorate_protocol::raft::{HardState, LogEntry};
use quorate_protocol::{Definitions, NodeId};
use quorate_raft::Snapshot;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What an engine is told at the start. But for the definitions nothing in it changes afterwards.
#[derive(Debug, Clone)]
pub struct Config {
    /// This agent.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where its one port is for others.
    pub address: SocketAddr,
    /// Its datacenter: letters, digits, `-` and `_`.
    pub datacenter: String,
    /// Grows with every start; the wall clock at the start in milliseconds does.
    pub generation: u64,
    /// The version of the program, for people.
    pub version: String,
    /// What the operator wants to say about the node.
    pub node_meta: BTreeMap<String, String>,
    /// The keys that seal gossip.
    pub keyring: Keyring,
    /// How fast gossip is.
    pub timing: Timing,
    /// Agents to join through, tried until one answers.
    pub join: Vec<SocketAddr>,
    /// What a server needs besides; none on a client.
    pub server: Option<ServerConfig>,
    /// Services and checks from the configuration, and what checks may do. A reload brings others.
    pub definitions: Definitions,
    /// What [`crate::Output::SaveLocal`] saved before the restart.
    pub saved: SavedLocal,
    /// The patience of the engine.
    pub patience: Patience,
    /// The seed of every die that this engine rolls.
    pub seed: u64,
}

/// What a server needs besides.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// How many servers must be seen before the first configuration is made; 0: never make one, wait to be added.
    pub bootstrap_expect: usize,
    /// It lost what it had on disk and begins anew under another identity: it never makes a configuration, whatever
    /// `bootstrap_expect` says.
    pub rejoin: bool,
    /// Raft's shortest election timeout.
    pub election_timeout: Duration,
    /// How often a leader shows that it is there.
    pub heartbeat_interval: Duration,
    /// The vote and term from disk.
    pub hard_state: HardState,
    /// The newest snapshot from disk.
    pub snapshot: Option<Snapshot>,
    /// The log from disk; together with the snapshot it is without gaps.
    pub entries: Vec<LogEntry>,
    /// When the state is written down so that the log can be cut.
    pub snapshots: SnapshotPolicy,
    /// Mistakes to be made on purpose.
    #[cfg(feature = "planted-bugs")]
    pub planted: Planted,
}

/// Mistakes to be made on purpose, to prove that the simulator sees them.
#[cfg(feature = "planted-bugs")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    /// In Raft.
    pub raft: Option<quorate_raft::PlantedBug>,
    /// In the store.
    pub store: Option<quorate_store::Bug>,
}

impl ServerConfig {
    /// A new server, which has nothing on disk, in a LAN.
    pub fn lan(bootstrap_expect: usize) -> ServerConfig {
        ServerConfig {
            bootstrap_expect,
            rejoin: false,
            // A killed leader is replaced within a second.
            election_timeout: Duration::from_millis(300),
            heartbeat_interval: Duration::from_millis(60),
            hard_state: HardState::default(),
            snapshot: None,
            entries: Vec::new(),
            snapshots: SnapshotPolicy::default(),
            #[cfg(feature = "planted-bugs")]
            planted: Planted::default(),
        }
    }

    /// With Raft's timeouts multiplied (`performance.raft_multiplier`).
    #[must_use]
    pub fn slower(self, multiplier: u32) -> ServerConfig {
        ServerConfig {
            election_timeout: self.election_timeout * multiplier,
            heartbeat_interval: self.heartbeat_interval * multiplier,
            ..self
        }
    }
}

/// When the state is written down so that the log can be cut: after so many entries or bytes, whichever comes first, but with a large state
/// not before the log has grown by half of what that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// After this many entries (Consul: `raft_snapshot_threshold`).
    pub entries: u64,
    /// After entries of this many bytes.
    pub bytes: u64,
    /// How many entries, if they are small, are kept behind a snapshot for servers that are a little late (Consul: `raft_trailing_logs`).
    pub trailing: u64,
}

impl Default for SnapshotPolicy {
    /// With small values a snapshot a second under the heaviest load would cost more than the log does; with these the log and its copy
    /// in memory stay below about 64 MiB.
    fn default() -> SnapshotPolicy {
        SnapshotPolicy { entries: 65_536, bytes: 32 * 1024 * 1024, trailing: 4096 }
    }
}

/// How long the engine waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a leader to appear before a request is refused. Consul waits 7 s; most elections here end within one.
    pub leader: Duration,
    /// For another server's answer, beyond what the request itself may wait. Longer than `leader`, since that server may be
    /// waiting for a leader in turn.
    pub reply: Duration,
    /// For an agent to answer a join that a person asked for.
    pub join: Duration,
    /// Between two full comparisons of local state and catalogue; up to as much again is added at random (Consul: 1 m).
    pub sync: Duration,
    /// Between two tries of a comparison that failed; up to as much again is added at random.
    pub sync_retry: Duration,
    /// Between two comparisons of all members and the catalogue by the leader (Consul: 60 s).
    pub reconcile: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            leader: Duration::from_secs(5),
            reply: Duration::from_secs(8),
            join: Duration::from_secs(5),
            sync: Duration::from_secs(60),
            sync_retry: Duration::from_secs(3),
            reconcile: Duration::from_secs(60),
        }
    }
}
