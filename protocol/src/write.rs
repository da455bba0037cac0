//! Every change of the store.

use crate::{
    AutopilotConfig, Check, KvWrite, LogIndex, Node, RestoreWrite, Row, Service, Session, SessionId, SessionWrite,
    Timer, TxnOperation, TxnOutcome,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A change. It is what the log carries, so its meaning never changes: new meanings are new variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// A change of keys.
    Kv(KvWrite),
    /// Upserts a node with what is on it.
    Register(Box<Registration>),
    /// Removes a node, or something on it.
    Deregister(Deregistration),
    /// A change of sessions.
    Session(SessionWrite),
    /// Several changes, all or nothing: [`Outcome::Txn`].
    Txn(Vec<TxnOperation>),
    /// Ends what ends by itself, if it still counts from that index. Only the leader's clock says so.
    Expire {
        /// What ends.
        timer: Timer,
        /// The log index that it counted from.
        since: LogIndex,
    },
    /// How the leader looks after servers.
    Autopilot {
        /// The settings.
        config: AutopilotConfig,
        /// Only if their modify index is this; zero: only if they were never set.
        cas: Option<LogIndex>,
    },
    /// Puts a snapshot back.
    Restore(RestoreWrite),
}

/// A node, and optionally a service and checks on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// The node that carries the rest.
    pub node: Node,
    /// Leaves an existing node row as it is.
    pub skip_node_update: bool,
    /// A service to upsert.
    pub service: Option<Service>,
    /// Checks to upsert. One with a `service_id` that the node does not carry refuses the whole registration.
    pub checks: Vec<Check>,
}

/// What to remove. Removing nothing succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deregistration {
    /// A node with all its services and checks.
    Node {
        /// Its name.
        node: String,
    },
    /// A service with its checks.
    Service {
        /// The node's name.
        node: String,
        /// The service's id.
        service_id: String,
    },
    /// A check.
    Check {
        /// The node's name.
        node: String,
        /// The check's id.
        check_id: String,
    },
}

/// What became of a [`Write`]. A refusal is an outcome, not an error: every replica comes to the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, or nothing had to be done.
    Done,
    /// A compare-and-set found another modify index.
    Unmatched {
        /// What it found, zero if the row does not exist.
        found: LogIndex,
    },
    /// The write cannot be applied to the state as it is; the sentence says why and names the remedy.
    Refused(String),
    /// The key is held by the session that asked.
    Acquired {
        /// The fencing token of the hold.
        token: LogIndex,
    },
    /// The session that asked holds the key already, and nothing was written.
    Holds {
        /// The fencing token of the hold.
        token: LogIndex,
    },
    /// The key is not held by the session that asked.
    Held {
        /// Who holds it; none: nobody does, but it cannot be acquired yet (lock delay), or there was nothing to release.
        by: Option<SessionId>,
    },
    /// The session that was made or renewed; none where there is none to renew.
    Session(Option<Arc<Row<Session>>>),
    /// What became of a transaction.
    Txn(TxnOutcome),
}
