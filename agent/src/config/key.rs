//! The one secret of a cluster as people write it: the gossip key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_protocol::keyring::GossipKey;

/// The key that agents on loopback use where none is configured. Everybody knows it: it keeps the one road (sealed packets,
/// mutual TLS) in use from the first try, and protects nothing. See docs/decisions/0004.
const WELL_KNOWN: &[u8; 32] = b"quorate-development-key-insecure";

/// The key that everybody knows, for agents that only this machine can reach.
pub fn well_known() -> GossipKey {
    GossipKey::from(*WELL_KNOWN)
}

/// Whether everybody knows it.
pub fn is_well_known(key: &GossipKey) -> bool {
    key.bytes() == WELL_KNOWN
}

/// The key that `text` is the base64 of.
///
/// # Errors
/// What is wrong with it, without showing it.
pub fn from_base64(text: &str) -> Result<GossipKey, String> {
    let bytes =
        STANDARD.decode(text).map_err(|_| format!("{} characters that are not base64", text.chars().count()))?;
    let length = bytes.len();
    GossipKey::try_from(Bytes::from(bytes)).map_err(|_| format!("base64 of {length} bytes"))
}
