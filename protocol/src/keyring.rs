//! The secrets of a cluster, and what is ordered of them.

use crate::EventId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The most keys in a ring: old and new during a rotation, and a few that were forgotten there.
pub const MAX_KEYS: usize = 8;
/// The most removed keys that are remembered, so that nobody who was away brings one back.
pub const MAX_REMOVED: usize = 16;

/// A gossip key: 16, 24 or 32 bytes, as Consul's `encrypt` has them. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct GossipKey(Bytes);

/// The bytes cannot be a gossip key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a gossip key has 16, 24 or 32 bytes (in base64), this one has {0}: `quorate keygen` prints a good one")]
pub struct KeyLengthError(pub usize);

impl GossipKey {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Bytes> for GossipKey {
    type Error = KeyLengthError;

    fn try_from(bytes: Bytes) -> Result<GossipKey, KeyLengthError> {
        if matches!(bytes.len(), 16 | 24 | 32) { Ok(GossipKey(bytes)) } else { Err(KeyLengthError(bytes.len())) }
    }
}

impl From<[u8; 32]> for GossipKey {
    fn from(bytes: [u8; 32]) -> GossipKey {
        GossipKey(Bytes::copy_from_slice(&bytes))
    }
}

impl From<GossipKey> for Bytes {
    fn from(key: GossipKey) -> Bytes {
        key.0
    }
}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipKey({} bytes)", self.0.len())
    }
}

/// When something was ordered of a keyring: Lamport's time, and the id of the query, which decides between two at one time. The least of
/// all is that of a configuration, which nobody ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyStamp {
    /// The time.
    pub ltime: u64,
    /// The query.
    pub order: EventId,
}

impl KeyStamp {
    /// Of a configuration.
    pub const CONFIGURED: KeyStamp = KeyStamp { ltime: 0, order: EventId([0; 16]) };
}

/// All keys of a ring, and what was last ordered of each: any two of them merge into the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringState {
    /// The key that seals, and since when.
    pub primary: (GossipKey, KeyStamp),
    /// Whether a key is installed, or was removed.
    pub keys: BTreeMap<GossipKey, KeyFate>,
}

impl KeyringState {
    /// The installed keys, the primary first.
    pub fn installed(&self) -> impl Iterator<Item = &GossipKey> {
        let primary = &self.primary.0;
        let others = self.keys.iter().filter(move |(key, fate)| fate.installed && *key != primary);
        std::iter::once(primary).chain(others.map(|(key, _)| key))
    }
}

/// What was last ordered of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFate {
    /// When.
    pub stamp: KeyStamp,
    /// Installed, or else removed.
    pub installed: bool,
}

/// What is to be done with a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyringChange {
    /// The key opens from now on.
    Install(GossipKey),
    /// The key seals from now on.
    Use(GossipKey),
    /// The key does not open any more.
    Remove(GossipKey),
}

/// Why a ring was not changed; the words are memberlist's, which tools look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringRefusal {
    /// Install it first.
    #[error("Requested key is not in the keyring")]
    Unknown,
    /// Use another one first.
    #[error("Removing the primary key is not allowed")]
    Primary,
    /// Remove one first.
    #[error("the keyring is full: remove a key first")]
    Full,
    /// Try again: somebody else ordered otherwise in the same moment.
    #[error("a later order contradicts this one")]
    Outdated,
}

/// What is asked of all agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyringRequest {
    /// Which keys each has.
    List,
    /// That each changes its ring.
    Change(KeyringChange),
}

/// What one agent says to that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyringAnswer {
    /// Why it did not do it; empty where it did.
    pub refused: String,
    /// Its keys, the primary first, where it was asked for them.
    pub keys: Vec<GossipKey>,
}

/// What all agents said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyringReport {
    /// How many were alive when it was asked.
    pub members: usize,
    /// How many answered.
    pub answered: usize,
    /// Who did not do it, and why.
    pub refused: BTreeMap<String, String>,
    /// How many have each key.
    pub keys: BTreeMap<GossipKey, usize>,
    /// How many have each for their primary.
    pub primaries: BTreeMap<GossipKey, usize>,
}
