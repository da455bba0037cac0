//! Services: what runs on a node.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One instance of a service on a node. Its key is the node's name and `id`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Unique on its node; the name where none was given.
    pub id: String,
    /// The name that is looked up, compared without regard to case.
    pub name: String,
    /// Labels to choose instances by.
    pub tags: Vec<String>,
    /// Where it listens; empty means the node's address.
    pub address: String,
    /// The port it listens on; 0 where it has none.
    pub port: u16,
    /// What the operator wants to say about it.
    pub meta: BTreeMap<String, String>,
    /// Further addresses by tag.
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Its share in weighted answers.
    pub weights: Weights,
    /// Whether tags set through the catalogue win over the agent's.
    pub enable_tag_override: bool,
}

/// An address of a service under one of its tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAddress {
    /// An IP address or a name.
    pub address: String,
    /// A port, 0 for the service's own.
    pub port: u16,
}

/// The weight of an SRV answer by health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    /// While passing.
    pub passing: u16,
    /// While warning.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights { passing: 1, warning: 1 }
    }
}
