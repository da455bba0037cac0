//! Keys as they are shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_protocol::{Entry, LogIndex, Row, go};
use serde::Serialize;

/// A key with its value and who holds it.
///
/// `TTL` and `FencingToken` are extensions, and only there where they say something: Consul itself gave this row further fields over time, so
/// its clients leave those aside that they do not know.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EntryRow<'a> {
    lock_index: u64,
    key: &'a str,
    flags: u64,
    /// Base64; null where it is empty.
    value: Option<String>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<u64>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> EntryRow<'a> {
    pub(crate) fn of(entry: &'a Row<Entry>) -> EntryRow<'a> {
        let value = &entry.value.value;
        EntryRow { value: (!value.is_empty()).then(|| STANDARD.encode(value)), ..EntryRow::without_value(entry) }
    }

    /// As a transaction shows what it wrote.
    pub(crate) fn without_value(entry: &'a Row<Entry>) -> EntryRow<'a> {
        EntryRow {
            lock_index: entry.lock.count,
            key: &entry.key,
            flags: entry.flags,
            value: None,
            session: entry.lock.session.map(|session| session.to_string()),
            fencing_token: held(entry).map(|token| token.0),
            ttl: entry.ttl.map(go::format_duration),
            create_index: entry.create_index.0,
            modify_index: entry.modify_index.0,
        }
    }

    /// As a transaction shows a key that there is not.
    pub(crate) fn absent(key: &'a str) -> EntryRow<'a> {
        EntryRow {
            lock_index: 0,
            key,
            flags: 0,
            value: None,
            session: None,
            fencing_token: None,
            ttl: None,
            create_index: 0,
            modify_index: 0,
        }
    }
}

/// The fencing token of a key that is held.
pub(crate) fn held(entry: &Entry) -> Option<LogIndex> {
    entry.lock.session.map(|_| entry.lock.token)
}
