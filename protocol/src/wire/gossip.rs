//! Datagrams between agents, and what gossip says over streams.

use crate::Member;
use serde::{Deserialize, Serialize};

/// What gossip says over a reliable stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GossipMessage {
    /// All that the sender knows; answered in kind.
    PushPull {
        /// The members it knows, itself among them.
        members: Vec<Member>,
        /// Whether an answer is wanted.
        reply_wanted: bool,
    },
}
