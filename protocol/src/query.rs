//! Queries: a question to all members, whose answers come straight back (Serf's queries; the catalogue's prepared queries are another thing).

use crate::wire::WireError;
use crate::{EventId, NodeId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// The most bytes of a query with its filters, and of an answer: Serf's `query_size_limit` and `query_response_size_limit`.
pub const MAX_QUERY: usize = 1024;
/// The most members through which an answer travels besides: each costs as much as the answer itself.
pub const MAX_RELAYS: u8 = 5;
/// No query is open for longer.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// A query that every agent acknowledges and none answers: who can be reached, and reaches back.
pub const PING: &str = "_ping";

/// Whether people cannot ask this by name: what begins so is between agents.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('_') && name != PING
}

/// A query as its origin sent it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Tells it from every other.
    pub id: EventId,
    /// Orders queries, as [`crate::UserEvent::ltime`] orders events.
    pub ltime: u64,
    /// Who asks.
    pub origin: NodeId,
    /// Where answers go.
    pub address: SocketAddr,
    /// What is asked.
    pub question: Question,
}

/// What is asked, of whom, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Question {
    /// What is asked.
    pub name: String,
    /// Whatever belongs to it.
    pub payload: Bytes,
    /// The names of those who are to answer; empty for all.
    pub nodes: BTreeSet<String>,
    /// Regular expressions that their tags match, by key.
    pub tags: BTreeMap<String, String>,
    /// Whether they say at once that the question arrived.
    pub ack: bool,
    /// Through how many members besides the answers travel, in case the straight way is broken.
    pub relays: u8,
    /// For how long answers are of use. Zero, which no query on the wire has: as long as it takes to reach everybody and be answered.
    pub timeout: Duration,
}

impl Question {
    /// Whether it is within the limits.
    ///
    /// # Errors
    /// [`WireError`] that names what is too long or missing.
    pub fn check(&self) -> Result<(), WireError> {
        if self.name.is_empty() {
            return Err(WireError::Malformed("a query without a name".to_owned()));
        }
        let too_long = |length, limit| Err(WireError::TooLong { length, limit });
        let most = usize::from(u8::MAX);
        let short = self.nodes.iter().chain(self.tags.keys()).chain(self.tags.values()).chain([&self.name]);
        if let Some(length) = short.map(String::len).find(|length| *length > most) {
            return too_long(length, most);
        }
        let filters = self.nodes.iter().map(|name| name.len() + 1).sum::<usize>()
            + self.tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
        let length = self.name.len().saturating_add(self.payload.len()).saturating_add(filters);
        if length > MAX_QUERY {
            return too_long(length, MAX_QUERY);
        }
        match self.nodes.len().max(self.tags.len()) {
            many if many > most => too_long(many, most),
            _ => Ok(()),
        }
    }
}

/// What a member says to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryReply {
    /// To which.
    pub query: EventId,
    /// Who says it.
    pub from: NodeId,
    /// The answer; none: that the question arrived.
    pub answer: Option<Bytes>,
}

/// What whoever asked is told of a [`QueryReply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The name of the member that says it.
    pub node: String,
    /// The answer; none: that the question arrived.
    pub answer: Option<Bytes>,
}
