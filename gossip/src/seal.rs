//! Datagrams in and out of their seal.

use crate::identity::Identity;
use crate::keyring::Keyring;
use crate::replay::{Replay, ReplayGuard};
use quorate_protocol::Time;
use quorate_protocol::wire::WireError;
use quorate_protocol::wire::gossip::{Envelope, MAX_SEALED, NONCE_LEN, Pool, kind};
use sha2::{Digest, Sha256};

/// Seals what leaves and opens what arrives.
///
/// * No nonce is used twice under a key: 16 bytes derive from who seals and since when, the other 8 count.
/// * What opens is authentic and fresh; whatever does not open has changed nothing.
pub(crate) struct Seal {
    keyring: Keyring,
    pool: Pool,
    label: String,
    salt: [u8; NONCE_LEN - 8],
    counter: u64,
    replay: ReplayGuard,
}

impl Seal {
    pub(crate) fn new(keyring: Keyring, label: String, identity: &Identity, seed: u64) -> Seal {
        let mut hash = Sha256::new();
        hash.update(b"quorate gossip nonce");
        hash.update(seed.to_be_bytes());
        hash.update(identity.generation.to_be_bytes());
        hash.update(identity.id.0);
        let digest: [u8; 32] = hash.finalize().into();
        let mut salt = [0; NONCE_LEN - 8];
        salt.copy_from_slice(&digest[..NONCE_LEN - 8]);
        Seal { keyring, pool: Pool::Lan, label, salt, counter: 0, replay: ReplayGuard::default() }
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    pub(crate) const fn keyring_mut(&mut self) -> &mut Keyring {
        &mut self.keyring
    }

    /// The datagram that carries a packet of this [`kind`].
    pub(crate) fn seal(&mut self, kind: u8, packet: &[u8]) -> Option<Vec<u8>> {
        debug_assert!(packet.len() < MAX_SEALED, "{}", packet.len());
        self.counter += 1;
        let mut nonce = [0; NONCE_LEN];
        nonce[..NONCE_LEN - 8].copy_from_slice(&self.salt);
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.counter.to_be_bytes());
        let key = self.keyring.primary()?;
        let envelope = Envelope { key: key.id, nonce };
        let mut plain = Vec::with_capacity(1 + packet.len());
        plain.push(kind);
        plain.extend_from_slice(packet);
        let sealed = key.seal(nonce, &envelope.associated_data(self.pool, &self.label), &plain)?;
        let mut datagram = envelope.encode().to_vec();
        datagram.extend_from_slice(&sealed);
        Some(datagram)
    }

    /// The SWIM packet in a datagram.
    ///
    /// # Errors
    /// The counter to increase when it is refused.
    pub(crate) fn open(&mut self, now: Time, datagram: &[u8]) -> Result<(u8, Vec<u8>), &'static str> {
        let (envelope, sealed) = Envelope::decode(datagram).map_err(|error| match error {
            WireError::Truncated => "datagram_truncated",
            WireError::Version(_) => "datagram_version",
            WireError::TooLong { .. } => "datagram_too_long",
            WireError::Malformed(_) => "datagram_malformed",
        })?;
        let key = self.keyring.find(envelope.key).ok_or("datagram_unknown_key")?;
        let aad = envelope.associated_data(self.pool, &self.label);
        let mut packet = key.open(envelope.nonce, &aad, sealed).ok_or("datagram_not_authentic")?;
        let kind = match packet.first() {
            Some(&(kind::SWIM | kind::SWIM_WITH_COORDINATE | kind::NEWS | kind::REPLY)) => packet.remove(0),
            Some(_) => return Err("datagram_unknown_kind"),
            None => return Err("datagram_malformed"),
        };
        let sender = Identity::decode(&mut packet.as_slice()).map_err(|_| "datagram_malformed")?;
        match self.replay.admit(now, sender.id, sender.generation, envelope.counter()) {
            Replay::Fresh => Ok((kind, packet)),
            Replay::Seen => Err("datagram_replayed"),
        }
    }

    /// Forgets a member that was reaped.
    pub(crate) fn forget(&mut self, id: quorate_protocol::NodeId) {
        self.replay.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use foca::{Codec as _, Header, Member, Message, State};
    use quorate_protocol::NodeId;
    use quorate_protocol::wire::gossip::{MemberRecord, Rumour, Stamp};
    use std::collections::BTreeMap;

    const GOLDEN: &str = include_str!("../../protocol/golden/gossip-datagram-v1.hex");

    fn identity(n: u8) -> Identity {
        let address = if n == 2 { "[2001:db8::2]:8301" } else { "192.0.2.1:8301" };
        Identity { id: NodeId([n; 16]), address: address.parse().unwrap(), generation: 1_700_000_000_000, renewal: 3 }
    }

    /// A ping with one member and one record piggybacked.
    fn packet() -> Vec<u8> {
        let mut packet = Vec::new();
        let header = Header { src: identity(1), src_incarnation: 5, dst: identity(2), message: Message::Ping(9) };
        Codec.encode_header(&header, &mut packet).unwrap();
        packet.extend_from_slice(&1u16.to_be_bytes());
        Codec.encode_member(&Member::new(identity(3), 7, State::Suspect), &mut packet).unwrap();
        let record = MemberRecord {
            stamp: Stamp { generation: 1_700_000_000_000, version: 2 },
            name: "web-1".to_owned(),
            tags: BTreeMap::from([("role".to_owned(), "node".to_owned())]),
        };
        let rumour = Rumour::Record { id: NodeId([1; 16]), record }.encode();
        packet.extend_from_slice(&u16::try_from(rumour.len()).unwrap().to_be_bytes());
        packet.extend_from_slice(&rumour);
        packet
    }

    fn seal() -> Seal {
        Seal::new(Keyring::new([0x42; 32]), "dc1".to_owned(), &identity(1), 11)
    }

    #[test]
    fn version_1_is_as_committed() {
        let hex: String =
            seal().seal(kind::SWIM, &packet()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden: String = GOLDEN.split_whitespace().collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn opens_once_and_as_it_was() {
        let (mut sender, mut receiver) = (seal(), seal());
        let datagrams: Vec<_> = (0..3).map(|_| sender.seal(kind::SWIM, &packet()).unwrap()).collect();
        assert!(datagrams[0][5..29] != datagrams[1][5..29], "nonces differ");
        for datagram in &datagrams {
            assert_eq!(receiver.open(Time::ZERO, datagram), Ok((kind::SWIM, packet())));
        }
        assert_eq!(receiver.open(Time::ZERO, &datagrams[1]), Err("datagram_replayed"));
    }

    #[test]
    fn the_other_pool_is_deaf() {
        let datagram = seal().seal(kind::SWIM, &packet()).unwrap();
        let mut wan = Seal { pool: Pool::Wan, ..seal() };
        assert_eq!(wan.open(Time::ZERO, &datagram), Err("datagram_not_authentic"));
    }

    #[test]
    fn the_longest_packet_makes_the_longest_datagram() {
        let datagram = seal().seal(kind::SWIM, &[0; MAX_SEALED - 1]).unwrap();
        assert_eq!(datagram.len(), quorate_protocol::wire::gossip::MAX_DATAGRAM);
    }
}
