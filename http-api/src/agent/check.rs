//! `/v1/agent/check/` and `/v1/agent/checks`: the checks of this agent.

use super::done;
use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::check::{CheckBody, CheckRow};
use crate::json::fields::Fields;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use quorate_protocol::{Check, LocalRequest, Refusal, Reply, Status, go};
use std::collections::BTreeMap;

const DEREGISTER: &str = "/v1/agent/check/deregister/";
const PASS: &str = "/v1/agent/check/pass/";
const WARN: &str = "/v1/agent/check/warn/";
const FAIL: &str = "/v1/agent/check/fail/";
const UPDATE: &str = "/v1/agent/check/update/";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/agent/checks", methods().get(list))
        .exactly("/v1/agent/check/register", methods().put(register))
        .below(DEREGISTER, methods().put(deregister))
        .below(PASS, methods().put(|call: Call| report(call, PASS, Status::Passing)))
        .below(WARN, methods().put(|call: Call| report(call, WARN, Status::Warning)))
        .below(FAIL, methods().put(|call: Call| report(call, FAIL, Status::Critical)))
        .below(UPDATE, methods().put(update))
}

async fn list(call: Call) -> Result<Response, Error> {
    call.query.no_filter()?;
    let checks = checks(&call).await?;
    let node = &call.config().node_name;
    let rows: BTreeMap<_, _> = checks.iter().map(|(id, check)| (id, CheckRow::local(check, node))).collect();
    call.answer(&rows)
}

/// This agent's checks by id.
pub(super) async fn checks(call: &Call) -> Result<BTreeMap<String, Check>, Error> {
    match call.local(LocalRequest::Checks).await? {
        Reply::LocalChecks(checks) => Ok(checks),
        _ => Err(Error::WrongReply),
    }
}

async fn register(call: Call, body: Body) -> Result<Response, Error> {
    let body = CheckBody::take(Fields::parse(&call.json(body).await?)?)?;
    if body.name.is_empty() {
        return Err(Error::BadRequest("Missing check name".to_owned()));
    }
    let mut check = body.judge("Bad check status")?;
    if check.token.is_none() {
        check.token = call.token();
    }
    call.order(LocalRequest::RegisterCheck { check }).await?;
    Ok(done())
}

async fn deregister(call: Call) -> Result<Response, Error> {
    let check_id = call.name(DEREGISTER, "Missing check ID")?;
    let shown = go::quote(&check_id);
    match call.order(LocalRequest::DeregisterCheck { check_id }).await {
        Err(Error::Cluster(Refusal::NotFound(_))) => Err(Error::NotFound(format!(
            "Unknown check ID {shown}. Ensure that the check ID is passed, not the check name."
        ))),
        other => other.map(|()| done()),
    }
}

/// What a program says of itself, with a note for people.
async fn report(call: Call, prefix: &str, status: Status) -> Result<Response, Error> {
    let check_id = call.name(prefix, "Missing check ID")?;
    let output = call.query.get("note").unwrap_or_default().to_owned();
    set(&call, check_id, status, output).await
}

/// The same with everything in the body.
async fn update(call: Call, body: Body) -> Result<Response, Error> {
    let check_id = call.name(UPDATE, "Missing check ID")?;
    let mut fields = Fields::parse(&call.json(body).await?)?;
    let word = fields.take_text("Status")?;
    let output = fields.take_text("Output")?;
    fields.ignore(&["CheckID"]);
    fields.finish()?;
    let status = word.parse().map_err(|error| Error::BadRequest(format!("{error}")))?;
    set(&call, check_id, status, output).await
}

async fn set(call: &Call, check_id: String, status: Status, output: String) -> Result<Response, Error> {
    let shown = go::quote(&check_id);
    match call.order(LocalRequest::UpdateCheck { check_id, status, output }).await {
        // Consul says the same of a check that there is not and of one that a client cannot set.
        Err(Error::Cluster(Refusal::NotFound(_)) | Error::BadRequest(_)) => {
            Err(Error::Refused(format!("CheckID {shown} does not have associated TTL")))
        }
        other => other.map(|()| done()),
    }
}
