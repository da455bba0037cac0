//! The one secret of a cluster: the gossip key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// The key that agents on loopback use where none is configured. Everybody knows it: it keeps the one road (sealed packets,
/// mutual TLS) in use from the first try, and protects nothing. See docs/decisions/0004.
const WELL_KNOWN: &[u8; 32] = b"quorate-development-key-insecure";

/// A gossip key: 16, 24 or 32 bytes. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct GossipKey {
    bytes: Vec<u8>,
}

impl GossipKey {
    /// The key that everybody knows, for agents that only this machine can reach.
    pub fn well_known() -> GossipKey {
        GossipKey { bytes: WELL_KNOWN.to_vec() }
    }

    /// The key that `text` is the base64 of.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn from_base64(text: &str) -> Result<GossipKey, String> {
        let bytes =
            STANDARD.decode(text).map_err(|_| format!("{} characters that are not base64", text.chars().count()))?;
        match bytes.len() {
            16 | 24 | 32 => Ok(GossipKey { bytes }),
            other => Err(format!("base64 of {other} bytes")),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether everybody knows it.
    pub fn is_well_known(&self) -> bool {
        self.bytes == WELL_KNOWN
    }
}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipKey({} bytes{})", self.bytes.len(), if self.is_well_known() { ", well known" } else { "" })
    }
}
