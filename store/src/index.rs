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
use imbl::OrdMap;
use quorate_protocol::{LogIndex, Read, Status};
use std::collections::BTreeSet;

/// Something in the catalogue that a question can be about. (Keys carry their indexes themselves, see `kv.rs`.)
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
}

impl Topic {
    /// Whose index counts as long as there is no such node or service.
    fn table(&self) -> Option<Topic> {
        match self {
            Topic::Node(_) | Topic::NodeChecks(_) => Some(Topic::Nodes),
            Topic::ServiceInstances(_) | Topic::ServiceHealth(_) | Topic::ServiceChecks(_) => Some(Topic::Services),
            Topic::Nodes | Topic::Services | Topic::Instances | Topic::Checks | Topic::ChecksIn(_) => None,
        }
    }
}

/// What a question is about: its answer depends on these topics and nothing else. None for a question about keys.
pub(crate) fn topics(read: &Read) -> Vec<Topic> {
    match read {
        Read::Kv(_) | Read::Session(_) | Read::Txn(_) | Read::Autopilot => vec![],
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
    }
}

/// The index of each topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Indexes(OrdMap<Topic, LogIndex>);

impl Indexes {
    /// The index of the answer to a question.
    pub fn of(&self, read: &Read) -> LogIndex {
        topics(read).iter().map(|topic| self.at(topic)).max().unwrap_or_default()
    }

    /// Raises the index of each touched topic, and forgets those of things that are gone.
    pub fn raise(&mut self, touched: &BTreeSet<Topic>, index: LogIndex, is_there: impl Fn(&Topic) -> bool) {
        for topic in touched {
            if is_there(topic) {
                self.0.insert(topic.clone(), index);
            } else {
                self.0.remove(topic);
            }
        }
    }

    fn at(&self, topic: &Topic) -> LogIndex {
        let own = self.0.get(topic).copied();
        own.or_else(|| self.0.get(&topic.table()?).copied()).unwrap_or_default()
    }

    #[cfg(test)]
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.0.keys()
    }
}
