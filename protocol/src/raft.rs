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
    /// Who wrote the first configuration: names the cluster, in this one and in all that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founder: Option<NodeId>,
}

impl Configuration {
    /// Whether this server votes. A learner and a stranger do not.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.voter)
    }

    /// Those who vote, in the order of their identities.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.iter().filter(|(_, peer)| peer.voter).map(|(id, _)| *id)
    }
}

/// A server in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where it was when it was added: a hint for restarts, gossip knows better.
    pub address: SocketAddr,
    /// Whether it votes; a learner only receives the log.
    pub voter: bool,
}

/// The state at an index, and what Raft must know about it (dissertation, 5).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that it covers.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The configuration in force at that entry, which is committed.
    pub configuration: Configuration,
    /// Where that configuration stands in the log.
    pub configuration_index: LogIndex,
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
    /// The sender's term. Of a pre-vote request: the term it would start; of a granted pre-vote: the term it was
    /// asked for.
    pub term: Term,
    /// What it says.
    pub body: RaftBody,
}

/// What a message between two servers says.
///
/// The first six are the remote calls of the dissertation's figure 3.1 and its pre-vote (9.6); the heartbeat is apart
/// from the append, because its answer waits for no disk: it carries the lease and confirms reads (6.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftBody {
    /// Would you vote for me? Asked before a term is spent.
    PreVoteRequest {
        /// The last entry of the sender's log.
        last_index: LogIndex,
        /// Its term.
        last_term: Term,
    },
    /// The answer. It promises nothing.
    PreVoteReply {
        /// Whether a vote would be given.
        granted: bool,
    },
    /// Vote for me in this term.
    VoteRequest {
        /// The last entry of the sender's log.
        last_index: LogIndex,
        /// Its term.
        last_term: Term,
        /// Whether the leader asked for this election ([`RaftBody::TimeoutNow`]): then nobody holds out for that leader.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        transfer: bool,
    },
    /// The answer; a granted vote is on the sender's disk.
    VoteReply {
        /// Whether the vote is given.
        granted: bool,
    },
    /// Entries that follow `previous_index`; without entries it tells the commit index and probes for a match.
    Append {
        /// The entry just before the first one sent.
        previous_index: LogIndex,
        /// Its term in the leader's log.
        previous_term: Term,
        /// Contiguous, from `previous_index` + 1.
        entries: Vec<LogEntry>,
        /// How far the leader has committed.
        commit_index: LogIndex,
    },
    /// The sender's disk holds the leader's log up to here.
    AppendAccepted {
        /// The last entry known to be equal.
        match_index: LogIndex,
    },
    /// The sender's log does not hold the previous entry.
    AppendRejected {
        /// Which append is refused.
        previous_index: LogIndex,
        /// The sender's last entry at or before `previous_index` whose term is not above the one that was sent: what
        /// lies between cannot match.
        hint_index: LogIndex,
        /// Its term.
        hint_term: Term,
    },
    /// The leader is here.
    Heartbeat {
        /// Counts up over the leader's process life, never reused.
        round: u64,
        /// How far the leader has committed, at most what the receiver has acknowledged.
        commit_index: LogIndex,
    },
    /// The sender follows this leader.
    HeartbeatReply {
        /// The round that is answered.
        round: u64,
    },
    /// Stand for election at once: the leader, which gave up its lease, hands over (dissertation, 3.10).
    TimeoutNow,
    /// A part of the leader's snapshot, for a server whose next entry the leader's log no longer holds. Opaque to Raft.
    SnapshotChunk {
        /// Which snapshot.
        meta: SnapshotMeta,
        /// Which part, from 0.
        number: u64,
        /// The part.
        bytes: Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// The sender has every part of that snapshot before `next`. When it is installed and on disk,
    /// [`RaftBody::AppendAccepted`] says so.
    SnapshotChunkReply {
        /// The snapshot's index.
        index: LogIndex,
        /// Which part it wants next.
        next: u64,
    },
}
