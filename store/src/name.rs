//! Names of nodes and services: found without regard to case, kept as they were written.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest name or id of a node, service or check, in bytes. DNS carries 63 of them and gossip a few hundred; more
/// than this is a mistake that every server would have to keep.
pub const MAX_NAME_SIZE: usize = 1024;

/// A name in lower case: what rows are found by.
///
/// Only ASCII letters are folded, as in DNS (RFC 4343). Folding the rest would follow the Unicode tables of whichever
/// compiler built a server, and two servers could then disagree about the same log entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Name(Arc<str>);

impl Name {
    pub fn of(name: &str) -> Name {
        Name(name.to_ascii_lowercase().into())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Refuses a name or id that is too long to be kept; `what` is it.
pub(crate) fn fits(what: &str, name: &str) -> Result<(), String> {
    if name.len() <= MAX_NAME_SIZE {
        return Ok(());
    }
    let start: String = name.chars().take(32).collect();
    Err(format!("The {what} '{start}…' has {} bytes; use at most {MAX_NAME_SIZE}", name.len()))
}
