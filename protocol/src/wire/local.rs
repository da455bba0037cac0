//! An agent's own services, checks and tags, and whom it knew, as it keeps them across a restart.

use super::{VERSION_MAX, WireError, from_named, to_named};
use crate::{CheckDefinition, Service, Status, Token};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What was registered with an agent over its API, and whom it knew, as it was last saved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedLocal {
    /// The services.
    pub services: Vec<Service>,
    /// The checks of the node and of the services.
    pub checks: Vec<SavedCheck>,
    /// What the agent says of itself since somebody told it to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// With whose rights the services are registered, by their ids.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, Token>,
    /// What clients last said of TTL checks that are in the configuration, by their ids.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, SavedResult>,
    /// Where other members were, to be found again by.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<SocketAddr>,
}

/// A result that a client reported.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedResult {
    /// The status.
    pub status: Status,
    /// What was to be shown.
    pub output: String,
}

/// A check with the last result that was worth saving.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedCheck {
    /// The check.
    pub definition: CheckDefinition,
    /// Its last status.
    pub status: Status,
    /// Its last output.
    pub output: String,
}

impl SavedLocal {
    /// The bytes to keep; the disk adds its own checksum.
    pub fn encode(&self) -> Vec<u8> {
        to_named(VERSION_MAX, self)
    }

    /// Reads what [`SavedLocal::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are of an unknown version or malformed.
    pub fn decode(bytes: &[u8]) -> Result<SavedLocal, WireError> {
        from_named(bytes)
    }
}
