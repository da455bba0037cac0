//! What clients did to keys and what they were told.

use quorate_protocol::{LogIndex, SessionId, Time};

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
    /// Sets it and holds it for a session, unless another one holds it.
    Acquire {
        /// The session.
        session: SessionId,
        /// To this.
        value: u64,
    },
    /// Sets it and holds it for a session, unless one holds it, be it the same.
    AcquireOnce {
        /// The session.
        session: SessionId,
        /// To this.
        value: u64,
    },
    /// Sets it and lets go of it, if this session holds it.
    Release {
        /// The session.
        session: SessionId,
        /// To this.
        value: u64,
    },
    /// The session ends, whatever ends it, and lets go of the key if it holds it. Nobody is told when or whether.
    Free {
        /// The session.
        session: SessionId,
        /// Whether the key goes with it.
        deletes: bool,
    },
    /// Whoever waited for the key in turn has gone, and the leader lets go of what it was granted and nobody was told of. Nobody is told when or
    /// whether.
    GiveUp {
        /// The session of whoever waited.
        session: SessionId,
        /// The value that the grant set; if somebody has written another one since, the key is not touched.
        value: u64,
    },
    /// The key ends by itself if it still has this value. Nobody is told when or whether.
    Lapse {
        /// The value, which was set with a TTL.
        value: u64,
    },
}

impl Call {
    /// The value that it writes.
    pub const fn value(self) -> Option<u64> {
        match self {
            Call::Put { value }
            | Call::Cas { value, .. }
            | Call::Acquire { value, .. }
            | Call::AcquireOnce { value, .. }
            | Call::Release { value, .. } => Some(value),
            Call::Get
            | Call::Delete
            | Call::DeleteCas { .. }
            | Call::Free { .. }
            | Call::GiveUp { .. }
            | Call::Lapse { .. } => None,
        }
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
        /// Who holds it.
        holder: Option<SessionId>,
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
    /// The key is held by the session that asked.
    Acquired {
        /// The fencing token of the hold.
        token: LogIndex,
        /// The write's place in the log.
        index: LogIndex,
    },
    /// The key was held already by the session that asked, and stayed as it was.
    Holds {
        /// The fencing token of the hold.
        token: LogIndex,
        /// The write's place in the log.
        index: LogIndex,
    },
    /// The key is not held by the session that asked.
    Held {
        /// Who holds it.
        by: Option<SessionId>,
        /// The write's place in the log.
        index: LogIndex,
    },
    /// The write was refused at this index for a reason beyond the key's modify index: that is not the one that a compare-and-set expected, or there is no
    /// such session.
    Failed {
        /// The write's place in the log.
        index: LogIndex,
    },
}
