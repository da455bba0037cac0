//! Sessions as they are shown, and ids of sessions as they are taken.

use crate::error::Error;
use quorate_protocol::{Behavior, Row, Session, SessionId, go};
use serde::Serialize;

/// A session.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SessionRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    node: &'a str,
    /// In nanoseconds, though it is taken as text too.
    lock_delay: u64,
    behavior: &'static str,
    /// Empty where there is none.
    #[serde(rename = "TTL")]
    ttl: String,
    /// An extension, and only there where it is true.
    #[serde(rename = "ExactTTL", skip_serializing_if = "std::ops::Not::not")]
    exact_ttl: bool,
    node_checks: &'a [String],
    /// Null where there are none.
    service_checks: Option<Vec<ServiceCheckRow<'a>>>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceCheckRow<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    namespace: &'static str,
}

impl<'a> SessionRow<'a> {
    pub(crate) fn of(session: &'a Row<Session>) -> SessionRow<'a> {
        let service_checks: Vec<_> =
            session.service_checks.iter().map(|id| ServiceCheckRow { id, namespace: "" }).collect();
        SessionRow {
            id: session.id.to_string(),
            name: &session.name,
            node: &session.node,
            lock_delay: u64::try_from(session.lock_delay.as_nanos()).unwrap_or(u64::MAX),
            behavior: match session.behavior {
                Behavior::Release => "release",
                Behavior::Delete => "delete",
            },
            ttl: session.ttl.map(go::format_duration).unwrap_or_default(),
            exact_ttl: session.exact_ttl,
            node_checks: &session.node_checks,
            service_checks: (!service_checks.is_empty()).then_some(service_checks),
            create_index: session.create_index.0,
            modify_index: session.modify_index.0,
        }
    }
}

/// The session that a client names, or the sentence that Consul has for what cannot be one.
pub(crate) fn session_id(text: &str) -> Result<SessionId, String> {
    const LOOKUP: &str = "failed session lookup: index error:";
    if text.len() != 36 {
        return Err(format!("{LOOKUP} UUID must be 36 characters"));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_hexdigit() && *c != '-') {
        let code = u32::from(bad);
        return Err(format!(
            "{LOOKUP} Invalid UUID: encoding/hex: invalid byte: U+{code:04X} '{}'",
            bad.escape_debug()
        ));
    }
    text.parse().map_err(|why| format!("{LOOKUP} Invalid UUID: {why}"))
}

/// As [`session_id`], for a request that looks the session up.
///
/// # Errors
/// [`Error::Refused`] with the sentence.
pub(crate) fn named_session(text: &str) -> Result<SessionId, Error> {
    session_id(text).map_err(Error::Refused)
}

/// The session that a client says holds a key. Consul compares it with the holder and does not look it up: what cannot be a session holds
/// nothing, and neither does the zero identity, which no session has.
pub(crate) fn claimed_session(text: &str) -> SessionId {
    session_id(text).unwrap_or_default()
}
