//! Every change of the store.

use crate::{Check, KvWrite, LogIndex, Node, Service};
use serde::{Deserialize, Serialize};

/// A change. It is what the log carries, so its meaning never changes: new meanings are new variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// A change of keys.
    Kv(KvWrite),
    /// Upserts a node with what is on it.
    Register(Box<Registration>),
    /// Removes a node, or something on it.
    Deregister(Deregistration),
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
}
