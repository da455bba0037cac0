//! What a question is about, and the log index at which each such thing last changed.
//!
//! A write marks the topics that it changes; those marks are [`Touched`](crate::Touched), and the indexes are raised from
//! the very same marks, so an index cannot rise without a wake-up nor the other way round.
//!
//! ```text
//!     Node("n1") ─┐ there is no n1                   Service…("web") ─┐ there is no web
//!                 ▼                                                   ▼
//!               Nodes                                              Services
//! ```
//!
//! A thing that is not there has the index of its table. Its coming and its going mark both at once, so neither changing
//! over goes back, and nothing has to be remembered about things that are gone.

use crate::name::Name;
use crate::store::State;
use imbl::OrdMap;
use quorate_protocol::{LogIndex, Read, SessionId, SessionRead, Status, TxnRead};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Something that a question can be about. (Keys carry their indexes themselves, see `kv.rs`.)
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Topic {
    /// The rows of all nodes.
    Nodes,
    /// The row of a node and those of its services.
    Node(Name),
    /// The checks on a node.
    NodeChecks(Name),
    /// The names of services and the tags in use for each. Another instance like the others does not change them.
    Services,
    /// On which nodes which names and tags are in use.
    Instances,
    /// The instances of a service with the rows of their nodes.
    ServiceInstances(Name),
    /// The same with all checks that count for them.
    ServiceHealth(Name),
    /// The checks of a service's instances.
    ServiceChecks(Name),
    /// The checks of the whole catalogue.
    Checks,
    /// Those in one state.
    ChecksIn(Status),
    /// All sessions.
    Sessions,
    /// One of them.
    Session(SessionId),
    /// Those bound to a node.
    SessionsOn(Name),
    /// How the leader looks after servers.
    Autopilot,
}

impl Topic {
    /// Whose index counts as long as there is no such node, service or session.
    fn table(&self) -> Option<Topic> {
        match self {
            Topic::Node(_) | Topic::NodeChecks(_) => Some(Topic::Nodes),
            Topic::ServiceInstances(_) | Topic::ServiceHealth(_) | Topic::ServiceChecks(_) => Some(Topic::Services),
            Topic::Session(_) | Topic::SessionsOn(_) => Some(Topic::Sessions),
            Topic::Nodes
            | Topic::Services
            | Topic::Instances
            | Topic::Checks
            | Topic::ChecksIn(_)
            | Topic::Sessions
            | Topic::Autopilot => None,
        }
    }
}

/// What a question is about: its answer depends on these topics and nothing else. None for a question about keys.
pub(crate) fn topics(read: &Read) -> Vec<Topic> {
    match read {
        Read::Kv(_) => vec![],
        Read::Nodes { node_meta: _ } => vec![Topic::Nodes],
        Read::NodeServices { node } => vec![Topic::Node(Name::of(node))],
        Read::Services { node_meta } if node_meta.is_empty() => vec![Topic::Services],
        Read::Services { node_meta: _ } => vec![Topic::Instances, Topic::Nodes],
        Read::ServiceInstances { service, .. } => vec![Topic::ServiceInstances(Name::of(service))],
        Read::ServiceHealth { service, .. } => vec![Topic::ServiceHealth(Name::of(service))],
        Read::NodeChecks { node } => vec![Topic::NodeChecks(Name::of(node))],
        Read::ServiceChecks { service, node_meta } => {
            let name = Name::of(service);
            let with_nodes = (!node_meta.is_empty()).then(|| Topic::ServiceInstances(name.clone()));
            [Topic::ServiceChecks(name)].into_iter().chain(with_nodes).collect()
        }
        Read::ChecksInState { status, node_meta } => {
            let checks = status.map_or(Topic::Checks, Topic::ChecksIn);
            let with_nodes = (!node_meta.is_empty()).then_some(Topic::Nodes);
            [checks].into_iter().chain(with_nodes).collect()
        }
        Read::Session(SessionRead::Info { id }) => vec![Topic::Session(*id)],
        Read::Session(SessionRead::Node { node }) => vec![Topic::SessionsOn(Name::of(node))],
        Read::Session(SessionRead::List) => vec![Topic::Sessions],
        Read::Txn(reads) => reads.iter().filter_map(topic_of_operation).collect(),
        Read::Autopilot => vec![Topic::Autopilot],
    }
}

/// The topic of one operation that looks; none where it looks at keys.
fn topic_of_operation(read: &TxnRead) -> Option<Topic> {
    match read {
        TxnRead::Get { .. }
        | TxnRead::GetOrEmpty { .. }
        | TxnRead::GetTree { .. }
        | TxnRead::CheckIndex { .. }
        | TxnRead::CheckSession { .. }
        | TxnRead::CheckNotExists { .. }
        | TxnRead::CheckToken { .. } => None,
        TxnRead::Node { node } | TxnRead::Service { node, .. } => Some(Topic::Node(Name::of(node))),
        TxnRead::Check { node, .. } => Some(Topic::NodeChecks(Name::of(node))),
    }
}

impl State {
    /// Raises the index of each touched topic, and forgets those of things that are gone.
    pub(crate) fn raise(&mut self, touched: &BTreeSet<Topic>, index: LogIndex) {
        for topic in touched {
            if self.is_there(topic) {
                self.indexes.insert(topic.clone(), index);
            } else {
                self.indexes.0.remove(topic);
            }
        }
    }

    /// Whether there is such a node, service or session, so that it has an index of its own.
    pub(crate) fn is_there(&self, topic: &Topic) -> bool {
        match topic {
            Topic::Node(node) | Topic::NodeChecks(node) => self.catalog.nodes.contains_key(node),
            Topic::ServiceInstances(service) | Topic::ServiceHealth(service) | Topic::ServiceChecks(service) => {
                self.catalog.services.contains_key(service)
            }
            Topic::Session(id) => self.sessions.get(*id).is_some(),
            Topic::SessionsOn(node) => self.sessions.on(node).next().is_some(),
            Topic::Nodes
            | Topic::Services
            | Topic::Instances
            | Topic::Checks
            | Topic::ChecksIn(_)
            | Topic::Sessions
            | Topic::Autopilot => true,
        }
    }

    /// Every topic that has an index of its own now.
    pub(crate) fn all_topics(&self) -> BTreeSet<Topic> {
        let states = [Status::Passing, Status::Warning, Status::Critical].map(Topic::ChecksIn);
        let tables =
            [Topic::Nodes, Topic::Services, Topic::Instances, Topic::Checks, Topic::Sessions, Topic::Autopilot];
        let nodes =
            self.catalog.nodes.keys().flat_map(|node| [Topic::Node(node.clone()), Topic::NodeChecks(node.clone())]);
        let services = self.catalog.services.keys().flat_map(|service| {
            [Topic::ServiceInstances, Topic::ServiceHealth, Topic::ServiceChecks].map(|topic| topic(service.clone()))
        });
        let sessions = self.sessions.after(Bound::Unbounded).map(|row| Topic::Session(row.id));
        let on_nodes = self.sessions.nodes().cloned().map(Topic::SessionsOn);
        tables.into_iter().chain(states).chain(nodes).chain(services).chain(sessions).chain(on_nodes).collect()
    }
}

/// The index of each topic. Topics of nodes, services and sessions that are gone have none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Indexes(OrdMap<Topic, LogIndex>);

impl Indexes {
    /// The index of the answer to a question.
    pub fn of(&self, read: &Read) -> LogIndex {
        topics(read).iter().map(|topic| self.at(topic)).max().unwrap_or_default()
    }

    pub fn insert(&mut self, topic: Topic, index: LogIndex) {
        self.0.insert(topic, index);
    }

    pub fn after(&self, after: Bound<Topic>) -> impl Iterator<Item = (&Topic, &LogIndex)> + use<'_> {
        self.0.range::<_, Topic>((after, Bound::Unbounded))
    }

    fn at(&self, topic: &Topic) -> LogIndex {
        let own = self.0.get(topic).copied();
        own.or_else(|| self.0.get(&topic.table()?).copied()).unwrap_or_default()
    }
}
