//! Sessions: who may hold keys, and how that ends.

use crate::SessionId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Someone who may hold keys for as long as its node and checks are well and it renews itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Its identity. A front door leaves the zero identity, the agent that it belongs to rolls one.
    pub id: SessionId,
    /// For people.
    pub name: String,
    /// The node it is bound to; empty: the agent's own, filled in by the agent that is asked.
    pub node: String,
    /// Checks of the node (by id, `serfHealth` among them usually) that end the session when one is critical or gone.
    pub node_checks: Vec<String>,
    /// Checks of services on the node, by id, that do the same.
    pub service_checks: Vec<String>,
    /// How long keys that it held cannot be acquired after it was invalidated; at most [`MAX_LOCK_DELAY`].
    pub lock_delay: Duration,
    /// What becomes of the keys that it held.
    pub behavior: Behavior,
    /// Ends the session unless it is renewed; none: it lives until something else ends it.
    pub ttl: Option<Duration>,
    /// Whether it ends one TTL after its last renewal instead of two. (An extension; Consul ends sessions after two at the earliest.)
    pub exact_ttl: bool,
}

impl Session {
    /// How long after its last renewal it ends; none where it has no TTL.
    pub fn lifetime(&self) -> Option<Duration> {
        let times = if self.exact_ttl { 1 } else { 2 };
        self.ttl.map(|ttl| ttl.saturating_mul(times))
    }
}

/// The longest lock delay; longer ones are cut to it when a session is applied.
pub const MAX_LOCK_DELAY: Duration = Duration::from_secs(60);

/// The longest TTL.
pub const MAX_TTL: Duration = Duration::from_secs(86_400);

/// The shortest TTL unless `session_ttl_min` says otherwise: Consul's. Shorter ones cost the log a write for each renewal, and end sessions
/// of clients that only paused.
pub const USUAL_MIN_TTL: Duration = Duration::from_secs(10);

/// The least that `session_ttl_min` may say: with shorter ones the log would hold little but renewals.
pub const LEAST_MIN_TTL: Duration = Duration::from_secs(1);

/// What becomes of the keys that a session held when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Behavior {
    /// They stay, held by nobody.
    #[default]
    Release,
    /// They go.
    Delete,
}

/// A change of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionWrite {
    /// Makes a session: [`crate::Outcome::Session`]; refused without its node, or with a check that is critical or not there.
    Create(Box<Session>),
    /// Ends a session; ending none succeeds.
    Destroy {
        /// Which.
        id: SessionId,
    },
    /// Begins its TTL anew, without changing its row: [`crate::Outcome::Session`], none where there is no such session.
    Renew {
        /// Which.
        id: SessionId,
    },
}

/// A question about sessions: [`crate::Answer::Sessions`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SessionRead {
    /// One.
    Info {
        /// Which.
        id: SessionId,
    },
    /// Those bound to a node.
    Node {
        /// Its name.
        node: String,
    },
    /// All, by identity.
    List,
}
