//! What a front door may ask, and what it is told.

use crate::coordinate::{Coordinate, NodeCoordinate};
use crate::keyring::{KeyringReport, KeyringRequest};
use crate::query::{Question, Response};
use crate::{
    AgentEvent, Answer, AutopilotState, Check, CheckDefinition, Definitions, EventFilter, EventId, Evidence, LogIndex,
    Member, NodeId, OperatorRequest, Outcome, Pair, RaftConfiguration, ReadRequest, Service, ServiceDefinition,
    SessionId, SnapshotDescription, SnapshotRequest, Status, Term, UserEvent, Wait, Write,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

/// A reply that is still to come.
pub type ReplyFuture<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// All that a front door knows of the cluster: give a request, await the reply.
///
/// It always comes: a request that nobody can serve is [`Reply::Refused`] within the agent's patience, and dropping the
/// future forgets the request.
pub trait Cluster: Send + Sync + 'static {
    /// Asks.
    fn ask(&self, request: Request) -> ReplyFuture<'_>;
}

/// A question or an order, and where it is meant to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The datacenter; none for the agent's own.
    pub dc: Option<String>,
    /// What is asked.
    pub ask: Ask,
}

impl Request {
    /// A request to the agent's own datacenter.
    pub const fn here(ask: Ask) -> Request {
        Request { dc: None, ask }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A change of the store, by its leader: [`Reply::Written`].
    Write(Write),
    /// A question to the store: [`Reply::Read`].
    Read(ReadRequest),
    /// Acquires a key as soon as it is free: [`Reply::Written`] with [`Outcome::Acquired`], with
    /// [`Outcome::Holds`] where the session holds it already, or with [`Outcome::Held`] when the time is up. Those who wait get it in the order in which they came. (An extension.)
    Lock(LockRequest),
    /// About the servers, for operators.
    Operator(OperatorRequest),
    /// Snapshots for people.
    Snapshot(SnapshotRequest),
    /// A question about the servers themselves.
    Status(StatusRequest),
    /// Something that this agent does or knows by itself; never leaves it.
    Local(LocalRequest),
}

/// Acquires a key, waiting for it in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRequest {
    /// What to store.
    pub pair: Pair,
    /// Who is to hold it.
    pub session: SessionId,
    /// How long to wait at most.
    pub wait: Duration,
}

/// A question about the servers themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StatusRequest {
    /// Where the leader is: [`Reply::Leader`].
    Leader,
    /// The servers that vote: [`Reply::Peers`].
    Peers,
    /// The datacenters known: [`Reply::Datacenters`].
    Datacenters,
}

/// Something that one agent does or knows by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalRequest {
    /// The members of its gossip pool: [`Reply::Members`].
    Members,
    /// What led it to its present view of a member: [`Reply::Evidence`], or [`Refusal::NotFound`]. (An extension.)
    Why {
        /// The member's name or id.
        node: String,
    },
    /// Itself: [`Reply::Agent`].
    Describe,
    /// Its services: [`Reply::LocalServices`].
    Services,
    /// One of its services: [`Reply::LocalService`], or [`Refusal::NotFound`].
    Service {
        /// Its id.
        service_id: String,
        /// To wait, at most so long, while [`Service::content_hash`] is this.
        wait: Option<(u64, Duration)>,
    },
    /// Its checks: [`Reply::LocalChecks`].
    Checks,
    /// Registers a service with its checks, replacing the service of the same id: [`Reply::Done`].
    RegisterService {
        /// The service and its checks.
        definition: Box<ServiceDefinition>,
        /// Whether checks of this service that are not in the list go.
        replace_existing_checks: bool,
    },
    /// Deregisters a service with its checks: [`Reply::Done`], or [`Refusal::NotFound`].
    DeregisterService {
        /// Its id.
        service_id: String,
    },
    /// Registers a check: [`Reply::Done`].
    RegisterCheck {
        /// The check; its id is its name where empty.
        check: CheckDefinition,
    },
    /// Deregisters a check: [`Reply::Done`], or [`Refusal::NotFound`].
    DeregisterCheck {
        /// Its id.
        check_id: String,
    },
    /// Reports to a TTL check: [`Reply::Done`], or [`Refusal::NotFound`].
    UpdateCheck {
        /// Its id.
        check_id: String,
        /// The result.
        status: Status,
        /// What to show.
        output: String,
    },
    /// Takes the node or a service out of service, or puts it back: [`Reply::Done`], or [`Refusal::NotFound`].
    Maintain {
        /// The id of the service; none for the whole node.
        service_id: Option<String>,
        /// Why it is out of service, or empty; none puts it back.
        reason: Option<String>,
    },
    /// Takes over what the configuration says now: [`Reply::Done`], or [`Refusal::Invalid`] with nothing changed.
    Reload {
        /// What it says. Front doors leave it out, and the shell reads the files.
        definitions: Option<Box<Definitions>>,
    },
    /// Joins through any of these: [`Reply::Done`], [`Refusal::Unreachable`], or [`Refusal::Invalid`] where one is no
    /// address.
    Join {
        /// Where agents may be: `host` or `host:port`, a name or an IP address; the port is the agent's own where none is
        /// said. The shell looks names up, the engine takes only `ip:port`.
        addresses: Vec<String>,
    },
    /// Leaves the cluster and stops: [`Reply::Done`].
    Leave,
    /// Sends a user event to all members: [`Reply::UserEvents`] with it alone.
    FireEvent {
        /// What happened.
        name: String,
        /// Whatever belongs to it.
        payload: Bytes,
        /// Whom it is for.
        filter: EventFilter,
    },
    /// The last user events that were for this agent, oldest first: [`Reply::UserEvents`].
    UserEvents {
        /// Only those of this name; empty for all.
        name: String,
        /// To wait while [`crate::event::event_index`] of the answer is this.
        wait: Option<Wait>,
    },
    /// What happened to members, and the user events for this agent, in the order in which it came to know them: [`Reply::Happened`].
    Happened {
        /// After this number; none: only what is still to come.
        after: Option<u64>,
        /// How long to wait for something to happen.
        timeout: Duration,
    },
    /// Asks all members: [`Reply::Asked`], then [`LocalRequest::Responses`]. (Serf's query, an extension.)
    Query {
        /// What is asked.
        question: Question,
    },
    /// What members said to a query that was asked here: [`Reply::Responses`], or [`Refusal::NotFound`].
    Responses {
        /// Which.
        query: EventId,
        /// How many are known already.
        after: usize,
        /// How long to wait for another.
        timeout: Duration,
    },
    /// Answers a query that this agent heard: [`Reply::Done`], or [`Refusal::NotFound`] where it is over or was answered.
    AnswerQuery {
        /// Which.
        query: EventId,
        /// The answer; at most [`crate::query::MAX_QUERY`] bytes.
        answer: Bytes,
    },
    /// Has all agents list or change their keys: [`Reply::Keyring`].
    Keyring {
        /// What.
        request: KeyringRequest,
        /// Through how many members answers also come.
        relays: u8,
        /// Whether only this agent is meant.
        local: bool,
    },
    /// Where nodes are: [`Reply::Coordinates`].
    Coordinates,
    /// Keeps where a node without an agent is: [`Reply::Done`].
    SetCoordinate {
        /// Its name.
        node: String,
        /// Where.
        coordinate: Coordinate,
    },
    /// Changes what this agent says of itself: [`Reply::Done`], or [`Refusal::Invalid`].
    ChangeTags {
        /// Tags to set.
        set: BTreeMap<String, String>,
        /// Tags to take away, by key.
        delete: BTreeSet<String>,
    },
    /// Declares a failed member gone for good: [`Reply::Done`], or [`Refusal::NotFound`].
    ForceLeave {
        /// Its name.
        name: String,
        /// Whether it is forgotten at once.
        prune: bool,
    },
    /// Makes this server the only one of its cluster, when the others are lost for ever: [`Reply::Done`], or
    /// [`Refusal::Invalid`] while a leader is known. What only the others had acknowledged is lost.
    RecoverQuorum,
}

/// What a front door is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The write was applied, with this outcome.
    Written {
        /// What became of it.
        outcome: Outcome,
        /// Where it is in the log.
        index: LogIndex,
    },
    /// The answer to a question.
    Read {
        /// The answer.
        answer: Answer,
        /// The index of what was asked about: a later change of it has a greater one. Never 0.
        index: LogIndex,
        /// Whether the server that answered knows a leader.
        known_leader: bool,
        /// How long ago that server last heard from its leader; zero on the leader.
        last_contact: Duration,
    },
    /// The leader's address, if one is known.
    Leader(Option<SocketAddr>),
    /// The addresses of the servers that vote.
    Peers(Vec<SocketAddr>),
    /// The datacenters, this one first.
    Datacenters(Vec<String>),
    /// The members, this agent among them.
    Members(Vec<Member>),
    /// What led to the agent's view of a member.
    Evidence(Box<Evidence>),
    /// User events.
    UserEvents(Vec<UserEvent>),
    /// The question is on its way to all members.
    Asked {
        /// Its id.
        query: EventId,
        /// For how long answers are taken.
        timeout: Duration,
    },
    /// What members said to a query, in the order in which it came.
    Responses {
        /// Those after the ones that are known.
        responses: Vec<Response>,
        /// Whether nothing more is taken.
        over: bool,
    },
    /// Where nodes are, by name.
    Coordinates(Vec<NodeCoordinate>),
    /// What all agents said of their keys.
    Keyring(KeyringReport),
    /// What happened.
    Happened {
        /// With their numbers, which grow, over restarts too.
        events: Vec<(u64, AgentEvent)>,
        /// The number of the last that happened.
        last: u64,
        /// Whether others happened after the number that was asked about, which nobody remembers.
        missed: bool,
    },
    /// The agent.
    Agent(Box<AgentDescription>),
    /// The agent's services by id.
    LocalServices(BTreeMap<String, Service>),
    /// One service of the agent.
    LocalService(Box<Service>),
    /// The agent's checks by id, as the catalogue sees or will see them.
    LocalChecks(BTreeMap<String, Check>),
    /// Who takes part in Raft.
    RaftConfiguration(RaftConfiguration),
    /// How well the servers are.
    Autopilot(AutopilotState),
    /// A snapshot was taken.
    Snapshot(SnapshotDescription),
    /// A part of a snapshot.
    SnapshotChunk {
        /// Opaque.
        bytes: Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// It is done.
    Done,
    /// It is not done.
    Refused(Refusal),
}

/// Why something was not done, and so who should do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Retry: an election is under way.
    #[error("No cluster leader")]
    NoLeader,
    /// Retry, or join a cluster with servers: this agent knows none.
    #[error("No known Consul servers")]
    NoServers,
    /// Ask for another datacenter: this one is not known.
    #[error("No path to datacenter")]
    NoPathToDatacenter,
    /// Look before trying again: the write may have happened, the leader was lost before it could tell.
    #[error("leadership lost while committing log: the write may or may not have happened")]
    Unknown,
    /// Retry later: a queue is full.
    #[error("RPC rate limit exceeded")]
    Busy,
    /// Retry: the server that was asked did not answer in time.
    #[error("rpc error: the server did not answer in time")]
    TimedOut,
    /// Nothing to be done: what was named is not there. The sentence is for the client.
    #[error("{0}")]
    NotFound(String),
    /// The caller fixes it. The sentence is for the client.
    #[error("{0}")]
    Invalid(String),
    /// The caller checks the address: nobody could be joined there. The sentence is for the client.
    #[error("{0}")]
    Unreachable(String),
    /// The agent is stopping.
    #[error("agent is shutting down")]
    Stopping,
    /// The operator allows it first. The sentence says by what.
    #[error("{0}")]
    Disabled(String),
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentDescription {
    /// Itself as a member.
    pub member: Member,
    /// Its datacenter.
    pub datacenter: String,
    /// Whether it takes part in the store.
    pub server: bool,
    /// The version of the program.
    pub version: String,
    /// Its place in Raft; none on a client.
    pub raft: Option<RaftStatus>,
    /// Servers it knows to be alive.
    pub known_servers: usize,
    /// Members by status: alive (suspects among them), failed, left.
    pub members_alive: usize,
    /// Members that stopped answering.
    pub members_failed: usize,
    /// Members that left.
    pub members_left: usize,
    /// Counters for people and metrics: what was dropped and why, by name.
    pub counters: BTreeMap<String, u64>,
}

/// A server's place in Raft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftStatus {
    /// `Leader`, `Candidate`, `Follower` or `Learner`.
    pub role: String,
    /// The current term.
    pub term: Term,
    /// The last entry in the log.
    pub last_index: LogIndex,
    /// The last entry known to be on a majority.
    pub commit_index: LogIndex,
    /// The last entry in the store.
    pub applied_index: LogIndex,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Those that take part.
    pub peers: Vec<PeerDescription>,
}

/// A server in the Raft configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDescription {
    /// Its identity.
    pub id: NodeId,
    /// Its name, where gossip knows it.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it votes.
    pub voter: bool,
}
