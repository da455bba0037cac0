//! What a member knows of the others, in short: equal where the knowledge is, and where it is not, telling which part of it differs.

use crate::NodeId;
use serde::{Deserialize, Serialize};

/// Into how many parts the members are divided, by their ids. A digest of sixteen fits one packet beside all else, and a single difference among a
/// thousand members costs a sixteenth of the state.
pub const PARTS: usize = 16;

/// The knowledge of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The label of the sender's cluster.
    pub label: String,
    /// For each part the sum of the hashes of what is known of its members (`gossip/src/digest.rs`).
    pub members: [u64; PARTS],
    /// Over the ids of the events that it remembers.
    pub events: u64,
    /// Over all that was ordered of its keys; 0 before the first order.
    pub keys: u64,
}

impl Digest {
    /// Adds the hash of what is known of a member, in any order.
    pub fn add(&mut self, id: NodeId, hash: u64) {
        if let Some(sum) = self.members.get_mut(part(id)) {
            *sum = sum.wrapping_add(hash);
        }
    }

    /// The parts that two know differently.
    pub fn differing(&self, other: &Digest) -> Parts {
        let pairs = self.members.iter().zip(&other.members).enumerate();
        Parts(pairs.filter(|(_, (ours, others))| ours != others).fold(0, |parts, (n, _)| parts | 1 << n))
    }
}

/// Some of the parts into which the members are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts(u16);

impl Parts {
    /// All of them.
    pub const ALL: Parts = Parts(u16::MAX);

    /// Those that these members are in.
    pub fn of(ids: impl IntoIterator<Item = NodeId>) -> Parts {
        Parts(ids.into_iter().fold(0, |parts, id| parts | 1 << part(id)))
    }

    /// Whether a member is in one of them.
    pub fn contain(self, id: NodeId) -> bool {
        self.0 & 1 << part(id) != 0
    }

    /// Whether they are all.
    pub fn is_all(&self) -> bool {
        *self == Parts::ALL
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Default for Parts {
    fn default() -> Parts {
        Parts::ALL
    }
}

/// The part that a member is in. Ids are random, so that parts are of a size.
const fn part(id: NodeId) -> usize {
    id.0[0] as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gossip::GossipMessage;
    use crate::wire::stream::Message;

    fn digest(members: &[(u8, u64)]) -> Digest {
        let mut digest = Digest { label: "dc1".to_owned(), members: [0; PARTS], events: 7, keys: 8 };
        members.iter().for_each(|(n, hash)| digest.add(NodeId([*n; 16]), *hash));
        digest
    }

    #[test]
    fn the_order_does_not_matter_and_a_difference_is_found_in_its_part() {
        let known = digest(&[(1, 5), (2, u64::MAX), (18, 9)]);
        assert!(known.differing(&digest(&[(18, 9), (2, u64::MAX), (1, 5)])).is_empty());
        assert_eq!(known.differing(&digest(&[(1, 5), (2, u64::MAX), (18, 8)])), Parts::of([NodeId([2; 16])]));
        assert_eq!(known.differing(&digest(&[(2, u64::MAX), (18, 9)])), Parts::of([NodeId([1; 16])]));
    }

    #[test]
    fn parts_hold_whom_they_are_made_of() {
        let parts = Parts::of([NodeId([1; 16]), NodeId([18; 16])]);
        assert!(parts.contain(NodeId([17; 16])) && parts.contain(NodeId([2; 16])) && !parts.contain(NodeId([3; 16])));
        assert!(!parts.is_all() && !parts.is_empty() && Parts::default().is_all());
    }

    #[test]
    fn version_1_is_as_committed() {
        let message = Message::Gossip(GossipMessage::Digest(digest(&[(1, 0x0102_0304_0506_0708)])));
        let hex: String = message.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden: String = include_str!("../../golden/gossip-digest-v1.hex").split_whitespace().collect();
        assert_eq!(hex, golden);
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}
