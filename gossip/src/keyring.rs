//! The secrets of the cluster.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use quorate_protocol::wire::gossip::NONCE_LEN;
use sha2::{Digest, Sha256};
use std::fmt;

/// The most keys in a ring: old and new during a rotation, and a few that were forgotten there.
const MAX_KEYS: usize = 8;

/// The keys of the cluster: the primary seals, every key opens.
///
/// So a key is changed in three steps, each finished everywhere before the next: add the new one, make it primary, remove the old.
#[derive(Clone)]
pub struct Keyring {
    primary: SealingKey,
    others: Vec<SealingKey>,
}

/// The secret cannot be a gossip key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a gossip key has 16, 24 or 32 bytes (in base64), this one has {0}: `quorate keygen` prints a good one")]
pub struct KeyLengthError(pub usize);

impl Keyring {
    /// A ring of one key.
    pub fn new(primary: [u8; 32]) -> Keyring {
        Keyring { primary: SealingKey::new(primary), others: Vec::new() }
    }

    /// A ring of the key that belongs to a secret as Consul's `encrypt` takes it, after base64: 16, 24 or 32 bytes, stretched by
    /// HKDF-SHA256 (RFC 5869).
    ///
    /// # Errors
    /// [`KeyLengthError`] for any other length.
    pub fn from_secret(secret: &[u8]) -> Result<Keyring, KeyLengthError> {
        if !matches!(secret.len(), 16 | 24 | 32) {
            return Err(KeyLengthError(secret.len()));
        }
        let mut key = [0; 32];
        let derived = Hkdf::<Sha256>::new(None, secret).expand(b"quorate gossip datagrams v1", &mut key);
        derived.map_err(|_| KeyLengthError(secret.len()))?;
        Ok(Keyring::new(key))
    }

    /// The same ring with a key that opens but does not seal. One already there is not added again; at most eight are kept.
    #[must_use]
    pub fn with_secondary(mut self, key: [u8; 32]) -> Keyring {
        let key = SealingKey::new(key);
        if !self.keys().any(|known| known.id == key.id) && self.others.len() + 1 < MAX_KEYS {
            self.others.push(key);
        }
        self
    }

    /// The key that seals.
    pub(crate) const fn primary(&self) -> &SealingKey {
        &self.primary
    }

    /// The key with this fingerprint.
    pub(crate) fn find(&self, id: [u8; 4]) -> Option<&SealingKey> {
        self.keys().find(|key| key.id == id)
    }

    fn keys(&self) -> impl Iterator<Item = &SealingKey> {
        std::iter::once(&self.primary).chain(&self.others)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys().map(|key| key.id)).finish()
    }
}

/// One key and the fingerprint by which packets name it.
#[derive(Clone)]
pub(crate) struct SealingKey {
    pub(crate) id: [u8; 4],
    cipher: XChaCha20Poly1305,
}

impl SealingKey {
    fn new(key: [u8; 32]) -> SealingKey {
        let mut hash = Sha256::new();
        hash.update(b"quorate gossip key id");
        hash.update(key);
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        SealingKey { id: [a, b, c, d], cipher: XChaCha20Poly1305::new(&Key::from(key)) }
    }

    /// Sealed bytes; none if they are too long for the cipher, which a datagram never is.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        self.cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad }).ok()
    }

    /// What was sealed; none if it, the nonce or the associated data is not what the sender sealed.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.cipher.decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_other_lengths_are_refused() {
        for length in [0, 1, 15, 17, 31, 33, 64] {
            assert_eq!(Keyring::from_secret(&vec![1; length]).err(), Some(KeyLengthError(length)));
        }
        let ids: Vec<_> = [16, 24, 32].map(|n| Keyring::from_secret(&vec![1; n]).unwrap().primary().id).into();
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    }

    #[test]
    fn all_keys_open_and_the_primary_seals() {
        let (old, new) = ([1; 32], [2; 32]);
        let before = Keyring::new(old);
        let during = Keyring::new(new).with_secondary(old).with_secondary(new);
        assert_eq!(during.keys().count(), 2);
        let sealed = before.primary().seal([9; NONCE_LEN], b"aad", b"hello").unwrap();
        let key = during.find(before.primary().id).unwrap();
        assert_eq!(key.open([9; NONCE_LEN], b"aad", &sealed).unwrap(), b"hello");
        assert!(key.open([9; NONCE_LEN], b"daa", &sealed).is_none());
        assert!(before.find(during.primary().id).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", Keyring::new([0xaa; 32])).contains("170, 170"));
    }
}
