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
    /// Apply these: in order, each exactly once in the life of this process. After a restart they start again behind
    /// the snapshot that the server was started with, or from index 1; after [`crate::Raft::install_snapshot`] they go
    /// on behind that one.
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
    /// What this peer needs next was compacted away: answer with [`crate::Raft::send_snapshot`], now or later. Comes
    /// again if nothing happens for an election timeout.
    SnapshotNeeded {
        /// The peer.
        to: NodeId,
    },
    /// Answer with [`crate::Raft::snapshot_chunk`] and send what it gives, or call [`crate::Raft::abandon_snapshot`].
    /// The next part is asked for after that. Parts come in order; after a loss they go back to an earlier one.
    SendSnapshotChunk {
        /// The peer.
        to: NodeId,
        /// Which snapshot.
        meta: SnapshotMeta,
        /// Which part of it, from 0.
        number: u64,
    },
    /// No peer is sent the snapshot that ends there any more: what was held for it can go.
    SnapshotDone {
        /// Where it ends.
        index: LogIndex,
    },
    /// All parts of a snapshot are here. Look whether they are one and call [`crate::Raft::install_snapshot`] or
    /// [`crate::Raft::reject_snapshot`].
    SnapshotReceived {
        /// What comes with it; vouched for by the leader.
        meta: SnapshotMeta,
        /// Its parts.
        chunks: Vec<Bytes>,
    },
}

/// A snapshot, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it ends, and the configuration there.
    pub meta: SnapshotMeta,
    /// The application's state, in parts.
    pub chunks: Vec<Bytes>,
}

/// A write to disk: all of it or nothing of it, as one commit. Several may be joined, keeping their order. Within one,
/// the order is: snapshot, `compact_to`, `entries`.
///
/// A snapshot may be a file beside that commit. It must be durable **before** it: the log that it replaces is then still
/// there after a crash, and [`crate::Raft::new`] knows what to make of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persist {
    /// Counts up by one from 1 in the life of this process.
    pub number: u64,
    /// Replaces the one on disk.
    pub hard_state: HardState,
    /// Replaces **the whole log** on disk, entries behind its end, too; and the snapshot, unless one is there that ends
    /// later.
    pub snapshot: Option<Snapshot>,
    /// A snapshot on disk ends here or later, entries up to here are no longer needed. They may go later, or in steps.
    pub compact_to: Option<LogIndex>,
    /// Replaces everything on disk from the index of the first of these on; if empty, the log stays as it is. The first
    /// follows the last one on disk, or the end of the snapshot, or is one on disk.
    pub entries: Vec<LogEntry>,
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
    /// Snapshots that took the place of this server's log.
    pub snapshots_installed: u64,
    /// Snapshots that were received and were damaged, or too large.
    pub snapshots_rejected: u64,
    /// Times this server, as the leader, began to hand over.
    pub transfers: u64,
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

/// Why the leadership is not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Ask the leader.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// One at a time.
    #[error("the leadership is being handed to server {0}; wait until that is done")]
    InProgress(NodeId),
    /// Nothing to do.
    #[error("this server leads already")]
    LeadsAlready,
    /// A learner and a stranger cannot lead.
    #[error("server {0} has no vote; make it a voter first")]
    NoVoter(NodeId),
    /// It would only cost time in which nobody leads.
    #[error("server {0} was not heard lately; name another one")]
    NotHeard(NodeId),
    /// There is no other voter, or none is heard.
    #[error("no other voter is heard; there is nobody to lead instead")]
    NobodyElse,
}

/// Why the quorum is not given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// There is a quorum, or was a moment ago.
    #[error("server {0} leads, or did so a moment ago: the quorum is not lost; take servers out with its help")]
    LeaderHeard(NodeId),
    /// There may be one: so shortly after its start a server has heard nobody.
    #[error("there may be a leader; wait until none was heard for ten election timeouts, then try again")]
    TooEarly,
    /// It has no data that could be recovered.
    #[error("this server takes no part in its cluster; recover one that does")]
    NoMember,
    /// The only voter needs nobody.
    #[error("this server is the only voter; it leads without help")]
    NothingLost,
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
    /// The term of that entry; `None` if it is so far behind that this is compacted away.
    pub match_term: Option<Term>,
    /// How long ago it was heard.
    pub last_contact: std::time::Duration,
    /// Whether it gets new entries about as fast as they come: what the log held when it was last looked at reached its
    /// disk within an election timeout (dissertation, 4.2.1).
    pub caught_up: bool,
}
