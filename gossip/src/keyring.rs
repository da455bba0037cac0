//! The secrets of the cluster.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use quorate_protocol::keyring::{
    GossipKey, KeyFate, KeyStamp, KeyringChange, KeyringRefusal, KeyringState, MAX_KEYS, MAX_REMOVED,
};
use quorate_protocol::wire::gossip::NONCE_LEN;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// The keys of the cluster: the primary seals, every key opens.
///
/// So a key is changed in three steps, each finished everywhere before the next: install the new one, use it, remove the old.
///
/// * What is ordered carries a stamp, and of each key the latest order counts, so rings that saw the same orders are equal, in whatever order.
/// * The primary opens whatever was ordered of it besides: of two orders that contradict each other, the one to use a key wins.
#[derive(Clone)]
pub struct Keyring {
    state: KeyringState,
    /// The primary's first.
    ciphers: Vec<SealingKey>,
}

impl Keyring {
    /// A ring of one key, as configured.
    pub fn new(key: impl Into<GossipKey>) -> Keyring {
        let key = key.into();
        let fate = KeyFate { stamp: KeyStamp::CONFIGURED, installed: true };
        Keyring::from_state(KeyringState {
            keys: BTreeMap::from([(key.clone(), fate)]),
            primary: (key, KeyStamp::CONFIGURED),
        })
    }

    /// A ring as it was kept.
    pub fn from_state(state: KeyringState) -> Keyring {
        let mut keyring = Keyring { state, ciphers: Vec::new() };
        keyring.settle();
        keyring
    }

    /// All that is to be kept.
    pub const fn state(&self) -> &KeyringState {
        &self.state
    }

    /// The installed keys, the primary first.
    pub fn keys(&self) -> impl Iterator<Item = &GossipKey> {
        self.state.installed()
    }

    /// The key that seals.
    pub(crate) fn primary(&self) -> Option<&SealingKey> {
        self.ciphers.first()
    }

    /// The key with this fingerprint.
    pub(crate) fn find(&self, id: [u8; 4]) -> Option<&SealingKey> {
        self.ciphers.iter().find(|key| key.id == id)
    }

    /// Carries out an order. Returns whether anything changed.
    pub(crate) fn change(&mut self, change: &KeyringChange, stamp: KeyStamp) -> Result<bool, KeyringRefusal> {
        let before = self.state.clone();
        let is_installed = |key| self.keys().any(|known| known == key);
        let (key, installed) = match change {
            KeyringChange::Install(key) if !is_installed(key) && self.ciphers.len() >= MAX_KEYS => {
                return Err(KeyringRefusal::Full);
            }
            KeyringChange::Install(key) => (key, true),
            KeyringChange::Use(key) if !is_installed(key) => return Err(KeyringRefusal::Unknown),
            KeyringChange::Use(_) if stamp < self.state.primary.1 => return Err(KeyringRefusal::Outdated),
            KeyringChange::Use(key) => {
                self.state.primary = (key.clone(), stamp);
                (key, true)
            }
            KeyringChange::Remove(key) if *key == self.state.primary.0 => return Err(KeyringRefusal::Primary),
            KeyringChange::Remove(key) if !is_installed(key) => return Ok(false),
            KeyringChange::Remove(key) => (key, false),
        };
        self.order(key.clone(), KeyFate { stamp, installed });
        self.settle();
        Ok(self.state != before)
    }

    /// Takes in what was ordered elsewhere. Returns whether anything changed.
    pub(crate) fn merge(&mut self, other: KeyringState) -> bool {
        let before = self.state.clone();
        for (key, fate) in other.keys.into_iter().take(MAX_KEYS + MAX_REMOVED) {
            // What somebody has from a configuration nobody ordered.
            if fate.stamp > KeyStamp::CONFIGURED {
                self.order(key, fate);
            }
        }
        if other.primary.1 > self.state.primary.1 {
            self.state.primary = other.primary;
        }
        self.settle();
        self.state != before
    }

    /// Over all that was ordered; equal where rings are.
    pub(crate) fn digest(&self) -> u64 {
        let mut hash = Sha256::new();
        let mut ordered = |key: &GossipKey, stamp: KeyStamp, what: u8| {
            if stamp > KeyStamp::CONFIGURED {
                hash.update([what, u8::try_from(key.bytes().len()).unwrap_or(0)]);
                hash.update(key.bytes());
                hash.update(stamp.ltime.to_be_bytes());
                hash.update(stamp.order.0);
            }
        };
        ordered(&self.state.primary.0, self.state.primary.1, 2);
        self.state.keys.iter().for_each(|(key, fate)| ordered(key, fate.stamp, u8::from(fate.installed)));
        let digest: [u8; 32] = hash.finalize().into();
        if self.latest() == KeyStamp::CONFIGURED {
            0
        } else {
            digest.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
        }
    }

    /// The latest order.
    pub(crate) fn latest(&self) -> KeyStamp {
        self.state.keys.values().map(|fate| fate.stamp).fold(self.state.primary.1, KeyStamp::max)
    }

    fn order(&mut self, key: GossipKey, fate: KeyFate) {
        let held = self.state.keys.entry(key).or_insert(fate);
        if fate.stamp > held.stamp {
            *held = fate;
        }
    }

    /// Neither keys nor those that were removed are too many: the earliest go, but never the primary.
    fn settle(&mut self) {
        let KeyringState { primary: (primary, _), keys } = &mut self.state;
        for (installed, most) in [(true, MAX_KEYS - 1), (false, MAX_REMOVED)] {
            let of_kind = keys.iter().filter(|(key, fate)| fate.installed == installed && *key != primary);
            let mut of_kind: Vec<(KeyStamp, GossipKey)> =
                of_kind.map(|(key, fate)| (fate.stamp, key.clone())).collect();
            of_kind.sort();
            let too_many = of_kind.len().saturating_sub(most);
            of_kind.iter().take(too_many).for_each(|(_, key)| {
                keys.remove(key);
            });
        }
        self.ciphers = self.keys().map(SealingKey::of).collect();
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ciphers.iter().map(|key| key.id)).finish()
    }
}

/// One key and the fingerprint by which packets name it.
#[derive(Clone)]
pub(crate) struct SealingKey {
    pub(crate) id: [u8; 4],
    cipher: XChaCha20Poly1305,
}

impl SealingKey {
    /// The key that belongs to a secret, stretched by HKDF-SHA256 (RFC 5869).
    fn of(secret: &GossipKey) -> SealingKey {
        let mut key = [0; 32];
        let derived = Hkdf::<Sha256>::new(None, secret.bytes()).expand(b"quorate gossip datagrams v1", &mut key);
        debug_assert!(derived.is_ok(), "32 bytes are fewer than HKDF can give");
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
    use KeyringChange::{Install, Remove, Use};
    use proptest::prelude::*;
    use quorate_protocol::EventId;

    fn key(n: u8) -> GossipKey {
        GossipKey::from([n; 32])
    }

    fn stamp(ltime: u64) -> KeyStamp {
        KeyStamp { ltime, order: EventId([1; 16]) }
    }

    #[test]
    fn a_key_is_changed_in_three_steps_and_never_skipping_one() {
        let mut ring = Keyring::new([1; 32]);
        for (ltime, change, outcome, keys) in [
            (1, Use(key(2)), Err(KeyringRefusal::Unknown), vec![1]),
            (2, Remove(key(1)), Err(KeyringRefusal::Primary), vec![1]),
            (3, Remove(key(9)), Ok(false), vec![1]),
            (4, Install(key(2)), Ok(true), vec![1, 2]),
            (5, Use(key(2)), Ok(true), vec![2, 1]),
            (4, Use(key(1)), Err(KeyringRefusal::Outdated), vec![2, 1]),
            (6, Remove(key(2)), Err(KeyringRefusal::Primary), vec![2, 1]),
            (7, Remove(key(1)), Ok(true), vec![2]),
            (8, Use(key(1)), Err(KeyringRefusal::Unknown), vec![2]),
            (9, Install(key(1)), Ok(true), vec![2, 1]),
        ] {
            assert_eq!(ring.change(&change, stamp(ltime)), outcome, "{ltime}");
            assert_eq!(
                ring.keys().cloned().collect::<Vec<_>>(),
                keys.into_iter().map(key).collect::<Vec<_>>(),
                "{ltime}"
            );
        }
        let kept = Keyring::from_state(ring.state().clone());
        assert_eq!((kept.digest(), kept.latest()), (ring.digest(), stamp(9)));
    }

    #[test]
    fn who_was_away_catches_up_and_brings_nothing_back() {
        let mut ring = Keyring::new([1; 32]);
        let mut away = Keyring::new([1; 32]);
        assert_eq!((ring.digest(), away.digest()), (0, 0), "nothing to tell before the first order");
        for (ltime, change) in [(1, Install(key(2))), (2, Use(key(2))), (3, Remove(key(1)))] {
            assert_eq!(ring.change(&change, stamp(ltime)), Ok(true));
        }
        assert!(!ring.merge(away.state().clone()));
        assert_ne!(ring.digest(), away.digest());
        assert!(away.merge(ring.state().clone()));
        assert_eq!(away.keys().cloned().collect::<Vec<_>>(), [key(2)]);
        assert_eq!(ring.digest(), away.digest());
    }

    proptest! {
        #[test]
        fn rings_that_saw_the_same_orders_are_equal_and_bounded(
            orders in prop::collection::vec((0u8..30, 0u8..3, 0usize..3), 0..60),
        ) {
            let change = |what, n| [Install(key(n)), Use(key(n)), Remove(key(n))][usize::from(what)].clone();
            // Each of two carries out a part, in the order of time as whoever orders sees it.
            let mut rings = [Keyring::new([0; 32]), Keyring::new([0; 32])];
            for (ltime, (n, what, whom)) in (1..).zip(orders) {
                for (_, ring) in rings.iter_mut().enumerate().filter(|(at, _)| whom != *at) {
                    let _ = ring.change(&change(what, n), stamp(ltime));
                }
            }
            let [a, b] = &mut rings;
            let (told_a, told_b) = (a.state().clone(), b.state().clone());
            a.merge(told_b);
            b.merge(told_a);
            // What was dropped for want of room may differ by one round.
            let (told_a, told_b) = (a.state().clone(), b.state().clone());
            a.merge(told_b);
            b.merge(told_a);
            prop_assert_eq!(a.digest(), b.digest());
            for ring in [&a, &b] {
                prop_assert!(ring.ciphers.len() <= MAX_KEYS && ring.state.keys.len() <= MAX_KEYS + MAX_REMOVED + 1);
                prop_assert!(ring.keys().next() == Some(&ring.state.primary.0));
            }
        }
    }

    #[test]
    fn all_keys_open_and_the_primary_seals() {
        let before = Keyring::new([1; 32]);
        let mut during = before.clone();
        let _ = during.change(&Install(key(2)), stamp(1));
        let _ = during.change(&Use(key(2)), stamp(2));
        let old = before.primary().unwrap();
        let sealed = old.seal([9; NONCE_LEN], b"aad", b"hello").unwrap();
        let key = during.find(old.id).unwrap();
        assert_eq!(key.open([9; NONCE_LEN], b"aad", &sealed).unwrap(), b"hello");
        assert!(key.open([9; NONCE_LEN], b"daa", &sealed).is_none());
        assert!(before.find(during.primary().unwrap().id).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", Keyring::new([0xaa; 32])).contains("170, 170"));
    }
}
