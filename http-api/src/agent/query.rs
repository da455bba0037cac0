//! Queries: a question to all agents, whose answers are told as they come, as server-sent events. No server is needed. (Serf's queries, which
//! Consul uses inside and does not offer: an extension.)
//!
//! ```text
//!  event: asked      {"ID":"…","Timeout":"1.6s"}
//!  event: ack        {"Node":"web-1"}                       it arrived there
//!  event: answer     {"Node":"web-1","Payload":"MC41"}      base64
//!  event: done       {"Acks":3,"Answers":1}                 the time is up, nothing follows
//! ```

use crate::call::{Call, Door};
use crate::error::Error;
use crate::route::{Routes, methods};
use crate::sse::{self, SIGN_OF_LIFE};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use quorate_protocol::go::{self, quote};
use quorate_protocol::query::Response as Said;
use quorate_protocol::{EventId, LocalRequest, Question, Reply};
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

const QUERY: &str = "/v1/agent/query/";
const ANSWER: &str = "/v1/agent/answer/";

pub(super) fn routes() -> Router<Door> {
    Router::new().below(QUERY, methods().put(ask)).below(ANSWER, methods().put(answer))
}

/// Asks, and answers with what comes back.
async fn ask(call: Call, body: Body) -> Result<Response, Error> {
    let question = question(&call, body).await?;
    match call.local(LocalRequest::Query { question }).await? {
        Reply::Asked { query, timeout } => {
            let timeout = go::format_duration(timeout);
            let asked = sse::event("asked", None, &json!({"ID": query.to_string(), "Timeout": timeout}));
            let reader = Reader { call, query, acks: 0, answers: 0, over: false };
            Ok(sse::response(stream::once(future::ready(Ok(asked))).chain(stream::unfold(reader, Reader::part))))
        }
        _ => Err(Error::WrongReply),
    }
}

/// For a program beside an agent that was told of a query: the body is the answer.
async fn answer(call: Call, body: Body) -> Result<Response, Error> {
    let id = call.name(ANSWER, "Missing query ID")?;
    let query = id.parse().map_err(|_| Error::BadRequest(format!("{} is no ID of a query", quote(&id))))?;
    let answer = call.value(body).await?;
    call.order(LocalRequest::AnswerQuery { query, answer }).await?;
    Ok(super::done())
}

async fn question(call: &Call, body: Body) -> Result<Question, Error> {
    let name = call.name(QUERY, "Missing name")?;
    let mut tags = BTreeMap::new();
    for pair in call.query.all("tag") {
        let Some((key, expression)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Error::BadRequest(format!("?tag={} is no filter: write it as KEY=REGEX", quote(pair))));
        };
        tags.insert(key.to_owned(), expression.to_owned());
    }
    let timeout = match call.query.get("timeout").filter(|text| !text.is_empty()) {
        None => Duration::ZERO,
        Some(text) => go::parse_duration(text)
            .ok()
            .and_then(|nanos| u64::try_from(nanos).ok())
            .map(Duration::from_nanos)
            .ok_or_else(|| Error::BadRequest(format!("Invalid timeout {}", quote(text))))?,
    };
    let relays = call.query.number("relay-factor")?.unwrap_or(0);
    Ok(Question {
        name,
        payload: call.value(body).await?,
        nodes: call.query.all("node").map(str::to_owned).collect(),
        tags,
        ack: call.query.truth("ack")?,
        relays: u8::try_from(relays).unwrap_or(u8::MAX),
        timeout,
    })
}

/// Whoever asked, and what was told so far.
struct Reader {
    call: Call,
    query: EventId,
    acks: usize,
    answers: usize,
    over: bool,
}

impl Reader {
    /// What was said since the last part, as soon as something was.
    async fn part(mut self) -> Option<(Result<Bytes, Infallible>, Reader)> {
        if self.over {
            return None;
        }
        let after = self.acks + self.answers;
        let request = LocalRequest::Responses { query: self.query, after, timeout: SIGN_OF_LIFE };
        let text = match self.call.local(request).await {
            Ok(Reply::Responses { responses, over }) => {
                self.over = over;
                self.told(responses)
            }
            other => {
                self.over = true;
                sse::farewell(&other.err().unwrap_or(Error::WrongReply))
            }
        };
        Some((Ok(text), self))
    }

    fn told(&mut self, responses: Vec<Said>) -> Bytes {
        let mut text = Vec::new();
        for Said { node, answer } in responses {
            text.extend_from_slice(&match answer {
                None => {
                    self.acks += 1;
                    sse::event("ack", None, &json!({"Node": node}))
                }
                Some(answer) => {
                    self.answers += 1;
                    sse::event("answer", None, &json!({"Node": node, "Payload": STANDARD.encode(answer)}))
                }
            });
        }
        if self.over {
            text.extend_from_slice(&sse::event("done", None, &json!({"Acks": self.acks, "Answers": self.answers})));
        } else if text.is_empty() {
            return sse::sign_of_life();
        }
        text.into()
    }
}
