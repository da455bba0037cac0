//! A fingerprint of everything applied, equal on equal replicas.

use quorate_protocol::{LogIndex, Outcome};
use std::io;

/// A rolling hash of (index, write, outcome).
///
/// It finds replicas that drifted apart by a bug or a broken disk, not an adversary's, so it is quick rather than strong.
/// The write is hashed as the bytes of its log entry, which are the same on every server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct History(u64);

/// An odd number with its bits well spread (the golden ratio, 2^64 / φ).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl History {
    /// Goes on from a hash that a snapshot brought.
    pub fn resume(value: u64) -> History {
        History(value)
    }

    pub fn add(&mut self, index: LogIndex, encoded: &[u8], outcome: &Outcome) {
        self.number(index.0);
        self.bytes(encoded);
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
            Outcome::Acquired { .. }
            | Outcome::Holds { .. }
            | Outcome::Held { .. }
            | Outcome::Session(_)
            | Outcome::Txn(_) => {
                self.number(4);
                self.encoded(outcome);
            }
        }
    }

    pub fn value(self) -> u64 {
        self.0
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // The length first, so that no two sequences of fields run into the same bytes.
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            self.word(chunk);
        }
    }

    /// Hashes an outcome as its bytes, without writing them down anywhere: those of a transaction can be long.
    fn encoded(&mut self, outcome: &Outcome) {
        let mut words = Words { history: *self, word: [0; 8], filled: 0, length: 0 };
        let written = rmp_serde::encode::write_named(&mut words, outcome);
        debug_assert!(written.is_ok(), "writing to memory cannot fail: {written:?}");
        *self = words.finish();
    }

    fn word(&mut self, bytes: &[u8]) {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.number(u64::from_le_bytes(word));
    }

    fn number(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(5) ^ number).wrapping_mul(SPREAD);
        // A product's low bits know nothing of its high ones.
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// Gathers the pieces that an encoder writes into words, so that the hash does not depend on how it cut them.
struct Words {
    history: History,
    word: [u8; 8],
    filled: usize,
    length: u64,
}

impl Words {
    fn finish(mut self) -> History {
        self.history.word(self.word.get(..self.filled).unwrap_or_default());
        self.history.number(self.length);
        self.history
    }
}

impl io::Write for Words {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if let Some(place) = self.word.get_mut(self.filled) {
                *place = *byte;
            }
            self.filled += 1;
            if self.filled == self.word.len() {
                self.history.word(&self.word);
                self.filled = 0;
            }
        }
        self.length = self.length.wrapping_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::wire::log::encode_write;
    use quorate_protocol::{KvWrite, SessionId, TxnError, Write};

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
            (1, write("a"), Outcome::Acquired { token: LogIndex(1) }),
            (1, write("a"), Outcome::Acquired { token: LogIndex(2) }),
            (1, write("a"), Outcome::Held { by: None }),
            (1, write("a"), Outcome::Held { by: Some(SessionId([1; 16])) }),
            (1, write("a"), Outcome::Txn(Ok(vec![]))),
            (1, write("a"), Outcome::Txn(Err(vec![TxnError { operation: 0, what: "no".to_owned() }]))),
        ];
        let hash = |(index, write, outcome): &(u64, Write, Outcome)| {
            let mut history = History::default();
            history.add(LogIndex(*index), &encode_write(write), outcome);
            history.value()
        };
        let mut hashes: Vec<u64> = cases.iter().map(hash).collect();
        assert_eq!(hashes, cases.iter().map(hash).collect::<Vec<_>>());
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), cases.len());
    }
}
