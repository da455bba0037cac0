//! `/v1/kv/`: keys and values.

use crate::call::{Call, Door, Found};
use crate::error::Error;
use crate::headers;
use crate::route::{Methods, Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use quorate_protocol::{Answer, Entry, KvRead, KvWrite, LogIndex, Outcome, Page, Pair, Read, Row, Write};
use serde::Serialize;

const PREFIX: &str = "/v1/kv/";

pub(crate) fn routes() -> Router<Door> {
    Router::new().below(PREFIX, on_key())
}

fn on_key() -> Methods {
    methods().get(get).put(put).delete(delete)
}

async fn get(call: Call) -> Result<Response, Error> {
    let key = call.tail(PREFIX)?;
    if call.query.has("keys") {
        return keys(&call, key).await;
    }
    let read = if call.query.has("recurse") {
        KvRead::List { prefix: key, page: Page::default() }
    } else {
        KvRead::Get { key: not_empty(key)? }
    };
    let found = call.read(Read::Kv(read)).await?;
    let Answer::Entries(entries) = &found.answer else { return Err(Error::WrongReply) };
    match entries.as_slice() {
        [] => Ok(nothing(&found)),
        [entry] if call.query.has("raw") => {
            let mut response = Response::new(Body::from(entry.value.value.clone()));
            found.freshness.write_to(response.headers_mut());
            headers::write_raw(response.headers_mut());
            Ok(response)
        }
        entries => {
            let rows: Vec<_> = entries.iter().map(|entry| EntryRow::of(entry)).collect();
            call.answer_read(found.freshness, &rows)
        }
    }
}

async fn keys(call: &Call, prefix: String) -> Result<Response, Error> {
    // The misspelling is older than its correction, and both are in use.
    let separator = call.query.get("separator").or_else(|| call.query.get("seperator")).unwrap_or_default().to_owned();
    let at_root = prefix.is_empty();
    let found = call.read(Read::Kv(KvRead::Keys { prefix, separator, page: Page::default() })).await?;
    match &found.answer {
        Answer::Keys(keys) if keys.is_empty() && !at_root => Ok(nothing(&found)),
        Answer::Keys(keys) => call.answer_read(found.freshness, keys),
        _ => Err(Error::WrongReply),
    }
}

async fn put(call: Call, body: Body) -> Result<Response, Error> {
    let key = not_empty(call.tail(PREFIX)?)?;
    call.query.at_most_one_of(&["cas", "acquire", "release"])?;
    if call.query.has("acquire") || call.query.has("release") {
        return Err(Error::BadRequest(
            "sessions and locks are not supported yet: ?acquire and ?release come with them; use ?cas".to_owned(),
        ));
    }
    let flags = call.query.number("flags")?.unwrap_or(0);
    let cas = call.query.number("cas")?.map(LogIndex);
    let value = call.value(body).await?;
    write(&call, KvWrite::Put { pair: Pair { key, value, flags, ttl: None }, cas }).await
}

async fn delete(call: Call) -> Result<Response, Error> {
    let key = call.tail(PREFIX)?;
    call.query.at_most_one_of(&["recurse", "cas"])?;
    let change = if call.query.has("recurse") {
        KvWrite::DeletePrefix { prefix: key }
    } else {
        KvWrite::Delete { key: not_empty(key)?, cas: call.query.number("cas")?.map(LogIndex) }
    };
    write(&call, change).await
}

/// `true`, or `false` where a compare-and-set found another index.
async fn write(call: &Call, change: KvWrite) -> Result<Response, Error> {
    let dc = call.query.datacenter(&call.config().datacenter);
    let outcome = call.write(dc, Write::Kv(change)).await?;
    call.answer(&(outcome == Outcome::Done))
}

fn not_empty(key: String) -> Result<String, Error> {
    if key.is_empty() { Err(Error::BadRequest("Missing key name".to_owned())) } else { Ok(key) }
}

/// 404 without a body, but with the index from which to wait for the key.
fn nothing(found: &Found) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    found.freshness.write_to(response.headers_mut());
    response
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EntryRow<'a> {
    /// Grows with every lock taken on the key; there are none yet.
    lock_index: u64,
    key: &'a str,
    flags: u64,
    /// Base64; null where it is empty.
    value: Option<String>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> EntryRow<'a> {
    fn of(entry: &'a Row<Entry>) -> EntryRow<'a> {
        let value = &entry.value.value;
        EntryRow {
            lock_index: 0,
            key: &entry.value.key,
            flags: entry.value.flags,
            value: (!value.is_empty()).then(|| STANDARD.encode(value)),
            create_index: entry.create_index.0,
            modify_index: entry.modify_index.0,
        }
    }
}
