//! User events: a name and a few bytes that every member of the gossip pool hears.

use crate::wire::WireError;
use crate::{LogIndex, Member, NodeId, Query};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use crate::id::EventId;

/// The most bytes of a name and a payload together: what Serf's `user_event_size_limit` can be set to.
pub const MAX_EVENT: usize = 9 * 1024;
/// The most of them that travel in a datagram (Serf's limit if nothing is set); of more, datagrams only tell.
pub const MAX_EVENT_IN_DATAGRAM: usize = 512;
/// The longest name, in bytes.
pub const MAX_EVENT_NAME: usize = 255;
/// The longest of an event's filters, in bytes: with all three an event still fits a datagram.
pub const MAX_EVENT_FILTER: usize = 128;

/// An event as its origin sent it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    /// Tells it from every other, so that it is delivered once.
    pub id: EventId,
    /// Orders events (Lamport's clock): one sent by somebody who had heard another has the higher number.
    pub ltime: u64,
    /// Who sent it out.
    pub origin: NodeId,
    /// What happened, in the words of whoever sent it out.
    pub name: String,
    /// Whatever belongs to it.
    pub payload: Bytes,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "EventFilter::is_empty")]
    pub filter: EventFilter,
}

/// Whom an event is for; regular expressions, empty ones match everybody. All members pass it on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct EventFilter {
    /// On the name of the node.
    pub node: String,
    /// On the name of a service of the node.
    pub service: String,
    /// On a tag of that service.
    pub tag: String,
}

impl EventFilter {
    /// Whether it is for everybody.
    pub fn is_empty(&self) -> bool {
        self.all().iter().all(|expression| expression.is_empty())
    }

    fn all(&self) -> [&String; 3] {
        [&self.node, &self.service, &self.tag]
    }
}

impl UserEvent {
    /// Whether it travels in datagrams itself.
    pub fn fits_datagram(&self) -> bool {
        self.name.len().saturating_add(self.payload.len()) <= MAX_EVENT_IN_DATAGRAM
    }
}

/// Whether an event is within the limits.
///
/// # Errors
/// [`WireError`] that names what is too long or missing.
pub fn check_event(name: &str, payload: &[u8], filter: &EventFilter) -> Result<(), WireError> {
    if name.is_empty() {
        return Err(WireError::Malformed("an event without a name".to_owned()));
    }
    let too_long = |length, limit| Err(WireError::TooLong { length, limit });
    if name.len() > MAX_EVENT_NAME {
        return too_long(name.len(), MAX_EVENT_NAME);
    }
    let length = name.len().saturating_add(payload.len());
    if length > MAX_EVENT {
        return too_long(length, MAX_EVENT);
    }
    match filter.all().into_iter().find(|expression| expression.len() > MAX_EVENT_FILTER) {
        Some(expression) => too_long(expression.len(), MAX_EVENT_FILTER),
        None => Ok(()),
    }
}

/// What `X-Consul-Index` is for a list of events: a number that the last one's id makes, 1 where there is none. It does not grow, so whoever
/// waits waits for another, not for a higher one.
pub fn event_index(events: &[UserEvent]) -> LogIndex {
    LogIndex(events.last().map_or(1, |event| {
        let bits = u128::from_be_bytes(event.id.0);
        (bits >> 64) as u64 ^ bits as u64
    }))
}

/// Something that an agent tells whoever follows its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentEvent {
    /// A member's state changed.
    Member {
        /// How: `member-join`, `member-failed`, …
        kind: String,
        /// The member as it is now.
        member: Member,
    },
    /// A user event that is for this agent.
    User(UserEvent),
    /// A query that this agent may answer.
    Query(Query),
}
