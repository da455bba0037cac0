//! What operators ask of the servers: who takes part in Raft, how well they are, snapshots for people.

use crate::{LogIndex, NodeId, Term};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// What an operator asks of the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorRequest {
    /// Who takes part: [`crate::Reply::RaftConfiguration`].
    RaftConfiguration,
    /// Takes a server out of Raft: [`crate::Reply::Done`], or [`crate::Refusal::NotFound`].
    RemovePeer(PeerSelector),
    /// Hands the leadership to another voter, to the one that is furthest unless one is named: [`crate::Reply::Done`].
    TransferLeader {
        /// To whom.
        to: Option<NodeId>,
    },
    /// How well the servers are: [`crate::Reply::Autopilot`].
    AutopilotState,
}

/// Which server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerSelector {
    /// By identity.
    Id(NodeId),
    /// By address.
    Address(SocketAddr),
}

/// Who takes part in Raft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftConfiguration {
    /// Them.
    pub servers: Vec<RaftServer>,
    /// The log index of this configuration.
    pub index: LogIndex,
}

/// A server that takes part in Raft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftServer {
    /// Its identity.
    pub id: NodeId,
    /// Its name, where gossip knows it; `(unknown)` otherwise.
    pub node: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it votes.
    pub voter: bool,
}

/// How the leader looks after servers: Consul's autopilot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutopilotConfig {
    /// Whether servers that failed are taken out of Raft when the others remain a healthy majority.
    pub cleanup_dead_servers: bool,
    /// A server that was not heard for longer is not healthy.
    pub last_contact_threshold: Duration,
    /// A server whose log is this many entries behind is not healthy.
    pub max_trailing_logs: u64,
    /// Dead servers are not taken out below this many voters; 0 leaves the number to the leader.
    pub min_quorum: u32,
    /// How long a new server must be healthy before it votes.
    pub server_stabilization_time: Duration,
}

impl Default for AutopilotConfig {
    /// Consul's defaults.
    fn default() -> AutopilotConfig {
        AutopilotConfig {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
        }
    }
}

/// How well the servers are, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutopilotState {
    /// Whether all are healthy.
    pub healthy: bool,
    /// How many may fail before the cluster stops.
    pub failure_tolerance: u32,
    /// Each of them.
    pub servers: Vec<ServerHealth>,
}

/// How well a server is, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHealth {
    /// Who, where and whether it votes and leads.
    pub server: RaftServer,
    /// What gossip says: `alive`, `failed`, `left`, or `none`.
    pub serf_status: String,
    /// Its version.
    pub version: String,
    /// How long ago the leader heard it; zero for the leader.
    pub last_contact: Duration,
    /// The term of the last entry known to be on its disk.
    pub last_term: Term,
    /// The last entry known to be on its disk.
    pub last_index: LogIndex,
    /// Whether it is well: alive, heard within the threshold, and not too far behind.
    pub healthy: bool,
    /// For how long `healthy` has been as it is.
    pub stable_for: Duration,
}

/// Snapshots for people: the state at one index, in chunks. The chunks are opaque to front doors and only mean something together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotRequest {
    /// Takes one: [`crate::Reply::Snapshot`]. It is kept until it is closed or not asked for during a minute.
    Open {
        /// Whether a server other than the leader may take it, however old.
        stale: bool,
    },
    /// A part of it: [`crate::Reply::SnapshotChunk`], or [`crate::Refusal::NotFound`] where it is gone: begin again.
    Chunk {
        /// As in the request that took it.
        stale: bool,
        /// Which snapshot.
        handle: u64,
        /// Which part, from 0.
        number: u64,
    },
    /// It is no longer needed: [`crate::Reply::Done`].
    Close {
        /// As in the request that took it.
        stale: bool,
        /// Which snapshot.
        handle: u64,
    },
}

impl SnapshotRequest {
    /// Whether any server may serve it.
    pub const fn is_stale(&self) -> bool {
        match self {
            SnapshotRequest::Open { stale }
            | SnapshotRequest::Chunk { stale, .. }
            | SnapshotRequest::Close { stale, .. } => *stale,
        }
    }
}

/// A snapshot that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDescription {
    /// How to ask for its chunks.
    pub handle: u64,
    /// The log index whose state it is.
    pub index: LogIndex,
    /// The term of that entry.
    pub term: Term,
    /// Roughly how many bytes the chunks have together, for progress bars.
    pub size_hint: u64,
    /// Whether the server that took it knew a leader.
    pub known_leader: bool,
    /// How long ago that server had heard from it.
    pub last_contact: Duration,
}

/// Puts a snapshot back, in several writes: begin, chunks in order, commit. Nothing is applied before the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreWrite {
    /// Begins; whatever another restore had brought is dropped.
    Begin {
        /// Names this restore.
        id: u64,
    },
    /// Brings a chunk; refused unless it is the next one.
    Chunk {
        /// Which restore.
        id: u64,
        /// Which part, from 0.
        number: u64,
        /// As it was saved.
        bytes: Bytes,
    },
    /// Replaces the state, if the chunks are whole. Every row gets the commit's index as its modify index: an index never goes back.
    Commit {
        /// Which restore.
        id: u64,
    },
    /// Drops what was brought.
    Abandon {
        /// Which restore.
        id: u64,
    },
}
