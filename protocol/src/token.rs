//! What says with whose rights something is done.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The secret that says with whose rights something is done; none where nobody's are claimed. It is never shown: not in a log, not in an
/// answer.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl Token {
    /// Whether there is none.
    pub const fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "no token" } else { "a token" })
    }
}
