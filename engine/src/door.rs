//! What may enter the engine and what may leave it.

use quorate_gossip::MemberEventKind;
use quorate_protocol::keyring::KeyringState;
use quorate_protocol::raft::SnapshotMeta;
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{CheckDefinition, LogIndex, Member, NodeId, Query, Reply, Request, Status, Term, UserEvent};
use quorate_raft::Persist;
use quorate_store::SnapshotChunks;
use std::net::SocketAddr;

/// A front door's number for one of its requests; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What may enter.
#[derive(Debug, Clone)]
pub enum Input {
    /// A sealed gossip datagram, as it came from the socket.
    Datagram {
        /// Its source address.
        from: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A message from another agent, over a reliable stream.
    Message {
        /// Who sent it.
        from: Origin,
        /// What it says.
        message: Message,
    },
    /// A request from a front door; answered by one [`Output::Reply`] unless it is abandoned before.
    Request {
        /// The front door's number for it.
        ticket: Ticket,
        /// What is asked.
        request: Request,
    },
    /// The front door no longer wants the reply.
    Abandon {
        /// The front door's number for the request.
        ticket: Ticket,
    },
    /// Everything up to this [`Persist`] is on disk.
    Persisted {
        /// The number of the last one.
        up_to: u64,
    },
    /// The snapshot that [`Output::SaveSnapshot`] asked for is on disk and was verified.
    SnapshotSaved {
        /// Where it ends.
        index: LogIndex,
    },
    /// The disk has too little space to take anything new, or has enough again.
    DiskSpace {
        /// Whether it is too little.
        low: bool,
    },
    /// The result of a probe that [`Output::StartCheck`] asked for.
    CheckReport {
        /// Which check.
        check_id: String,
        /// The result.
        status: Status,
        /// What the probe said.
        output: String,
    },
    /// What [`Output::KeysChanged`] asked for is done.
    KeysSaved {
        /// Why it is not, if so: in a sentence.
        failed: Option<String>,
    },
    /// Leave the cluster in an orderly way; [`Output::Left`] follows.
    Leave,
    /// Stop without leaving; [`Output::Stopped`] follows, from a leader when another leads.
    Stop,
}

/// What may leave.
#[derive(Debug, Clone)]
pub enum Output {
    /// A sealed gossip datagram for the socket.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A message to another agent, over a reliable stream. It may get lost; whoever sends it knows what to do then.
    Message {
        /// Where to.
        to: Destination,
        /// What it says.
        message: Message,
    },
    /// The reply to a front door's request.
    Reply {
        /// The front door's number for the request.
        ticket: Ticket,
        /// The reply.
        reply: Reply,
    },
    /// To be written to disk and flushed; [`Input::Persisted`] is expected afterwards.
    Persist(Persist),
    /// The state is to be written down, off the engine's thread; [`Input::SnapshotSaved`] is expected afterwards.
    SaveSnapshot {
        /// What Raft must know about it.
        meta: SnapshotMeta,
        /// The state, in parts.
        chunks: Box<SnapshotChunks>,
    },
    /// Begin to probe; a running check of the same id is replaced.
    StartCheck(CheckDefinition),
    /// Stop probing.
    StopCheck {
        /// Which check.
        check_id: String,
    },
    /// The agent's own services and checks, to be found again after a restart; replaces what was saved before.
    SaveLocal(Vec<u8>),
    /// The keys are to be kept over restarts, and connections made under them; [`Input::KeysSaved`] is expected afterwards, for each.
    KeysChanged {
        /// They.
        state: KeyringState,
    },
    /// Something that people, metrics or event handlers may want to know.
    Noticed(Notice),
    /// The cluster has been left; the process may stop.
    Left,
    /// The process may stop.
    Stopped,
    /// This server's state differs from the others': the process must stop, and begin anew without it, saying this.
    Quarantine(String),
    /// The state can no longer be trusted to equal the other servers': the process must stop, saying this.
    Fatal(String),
}

/// Something worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A member's state changed.
    Member {
        /// How.
        kind: MemberEventKind,
        /// The member as it is now.
        member: Member,
    },
    /// A user event arrived, whomever it is for.
    UserEvent {
        /// It.
        event: UserEvent,
    },
    /// A query that is for this agent arrived.
    Query {
        /// It.
        query: Query,
    },
    /// Somebody ordered something of this agent's keys.
    KeyringOrder {
        /// What: `install`, `use` or `remove`.
        what: &'static str,
        /// Why it was not done; empty where it was.
        refused: String,
    },
    /// A join succeeded.
    Joined {
        /// The agent that answered.
        address: SocketAddr,
        /// How many members it knew.
        members: usize,
    },
    /// This server made the first configuration of a new cluster.
    Bootstrapped {
        /// The voters.
        servers: Vec<NodeId>,
    },
    /// A server that belongs to another cluster is among the members: it was founded apart, by `bootstrap_expect` or `-dev`.
    OtherCluster {
        /// Its name.
        node: String,
    },
    /// Another server leads, or none does.
    LeaderChanged {
        /// Who leads.
        leader: Option<NodeId>,
        /// In which term.
        term: Term,
    },
    /// This server leads.
    BecameLeader {
        /// In which term.
        term: Term,
    },
    /// This server no longer leads.
    LostLeadership {
        /// The term in which it did.
        term: Term,
    },
    /// A local check changed its status.
    CheckChanged {
        /// Which.
        check_id: String,
        /// Its new status.
        status: Status,
    },
    /// A local service was deregistered because a check had been critical for as long as its registration allowed.
    ServiceReaped {
        /// The service.
        service_id: String,
        /// The check.
        check_id: String,
    },
    /// A local service has a name or tag that nobody can ask for in DNS.
    NotInDns {
        /// The service.
        service_id: String,
        /// What, and why not.
        problem: String,
    },
    /// The definitions of services and checks were read anew.
    Reloaded {
        /// How many services there are in them.
        services: usize,
        /// How many services and checks went, because they are no longer there.
        gone: usize,
    },
    /// Local services and checks were brought to the catalogue.
    Synced {
        /// How many writes it took.
        writes: usize,
    },
    /// Local services and checks could not be brought to the catalogue; it is tried again.
    SyncFailed {
        /// Why.
        why: String,
    },
    /// The leader changed the catalogue to follow the members.
    Reconciled {
        /// The node.
        node: String,
        /// What was done.
        what: &'static str,
    },
    /// The leader changed who takes part in Raft, or whom it asked to lead in its place.
    ServerChanged {
        /// Which server.
        id: NodeId,
        /// Its name, where gossip knows it.
        node: String,
        /// What was done, and why.
        what: &'static str,
    },
    /// The leader's snapshot took the place of this server's state: it had fallen too far behind.
    SnapshotInstalled {
        /// Where it ends.
        index: LogIndex,
    },
    /// The leader's snapshot could not be read; it is sent again.
    SnapshotRefused {
        /// Why.
        why: String,
    },
    /// As the operator asked, this server is the only one of its cluster from here on.
    QuorumRecovered {
        /// Where that stands in the log.
        index: LogIndex,
    },
    /// Replicas differ at this log index, and it is not this server that is known to be the odd one.
    ReplicaDiffers {
        /// Where.
        index: LogIndex,
    },
    /// The catalogue refused what the leader or the local state wanted.
    WriteRefused {
        /// What was to be written.
        what: String,
        /// The refusal.
        why: String,
    },
}
