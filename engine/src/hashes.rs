//! Whether the replicas are still equal: servers tell each other the rolling hash of their store at the same indexes, and one that finds itself
//! different from a majority stops, to come back as a new server that learns everything anew.

use crate::Engine;
use crate::door::Output;
use quorate_protocol::wire::stream::{Destination, Message};
use quorate_protocol::{LogIndex, NodeId};
use std::collections::BTreeMap;

/// Hashes are told at the multiples of this: seldom enough to cost nothing, often enough to find a difference within seconds under load.
const INTERVAL: u64 = 1024;

/// So many indexes are remembered. A server that is further behind the others than this many intervals compares later ones.
const MAX_REMEMBERED: usize = 64;

/// The hashes at recent indexes.
#[derive(Debug, Default)]
pub struct Hashes {
    own: BTreeMap<LogIndex, u64>,
    others: BTreeMap<LogIndex, BTreeMap<NodeId, u64>>,
}

impl Hashes {
    fn note_own(&mut self, index: LogIndex, hash: u64) {
        self.own.insert(index, hash);
        forget_oldest(&mut self.own);
    }

    fn note_other(&mut self, from: NodeId, index: LogIndex, hash: u64) {
        self.others.entry(index).or_default().insert(from, hash);
        forget_oldest(&mut self.others);
    }

    /// How many of these voters have one and the same hash that is not the own one, if it is more than half of them; and how many have any other.
    fn difference(&self, index: LogIndex, voters: &[NodeId]) -> Difference {
        let (Some(own), Some(others)) = (self.own.get(&index), self.others.get(&index)) else {
            return Difference::None;
        };
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for (_, hash) in others.iter().filter(|(id, hash)| voters.contains(id) && *hash != own) {
            *counts.entry(*hash).or_default() += 1;
        }
        match counts.values().max() {
            Some(most) if *most > voters.len() / 2 => Difference::FromMajority,
            Some(_) => Difference::FromSome,
            None => Difference::None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Difference {
    None,
    /// Somebody has drifted; who, nobody can tell from this.
    FromSome,
    /// This server has.
    FromMajority,
}

fn forget_oldest<T>(map: &mut BTreeMap<LogIndex, T>) {
    while map.len() > MAX_REMEMBERED {
        map.pop_first();
    }
}

impl Engine {
    /// An entry was applied: at every so many, the others are told the hash there.
    pub(crate) fn share_hash(&mut self, index: LogIndex) {
        if index.0 % INTERVAL != 0 {
            return;
        }
        let Some(server) = &mut self.server else { return };
        let hash = server.store.hash();
        server.hashes.note_own(index, hash);
        let others: Vec<NodeId> =
            server.raft.configuration().peers.keys().copied().filter(|id| *id != self.config.id).collect();
        for id in others {
            if let Some(address) = self.address_of(id) {
                let to = Destination { id: Some(id), address };
                self.outputs.push_back(Output::Message { to, message: Message::StateHash { index, hash } });
            }
        }
        self.compare_hashes(index);
    }

    /// Takes another voter's hash.
    pub(crate) fn handle_state_hash(&mut self, from: NodeId, index: LogIndex, hash: u64) {
        let Some(server) = &mut self.server else { return self.count("state_hashes_to_client") };
        if index.0 % INTERVAL != 0 || !server.raft.configuration().is_voter(from) {
            return self.count("state_hashes_unexpected");
        }
        server.hashes.note_other(from, index, hash);
        self.compare_hashes(index);
    }

    fn compare_hashes(&mut self, index: LogIndex) {
        let Some(server) = &self.server else { return };
        let voters: Vec<NodeId> = server.raft.configuration().voters().collect();
        match server.hashes.difference(index, &voters) {
            Difference::None => {}
            Difference::FromSome => self.count("state_hashes_different"),
            Difference::FromMajority => {
                let why = format!(
                    "the state of this server at log index {index} differs from that of a majority of the servers: \
                     it must be put aside and learnt anew from them"
                );
                self.outputs.push_back(Output::Quarantine(why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_majority_that_agrees_is_right() {
        let voters: Vec<NodeId> = (1..=5).map(|id| NodeId([id; 16])).collect();
        let at = LogIndex(INTERVAL);
        // This server is the first voter and has hash 1.
        let cases = [
            (&[(2, 1), (3, 1)][..], Difference::None),
            (&[(2, 9), (3, 1)], Difference::FromSome),
            (&[(2, 9), (3, 9)], Difference::FromSome),
            (&[(2, 9), (3, 9), (4, 9)], Difference::FromMajority),
            (&[(2, 9), (3, 9), (4, 8), (5, 7)], Difference::FromSome),
            (&[(2, 9), (3, 9), (7, 9)], Difference::FromSome),
        ];
        for (others, expected) in cases {
            let mut hashes = Hashes::default();
            hashes.note_own(at, 1);
            others.iter().for_each(|(id, hash)| hashes.note_other(NodeId([*id; 16]), at, *hash));
            assert_eq!(hashes.difference(at, &voters), expected, "{others:?}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut hashes = Hashes::default();
        for number in 0..1000 {
            hashes.note_own(LogIndex(number * INTERVAL), 1);
            hashes.note_other(NodeId([1; 16]), LogIndex(number * INTERVAL), 1);
        }
        assert_eq!((hashes.own.len(), hashes.others.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}
