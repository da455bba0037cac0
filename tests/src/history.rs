//! What clients did to keys and what they were told.

use quorate_protocol::{LogIndex, Time};

/// One request about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Who asked.
    pub client: usize,
    /// What was asked.
    pub call: Call,
    /// When.
    pub invoked: Time,
    /// What the client was told and when; none where it never learnt.
    pub result: Option<(Time, Told)>,
}

/// What is asked. Values are numbers, each written once in a history, so that a value read tells which write it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Reads the key.
    Get,
    /// Sets it.
    Put {
        /// To this.
        value: u64,
    },
    /// Sets it if its modify index is this; 0: if it does not exist.
    Cas {
        /// The index.
        expected: LogIndex,
        /// To this.
        value: u64,
    },
    /// Removes it.
    Delete,
    /// Removes it if its modify index is this; what does not exist is removed whatever is expected.
    DeleteCas {
        /// The index.
        expected: LogIndex,
    },
}

impl Call {
    /// Whether it may change the key.
    pub const fn writes(self) -> bool {
        !matches!(self, Call::Get)
    }
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The key has this value.
    Found {
        /// The value.
        value: u64,
        /// The index at which it last changed.
        modified: LogIndex,
    },
    /// The key does not exist.
    Missing,
    /// The write was applied at this index.
    Done {
        /// Its place in the log.
        index: LogIndex,
    },
    /// The write was refused at this index, since the key's modify index is another.
    Unmatched {
        /// The key's modify index; 0 where it does not exist.
        found: LogIndex,
        /// The write's place in the log.
        index: LogIndex,
    },
}
