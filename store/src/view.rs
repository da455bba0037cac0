//! An immutable picture of the store at an index, and the questions it answers.

use crate::store::State;
use quorate_protocol::{
    Answer, Armed, Check, Entry, KvRead, LogIndex, Node, NodeId, Read, Row, Service, Session, SessionId, Timer, TxnRead,
};
use std::fmt;
use std::sync::Arc;

/// The store as it was at an index. A clone costs a pointer; any thread may read it.
#[derive(Clone, Default)]
pub struct View {
    pub(crate) index: LogIndex,
    pub(crate) state: Arc<State>,
    pub(crate) hash: u64,
}

impl View {
    /// The log index of the last entry that this view contains.
    pub fn index(&self) -> LogIndex {
        self.index
    }

    /// The rolling hash of everything applied up to this view's index, as [`Store::hash`](crate::Store::hash).
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Answers a question.
    ///
    /// The index is that of what was asked about rather than of the whole store: it rises whenever the answer changes, and
    /// for the same question it never goes back. It is never 0, which clients take for "do not wait"; the entry at log
    /// index 1 is the first configuration of a cluster and never a write, so 1 stands for "never".
    pub fn read(&self, read: &Read) -> (Answer, LogIndex) {
        let State { kv, catalog, sessions, .. } = &*self.state;
        let answer = match read {
            Read::Kv(read) => {
                let (answer, index) = self.read_keys(read);
                return (answer, index.max(LogIndex(1)));
            }
            Read::Nodes { node_meta } => Answer::Nodes(catalog.nodes(node_meta)),
            Read::NodeServices { node } => Answer::NodeServices(catalog.node_services(node)),
            Read::Services { node_meta } => Answer::Services(catalog.services(node_meta)),
            Read::ServiceInstances { service, tags, node_meta } => {
                Answer::Instances(catalog.instances(service, tags, node_meta))
            }
            Read::ServiceHealth { service, tags, node_meta, health } => {
                Answer::Instances(catalog.health(service, tags, node_meta, *health))
            }
            Read::NodeChecks { node } => Answer::Checks(self.checks_of(node).cloned().collect()),
            Read::ServiceChecks { service, node_meta } => Answer::Checks(catalog.service_checks(service, node_meta)),
            Read::ChecksInState { status, node_meta } => Answer::Checks(catalog.checks_in_state(*status, node_meta)),
            Read::Session(read) => Answer::Sessions(sessions.read(read)),
            Read::Txn(reads) => {
                let of_keys = reads.iter().filter_map(TxnRead::as_kv_read).map(|read| match read {
                    KvRead::Get { key } => kv.last_change(&key),
                    other => self.read_keys(&other).1,
                });
                let index = of_keys.fold(self.state.indexes.of(read), LogIndex::max);
                return (Answer::Txn(self.state.look(reads)), index.max(LogIndex(1)));
            }
            Read::Autopilot => Answer::Autopilot(self.state.autopilot()),
        };
        (answer, self.state.indexes.of(read).max(LogIndex(1)))
    }

    fn read_keys(&self, read: &KvRead) -> (Answer, LogIndex) {
        let State { kv, changes, .. } = &*self.state;
        match read {
            KvRead::Get { key } => (Answer::Entries(kv.entry(key).into_iter().cloned().collect()), kv.last_change(key)),
            KvRead::List { prefix, page } => {
                let (rows, index) = kv.list(prefix, page);
                (Answer::Entries(rows), index)
            }
            KvRead::Keys { prefix, separator, page } => {
                let (keys, index) = kv.keys(prefix, separator, page);
                (Answer::Keys(keys), index)
            }
            KvRead::Changes { of, after, limit } => {
                let known = changes.read(kv, of, *after, *limit, self.index);
                (Answer::Changes(known), changes.index_of(kv, of))
            }
        }
    }

    /// Everything that ends by itself, with how long it has. (After a restart, and after a snapshot; from then on
    /// [`Touched::timers`](crate::Touched::timers) tells what changes.)
    pub fn timers(&self) -> Vec<(Timer, Armed)> {
        self.state.timers.iter().map(|(timer, armed)| (timer.clone(), *armed)).collect()
    }

    /// A session by its identity.
    pub fn session(&self, id: SessionId) -> Option<&Arc<Row<Session>>> {
        self.state.sessions.get(id)
    }

    /// A key.
    pub fn entry(&self, key: &str) -> Option<&Arc<Row<Entry>>> {
        self.state.kv.entry(key)
    }

    /// A node by its name, in whatever case.
    pub fn node(&self, name: &str) -> Option<&Arc<Row<Node>>> {
        self.state.catalog.on(name).map(|on| &on.row)
    }

    /// A node by the identity of its agent.
    pub fn node_by_id(&self, id: NodeId) -> Option<&Arc<Row<Node>>> {
        self.state.catalog.on_by_id(id).map(|on| &on.row)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Row<Node>>> {
        self.state.catalog.all().map(|on| &on.row)
    }

    /// The services on a node, by id; none for an unknown node.
    pub fn services_of<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Row<Service>>> + use<'a> {
        self.state.catalog.on(node).into_iter().flat_map(|on| on.services.values())
    }

    /// The checks on a node, those of its services among them, by id; none for an unknown node.
    pub fn checks_of<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Row<Check>>> + use<'a> {
        self.state.catalog.on(node).into_iter().flat_map(|on| on.checks.values())
    }
}

impl fmt::Debug for View {
    /// The index says which view it is; all rows would say too much.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("index", &self.index).finish_non_exhaustive()
    }
}
