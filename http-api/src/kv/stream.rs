//! `GET ?stream`: what happens to a key, or to all below a prefix, as server-sent events. (An extension.)
//!
//! ```text
//!  event: progress      everything up to this index was told; the first says where the stream begins
//!  event: put, delete   each change once and in order
//!  event: compacted     the memory does not reach back to the index that was asked about: list again; the stream ends
//! ```
//!
//! One blocking question at a time, the next when the socket took what the last one brought: a slow reader costs one answer and holds
//! nobody up. The `id` of an event is the index from which to resume, so the last change of a write carries it and those before it carry
//! none: whoever breaks off amid a write gets it again whole. A refusal of the cluster ends the stream; who comes back with
//! `Last-Event-ID`, as browsers do by themselves, misses nothing.

use crate::call::{Call, Found};
use crate::error::Error;
use crate::json::kv::EntryRow;
use crate::sse::{self, SIGN_OF_LIFE};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use quorate_protocol::{Answer, Change, Changes, KvRead, LogIndex, Page, Read, Selection, Wait};
use serde::Serialize;
use std::convert::Infallible;
use std::iter::Peekable;
use std::time::Duration;
use std::vec;

/// More often would be asking, not waiting.
const PROGRESS_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// Changes in one answer: enough to catch up quickly, few enough to hold in memory for each reader.
const CHANGES_AT_ONCE: u32 = 256;

/// Answers once it is known that the cluster can tell.
pub(super) async fn changes(call: Call, key: String) -> Result<Response, Error> {
    call.query.at_most_one_of(&["stream", "raw"])?;
    let of = if call.query.has("recurse") { Selection::Prefix(key) } else { Selection::Key(super::not_empty(key)?) };
    let every = call.query.patience()?.unwrap_or(SIGN_OF_LIFE).clamp(PROGRESS_AT_MOST_EVERY, SIGN_OF_LIFE);
    let resumed = match call.header("last-event-id") {
        Some(id) => Some(id.parse().map(LogIndex).map_err(|_| Error::BadRequest("Invalid Last-Event-ID".to_owned()))?),
        None => call.query.index()?,
    };
    let mut begin = match resumed {
        Some(index) => index,
        None => call.read_until(Read::Kv(anything(&of)), None).await?.freshness.index,
    };
    let mut first = ask(&call, &of, begin, None).await?;
    if let (None, Answer::Changes(Changes::Compacted { since })) = (resumed, &first.answer) {
        // Nothing was missed: what this stream is about has not changed for longer than anybody remembers.
        begin = *since;
        first = ask(&call, &of, begin, None).await?;
    }
    let (freshness, next) = (first.freshness, Next::of(first, begin)?);
    let next = if matches!(next, Next::Quiet(_)) { Next::Ask(begin) } else { next };
    let reader = Reader { call, of, every, next };
    let stream = stream::once(future::ready(Ok(progress(begin)))).chain(stream::unfold(reader, Reader::event));
    let mut response = sse::response(stream);
    freshness.write_to(response.headers_mut());
    Ok(response)
}

async fn ask(call: &Call, of: &Selection, after: LogIndex, wait: Option<Wait>) -> Result<Found, Error> {
    call.read_until(Read::Kv(KvRead::Changes { of: of.clone(), after, limit: CHANGES_AT_ONCE }), wait).await
}

/// A small question about the same keys: the index of its answer is where a stream begins that is to tell only what is still to come.
fn anything(of: &Selection) -> KvRead {
    match of.clone() {
        Selection::Key(key) => KvRead::Get { key },
        Selection::Prefix(prefix) => {
            KvRead::Keys { prefix, separator: String::new(), page: Page { after: None, limit: Some(1) } }
        }
    }
}

/// Who reads, and what comes next.
struct Reader {
    call: Call,
    of: Selection,
    every: Duration,
    next: Next,
}

/// What comes next.
enum Next {
    /// What happens after the index is asked for.
    Ask(LogIndex),
    /// Nothing happened up to the index.
    Quiet(LogIndex),
    /// These are told, and then it is asked for what happens after the index. One at a time: values are large, and the socket may be slow.
    Tell(Peekable<vec::IntoIter<Change>>, LogIndex),
    /// The memory begins there.
    Compacted(LogIndex),
    /// The cluster refuses.
    Refused(Error),
    /// Nothing.
    End,
}

impl Next {
    fn of(found: Found, after: LogIndex) -> Result<Next, Error> {
        match found.answer {
            Answer::Changes(Changes::Compacted { since }) => Ok(Next::Compacted(since)),
            Answer::Changes(Changes::Known { changes, up_to }) if changes.is_empty() => {
                Ok(Next::Quiet(up_to.max(after)))
            }
            Answer::Changes(Changes::Known { changes, up_to }) => {
                Ok(Next::Tell(changes.into_iter().peekable(), up_to.max(after)))
            }
            _ => Err(Error::WrongReply),
        }
    }
}

impl Reader {
    /// The next event, as soon as there is one.
    async fn event(mut self) -> Option<(Result<Bytes, Infallible>, Reader)> {
        if let Next::Ask(after) = self.next {
            let wait = Wait { index: after, timeout: self.every };
            let found = ask(&self.call, &self.of, after, Some(wait)).await;
            self.next = found.and_then(|found| Next::of(found, after)).unwrap_or_else(Next::Refused);
        }
        let (text, next) = match self.next {
            Next::Quiet(up_to) => (progress(up_to), Next::Ask(up_to)),
            Next::Tell(mut changes, up_to) => {
                let change = changes.next()?;
                let next_index = changes.peek().map(Change::index);
                let text = told(&change, next_index != Some(change.index()));
                (text, if next_index.is_some() { Next::Tell(changes, up_to) } else { Next::Ask(up_to) })
            }
            Next::Compacted(since) => (compacted(since), Next::End),
            Next::Refused(why) => (sse::farewell(&why), Next::End),
            Next::Ask(_) | Next::End => return None,
        };
        Some((Ok(text), Reader { next, ..self }))
    }
}

fn told(change: &Change, ends_its_write: bool) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Deleted<'a> {
        key: &'a str,
        modify_index: u64,
    }
    let id = ends_its_write.then_some(change.index());
    match change {
        Change::Put(row) => sse::event("put", id.map(|id| id.0), &EntryRow::of(row)),
        Change::Delete { key, index } => {
            sse::event("delete", id.map(|id| id.0), &Deleted { key, modify_index: index.0 })
        }
    }
}

fn progress(index: LogIndex) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Progress {
        index: u64,
    }
    sse::event("progress", Some(index.0), &Progress { index: index.0 })
}

/// Without an id: who resumes is told again, and cannot pass over the gap without looking.
fn compacted(since: LogIndex) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Compacted {
        since: u64,
    }
    sse::event("compacted", None, &Compacted { since: since.0 })
}
