//! Messages on reliable streams between agents (QUIC).
//!
//! A stream carries frames: a big-endian `u32` length, then that many bytes, which start with a version. Each pair of agents uses a
//! stream per [`Lane`], so that a long message in one lane never delays another lane's.

use super::gossip::GossipMessage;
use super::{VERSION_MAX, WireError, from_named, to_named};
use crate::raft::{RaftBody, RaftMessage};
use crate::{LogIndex, NodeId, Reply, Request};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The longest frame, in bytes: a full Raft append or a large catalogue answer fits, a hostile length does not hurt.
pub const MAX_FRAME: usize = 32 * 1024 * 1024;

/// A message to one other agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Between the gossip parts of two agents.
    Gossip(GossipMessage),
    /// Between the Raft parts of two servers.
    Raft(RaftMessage),
    /// A request that the receiver is to serve or to pass on.
    Forward {
        /// The sender's number for it, unique among its own.
        id: u64,
        /// How often it has been passed on; bounded, so that two servers with different ideas of the leader do not play ball.
        hops: u8,
        /// The request.
        request: Box<Request>,
    },
    /// The reply to a [`Message::Forward`].
    ForwardReply {
        /// The number of the request.
        id: u64,
        /// The reply.
        reply: Box<Reply>,
    },
    /// The sender no longer wants the reply to its [`Message::Forward`] of that number.
    Abandon {
        /// The number of the request.
        id: u64,
    },
    /// Between two servers: the rolling hash of the sender's store at an index, to find replicas that drifted apart.
    StateHash {
        /// The last entry applied.
        index: LogIndex,
        /// The hash there.
        hash: u64,
    },
}

/// Messages of one lane keep their order; lanes do not delay each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Gossip state.
    Gossip,
    /// Raft.
    Raft,
    /// Raft's snapshots, so that they never delay a heartbeat.
    Snapshot,
    /// Requests and replies.
    Request,
}

impl Message {
    /// The lane it travels in.
    pub const fn lane(&self) -> Lane {
        match self {
            Message::Gossip(_) => Lane::Gossip,
            Message::Raft(RaftMessage { body: RaftBody::SnapshotChunk { .. }, .. }) => Lane::Snapshot,
            Message::Raft(_) | Message::StateHash { .. } => Lane::Raft,
            Message::Forward { .. } | Message::ForwardReply { .. } | Message::Abandon { .. } => Lane::Request,
        }
    }

    /// The frame's content, without its length.
    pub fn encode(&self) -> Vec<u8> {
        to_named(VERSION_MAX, self)
    }

    /// Reads what [`Message::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are longer than [`MAX_FRAME`], of an unknown version, or malformed.
    pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
        if bytes.len() > MAX_FRAME {
            return Err(WireError::TooLong { length: bytes.len(), limit: MAX_FRAME });
        }
        from_named(bytes)
    }
}

/// Where a message is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Who must be there; none where only an address is known, as when joining. A connection to somebody else is closed.
    pub id: Option<NodeId>,
    /// Where.
    pub address: SocketAddr,
}

/// Where a message came from, as its sender's certificate and first frame proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Who sent it.
    pub id: NodeId,
    /// Where an answer goes: the address that the sender advertises.
    pub address: SocketAddr,
}

impl From<Origin> for Destination {
    fn from(origin: Origin) -> Destination {
        Destination { id: Some(origin.id), address: origin.address }
    }
}
