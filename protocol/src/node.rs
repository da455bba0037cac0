//! Nodes of the catalogue: hosts that carry services.

use crate::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A host in the catalogue. Its key is `name`, compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// The agent's identity; none for a node registered by hand.
    pub id: Option<NodeId>,
    /// Its name, unique in the datacenter.
    pub name: String,
    /// An IP address, or a name that DNS answers with a CNAME.
    pub address: String,
    /// Further addresses by tag, `lan` and `wan` among them.
    pub tagged_addresses: BTreeMap<String, String>,
    /// What the operator wants to say about it.
    pub meta: BTreeMap<String, String>,
}
