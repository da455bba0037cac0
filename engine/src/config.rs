//! What an engine is told at the start.

use crate::local::SavedLocal;
use bytes::Bytes;
use quorate_gossip::{Keyring, Timing};
use quorate_protocol::raft::{HardState, LogEntry, SnapshotMeta};
use quorate_protocol::{AutopilotConfig, CheckDefinition, NodeId, Service};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What an engine is told at the start. Nothing in it changes afterwards.
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
    /// Services and checks from the configuration.
    pub definitions: Vec<(Service, Vec<CheckDefinition>)>,
    /// Checks of the node from the configuration.
    pub node_checks: Vec<CheckDefinition>,
    /// What [`crate::Output::SaveLocal`] saved before the restart.
    pub saved: SavedLocal,
    /// The shortest TTL of a session that the front doors of this agent take (Consul's `session_ttl_min`, 10 s); as low as a second is safe.
    pub session_ttl_min: Duration,
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
    /// Raft's shortest election timeout.
    pub election_timeout: Duration,
    /// How often a leader shows that it is there.
    pub heartbeat_interval: Duration,
    /// The vote and term from disk.
    pub hard_state: HardState,
    /// The snapshot from disk, in its chunks.
    pub snapshot: Option<(SnapshotMeta, Vec<Bytes>)>,
    /// The log from disk: what follows the snapshot, or begins before its end.
    pub entries: Vec<LogEntry>,
    /// This server lost its data: it never makes a first configuration, and waits until the others have added it.
    pub rejoin: bool,
    /// After so many entries the server saves a snapshot (Consul's `raft_snapshot_threshold`, here 8192: a restart then reads less than a
    /// hundred milliseconds' worth of log).
    pub snapshot_threshold: u64,
    /// After so many bytes of entries it does so, too: large values must not fill memory and disk before the threshold is reached.
    pub snapshot_max_log_bytes: u64,
    /// How many entries stay in the log behind a snapshot, for servers that are a little behind (Consul's `raft_trailing_logs`).
    pub trailing_entries: u64,
    /// How the leader looks after servers as long as nobody has set that.
    pub autopilot: AutopilotConfig,
}

impl Default for ServerConfig {
    /// A server of a LAN with nothing on its disk, that waits to be added.
    fn default() -> ServerConfig {
        ServerConfig {
            bootstrap_expect: 0,
            election_timeout: Duration::from_millis(300),
            heartbeat_interval: Duration::from_millis(60),
            hard_state: HardState::default(),
            snapshot: None,
            entries: Vec::new(),
            rejoin: false,
            snapshot_threshold: 8192,
            snapshot_max_log_bytes: 64 * 1024 * 1024,
            trailing_entries: 4096,
            autopilot: AutopilotConfig::default(),
        }
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
    /// Between two looks of the leader at the health of the servers (Consul: 2 s).
    pub review: Duration,
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
            review: Duration::from_secs(2),
        }
    }
}
