//! `GET /v1/agent/events`: what happens to members, and the user events and queries for this agent, as server-sent events. (An extension.)
//!
//! ```text
//!  event: member-join, member-failed, member-leave, member-update, member-reap      the member, as `/v1/agent/members` shows it
//!  event: user                                                                      as `/v1/event/list` shows it
//!  event: query                                                                     with its ID, for `/v1/agent/answer/:id`
//!  event: missed      more happened than is remembered: ask for the members; the stream goes on
//! ```
//!
//! The `id` of each is the number from which to resume; it grows over restarts of the agent, too. One question at a time, the next when the
//! socket took what the last one brought: a slow reader holds nobody up.

use super::MemberRow;
use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::event::{EventRow, QueryRow};
use crate::route::{Routes, methods};
use crate::sse::{self, SIGN_OF_LIFE};
use axum::Router;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use quorate_protocol::go::quote;
use quorate_protocol::{AgentEvent, LocalRequest, Reply};
use std::convert::Infallible;
use std::time::Duration;

const MEMBER_EVENTS: [&str; 5] = ["member-join", "member-failed", "member-leave", "member-update", "member-reap"];

pub(super) fn routes() -> Router<Door> {
    Router::new().exactly("/v1/agent/events", methods().get(follow))
}

/// Answers once it is known from where to follow.
async fn follow(call: Call) -> Result<Response, Error> {
    let wanted = Wanted::parse(call.query.get("type").unwrap_or_default())?;
    let after = match call.header("last-event-id") {
        Some(id) => Some(id.parse().map_err(|_| Error::BadRequest("Invalid Last-Event-ID".to_owned()))?),
        None => call.query.index()?.map(|index| index.0),
    };
    let first = ask(&call, after, Duration::ZERO).await?;
    let reader = Reader { call, wanted, next: Next::Tell(first) };
    // Whoever asks learns at once that it is heard.
    let hello = stream::once(future::ready(Ok(sse::sign_of_life())));
    Ok(sse::response(hello.chain(stream::unfold(reader, Reader::part))))
}

async fn ask(call: &Call, after: Option<u64>, timeout: Duration) -> Result<Happened, Error> {
    match call.local(LocalRequest::Happened { after, timeout }).await? {
        Reply::Happened { events, last, missed } => Ok(Happened { events, last, missed }),
        _ => Err(Error::WrongReply),
    }
}

struct Happened {
    events: Vec<(u64, AgentEvent)>,
    last: u64,
    missed: bool,
}

/// Who follows, and what comes next.
struct Reader {
    call: Call,
    wanted: Wanted,
    next: Next,
}

enum Next {
    /// This is told.
    Tell(Happened),
    /// What happens after the number is asked for.
    Ask(u64),
    /// Nothing.
    End,
}

impl Reader {
    /// What happened since the last part, as soon as something did. A sign of life if it is nothing that is wanted.
    async fn part(self) -> Option<(Result<Bytes, Infallible>, Reader)> {
        let happened = match self.next {
            Next::Tell(happened) => Ok(happened),
            Next::Ask(after) => ask(&self.call, Some(after), SIGN_OF_LIFE).await,
            Next::End => return None,
        };
        let (text, next) = match happened {
            Ok(happened) => (self.wanted.told(&happened), Next::Ask(happened.last)),
            Err(why) => (sse::farewell(&why), Next::End),
        };
        let text = if text.is_empty() { sse::sign_of_life() } else { text };
        Some((Ok(text), Reader { next, ..self }))
    }
}

/// Which events are wanted: Serf's list of types, `member-join,user:deploy`, or `*`.
struct Wanted(Vec<Kind>);

enum Kind {
    All,
    Member(String),
    /// Of this name; empty: of any.
    User(String),
    Query(String),
}

impl Wanted {
    fn parse(list: &str) -> Result<Wanted, Error> {
        let kind = |word: &str| match word.split_once(':').unwrap_or((word, "")) {
            ("*", "") => Ok(Kind::All),
            ("user", name) => Ok(Kind::User(name.to_owned())),
            ("query", name) => Ok(Kind::Query(name.to_owned())),
            (member, "") if MEMBER_EVENTS.contains(&member) => Ok(Kind::Member(member.to_owned())),
            _ => Err(Error::BadRequest(format!(
                "there are no events of type {}: a list of *, user, user:NAME, query, query:NAME, {} is expected",
                quote(word),
                MEMBER_EVENTS.join(", ")
            ))),
        };
        let words = if list.is_empty() { "*" } else { list };
        words.split(',').map(kind).collect::<Result<_, _>>().map(Wanted)
    }

    fn has(&self, event: &AgentEvent) -> bool {
        self.0.iter().any(|kind| match (kind, event) {
            (Kind::All, _) => true,
            (Kind::Member(wanted), AgentEvent::Member { kind, .. }) => wanted == kind,
            (Kind::User(name), AgentEvent::User(event)) => name.is_empty() || *name == event.name,
            (Kind::Query(name), AgentEvent::Query(query)) => name.is_empty() || *name == query.question.name,
            _ => false,
        })
    }

    fn told(&self, happened: &Happened) -> Bytes {
        let mut text = Vec::new();
        if happened.missed {
            text.extend_from_slice(&sse::event("missed", None, &serde_json::Map::new()));
        }
        for (number, event) in happened.events.iter().filter(|(_, event)| self.has(event)) {
            text.extend_from_slice(&match event {
                AgentEvent::Member { kind, member } => sse::event(kind, Some(*number), &MemberRow::of(member)),
                AgentEvent::User(event) => sse::event("user", Some(*number), &EventRow::of(event)),
                AgentEvent::Query(query) => sse::event("query", Some(*number), &QueryRow::of(query)),
            });
        }
        text.into()
    }
}
