//! What Consul says of an answer in headers.

use crate::percent::encode_query;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use quorate_protocol::{Consistency, LogIndex};
use std::time::Duration;

const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const EFFECTIVE_CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
const DEFAULT_ACL_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");
/// The worst status of what `/v1/agent/health` was asked about.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-consul-reason");

/// What a service's content is known by; `hash` waits for another.
pub(crate) const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");

/// Where a write is in the log. (An extension.)
const LOG_INDEX: HeaderName = HeaderName::from_static("x-quorate-index");
/// The fencing token of the hold of a key. (An extension.)
const FENCING_TOKEN: HeaderName = HeaderName::from_static("x-quorate-fencing-token");
/// What to give as `start-after` for the rest of a list. (An extension.)
const NEXT: HeaderName = HeaderName::from_static("x-quorate-next");
/// How many bytes a snapshot's state has before compression. (An extension.)
const SNAPSHOT_SIZE: HeaderName = HeaderName::from_static("x-quorate-snapshot-size");

/// Says what is done but seldom meant (RFC 7234, section 5.5: 299 is for whatever a person should know). (An extension.)
pub(crate) fn write_warning(sentence: &str, headers: &mut HeaderMap) {
    let text: String = sentence.chars().map(|c| if c == '"' { '\'' } else { c }).collect();
    if let Ok(value) = HeaderValue::try_from(format!("299 - \"{text}\"")) {
        headers.insert(header::WARNING, value);
    }
}

/// How fresh an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Where to wait from.
    pub(crate) index: LogIndex,
    /// Whether the server that answered knows a leader.
    pub(crate) known_leader: bool,
    /// How long ago that server heard from it.
    pub(crate) last_contact: Duration,
    /// How the answer was obtained.
    pub(crate) consistency: Consistency,
}

impl Freshness {
    /// Index, leader and age.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        write_index(self.index, headers);
        self.write_contact_to(headers);
    }

    /// Leader and age alone, for what nobody can wait for.
    pub(crate) fn write_contact_to(&self, headers: &mut HeaderMap) {
        headers.insert(KNOWN_LEADER, HeaderValue::from_static(if self.known_leader { "true" } else { "false" }));
        headers.insert(LAST_CONTACT, u64::try_from(self.last_contact.as_millis()).unwrap_or(u64::MAX).into());
    }

    /// How the answer was obtained, which Consul 1.9 tells on catalogue and health reads, save `/v1/health/service`.
    pub(crate) fn write_consistency_to(&self, headers: &mut HeaderMap) {
        let word = match self.consistency {
            Consistency::Stale => "stale",
            Consistency::Default => "leader",
            Consistency::Consistent => "consistent",
        };
        headers.insert(EFFECTIVE_CONSISTENCY, HeaderValue::from_static(word));
    }
}

/// Where to wait from. It is never 0: a client would stop blocking and spin.
pub(crate) fn write_index(index: LogIndex, headers: &mut HeaderMap) {
    headers.insert(INDEX, index.0.max(1).into());
}

/// On the answer to a write that has a place in the log; one that waited for a key in vain has none.
pub(crate) fn write_log_index(index: LogIndex, headers: &mut HeaderMap) {
    if index > LogIndex::ZERO {
        headers.insert(LOG_INDEX, index.0.into());
    }
}

/// On an answer about one key that is held.
pub(crate) fn write_fencing_token(token: LogIndex, headers: &mut HeaderMap) {
    headers.insert(FENCING_TOKEN, token.0.into());
}

/// On a part of a list that is not the last: the key to go on after, percent-encoded as a query string wants it.
pub(crate) fn write_next(key: &str, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(encode_query(key)) {
        headers.insert(NEXT, value);
    }
}

/// On a snapshot, whose length on the wire nobody knows before its end.
pub(crate) fn write_snapshot_size(size: u64, headers: &mut HeaderMap) {
    headers.insert(SNAPSHOT_SIZE, size.into());
}

/// On every answer: there are no access rules yet, so all is allowed.
pub(crate) fn write_acl_policy(headers: &mut HeaderMap) {
    headers.insert(DEFAULT_ACL_POLICY, HeaderValue::from_static("allow"));
}

/// On a raw value, which anybody may have stored: a browser must not take it for a page of this agent.
pub(crate) fn write_raw(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}
