//! The words, and every byte that leaves a process.
//!
//! ```text
//!  dns · http-api ── Request ──▶ Cluster ──▶ engine ──▶ Write ──▶ raft ──▶ store
//!                 ◀─ Reply ─────────────────────────── Answer ◀─────────── view
//! ```
//!
//! One noun, one file: [`member`], [`node`], [`service`], [`check`], [`definitions`], [`kv`], [`session`], [`txn`], [`event`], [`query`], [`coordinate`], [`keyring`], [`operator`], [`raft`]. Front doors know only
//! [`Request`], [`Reply`] and the trait [`Cluster`]; the store knows only [`Write`] and [`Read`]. What the words
//! look like as bytes, with versions, is in [`wire`]; the text that people write as Go does (`1h30m`) is in [`go`].
//!
//! Nothing here does anything: no clock, no dice, no socket.

#![deny(clippy::disallowed_methods)]

pub mod check;
pub mod coordinate;
pub mod definitions;
pub mod event;
pub mod evidence;
pub mod go;
pub mod id;
pub mod index;
pub mod keyring;
pub mod kv;
pub mod member;
pub mod node;
pub mod operator;
pub mod query;
pub mod raft;
pub mod read;
pub mod request;
pub mod row;
pub mod service;
pub mod session;
pub mod time;
pub mod timer;
pub mod token;
pub mod txn;
pub mod wire;
pub mod write;

pub use check::{Check, CheckDefinition, CheckKind, Status};
pub use definitions::{Definitions, Scripts};
pub use event::{AgentEvent, EventFilter, UserEvent};
pub use evidence::{Accuser, Cause, Evidence, OwnPause, OwnProbe, SuspicionEvidence};
pub use id::{EventId, NodeId, SessionId};
pub use index::{LogIndex, Term};
pub use kv::{Entry, KvRead, KvWrite, Lock, Page, Pair, Selection};
pub use member::{Member, MemberStatus};
pub use node::Node;
pub use operator::{
    AutopilotConfig, AutopilotState, OperatorRequest, PeerSelector, RaftConfiguration, RaftServer, RestoreWrite,
    ServerHealth, SnapshotDescription, SnapshotRequest,
};
pub use query::{Query, QueryReply, Question};
pub use read::{Answer, Change, Changes, Consistency, HealthFilter, Instance, NodeServices, Read, ReadRequest, Wait};
pub use request::{
    AgentDescription, Ask, Cluster, LocalRequest, LockRequest, PeerDescription, RaftStatus, Refusal, Reply,
    ReplyFuture, Request, StatusRequest,
};
pub use row::Row;
pub use service::{Service, ServiceAddress, ServiceDefinition, Weights};
pub use session::{Behavior, Session, SessionRead, SessionWrite};
pub use time::Time;
pub use timer::{Armed, Timer};
pub use token::Token;
pub use txn::{CatalogOperation, TxnError, TxnOperation, TxnOutcome, TxnRead, TxnResult, TxnRow};
pub use write::{Deregistration, Outcome, Registration, Write};
