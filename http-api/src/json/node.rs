//! Nodes as the catalogue shows and takes them.

use quorate_protocol::{Node, Row};
use serde::Serialize;
use std::collections::BTreeMap;

/// A row of `/v1/catalog/nodes`, and the `Node` of others.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NodeRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: &'a BTreeMap<String, String>,
    meta: &'a BTreeMap<String, String>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> NodeRow<'a> {
    pub(crate) fn of(node: &'a Row<Node>, datacenter: &'a str) -> NodeRow<'a> {
        NodeRow {
            id: id_text(node),
            node: &node.name,
            address: &node.address,
            datacenter,
            tagged_addresses: &node.tagged_addresses,
            meta: &node.meta,
            create_index: node.create_index.0,
            modify_index: node.modify_index.0,
        }
    }
}

/// A node's identity; empty for one registered by hand without any.
pub(crate) fn id_text(node: &Node) -> String {
    node.id.map(|id| id.to_string()).unwrap_or_default()
}
