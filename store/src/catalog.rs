//! Nodes with what is on them, found by name, by identity and by service.

use crate::index::{Indexes, Topic};
use crate::name::Name;
use crate::node::OnNode;
use crate::service::Instances;
use imbl::OrdMap;
use quorate_protocol::{LogIndex, NodeId, Read};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Nodes, services and checks.
///
/// * `by_id` has the name of every node that has an id, and no other.
/// * `services` has exactly the services that `nodes` carry, by their names.
/// * `indexes` has topics of nodes and services that are there, and of none that are gone.
#[derive(Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) nodes: OrdMap<Name, Arc<OnNode>>,
    pub(crate) by_id: OrdMap<NodeId, Name>,
    pub(crate) services: OrdMap<Name, Arc<Instances>>,
    pub(crate) indexes: Indexes,
}

impl Catalog {
    pub fn index_of(&self, read: &Read) -> LogIndex {
        self.indexes.of(read)
    }

    pub fn on(&self, node: &str) -> Option<&Arc<OnNode>> {
        self.nodes.get(&Name::of(node))
    }

    pub fn on_by_id(&self, id: NodeId) -> Option<&Arc<OnNode>> {
        self.nodes.get(self.by_id.get(&id)?)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<OnNode>> {
        self.nodes.values()
    }

    pub(crate) fn is_there(&self, topic: &Topic) -> bool {
        match topic {
            Topic::Node(node) | Topic::NodeChecks(node) => self.nodes.contains_key(node),
            Topic::ServiceInstances(service) | Topic::ServiceHealth(service) | Topic::ServiceChecks(service) => {
                self.services.contains_key(service)
            }
            Topic::Nodes | Topic::Services | Topic::Instances | Topic::Checks | Topic::ChecksIn(_) => true,
        }
    }
}

/// Whether something carries every pair.
pub(crate) fn carries(meta: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| meta.get(key) == Some(value))
}

/// A change of the catalogue on a copy of it (which costs a few pointers). What is changed is marked, and the marks become
/// the indexes; a change that is refused is dropped with its copy.
pub(crate) struct Edit {
    pub(crate) index: LogIndex,
    pub(crate) catalog: Catalog,
    touched: BTreeSet<Topic>,
}

impl Edit {
    pub fn begin(index: LogIndex, catalog: &Catalog) -> Edit {
        Edit { index, catalog: catalog.clone(), touched: BTreeSet::new() }
    }

    pub fn finish(self) -> (Catalog, BTreeSet<Topic>) {
        let Edit { index, mut catalog, touched } = self;
        let mut indexes = std::mem::take(&mut catalog.indexes);
        indexes.raise(&touched, index, |topic| catalog.is_there(topic));
        catalog.indexes = indexes;
        (catalog, touched)
    }

    pub(crate) fn touch(&mut self, topics: impl IntoIterator<Item = Topic>) {
        self.touched.extend(topics);
    }

    /// What is on a node, to be changed; views that share it keep theirs.
    pub(crate) fn on_mut(&mut self, node: &Name) -> Option<&mut OnNode> {
        self.catalog.nodes.get_mut(node).map(Arc::make_mut)
    }
}
