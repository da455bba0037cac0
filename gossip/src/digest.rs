//! What is compared of two members' knowledge.

use quorate_protocol::wire::gossip::{Liveness, MemberState};
use sha2::{Digest, Sha256};

/// Over what is known of a member and lasts: which life of it, whether that is over, and what it last said of itself. Suspicions and incarnations come and
/// go too fast to compare.
pub(crate) fn hash(member: &MemberState) -> u64 {
    let MemberState { id, generation, renewal, liveness, record, left, pruned, .. } = member;
    let mut hash = Sha256::new();
    hash.update(id.0);
    hash.update(generation.to_be_bytes());
    hash.update(renewal.to_be_bytes());
    hash.update([u8::from(*liveness == Liveness::Down), u8::from(*pruned)]);
    for stamp in [record.as_ref().map(|record| record.stamp), *left] {
        let (generation, version) = stamp.map_or((0, u32::MAX), |stamp| (stamp.generation, stamp.version));
        hash.update(generation.to_be_bytes());
        hash.update(version.to_be_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::NodeId;
    use quorate_protocol::wire::gossip::{MemberRecord, Stamp};

    #[test]
    fn what_lasts_makes_a_difference_and_what_passes_does_not() {
        let stamp = Stamp { generation: 5, version: 2 };
        let known = MemberState {
            id: NodeId([1; 16]),
            address: "192.0.2.1:8301".parse().unwrap(),
            generation: 5,
            renewal: 0,
            incarnation: 0,
            liveness: Liveness::Alive,
            down_for_s: 0,
            record: Some(MemberRecord { stamp, name: "a".to_owned(), tags: [].into() }),
            left: None,
            pruned: false,
        };
        let differs = |change: fn(&mut MemberState)| {
            let mut other = known.clone();
            change(&mut other);
            hash(&known) != hash(&other)
        };
        for change in [
            (|m| m.generation = 6) as fn(&mut MemberState),
            |m| m.renewal = 1,
            |m| m.liveness = Liveness::Down,
            |m| m.record = None,
            |m| m.left = Some(Stamp { generation: 5, version: 3 }),
            |m| m.pruned = true,
        ] {
            assert!(differs(change));
        }
        for change in
            [(|m| m.liveness = Liveness::Suspect) as fn(&mut MemberState), |m| m.incarnation = 9, |m| m.down_for_s = 1]
        {
            assert!(!differs(change));
        }
    }
}
