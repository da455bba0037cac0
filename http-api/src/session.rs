//! `/v1/session/`: who may hold keys, and how that ends.

use crate::call::{Call, Door};
use crate::config::Config;
use crate::error::Error;
use crate::json::fields::Fields;
use crate::json::session::{SessionRow, named_session};
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use quorate_protocol::session::MAX_TTL;
use quorate_protocol::{Answer, Behavior, Outcome, Read, Session, SessionId, SessionRead, SessionWrite, Write, go};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

const DESTROY: &str = "/v1/session/destroy/";
const RENEW: &str = "/v1/session/renew/";
const INFO: &str = "/v1/session/info/";
const NODE: &str = "/v1/session/node/";

/// How long keys of an invalidated session cannot be acquired, where the client does not say.
const DEFAULT_LOCK_DELAY: Duration = Duration::from_secs(15);
/// The check that ends a session with its node, where the client names no checks of the node.
const SERF_HEALTH: &str = "serfHealth";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/session/create", methods().put(create))
        .below(DESTROY, methods().put(destroy))
        .below(RENEW, methods().put(renew))
        .below(INFO, methods().get(info))
        .below(NODE, methods().get(node))
        .exactly("/v1/session/list", methods().get(list))
}

async fn create(call: Call, body: Body) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "UPPERCASE")]
    struct Created {
        id: String,
    }
    let session = take_session(Fields::parse_optional(&call.json(body).await?)?, call.config())?;
    let written = call.write(call.dc(), Write::Session(SessionWrite::Create(Box::new(session)))).await?;
    match written.outcome {
        Outcome::Session(Some(session)) => call.answer_write(written.index, &Created { id: session.id.to_string() }),
        _ => Err(Error::WrongReply),
    }
}

async fn destroy(call: Call) -> Result<Response, Error> {
    let id = id(&call, DESTROY)?;
    let written = call.write(call.dc(), Write::Session(SessionWrite::Destroy { id })).await?;
    call.answer_write(written.index, &true)
}

async fn renew(call: Call) -> Result<Response, Error> {
    let id = id(&call, RENEW)?;
    let written = call.write(call.dc(), Write::Session(SessionWrite::Renew { id })).await?;
    match &written.outcome {
        Outcome::Session(Some(session)) => call.answer_write(written.index, &[SessionRow::of(session)]),
        Outcome::Session(None) => Err(Error::NotFound(format!("Session id '{id}' not found"))),
        _ => Err(Error::WrongReply),
    }
}

async fn info(call: Call) -> Result<Response, Error> {
    let id = id(&call, INFO)?;
    answer(&call, SessionRead::Info { id }).await
}

async fn node(call: Call) -> Result<Response, Error> {
    let node = call.name(NODE, "Missing node name")?;
    answer(&call, SessionRead::Node { node }).await
}

async fn list(call: Call) -> Result<Response, Error> {
    answer(&call, SessionRead::List).await
}

async fn answer(call: &Call, read: SessionRead) -> Result<Response, Error> {
    let found = call.read(Read::Session(read)).await?;
    let Answer::Sessions(sessions) = &found.answer else { return Err(Error::WrongReply) };
    let rows: Vec<_> = sessions.iter().map(|session| SessionRow::of(session)).collect();
    call.answer_read(found.freshness, &rows)
}

fn id(call: &Call, prefix: &str) -> Result<SessionId, Error> {
    named_session(&call.name(prefix, "Missing session")?)
}

/// What a client wants; as in Consul, and unlike everywhere else, keys that nobody knows are left aside.
fn take_session(mut fields: Fields, config: &Config) -> Result<Session, Error> {
    let behavior = match fields.take_text("Behavior")?.as_str() {
        "" | "release" => Behavior::Release,
        "delete" => Behavior::Delete,
        other => return Err(Error::Refused(format!("Invalid Behavior setting '{}'", cut(other)))),
    };
    let node_checks = take_node_checks(&mut fields)?;
    let service_checks = fields
        .take_objects("ServiceChecks")?
        .into_iter()
        .map(|mut check| check.take_text("ID"))
        .collect::<Result<_, _>>()?;
    Ok(Session {
        id: SessionId::default(),
        name: fields.take_text("Name")?,
        node: fields.take_text("Node")?,
        node_checks,
        service_checks,
        lock_delay: fields.take_lock_delay("LockDelay")?.unwrap_or(DEFAULT_LOCK_DELAY),
        behavior,
        ttl: ttl(&fields.take_text("TTL")?, config)?,
        exact_ttl: fields.take_truth("ExactTTL")?,
    })
}

/// `NodeChecks` and its older name `Checks`, which adds to it, each once; the node's own health where `NodeChecks` is not given. As in Consul,
/// either of them empty, or `null`, means no checks of the node at all: Patroni and Ansible rely on it.
fn take_node_checks(fields: &mut Fields) -> Result<Vec<String>, Error> {
    let (new, old) = (fields.take_texts_if_given("NodeChecks")?, fields.take_texts_if_given("Checks")?);
    if [&new, &old].into_iter().flatten().any(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let new = new.unwrap_or_else(|| vec![SERF_HEALTH.to_owned()]);
    let mut seen = BTreeSet::new();
    Ok(new.into_iter().chain(old.unwrap_or_default()).filter(|check| seen.insert(check.clone())).collect())
}

fn ttl(text: &str, config: &Config) -> Result<Option<Duration>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let nanos = go::parse_duration(text)
        .map_err(|why| Error::Refused(format!("Session TTL '{}' invalid: {why}", cut(text))))?;
    let least = config.session_ttl_min;
    match u64::try_from(nanos).map(Duration::from_nanos) {
        Ok(Duration::ZERO) => Ok(None),
        Ok(ttl) if (least..=MAX_TTL).contains(&ttl) => Ok(Some(ttl)),
        _ => {
            let (least, most) = (go::format_duration(least), go::format_duration(MAX_TTL));
            Err(Error::Refused(format!("Invalid Session TTL '{nanos}', must be between [{least}={most}]")))
        }
    }
}

/// Text of a client, short enough for a sentence.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
