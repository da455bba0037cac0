//! Words of Raft: entries, hard state, configurations and the messages between servers.
//!
//! Names follow Ongaro's dissertation, <https://github.com/ongardie/dissertation>.

use crate::{LogIndex, NodeId, Term};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// An entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The term in which a leader made it.
    pub term: Term,
    /// Its place.
    pub index: LogIndex,
    /// What it carries.
    pub payload: Payload,
}

/// What an entry carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: the first entry of a leader's term, so that earlier terms can be committed (dissertation, 6.4).
    Empty,
    /// An encoded [`crate::Write`].
    Command(Bytes),
    /// A new configuration, in force from the moment it is appended (dissertation, 4.1).
    Configuration(Configuration),
}

/// The servers that take part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Configuration {
    /// By identity.
    pub peers: BTreeMap<NodeId, Peer>,
}

/// A server in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where it was when it was added: a hint for restarts, gossip knows better.
    pub address: SocketAddr,
    /// Whether it votes; a learner only receives the log.
    pub voter: bool,
}

/// What must be on disk before a vote or an acknowledgement leaves (dissertation, figure 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Who got this server's vote in that term.
    pub vote: Option<NodeId>,
}

/// A message between two servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftMessage {
    /// The sender's term (of a pre-vote request: the term it would start).
    pub term: Term,
    /// What it says.
    pub body: RaftBody,
}

/// What a message between two servers says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftBody {}
