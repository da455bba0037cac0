//! Keys and values, and who holds which key.

use crate::{LogIndex, SessionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The largest value, in bytes, unless configured otherwise (`limits.kv_max_value_size`).
pub const MAX_VALUE_SIZE: usize = 512 * 1024;

/// What a client sets: a key, any UTF-8 text, with its value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Opaque to Quorate.
    pub flags: u64,
    /// How long the key lives unless it is set again; none: until it is deleted. (An extension.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

/// What the store holds: a key with its value, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Opaque to Quorate.
    pub flags: u64,
    /// How long the key lives after its modify index unless it is set again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Lock::is_new")]
    pub lock: Lock,
}

/// Who holds a key. Locks are advisory: a plain write goes through and leaves the lock as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// How often the key was acquired since it was made: Consul's `LockIndex`.
    pub count: u64,
    /// Who holds it now.
    pub session: Option<SessionId>,
    /// The log index at which the present or last hold began: the **fencing token**. Later holds have greater ones, even where the key was
    /// deleted in between.
    pub token: LogIndex,
}

impl Lock {
    /// Whether the key was never acquired.
    pub fn is_new(&self) -> bool {
        *self == Lock::default()
    }
}

/// A change of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvWrite {
    /// Sets a key: [`crate::Outcome::Done`] or [`crate::Outcome::Unmatched`]. An equal pair without a TTL changes nothing, not even the
    /// modify index.
    Put {
        /// What to store.
        #[serde(rename = "entry")]
        pair: Pair,
        /// Only if the key's modify index is this; zero: only if the key does not exist.
        cas: Option<LogIndex>,
    },
    /// Sets a key and holds it for a session: [`crate::Outcome::Acquired`] or [`crate::Outcome::Held`]. Whoever holds it already may say so
    /// again, and keeps the token; a session that does not exist refuses it.
    Acquire {
        /// What to store.
        pair: Pair,
        /// Who is to hold it.
        session: SessionId,
    },
    /// As [`KvWrite::Acquire`], but where the session holds the key already, the key stays as it is: [`crate::Outcome::Holds`]. It may be the
    /// second copy of one whose outcome was lost, and the holder may have written since.
    AcquireOnce {
        /// What to store.
        pair: Pair,
        /// Who is to hold it.
        session: SessionId,
    },
    /// Sets a key and lets go of it: [`crate::Outcome::Done`], or [`crate::Outcome::Held`] where the session does not hold it, with whoever
    /// does.
    Release {
        /// What to store.
        pair: Pair,
        /// Who holds it.
        session: SessionId,
    },
    /// Removes a key; removing none succeeds.
    Delete {
        /// The key.
        key: String,
        /// Only if the key's modify index is this; zero: only if the key does not exist, so that nothing is ever removed.
        cas: Option<LogIndex>,
    },
    /// Removes every key that starts with `prefix`; the empty prefix removes all.
    DeletePrefix {
        /// The beginning that the keys share.
        prefix: String,
    },
}

/// A question about keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KvRead {
    /// One key: [`crate::Answer::Entries`] with none or one.
    Get {
        /// The key.
        key: String,
    },
    /// Every key that starts with `prefix`, in byte order: [`crate::Answer::Entries`].
    List {
        /// The beginning that the keys share.
        prefix: String,
        /// Which part of them.
        #[serde(default, skip_serializing_if = "Page::is_all")]
        page: Page,
    },
    /// The keys alone, cut after the first `separator` that follows the prefix: [`crate::Answer::Keys`].
    Keys {
        /// The beginning that the keys share.
        prefix: String,
        /// Empty for no cutting.
        separator: String,
        /// Which part of them, after cutting.
        #[serde(default, skip_serializing_if = "Page::is_all")]
        page: Page,
    },
    /// What happened to keys after an index, each put and delete once and in order: [`crate::Answer::Changes`]. (An extension.)
    Changes {
        /// Which keys.
        of: Selection,
        /// Changes at this index and before it are known.
        after: LogIndex,
        /// How many at most; those of one write are never parted, so it may be exceeded by the rest of one.
        limit: u32,
    },
}

/// A part of a long list, in byte order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    /// Only what follows this.
    pub after: Option<String>,
    /// How many at most.
    pub limit: Option<u32>,
}

impl Page {
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.after.is_none() && self.limit.is_none()
    }
}

/// One key, or all that share a beginning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Selection {
    /// The key.
    Key(String),
    /// The beginning.
    Prefix(String),
}

impl Selection {
    /// Whether a key belongs to it.
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Selection::Key(one) => one == key,
            Selection::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}
