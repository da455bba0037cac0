//! What leaves the core, how it describes itself, and what it refuses.

use bytes::Bytes;
use quorate_protocol::raft::{HardState, LogEntry, Peer, RaftMessage, SnapshotMeta};
use quorate_protocol::{LogIndex, NodeId, Term};

/// One thing for the caller to do or to know, in the order in which it must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a message. It may be lost, doubled or overtaken; whatever it promises is already on this server's disk.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: RaftMessage,
    },
    /// Write this to disk, in the order of the numbers, then call [`crate::Raft::handle_persisted`].
    Persist(Persist),
    /// Apply these: in order, each exactly once in the life of this process. After a restart they start again from
    /// index 1.
    Committed(Vec<LogEntry>),
    /// This server was the leader after [`crate::Raft::read_index`] was called: what is applied up to `index` answers
    /// it.
    ReadReady {
        /// As given to `read_index`.
        context: u64,
        /// Wait until this is applied, then read.
        index: LogIndex,
    },
    /// This server lost the leadership, or has too many reads waiting: ask again, or ask the new leader.
    ReadLost {
        /// As given to `read_index`.
        context: u64,
    },
    /// This server was elected.
    BecameLeader {
        /// For this term.
        term: Term,
    },
    /// This server leads no longer. What it proposed in this term and was not yet committed may or may not be.
    LostLeadership {
        /// The term it led.
        term: Term,
    },
    /// Another leader is known, or none is.
    LeaderChanged {
        /// Who leads, as far as this server knows.
        leader: Option<NodeId>,
        /// In which term.
        term: Term,
    },
}

/// A write to disk: all of it or nothing of it, as one commit. Several may be joined, keeping their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persist {
    /// Counts up by one from 1 in the life of this process.
    pub number: u64,
    /// Replaces the one on disk.
    pub hard_state: HardState,
    /// Replaces everything on disk from the index of the first of these on; if empty, the log stays as it is.
    pub entries: Vec<LogEntry>,
    /// A leader's snapshot: replaces the one on disk. Entries up to its index are no longer needed; those after it
    /// stay only if the entry at its index is on disk with its term.
    pub snapshot: Option<Snapshot>,
    /// Entries below this are no longer needed: a snapshot on disk covers them.
    pub compact_to: Option<LogIndex>,
}

/// A snapshot as it is kept and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What Raft must know about it.
    pub meta: SnapshotMeta,
    /// The state, in parts that are opaque to Raft.
    pub chunks: Vec<Bytes>,
}

/// What a server is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Votes and follows.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Receives the log, has no vote.
    Learner,
}

/// One change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a server, or replaces what is known of one: makes a learner a voter, or a voter a learner.
    Add {
        /// Who.
        id: NodeId,
        /// Where, and whether it votes.
        peer: Peer,
    },
    /// Takes a server out.
    Remove {
        /// Who.
        id: NodeId,
    },
}

/// How often something happened that is worth a graph. Each starts at zero with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages dropped because no correct server sends them.
    pub malformed: u64,
    /// Messages dropped because a correct cluster cannot produce them: a second leader in a term, or an append over
    /// committed entries. Any is a reason to look for two clusters with one name, or lost disks.
    pub contradictory: u64,
    /// Messages of earlier terms or overtaken by later ones: normal.
    pub stale: u64,
    /// Requests for votes ignored while a leader is heard.
    pub votes_ignored: u64,
    /// Elections this server stood in (terms it spent).
    pub elections: u64,
    /// Times this server, as the leader, stepped down because it heard too few others.
    pub quorum_lost: u64,
    /// Appends refused by followers: how often the leader had to look for the match.
    pub appends_rejected: u64,
    /// Messages given up because too many waited for a slow disk.
    pub withheld_dropped: u64,
}

/// Only the leader can do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this server does not lead; {}", advice(*.leader))]
pub struct NotLeader {
    /// Who does, as far as this server knows.
    pub leader: Option<NodeId>,
}

fn advice(leader: Option<NodeId>) -> String {
    match leader {
        Some(id) => format!("ask server {id}"),
        None => "no leader is known, ask again in a moment".into(),
    }
}

/// A cluster is founded once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this server already has a log or has met a cluster; start it without bootstrapping")]
pub struct AlreadyBootstrapped;

/// Why a change of the configuration was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Ask the leader.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// Two changes at once could make two majorities that do not meet (dissertation, 4.1).
    #[error("the configuration at log index {0} is not committed yet; try again when it is")]
    InProgress(LogIndex),
    /// The leader was elected just now: until an entry of its own term is committed it may not know of an earlier
    /// change.
    #[error("the leader has not committed an entry of its term yet; try again in a moment")]
    TooEarly,
    /// Nothing to do.
    #[error("the configuration already is as asked")]
    NoChange,
    /// Without voters nothing is ever committed again.
    #[error("server {0} is the last voter; add another before this one is taken out")]
    LastVoter(NodeId),
    /// Every write waits for more than half of the voters.
    #[error("there are {0} voters already, the most that are allowed; remove one first")]
    TooManyVoters(usize),
}

/// Why a server cannot start from what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The log on disk is no log. Nothing may be cut off to mend it: what is missing may have been acknowledged.
    #[error("the recovered log is damaged ({0}); empty the data directory and join again under a new identity")]
    Log(&'static str),
    /// A setting makes no sense.
    #[error("{0}")]
    Config(&'static str),
}

/// What a leader knows about another server, for those who decide about promotions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProgress {
    /// The last entry known to be on its disk.
    pub match_index: LogIndex,
    /// How long ago it was heard.
    pub last_contact: std::time::Duration,
}
