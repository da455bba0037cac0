//! Datagrams between agents, and what gossip says over streams.
//!
//! A datagram is sealed; its first byte clears QUIC's fixed bit (0x40), by which one socket tells the two apart:
//!
//! ```text
//!   0       1          5             29
//!   +-------+----------+-------------+-------------------------------------------+
//!   |version| key id   | nonce       | sealed: kind, then what it says · 16 B tag |
//!   +-------+----------+-------------+-------------------------------------------+
//!    \______ associated data ______/    the nonce ends in the sender's counter
//!      with the pool and the label
//! ```
//!
//! Inside, [`kind::SWIM`] is followed by a packet of the membership protocol (format: `gossip/src/codec.rs`), which may carry
//! [`Rumour`]s. Over streams travels the full state, as a [`GossipMessage`] with named fields.

use super::WireError;
use super::digest::{Digest, Parts};
use crate::keyring::KeyringState;
use crate::{EventId, NodeId, UserEvent};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The version of datagrams that this build speaks. Every version leaves 0x40 clear.
pub const DATAGRAM_VERSION: u8 = 1;
/// The longest datagram, in bytes: what IPv6 carries everywhere without fragments (1280) less its and UDP's headers.
pub const MAX_DATAGRAM: usize = 1232;
/// Bytes before the sealed part.
pub const ENVELOPE_LEN: usize = 1 + 4 + NONCE_LEN;
/// Bytes of a nonce (XChaCha20).
pub const NONCE_LEN: usize = 24;
/// Bytes of the tag that the seal adds (Poly1305).
pub const SEAL_LEN: usize = 16;
/// The most bytes that can be sealed into one datagram, its kind among them.
pub const MAX_SEALED: usize = MAX_DATAGRAM - ENVELOPE_LEN - SEAL_LEN;

/// The longest name of a member, in bytes: two DNS labels.
pub const MAX_NAME: usize = 128;
/// The most bytes of encoded tags: Serf's limit, so that a record always fits a datagram beside what has precedence.
pub const MAX_TAGS: usize = 512;
/// The most events in one [`PushPull`]: as many as a member remembers (Serf's event buffer).
pub const MAX_EVENTS: usize = 512;
/// The most members in one [`PushPull`].
pub const MAX_PUSH_PULL: usize = 32_768;

/// What a datagram is about: the first byte inside the seal.
pub mod kind {
    /// A packet of the membership protocol.
    pub const SWIM: u8 = 1;
    /// What all members are to hear, as [`super::super::news`] writes it.
    pub const NEWS: u8 = 3;
    /// What one member says to a query of another, as [`super::super::answer`] writes it.
    pub const REPLY: u8 = 4;
    /// As [`SWIM`], with the sender's coordinate behind it, as [`super::super::coordinate`] writes it.
    pub const SWIM_WITH_COORDINATE: u8 = 5;
}

/// Which gossip a datagram belongs to; part of the associated data, so a packet of one never opens in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pool {
    /// The agents of one datacenter.
    Lan = 1,
    /// The servers of all datacenters.
    Wan = 2,
}

/// The part of a datagram that travels in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Which key sealed it: a fingerprint, not a secret.
    pub key: [u8; 4],
    /// Unique for each datagram under one key. The last eight bytes are the sender's counter, big-endian.
    pub nonce: [u8; NONCE_LEN],
}

impl Envelope {
    /// The bytes before the sealed part.
    pub fn encode(&self) -> [u8; ENVELOPE_LEN] {
        let mut bytes = [0; ENVELOPE_LEN];
        bytes[0] = DATAGRAM_VERSION;
        bytes[1..5].copy_from_slice(&self.key);
        bytes[5..].copy_from_slice(&self.nonce);
        bytes
    }

    /// Splits a datagram into its envelope and the sealed part.
    ///
    /// # Errors
    /// [`WireError`] when it is longer than [`MAX_DATAGRAM`], of another version, or too short to hold a seal.
    pub fn decode(bytes: &[u8]) -> Result<(Envelope, &[u8]), WireError> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(WireError::TooLong { length: bytes.len(), limit: MAX_DATAGRAM });
        }
        let mut reader = Reader(bytes);
        match reader.byte()? {
            DATAGRAM_VERSION => {}
            other => return Err(WireError::Version(other)),
        }
        let envelope = Envelope { key: reader.array()?, nonce: reader.array()? };
        if reader.0.len() <= SEAL_LEN {
            return Err(WireError::Truncated);
        }
        Ok((envelope, reader.0))
    }

    /// What the seal vouches for beside its content: version, key, pool and the label of the cluster.
    pub fn associated_data(&self, pool: Pool, label: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(6 + label.len());
        bytes.push(DATAGRAM_VERSION);
        bytes.extend_from_slice(&self.key);
        bytes.push(pool as u8);
        bytes.extend_from_slice(label.as_bytes());
        bytes
    }

    /// How many datagrams the sender had sealed before this one since it started.
    pub fn counter(&self) -> u64 {
        self.nonce.iter().skip(NONCE_LEN - 8).fold(0, |counter, byte| counter << 8 | u64::from(*byte))
    }
}

/// Orders what a member says of itself: the higher stamp is the truth.
///
/// Only the member itself counts it up, so two different statements never share one (a forced leave is the exception; the
/// member answers it with a higher stamp if it lives).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The generation of the agent that said it; above the version, so that a restart overrules all that came before.
    pub generation: u64,
    /// Grows with each statement within a generation.
    pub version: u32,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// How recent it is.
    pub stamp: Stamp,
    /// Its name, at most [`MAX_NAME`] bytes.
    pub name: String,
    /// Its tags, at most [`MAX_TAGS`] bytes as [`tags_len`] counts.
    pub tags: BTreeMap<String, String>,
}

/// How many bytes tags take in a datagram.
pub fn tags_len(tags: &BTreeMap<String, String>) -> usize {
    tags.iter().fold(1, |length, (key, value)| length + 3 + key.len() + value.len())
}

impl MemberRecord {
    /// Whether it is within the limits of the wire.
    ///
    /// # Errors
    /// [`WireError`] that names what is too long or missing.
    pub fn check(&self) -> Result<(), WireError> {
        if self.name.is_empty() {
            return Err(WireError::Malformed("a member without a name".to_owned()));
        }
        if self.name.len() > MAX_NAME {
            return Err(WireError::TooLong { length: self.name.len(), limit: MAX_NAME });
        }
        check_tags(&self.tags)
    }
}

/// Whether tags fit a datagram.
///
/// # Errors
/// [`WireError::TooLong`] above [`MAX_TAGS`] bytes; a key has at most 255.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), WireError> {
    let length = tags_len(tags);
    if length > MAX_TAGS {
        return Err(WireError::TooLong { length, limit: MAX_TAGS });
    }
    match tags.keys().find(|key| key.len() > usize::from(u8::MAX)) {
        Some(key) => Err(WireError::TooLong { length: key.len(), limit: usize::from(u8::MAX) }),
        None => Ok(()),
    }
}

/// What members pass on in datagrams beside liveness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rumour {
    /// What a member says of itself.
    Record {
        /// Who.
        id: NodeId,
        /// What.
        record: MemberRecord,
    },
    /// A member went on purpose, or an operator declared it gone.
    Leave {
        /// Who.
        id: NodeId,
        /// When, against its records.
        stamp: Stamp,
        /// Whether it is to be forgotten at once.
        prune: bool,
    },
}

const RECORD: u8 = 1;
const LEAVE: u8 = 2;
const PRUNE: u8 = 4;

impl Rumour {
    /// Whom it is about.
    pub const fn id(&self) -> NodeId {
        match self {
            Rumour::Record { id, .. } | Rumour::Leave { id, .. } => *id,
        }
    }

    /// How recent it is.
    pub const fn stamp(&self) -> Stamp {
        match self {
            Rumour::Record { record, .. } => record.stamp,
            Rumour::Leave { stamp, .. } => *stamp,
        }
    }

    /// Positional bytes. A record must have passed [`MemberRecord::check`]; longer texts are cut by the width of their length.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        let mut start = |kind, id: &NodeId, stamp: &Stamp| {
            bytes.push(kind);
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&stamp.generation.to_be_bytes());
            bytes.extend_from_slice(&stamp.version.to_be_bytes());
        };
        match self {
            Rumour::Leave { id, stamp, prune } => start(if *prune { PRUNE } else { LEAVE }, id, stamp),
            Rumour::Record { id, record } => {
                start(RECORD, id, &record.stamp);
                put_short(&mut bytes, &record.name);
                bytes.push(u8::try_from(record.tags.len()).unwrap_or(u8::MAX));
                for (key, value) in record.tags.iter().take(usize::from(u8::MAX)) {
                    put_short(&mut bytes, key);
                    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
                    bytes.extend_from_slice(&length.to_be_bytes());
                    bytes.extend(value.bytes().take(usize::from(length)));
                }
            }
        }
        bytes
    }

    /// Reads what [`Rumour::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] when the bytes end early, go on too long, exceed a limit or are of no known kind.
    pub fn decode(bytes: &[u8]) -> Result<Rumour, WireError> {
        let mut reader = Reader(bytes);
        let kind = reader.byte()?;
        let id = NodeId(reader.array()?);
        let stamp =
            Stamp { generation: u64::from_be_bytes(reader.array()?), version: u32::from_be_bytes(reader.array()?) };
        let rumour = match kind {
            LEAVE | PRUNE => Rumour::Leave { id, stamp, prune: kind == PRUNE },
            RECORD => {
                let name = reader.short_text()?;
                let mut tags = BTreeMap::new();
                for _ in 0..reader.byte()? {
                    let key = reader.short_text()?;
                    let length = usize::from(u16::from_be_bytes(reader.array()?));
                    let value = reader.text(length)?;
                    if tags.insert(key, value).is_some() {
                        return Err(WireError::Malformed("a tag appears twice".to_owned()));
                    }
                }
                let record = MemberRecord { stamp, name, tags };
                record.check()?;
                Rumour::Record { id, record }
            }
            other => return Err(WireError::Malformed(format!("rumours of kind {other} are unknown"))),
        };
        if reader.0.is_empty() {
            Ok(rumour)
        } else {
            Err(WireError::Malformed(format!("{} bytes follow a rumour", reader.0.len())))
        }
    }
}

/// What gossip says over a reliable stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GossipMessage {
    /// All that the sender knows, and the question for all that the receiver knows.
    PushPull(PushPull),
    /// The answer to a [`GossipMessage::PushPull`]; a leaving member sends one unasked.
    PushPullReply(PushPull),
    /// Events that the receiver, as its answer showed, does not have all of, or asked for.
    Events {
        /// The label of the sender's cluster.
        label: String,
        /// They; at most [`MAX_EVENTS`].
        events: Vec<UserEvent>,
    },
    /// This life of the receiver is suspected: is it there? Asked when datagrams to it, or from it, may be lost.
    Ping(StreamPing),
    /// The answer to a [`GossipMessage::Ping`].
    Ack(StreamAck),
    /// What the sender knows, in short. Answered by a [`GossipMessage::PushPull`] about what differs, and not at all where nothing does.
    Digest(Digest),
    /// The receiver told of an event that is too long for a datagram, and is to send it.
    WantEvent {
        /// The label of the sender's cluster.
        label: String,
        /// The event.
        id: EventId,
        /// Its time.
        ltime: u64,
    },
    /// The sender's keys, where the receiver's are others. Only a member that holds one of them is told.
    Keys {
        /// The label of the sender's cluster.
        label: String,
        /// They, and what was ordered of each.
        state: KeyringState,
    },
}

/// A probe over a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPing {
    /// The generation of the member that is asked for.
    pub generation: u64,
    /// Its renewal.
    pub renewal: u32,
    /// Which incarnation of it is suspected; it answers with a higher one.
    pub incarnation: u16,
}

/// The answer to a [`StreamPing`]: the member that is there, which may be a later life of the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAck {
    /// The generation of the member that answers.
    pub generation: u64,
    /// Its renewal.
    pub renewal: u32,
    /// Its incarnation.
    pub incarnation: u16,
}

/// The full state of one member's view (anti-entropy, as memberlist's push/pull).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushPull {
    /// Ties an answer to its question; the asker's number.
    pub exchange: u64,
    /// The label of the sender's cluster; another's is not merged.
    pub label: String,
    /// The members it knows, itself first; at most [`MAX_PUSH_PULL`].
    pub members: Vec<MemberState>,
    /// Of which parts these are all it knows. The answer is about the same parts.
    #[serde(default, skip_serializing_if = "Parts::is_all")]
    pub parts: Parts,
    /// Which events it heard lately.
    #[serde(default, skip_serializing_if = "RecentEvents::is_empty")]
    pub events: RecentEvents,
    /// Over all that was ordered of its keys; 0 before the first order. The keys themselves travel only where the digests differ.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keys: u64,
    /// Where members are, as [`super::coordinate`] writes it; the sender itself among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub coordinates: BTreeMap<NodeId, Bytes>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Which events somebody heard lately. The events themselves travel only where the digests differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecentEvents {
    /// Its Lamport clock.
    pub clock: u64,
    /// Over the ids of the events; equal where they are the same.
    pub digest: u64,
    /// They, if whoever asked has others; at most [`MAX_EVENTS`].
    pub events: Vec<UserEvent>,
}

impl RecentEvents {
    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        *self == RecentEvents::default()
    }
}

/// What one member knows of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Who.
    pub id: NodeId,
    /// Where.
    pub address: SocketAddr,
    /// Which start of it.
    pub generation: u64,
    /// How often it had to come back under a new identity since that start, having been declared down.
    pub renewal: u32,
    /// SWIM's incarnation within that identity.
    pub incarnation: u16,
    /// How it is.
    pub liveness: Liveness,
    /// For how long it has been down, in seconds.
    pub down_for_s: u32,
    /// What it last said of itself, if the sender knows.
    pub record: Option<MemberRecord>,
    /// Its leave, if it left.
    pub left: Option<Stamp>,
    /// Whether an operator had it forgotten at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pruned: bool,
}

/// What SWIM knows of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// A probe failed and it has not refuted yet.
    Suspect,
    /// It left or failed.
    Down,
}

pub(super) fn put_short(bytes: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    bytes.push(length);
    bytes.extend(text.bytes().take(usize::from(length)));
}

/// The rest of what is being read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn short_text(&mut self) -> Result<String, WireError> {
        let length = usize::from(self.byte()?);
        self.text(length)
    }

    pub(super) fn text(&mut self, length: usize) -> Result<String, WireError> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|error| WireError::Malformed(error.to_string()))?;
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rumours() -> impl Strategy<Value = Rumour> {
        let tags = prop::collection::btree_map("[a-z]{0,8}", ".{0,16}", 0..6);
        (any::<[u8; 16]>(), any::<u64>(), any::<u32>(), ".{1,20}", tags, any::<bool>()).prop_map(
            |(id, generation, version, name, tags, leave)| {
                let (id, stamp) = (NodeId(id), Stamp { generation, version });
                if leave {
                    Rumour::Leave { id, stamp, prune: generation % 2 == 0 }
                } else {
                    Rumour::Record { id, record: MemberRecord { stamp, name, tags } }
                }
            },
        )
    }

    proptest! {
        #[test]
        fn rumours_survive_the_wire(rumour in rumours()) {
            prop_assume!(matches!(&rumour, Rumour::Leave { .. }) ||
                matches!(&rumour, Rumour::Record { record, .. } if record.check().is_ok()));
            let bytes = rumour.encode();
            prop_assert_eq!(Rumour::decode(&bytes), Ok(rumour));
            for length in 0..bytes.len() {
                prop_assert!(Rumour::decode(&bytes[..length]).is_err());
            }
        }

        #[test]
        fn noise_is_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
            let _ = Rumour::decode(&bytes);
            let _ = Envelope::decode(&bytes);
        }
    }

    #[test]
    fn push_pull_version_1_is_as_committed() {
        use crate::wire::stream::Message;
        let stamp = Stamp { generation: 1_700_000_000_000, version: 2 };
        let tags = BTreeMap::from([("role".to_owned(), "node".to_owned())]);
        let alive = MemberState {
            id: NodeId([1; 16]),
            address: "192.0.2.1:8301".parse().unwrap(),
            generation: 1_700_000_000_000,
            renewal: 3,
            incarnation: 5,
            liveness: Liveness::Alive,
            down_for_s: 0,
            record: Some(MemberRecord { stamp, name: "web-1".to_owned(), tags }),
            left: None,
            pruned: false,
        };
        let left = MemberState {
            id: NodeId([2; 16]),
            address: "[2001:db8::2]:8301".parse().unwrap(),
            liveness: Liveness::Down,
            down_for_s: 60,
            record: None,
            left: Some(stamp),
            ..alive.clone()
        };
        let state = PushPull {
            exchange: 77,
            label: "dc1".to_owned(),
            members: vec![alive, left],
            parts: Parts::ALL,
            events: RecentEvents::default(),
            keys: 0,
            coordinates: BTreeMap::new(),
        };
        let message = Message::Gossip(GossipMessage::PushPull(state));
        let golden: String = include_str!("../../golden/gossip-push-pull-v1.hex").split_whitespace().collect();
        let hex: String = message.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn record_lengths_are_what_tags_len_says() {
        let tags = BTreeMap::from([("role".to_owned(), "node".to_owned()), ("dc".to_owned(), "dc1".to_owned())]);
        let stamp = Stamp { generation: 1, version: 1 };
        let record = MemberRecord { stamp, name: "a".to_owned(), tags };
        let fixed = 1 + 16 + 8 + 4 + 1 + 1;
        assert_eq!(
            Rumour::Record { id: NodeId([7; 16]), record: record.clone() }.encode().len(),
            fixed + tags_len(&record.tags)
        );
    }

    #[test]
    fn what_exceeds_a_limit_is_refused() {
        let stamp = Stamp { generation: 1, version: 1 };
        let long = MemberRecord { stamp, name: "n".repeat(MAX_NAME + 1), tags: BTreeMap::new() };
        assert!(matches!(long.check(), Err(WireError::TooLong { .. })));
        let tags = BTreeMap::from([("k".to_owned(), "v".repeat(MAX_TAGS))]);
        assert!(matches!(check_tags(&tags), Err(WireError::TooLong { .. })));
        assert!(matches!(Envelope::decode(&[DATAGRAM_VERSION; MAX_DATAGRAM + 1]), Err(WireError::TooLong { .. })));
        assert_eq!(Envelope::decode(&[0x41; 100]), Err(WireError::Version(0x41)));
    }
}
