//! Whether the replicas are still equal: servers tell each other the rolling hash of their store every so many entries.
//!
//! Equal logs applied by equal code give equal hashes. A server that finds a majority of the voters agreeing on another hash at the
//! same index is the one that drifted (a bug, a broken memory): what it says can no longer be trusted, so it takes itself out and begins
//! anew from the others' snapshot (etcd's v3.5 post-mortem is what happens without).

use crate::Engine;
use crate::door::{Notice, Output};
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{LogIndex, NodeId};
use std::collections::BTreeMap;

/// Entries between two comparisons: under load a few a second, and each costs one message of 30 bytes per pair.
const INTERVAL: u64 = 1024;
/// Comparisons that are remembered per server, so that those who apply at different times still meet.
const REMEMBERED: usize = 16;

/// The latest hashes, by server and index; this server's own under its own identity.
#[derive(Debug, Default)]
pub struct Hashes {
    known: BTreeMap<NodeId, BTreeMap<LogIndex, u64>>,
}

/// What a comparison shows.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Unknown,
    /// Somebody differs, and who is right is not known.
    Differs,
    /// Most differ from this server, and agree.
    Alone,
}

impl Hashes {
    fn note(&mut self, id: NodeId, index: LogIndex, hash: u64) {
        let known = self.known.entry(id).or_default();
        known.insert(index, hash);
        while known.len() > REMEMBERED {
            known.pop_first();
        }
    }

    fn compare(&self, me: NodeId, index: LogIndex, voters: &[NodeId]) -> Verdict {
        let at = |id: &NodeId| self.known.get(id).and_then(|known| known.get(&index)).copied();
        let Some(mine) = at(&me) else { return Verdict::Unknown };
        let mut others: BTreeMap<u64, usize> = BTreeMap::new();
        voters.iter().filter(|id| **id != me).filter_map(at).for_each(|hash| *others.entry(hash).or_default() += 1);
        let different = others.iter().filter(|(hash, _)| **hash != mine).map(|(_, count)| *count);
        match different.max() {
            Some(count) if count * 2 > voters.len() => Verdict::Alone,
            Some(_) => Verdict::Differs,
            None => Verdict::Unknown,
        }
    }
}

impl Engine {
    /// Tells the other servers the hash, where the entry just applied is one at which they compare. A learner's hash says nothing to them, but
    /// theirs tell it whether it learned right before it gets a vote.
    pub(crate) fn tell_hash(&mut self) {
        let Some(server) = &mut self.server else { return };
        let index = server.store.applied_index();
        if !index.0.is_multiple_of(INTERVAL) {
            return;
        }
        let hash = server.store.hash();
        server.hashes.note(self.config.id, index, hash);
        let configuration = server.raft.configuration();
        let votes = configuration.is_voter(self.config.id);
        let told = |id: &NodeId| votes && *id != self.config.id;
        let others: Vec<NodeId> = configuration.peers.keys().copied().filter(told).collect();
        for id in others {
            if let Some(address) = self.address_of(id) {
                let to = Destination { id: Some(id), address };
                self.outputs.push_back(Output::Message { to, message: Message::StateHash { index, hash } });
            }
        }
        self.judge(index);
    }

    /// Takes another server's hash.
    pub(crate) fn handle_state_hash(&mut self, from: Origin, index: LogIndex, hash: u64) {
        let Some(server) = &mut self.server else { return self.count("state_hashes_to_client") };
        if !server.raft.configuration().is_voter(from.id) || self.is_foreign(from.id) {
            return self.count("state_hashes_from_strangers");
        }
        if let Some(server) = &mut self.server {
            server.hashes.note(from.id, index, hash);
        }
        self.judge(index);
    }

    fn judge(&mut self, index: LogIndex) {
        let Some(server) = &self.server else { return };
        let voters: Vec<NodeId> = server.raft.configuration().voters().collect();
        match server.hashes.compare(self.config.id, index, &voters) {
            Verdict::Unknown => {}
            Verdict::Differs => {
                self.count("state_hash_mismatches");
                self.outputs.push_back(Output::Noticed(Notice::ReplicaDiffers { index }));
            }
            Verdict::Alone => {
                self.count("state_hash_mismatches");
                self.outputs.push_back(Output::Quarantine(format!(
                    "the state at log index {index} differs from the one that a majority of the servers has: this replica drifted apart"
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn verdict(hashes: &[(u8, u64)]) -> Verdict {
        let mut known = Hashes::default();
        hashes.iter().for_each(|(n, hash)| known.note(id(*n), LogIndex(1024), *hash));
        known.compare(id(1), LogIndex(1024), &[id(1), id(2), id(3)])
    }

    #[test]
    fn only_a_majority_makes_a_server_doubt_itself() {
        assert_eq!(verdict(&[(1, 7), (2, 7), (3, 7)]), Verdict::Unknown, "all are equal");
        assert_eq!(verdict(&[(1, 7), (2, 8)]), Verdict::Differs, "one against one");
        assert_eq!(verdict(&[(1, 7), (2, 8), (3, 9)]), Verdict::Differs, "no two agree");
        assert_eq!(verdict(&[(1, 7), (2, 7), (3, 9)]), Verdict::Differs, "the third is the odd one");
        assert_eq!(verdict(&[(1, 7), (2, 8), (3, 8)]), Verdict::Alone);
        assert_eq!(verdict(&[(2, 8), (3, 8)]), Verdict::Unknown, "this server is not there yet");
        assert_eq!(verdict(&[(1, 7), (4, 8), (5, 8)]), Verdict::Unknown, "strangers do not count");
    }

    #[test]
    fn few_are_remembered() {
        let mut known = Hashes::default();
        (0..100).for_each(|index| known.note(id(1), LogIndex(index), index));
        assert_eq!(known.known[&id(1)].len(), REMEMBERED);
    }
}
