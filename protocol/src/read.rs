//! Every question to the store, and its answer.

use crate::{
    AutopilotConfig, Check, Entry, KvRead, LogIndex, Node, Row, Service, Session, SessionRead, Status, TxnOutcome,
    TxnRead,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A question. It looks at one immutable view and has no effect.
///
/// `node_meta` filters keep what carries every pair; `tags` keep what carries every tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Read {
    /// About keys.
    Kv(KvRead),
    /// The nodes, by name: [`Answer::Nodes`].
    Nodes {
        /// Pairs that the node must carry.
        node_meta: BTreeMap<String, String>,
    },
    /// One node with its services: [`Answer::NodeServices`].
    NodeServices {
        /// Its name.
        node: String,
    },
    /// The names of the services with all tags in use: [`Answer::Services`].
    Services {
        /// Pairs that the node must carry.
        node_meta: BTreeMap<String, String>,
    },
    /// The instances of a service, healthy or not, without their checks: [`Answer::Instances`].
    ServiceInstances {
        /// Its name.
        service: String,
        /// Tags that the instance must carry.
        tags: Vec<String>,
        /// Pairs that the node must carry.
        node_meta: BTreeMap<String, String>,
    },
    /// The instances of a service with the checks of the instance and of its node: [`Answer::Instances`].
    ServiceHealth {
        /// Its name.
        service: String,
        /// Tags that the instance must carry.
        tags: Vec<String>,
        /// Pairs that the node must carry.
        node_meta: BTreeMap<String, String>,
        /// Which instances to drop.
        health: HealthFilter,
    },
    /// The checks of a node: [`Answer::Checks`].
    NodeChecks {
        /// Its name.
        node: String,
    },
    /// The checks of a service: [`Answer::Checks`].
    ServiceChecks {
        /// Its name.
        service: String,
        /// Pairs that the node must carry.
        node_meta: BTreeMap<String, String>,
    },
    /// The checks in a state, or all: [`Answer::Checks`].
    ChecksInState {
        /// None for any.
        status: Option<Status>,
        /// Pairs that the node must carry.
        node_meta: BTreeMap<String, String>,
    },
    /// About sessions.
    Session(SessionRead),
    /// Several questions about one state: [`Answer::Txn`].
    Txn(Vec<TxnRead>),
    /// How the leader looks after servers: [`Answer::Autopilot`].
    Autopilot,
}

/// Which instances a health question keeps, by the gravest of the checks of the instance and its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HealthFilter {
    /// All.
    Any,
    /// Passing or warning: what DNS shows.
    NotCritical,
    /// Passing only.
    Passing,
}

/// The answer to a [`Read`]. Rows are shared with the view, not copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Keys with values, in byte order.
    Entries(Vec<Arc<Row<Entry>>>),
    /// Keys alone, in byte order.
    Keys(Vec<String>),
    /// Nodes, by name.
    Nodes(Vec<Arc<Row<Node>>>),
    /// A node with its services, if there is one.
    NodeServices(Option<NodeServices>),
    /// Names of services, each with its tags in order and once.
    Services(BTreeMap<String, Vec<String>>),
    /// Instances of a service, by node and id.
    Instances(Vec<Instance>),
    /// Checks, by node and id.
    Checks(Vec<Arc<Row<Check>>>),
    /// What happened to keys.
    Changes(Changes),
    /// Sessions, by identity.
    Sessions(Vec<Arc<Row<Session>>>),
    /// Rows as a transaction gives them, or which of its operations failed.
    Txn(TxnOutcome),
    /// The settings; the defaults with indexes of zero where they were never set.
    Autopilot(Arc<Row<AutopilotConfig>>),
}

/// What happened to keys after an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changes {
    /// All that happened after the index that was asked about and up to another.
    Known {
        /// In the order of the log; those of one write by key.
        changes: Vec<Change>,
        /// Nothing else happened up to here: ask for what comes after it.
        up_to: LogIndex,
    },
    /// The memory does not reach back to the index that was asked about: list again, then ask for what comes after that list's index.
    Compacted {
        /// The earliest index that may be asked about.
        since: LogIndex,
    },
}

/// Something that happened to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It was set, acquired or released.
    Put(Arc<Row<Entry>>),
    /// It was deleted, or ended by itself.
    Delete {
        /// The key.
        key: String,
        /// When.
        index: LogIndex,
    },
}

impl Change {
    /// Which key.
    pub fn key(&self) -> &str {
        match self {
            Change::Put(row) => &row.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// At which log index.
    pub fn index(&self) -> LogIndex {
        match self {
            Change::Put(row) => row.modify_index,
            Change::Delete { index, .. } => *index,
        }
    }
}

/// A node and what runs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeServices {
    /// The node.
    pub node: Arc<Row<Node>>,
    /// Its services, by id.
    pub services: Vec<Arc<Row<Service>>>,
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Where it runs.
    pub node: Arc<Row<Node>>,
    /// What runs.
    pub service: Arc<Row<Service>>,
    /// The checks of the node and of the instance; empty where the question was not about health.
    pub checks: Vec<Arc<Row<Check>>>,
}

impl Instance {
    /// The gravest status of its checks; passing where there are none.
    pub fn status(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing)
    }
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Consistency {
    /// From whichever server is asked, however old; the answer tells its age.
    Stale,
    /// From a leader that holds a valid lease.
    #[default]
    Default,
    /// From a leader that asked a majority whether it still leads, after the question came in (read index).
    Consistent,
}

/// A blocking question: the answer is held back until its index passes `index`, or the time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wait {
    /// The index that the client has seen.
    pub index: LogIndex,
    /// How long to hold it back at most.
    pub timeout: Duration,
}

/// A question with how it is to be answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The question.
    pub read: Read,
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// Whether to wait for a change.
    pub wait: Option<Wait>,
    /// Of a stale answer: how long ago its server may have heard from its leader; a server that heard nothing for longer
    /// asks the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<Duration>,
    /// The answer must be of a state at this log index or later, so that whoever has seen that index never reads an older
    /// state at another server. (An extension.)
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_least: LogIndex,
}

fn is_zero(index: &LogIndex) -> bool {
    *index == LogIndex::ZERO
}

impl ReadRequest {
    /// A question answered at once, at the default consistency.
    pub const fn now(read: Read) -> ReadRequest {
        ReadRequest { read, consistency: Consistency::Default, wait: None, max_stale: None, at_least: LogIndex::ZERO }
    }
}
