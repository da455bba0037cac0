//! Server-sent events (HTML living standard, 9.2): an answer that does not end.

use crate::error::Error;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderValue, header};
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;

/// A sign of life comes at least every 30 s, a sixteenth of jitter included, because proxies and clients cut silent connections at 60 s and less.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(28);

/// An answer of events.
pub(crate) fn response(events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events));
    for (name, value) in [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An event as it is sent. The data is JSON, so on one line, whatever a key or a value holds.
pub(crate) fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\n{id}data: {data}\n\n"))
}

/// A comment, which programs skip: nothing happened, but the connection lives.
pub(crate) fn sign_of_life() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// A comment, which programs skip and people read: why the stream ends.
pub(crate) fn farewell(why: &Error) -> Bytes {
    let sentence: String = why.sentence().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Bytes::from(format!(": {sentence}\n\n"))
}
