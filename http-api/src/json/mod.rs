//! JSON as Consul's clients write and read it. Nothing of it goes further in than this crate.
//!
//! [`fields`] takes bodies apart; [`node`], [`service`], [`check`], [`kv`] and [`session`] have the shapes of rows.

pub(crate) mod check;
pub(crate) mod event;
pub(crate) mod fields;
pub(crate) mod kv;
pub(crate) mod node;
pub(crate) mod service;
pub(crate) mod session;
pub(crate) mod time;

use crate::error::Error;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Something that is always empty, where Consul has parts that Quorate does not: `{}`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Empty {}

/// A body in JSON: compact, or indented by four spaces with a newline at the end.
///
/// # Errors
/// [`Error::WrongReply`] for what JSON cannot say, which is nothing of ours.
pub(crate) fn response(body: &impl Serialize, pretty: bool) -> Result<Response, Error> {
    let mut text = Vec::with_capacity(256);
    if pretty {
        let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
        body.serialize(&mut serializer).map_err(|_| Error::WrongReply)?;
        text.push(b'\n');
    } else {
        serde_json::to_writer(&mut text, body).map_err(|_| Error::WrongReply)?;
    }
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
