//! `PUT` and `DELETE`: set, compare and set, acquire, release, delete.

use super::{PREFIX, not_empty};
use crate::call::{Call, Written};
use crate::error::Error;
use crate::headers;
use crate::json::session::{claimed_session, named_session};
use axum::body::Body;
use axum::response::Response;
use quorate_protocol::{Ask, KvWrite, LockRequest, LogIndex, Outcome, Pair, Write};

pub(super) async fn put(call: Call, body: Body) -> Result<Response, Error> {
    let key = not_empty(call.tail(PREFIX)?)?;
    call.query.at_most_one_of(&["cas", "acquire", "release"])?;
    let flags = call.query.number("flags")?.unwrap_or(0);
    let cas = call.query.number("cas")?.map(LogIndex);
    let acquire = call.query.get("acquire").map(|text| named_session(given(text)?)).transpose()?;
    let release = call.query.get("release").map(|text| given(text).map(claimed_session)).transpose()?;
    let wait = if acquire.is_some() { call.query.patience()? } else { None };
    let ttl = call.query.ttl()?;
    let pair = Pair { key, value: call.value(body).await?, flags, ttl };
    let ask = match (acquire, release, wait) {
        // Dropping the question, as hyper does when the client goes, leaves the queue. (An extension.)
        (Some(session), _, Some(wait)) => {
            Ask::Lock(LockRequest { pair, session, wait: wait.min(call.config().max_query_time) })
        }
        (Some(session), _, None) => Ask::Write(Write::Kv(KvWrite::Acquire { pair, session })),
        (None, Some(session), _) => Ask::Write(Write::Kv(KvWrite::Release { pair, session })),
        (None, None, _) => Ask::Write(Write::Kv(KvWrite::Put { pair, cas })),
    };
    answer(&call, &call.written(call.dc(), ask).await?)
}

pub(super) async fn delete(call: Call) -> Result<Response, Error> {
    let key = call.tail(PREFIX)?;
    call.query.at_most_one_of(&["recurse", "cas"])?;
    let change = if call.query.has("recurse") {
        KvWrite::DeletePrefix { prefix: key }
    } else {
        KvWrite::Delete { key: not_empty(key)?, cas: call.query.number("cas")?.map(LogIndex) }
    };
    answer(&call, &call.write(call.dc(), Write::Kv(change)).await?)
}

fn given(session: &str) -> Result<&str, Error> {
    if session.is_empty() { Err(Error::Refused("missing session".to_owned())) } else { Ok(session) }
}

/// `true`, or `false` where a compare-and-set found another index, or somebody else holds the key.
fn answer(call: &Call, written: &Written) -> Result<Response, Error> {
    let (done, token) = match &written.outcome {
        Outcome::Done => (true, None),
        Outcome::Acquired { token } | Outcome::Holds { token } => (true, Some(*token)),
        Outcome::Unmatched { .. } | Outcome::Held { .. } => (false, None),
        Outcome::Refused(_) | Outcome::Session(_) | Outcome::Txn(_) => return Err(Error::WrongReply),
    };
    let mut response = call.answer_write(written.index, &done)?;
    if let Some(token) = token {
        headers::write_fencing_token(token, response.headers_mut());
    }
    Ok(response)
}
