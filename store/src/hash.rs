//! A fingerprint of everything applied, equal on equal replicas.

use quorate_protocol::wire::log::encode_write;
use quorate_protocol::{LogIndex, Outcome, Write};

/// A rolling hash of (index, write, outcome).
///
/// It finds replicas that drifted apart by a bug or a broken disk, not an adversary's, so it is quick rather than strong.
/// The write is hashed as the bytes of its log entry, so it compares servers that write the log alike, that is of the
/// same wire version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct History(u64);

/// An odd number with its bits well spread (the golden ratio, 2^64 / φ).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl History {
    pub fn add(&mut self, index: LogIndex, write: &Write, outcome: &Outcome) {
        self.number(index.0);
        self.bytes(&encode_write(write));
        match outcome {
            Outcome::Done => self.number(1),
            Outcome::Unmatched { found } => {
                self.number(2);
                self.number(found.0);
            }
            Outcome::Refused(why) => {
                self.number(3);
                self.bytes(why.as_bytes());
            }
            Outcome::Acquired { .. } | Outcome::Held { .. } | Outcome::Session(_) | Outcome::Txn(_) => self.number(4),
        }
    }

    pub fn value(self) -> u64 {
        self.0
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // The length first, so that no two sequences of fields run into the same bytes.
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.number(u64::from_le_bytes(word));
        }
    }

    fn number(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(5) ^ number).wrapping_mul(SPREAD);
        // A product's low bits know nothing of its high ones.
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::KvWrite;

    #[test]
    fn every_part_counts() {
        let write = |key: &str| Write::Kv(KvWrite::Delete { key: key.to_owned(), cas: None });
        let refused = |why: &str| Outcome::Refused(why.to_owned());
        let cases = [
            (1, write("a"), Outcome::Done),
            (2, write("a"), Outcome::Done),
            (1, write("b"), Outcome::Done),
            (1, write("a"), Outcome::Unmatched { found: LogIndex(0) }),
            (1, write("a"), Outcome::Unmatched { found: LogIndex(7) }),
            (1, write("a"), refused("")),
            (1, write("a"), refused("no")),
        ];
        let hash = |(index, write, outcome): &(u64, Write, Outcome)| {
            let mut history = History::default();
            history.add(LogIndex(*index), write, outcome);
            history.value()
        };
        let mut hashes: Vec<u64> = cases.iter().map(hash).collect();
        assert_eq!(hashes, cases.iter().map(hash).collect::<Vec<_>>());
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), cases.len());
    }
}
