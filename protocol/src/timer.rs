//! What ends by itself. The store says what is to end how long after which log index; whoever leads waits on its own clock and writes the
//! end into the log, so that every replica sees it at the same place.

use crate::{LogIndex, SessionId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Something that ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A session that is not renewed.
    Session(SessionId),
    /// A key with a TTL.
    Key(String),
    /// The time in which a key cannot be acquired after its holder was invalidated.
    LockDelay(String),
}

/// How long something still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// The log index from which it counts; a later one makes this one void.
    pub since: LogIndex,
    /// How long after that index was applied it ends, at the earliest.
    pub after: Duration,
}
