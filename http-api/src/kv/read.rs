//! `GET`: one key, those below a prefix, their names, their number, and whether a fencing token still counts.

use super::{PREFIX, not_empty, stream};
use crate::call::{Call, Found};
use crate::error::Error;
use crate::headers;
use crate::json::kv::{EntryRow, held};
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use quorate_protocol::{Answer, Entry, KvRead, LogIndex, Page, Read, Row};
use std::sync::Arc;

pub(super) async fn get(call: Call) -> Result<Response, Error> {
    let key = call.tail(PREFIX)?;
    call.query.at_most_one_of(&["stream", "count", "check-token", "keys"])?;
    if call.query.has("stream") {
        return stream::changes(call, key).await;
    }
    if call.query.has("count") {
        return count(&call, key).await;
    }
    if call.query.has("check-token") {
        return check_token(&call, key).await;
    }
    if call.query.has("keys") {
        return keys(&call, key).await;
    }
    if call.query.has("recurse") {
        return list(&call, key).await;
    }
    let found = call.read(Read::Kv(KvRead::Get { key: not_empty(key)? })).await?;
    let entries = found.entries()?;
    let mut response = show(&call, &found, entries)?;
    if let Some(token) = entries.first().and_then(|entry| held(entry)) {
        headers::write_fencing_token(token, response.headers_mut());
    }
    Ok(response)
}

async fn list(call: &Call, prefix: String) -> Result<Response, Error> {
    let (page, limit) = one_more(call.query.page()?);
    let found = call.read(Read::Kv(KvRead::List { prefix, page })).await?;
    let (entries, next) = part(found.entries()?, limit);
    let mut response = show(call, &found, entries)?;
    if let Some(last) = next {
        headers::write_next(&last.key, response.headers_mut());
    }
    Ok(response)
}

fn show(call: &Call, found: &Found, entries: &[Arc<Row<Entry>>]) -> Result<Response, Error> {
    match entries {
        [] => Ok(nothing(found)),
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
    let at_root = prefix.is_empty();
    let (page, limit) = one_more(call.query.page()?);
    let found = call.read(Read::Kv(KvRead::Keys { prefix, separator: separator(call), page })).await?;
    let (keys, next) = part(found.keys()?, limit);
    if keys.is_empty() && !at_root {
        return Ok(nothing(&found));
    }
    let mut response = call.answer_read(found.freshness, &keys)?;
    if let Some(last) = next {
        headers::write_next(last, response.headers_mut());
    }
    Ok(response)
}

/// How many names `?keys` would give. (An extension.)
async fn count(call: &Call, prefix: String) -> Result<Response, Error> {
    call.query.at_most_one_of(&["count", "limit"])?;
    call.query.at_most_one_of(&["count", "start-after"])?;
    let page = Page::default();
    let found = call.read(Read::Kv(KvRead::Keys { prefix, separator: separator(call), page })).await?;
    call.answer_read(found.freshness, &found.keys()?.len())
}

/// Whether the key is held, and its hold has this fencing token: 200 `true`, or 409 `false`, so that whoever guards a resource needs to look at
/// the status only. (An extension.)
async fn check_token(call: &Call, key: String) -> Result<Response, Error> {
    call.query.at_most_one_of(&["check-token", "recurse"])?;
    let asked = call.query.number("check-token")?.map(LogIndex);
    let found = call.read(Read::Kv(KvRead::Get { key: not_empty(key)? })).await?;
    let token = found.entries()?.first().and_then(|entry| held(entry));
    let counts = token.is_some() && token == asked;
    let mut response = call.answer_read(found.freshness, &counts)?;
    if !counts {
        *response.status_mut() = StatusCode::CONFLICT;
    }
    if let Some(token) = token {
        headers::write_fencing_token(token, response.headers_mut());
    }
    Ok(response)
}

/// The misspelling is older than its correction, and both are in use.
fn separator(call: &Call) -> String {
    call.query.get("separator").or_else(|| call.query.get("seperator")).unwrap_or_default().to_owned()
}

/// A page with one more than was asked for, which tells whether it is the last; and how many were asked for.
fn one_more(page: Page) -> (Page, Option<usize>) {
    let limit = page.limit.and_then(|limit| usize::try_from(limit).ok());
    (Page { limit: page.limit.map(|limit| limit.saturating_add(1)), ..page }, limit)
}

/// What was asked for, and where to go on if that is not all.
fn part<T>(found: &[T], limit: Option<usize>) -> (&[T], Option<&T>) {
    match limit.and_then(|limit| found.split_at_checked(limit)) {
        Some((wanted, rest)) if !rest.is_empty() => (wanted, wanted.last()),
        _ => (found, None),
    }
}

impl Found {
    fn entries(&self) -> Result<&[Arc<Row<Entry>>], Error> {
        match &self.answer {
            Answer::Entries(entries) => Ok(entries),
            _ => Err(Error::WrongReply),
        }
    }

    fn keys(&self) -> Result<&[String], Error> {
        match &self.answer {
            Answer::Keys(keys) => Ok(keys),
            _ => Err(Error::WrongReply),
        }
    }
}

/// 404 without a body, but with the index from which to wait for the key.
fn nothing(found: &Found) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    found.freshness.write_to(response.headers_mut());
    response
}
