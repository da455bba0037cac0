//! Keys and values.

use crate::LogIndex;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The largest value, in bytes, unless configured otherwise (`limits.kv_max_value_size`).
pub const MAX_VALUE_SIZE: usize = 512 * 1024;

/// A key with its value. Its key is `key`, any UTF-8 text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Opaque to Quorate.
    pub flags: u64,
}

/// A change of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvWrite {
    /// Sets a key. Equal value and flags change nothing, not even the modify index.
    Put {
        /// What to store.
        entry: Entry,
        /// Only if the key's modify index is this; zero: only if the key does not exist.
        cas: Option<LogIndex>,
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
    },
    /// The keys alone, cut after the first `separator` that follows the prefix: [`crate::Answer::Keys`].
    Keys {
        /// The beginning that the keys share.
        prefix: String,
        /// Empty for no cutting.
        separator: String,
    },
}
