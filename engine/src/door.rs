//! What may enter the engine and what may leave it.

use quorate_gossip::MemberEventKind;
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{CheckDefinition, Member, NodeId, Reply, Request, Status, Term};
use quorate_raft::Persist;
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
    /// The result of a probe that [`Output::StartCheck`] asked for.
    CheckReport {
        /// Which check.
        check_id: String,
        /// The result.
        status: Status,
        /// What the probe said.
        output: String,
    },
    /// Whether there is little space left on the disk of this server. While there is, writes of clients that need more are refused.
    DiskSpace {
        /// Whether there is.
        low: bool,
    },
    /// Leave the cluster in an orderly way; [`Output::Left`] follows.
    Leave,
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
    /// Begin to probe; a running check of the same id is replaced.
    StartCheck(CheckDefinition),
    /// Stop probing.
    StopCheck {
        /// Which check.
        check_id: String,
    },
    /// The agent's own services and checks, to be found again after a restart; replaces what was saved before.
    SaveLocal(Vec<u8>),
    /// Something that people, metrics or event handlers may want to know.
    Noticed(Notice),
    /// The cluster has been left; the process may stop.
    Left,
    /// This server cannot go on: the process must stop, saying this.
    Fatal(String),
    /// The state differs from that of the other servers: the process must stop, saying this, and put its data aside, so that the next start
    /// learns everything anew under another identity ([`crate::ServerConfig::rejoin`]).
    Quarantine(String),
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
    /// The catalogue refused what the leader or the local state wanted.
    WriteRefused {
        /// What was to be written.
        what: String,
        /// The refusal.
        why: String,
    },
}
