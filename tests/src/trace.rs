//! The log of what happened in the world, and its hash: the same seed must give the same.

use quorate_protocol::Time;
use std::collections::VecDeque;
use std::fmt;

/// Lines kept to be shown when a property fails: several simulated seconds.
const TAIL: usize = 400;

/// What happened, in order. Only the hash covers everything; the lines are the last ones, or printed as they come.
#[derive(Debug)]
pub struct Trace {
    hash: Hash,
    events: u64,
    tail: VecDeque<Line>,
    printing: bool,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Line {
    at: Time,
    agent: Option<usize>,
    what: What,
}

/// What happened. Frequent things carry numbers, so that nothing is formatted unless somebody looks.
#[derive(Debug, Clone)]
pub enum What {
    /// An agent received a datagram.
    Datagram {
        /// From which agent.
        from: usize,
        /// How long it is.
        bytes: usize,
    },
    /// An agent received a message over a stream.
    Message {
        /// From which agent.
        from: usize,
        /// Its kind.
        kind: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// An agent was told that its disk holds everything up to this number.
    Persisted(u64),
    /// An agent's timers were run.
    Timer,
    /// Anything rarer, in words.
    Said(String),
}

impl Trace {
    /// An empty one; `printing` writes every line to standard output as it comes.
    pub fn new(printing: bool) -> Trace {
        Trace { hash: Hash::default(), events: 0, tail: VecDeque::with_capacity(TAIL), printing }
    }

    /// Adds something that happened, with the digest of the bytes that belong to it.
    pub fn add(&mut self, at: Time, agent: Option<usize>, what: What, digest: u64) {
        self.events += 1;
        self.hash.word(at.as_nanos());
        self.hash.word(agent.map_or(u64::MAX, |agent| agent as u64));
        self.hash.word(digest);
        let line = Line { at, agent, what };
        match &line.what {
            What::Datagram { from, bytes } => self.hash.word((*from as u64) << 32 | *bytes as u64),
            What::Message { from, kind, bytes } => {
                self.hash.word((*from as u64) << 32 | *bytes as u64);
                self.hash.bytes(kind.as_bytes());
            }
            What::Persisted(number) => self.hash.word(*number),
            What::Timer => {}
            What::Said(text) => self.hash.bytes(text.as_bytes()),
        }
        if self.printing {
            println!("{line}");
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Adds a sentence.
    pub fn say(&mut self, at: Time, agent: Option<usize>, text: String) {
        self.add(at, agent, What::Said(text), 0);
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How many things happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last lines, oldest first.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().map(Line::to_string).collect()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.at)?;
        match self.agent {
            Some(agent) => write!(f, "agent {agent}: ")?,
            None => f.write_str("world: ")?,
        }
        match &self.what {
            What::Datagram { from, bytes } => write!(f, "datagram of {bytes} bytes from {from}"),
            What::Message { from, kind, bytes } => write!(f, "{kind} of {bytes} bytes from {from}"),
            What::Persisted(number) => write!(f, "persisted up to {number}"),
            What::Timer => f.write_str("timer"),
            What::Said(text) => f.write_str(text),
        }
    }
}

/// A running 64-bit hash (FNV-1a over words). Against accidents, not against adversaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut hash = Hash::default();
        hash.bytes(bytes);
        hash.0
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
        self.word(bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_changes_the_hash() {
        let hash = |at, agent, what, digest| {
            let mut trace = Trace::new(false);
            trace.add(Time::from_nanos(at), agent, what, digest);
            trace.hash()
        };
        let base = hash(1, Some(0), What::Timer, 0);
        assert_eq!(base, hash(1, Some(0), What::Timer, 0));
        for other in [
            hash(2, Some(0), What::Timer, 0),
            hash(1, None, What::Timer, 0),
            hash(1, Some(0), What::Timer, 1),
            hash(1, Some(0), What::Said("x".into()), 0),
            hash(1, Some(0), What::Persisted(3), 0),
        ] {
            assert_ne!(base, other);
        }
        assert_ne!(Hash::of(b"12345678"), Hash::of(b"12345678\0"));
    }

    #[test]
    fn the_tail_is_bounded_and_readable() {
        let mut trace = Trace::new(false);
        for n in 0..1000 {
            trace.say(Time::from_nanos(n * 1000), Some(2), format!("line {n}"));
        }
        let tail = trace.tail();
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail.last().map(String::as_str), Some("0.000999s agent 2: line 999"));
    }
}
