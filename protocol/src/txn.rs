//! Transactions: several operations, all or nothing.

use crate::{Check, Entry, KvRead, KvWrite, LogIndex, Node, Row, Service, SessionId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One operation of a transaction. What writes belongs to [`crate::Write::Txn`]; a list without any may be asked as
/// [`crate::Read::Txn`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TxnRead {
    /// The entry, or its absence is an error: `get`.
    Get {
        /// The key.
        key: String,
    },
    /// The entry, or an empty one with indexes of zero: `get-or-empty`.
    GetOrEmpty {
        /// The key.
        key: String,
    },
    /// All entries below a prefix: `get-tree`.
    GetTree {
        /// The beginning that the keys share.
        prefix: String,
    },
    /// Fails unless the key has this modify index: `check-index`.
    CheckIndex {
        /// The key.
        key: String,
        /// What its modify index must be.
        index: LogIndex,
    },
    /// Fails unless this session holds the key: `check-session`.
    CheckSession {
        /// The key.
        key: String,
        /// Who must hold it.
        session: SessionId,
    },
    /// Fails if the key exists: `check-not-exists`.
    CheckNotExists {
        /// The key.
        key: String,
    },
    /// Fails unless the key is held, and its hold has this fencing token: `check-token`. (An extension.)
    CheckToken {
        /// The key.
        key: String,
        /// What the token must be.
        token: LogIndex,
    },
    /// A node by name; its absence is an error.
    Node {
        /// Its name.
        node: String,
    },
    /// A service; its absence is an error.
    Service {
        /// The node's name.
        node: String,
        /// Its id.
        service_id: String,
    },
    /// A check; its absence is an error.
    Check {
        /// The node's name.
        node: String,
        /// Its id.
        check_id: String,
    },
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOperation {
    /// Looks, or checks.
    Read(TxnRead),
    /// Changes keys. An outcome other than done or acquired is an error.
    Kv(KvWrite),
    /// Changes a node, a service or a check.
    Catalog(CatalogOperation),
}

/// A change of one row of the catalogue. `cas` is as in [`KvWrite`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogOperation {
    /// Upserts a node.
    SetNode {
        /// The node.
        node: Box<Node>,
        /// Only if its modify index is this.
        cas: Option<LogIndex>,
    },
    /// Removes a node with all that is on it.
    DeleteNode {
        /// Its name.
        node: String,
        /// Only if its modify index is this.
        cas: Option<LogIndex>,
    },
    /// Upserts a service on a node that exists.
    SetService {
        /// The node's name.
        node: String,
        /// The service.
        service: Box<Service>,
        /// Only if its modify index is this.
        cas: Option<LogIndex>,
    },
    /// Removes a service with its checks.
    DeleteService {
        /// The node's name.
        node: String,
        /// Its id.
        service_id: String,
        /// Only if its modify index is this.
        cas: Option<LogIndex>,
    },
    /// Upserts a check on a node that exists.
    SetCheck {
        /// The check, with the node's name.
        check: Box<Check>,
        /// Only if its modify index is this.
        cas: Option<LogIndex>,
    },
    /// Removes a check.
    DeleteCheck {
        /// The node's name.
        node: String,
        /// Its id.
        check_id: String,
        /// Only if its modify index is this.
        cas: Option<LogIndex>,
    },
}

/// What became of a transaction: the results of its operations in order, or every operation that failed; then nothing was changed.
pub type TxnOutcome = Result<Vec<TxnResult>, Vec<TxnError>>;

/// What an operation gives back. Those that delete give nothing, `check-not-exists` neither; `get-tree` gives several. As in Consul,
/// `check-index` and `check-session` give the entry that they looked at. Values are there for all of them; front doors that do as
/// Consul does leave them out for all but `get`, `get-or-empty` and `get-tree`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnResult {
    /// Which operation, from 0.
    pub operation: u32,
    /// The row as it is after the transaction's operations up to this one.
    pub row: TxnRow,
}

/// A row that an operation gives back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnRow {
    /// A key.
    Entry(Arc<Row<Entry>>),
    /// A node.
    Node(Arc<Row<Node>>),
    /// A service with the name of its node.
    Service(String, Arc<Row<Service>>),
    /// A check.
    Check(Arc<Row<Check>>),
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnError {
    /// Which operation, from 0.
    pub operation: u32,
    /// The sentence for the client.
    pub what: String,
}

impl From<TxnRead> for TxnOperation {
    fn from(read: TxnRead) -> TxnOperation {
        TxnOperation::Read(read)
    }
}

impl TxnRead {
    /// The same question asked alone, where it is about keys.
    pub fn as_kv_read(&self) -> Option<KvRead> {
        match self {
            TxnRead::Get { key }
            | TxnRead::GetOrEmpty { key }
            | TxnRead::CheckIndex { key, .. }
            | TxnRead::CheckSession { key, .. }
            | TxnRead::CheckNotExists { key }
            | TxnRead::CheckToken { key, .. } => Some(KvRead::Get { key: key.clone() }),
            TxnRead::GetTree { prefix } => Some(KvRead::List { prefix: prefix.clone(), page: crate::Page::default() }),
            TxnRead::Node { .. } | TxnRead::Service { .. } | TxnRead::Check { .. } => None,
        }
    }
}
