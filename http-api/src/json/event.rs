//! User events and queries as they are shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_protocol::{Query, UserEvent, go};
use serde::Serialize;

/// An event as Consul shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EventRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    /// Base64; null where it is empty.
    payload: Option<String>,
    node_filter: &'a str,
    service_filter: &'a str,
    tag_filter: &'a str,
    /// Of Consul's format, which is always this.
    version: u8,
    #[serde(rename = "LTime")]
    ltime: u64,
}

impl<'a> EventRow<'a> {
    pub(crate) fn of(event: &'a UserEvent) -> EventRow<'a> {
        EventRow {
            id: event.id.to_string(),
            name: &event.name,
            payload: shown(&event.payload),
            node_filter: &event.filter.node,
            service_filter: &event.filter.service,
            tag_filter: &event.filter.tag,
            version: 1,
            ltime: event.ltime,
        }
    }

    /// As the answer to sending it out: Consul does not know its time by then.
    pub(crate) fn just_fired(event: &'a UserEvent) -> EventRow<'a> {
        EventRow { ltime: 0, ..EventRow::of(event) }
    }
}

/// A query as whoever may answer it is told of it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct QueryRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    /// Base64; null where it is empty.
    payload: Option<String>,
    /// For how long answers are of use.
    timeout: String,
    #[serde(rename = "LTime")]
    ltime: u64,
}

impl<'a> QueryRow<'a> {
    pub(crate) fn of(query: &'a Query) -> QueryRow<'a> {
        let question = &query.question;
        QueryRow {
            id: query.id.to_string(),
            name: &question.name,
            payload: shown(&question.payload),
            timeout: go::format_duration(question.timeout),
            ltime: query.ltime,
        }
    }
}

fn shown(payload: &[u8]) -> Option<String> {
    (!payload.is_empty()).then(|| STANDARD.encode(payload))
}
