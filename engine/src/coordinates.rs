//! Where nodes are: members as gossip found out, others as somebody said.

use crate::Engine;
use quorate_protocol::coordinate::{Coordinate, NodeCoordinate};
use quorate_protocol::{Refusal, Reply};
use std::collections::BTreeMap;

/// The most nodes without an agent whose places are kept.
const MAX_TOLD: usize = 4096;

/// Places of nodes that have no agent, as they were told; kept until this agent ends.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<String, Coordinate>);

impl Engine {
    /// All places that are known, by name.
    pub(crate) fn coordinates(&self) -> Reply {
        let mut nodes: BTreeMap<&str, NodeCoordinate> = self
            .told
            .0
            .iter()
            .map(|(node, there)| {
                (node.as_str(), NodeCoordinate { node: node.clone(), server: false, coordinate: *there })
            })
            .collect();
        for member in self.gossip.members() {
            if let Some(coordinate) = self.gossip.coordinate(member.id) {
                let node = NodeCoordinate { node: member.name.clone(), server: member.is_server(), coordinate };
                nodes.insert(&member.name, node);
            }
        }
        Reply::Coordinates(nodes.into_values().collect())
    }

    /// Keeps the place of a node without an agent.
    pub(crate) fn set_coordinate(&mut self, node: String, coordinate: Coordinate) -> Reply {
        let invalid = |why: &str| Reply::Refused(Refusal::Invalid(why.to_owned()));
        if coordinate.check().is_err() {
            return invalid("invalid coordinate");
        }
        if self.gossip.members().any(|member| member.name == node) {
            return invalid("an agent runs on this node, and finds out by itself where it is");
        }
        if !self.told.0.contains_key(&node) && self.told.0.len() >= MAX_TOLD {
            return Reply::Refused(Refusal::Busy);
        }
        self.told.0.insert(node, coordinate);
        Reply::Done
    }
}
