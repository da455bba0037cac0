//! Nodes with what is on them, found by name, by identity and by service.

use crate::name::Name;
use crate::node::OnNode;
use crate::service::Instances;
use imbl::OrdMap;
use quorate_protocol::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes, services and checks.
///
/// * `by_id` has the name of every node that has an id, and no other.
/// * `services` has exactly the services that `nodes` carry, by their names.
#[derive(Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) nodes: OrdMap<Name, Arc<OnNode>>,
    pub(crate) by_id: OrdMap<NodeId, Name>,
    pub(crate) services: OrdMap<Name, Arc<Instances>>,
}

impl Catalog {
    pub fn on(&self, node: &str) -> Option<&Arc<OnNode>> {
        self.nodes.get(&Name::of(node))
    }

    pub fn on_by_id(&self, id: NodeId) -> Option<&Arc<OnNode>> {
        self.nodes.get(self.by_id.get(&id)?)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<OnNode>> {
        self.nodes.values()
    }
}

/// Whether something carries every pair.
pub(crate) fn carries(meta: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| meta.get(key) == Some(value))
}
