//! `/v1/health/`: who is healthy.

use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::check::CheckRow;
use crate::json::node::NodeRow;
use crate::json::service::ServiceRow;
use crate::route::{Routes, methods};
use axum::Router;
use axum::response::Response;
use quorate_protocol::{Answer, HealthFilter, Instance, Read};
use serde::Serialize;

const NODE: &str = "/v1/health/node/";
const CHECKS: &str = "/v1/health/checks/";
const SERVICE: &str = "/v1/health/service/";
const STATE: &str = "/v1/health/state/";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .below(NODE, methods().get(node))
        .below(CHECKS, methods().get(checks))
        .below(SERVICE, methods().get(service))
        .below(STATE, methods().get(state))
}

async fn node(call: Call) -> Result<Response, Error> {
    let node = call.name(NODE, "Missing node name")?;
    answer_checks(&call, Read::NodeChecks { node }).await
}

async fn checks(call: Call) -> Result<Response, Error> {
    let service = call.name(CHECKS, "Missing service name")?;
    let node_meta = call.query.node_meta();
    answer_checks(&call, Read::ServiceChecks { service, node_meta }).await
}

async fn service(call: Call) -> Result<Response, Error> {
    let service = call.name(SERVICE, "Missing service name")?;
    let health = if call.query.truth("passing")? { HealthFilter::Passing } else { HealthFilter::Any };
    call.query.no_filter()?;
    let (tags, node_meta) = (call.query.tags(), call.query.node_meta());
    let found = call.read(Read::ServiceHealth { service, tags, node_meta, health }).await?;
    let Answer::Instances(instances) = &found.answer else { return Err(Error::WrongReply) };
    let rows: Vec<_> = instances.iter().map(|instance| HealthRow::of(instance, call.datacenter())).collect();
    call.answer_read(found.freshness, &rows)
}

async fn state(call: Call) -> Result<Response, Error> {
    let state = call.name(STATE, "Missing check state")?;
    let node_meta = call.query.node_meta();
    match state.as_str() {
        "any" => answer_checks(&call, Read::ChecksInState { status: None, node_meta }).await,
        word => match word.parse() {
            Ok(status) => answer_checks(&call, Read::ChecksInState { status: Some(status), node_meta }).await,
            // No check is in a state that there is not, but the index must be one to wait from.
            Err(_) => {
                let found = call.read(Read::ChecksInState { status: None, node_meta }).await?;
                call.answer_catalog(found.freshness, &[(); 0])
            }
        },
    }
}

async fn answer_checks(call: &Call, read: Read) -> Result<Response, Error> {
    call.query.no_filter()?;
    let found = call.read(read).await?;
    let Answer::Checks(checks) = &found.answer else { return Err(Error::WrongReply) };
    let rows: Vec<_> = checks.iter().map(|check| CheckRow::of(check)).collect();
    call.answer_catalog(found.freshness, &rows)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthRow<'a> {
    node: NodeRow<'a>,
    service: ServiceRow<'a>,
    checks: Vec<CheckRow<'a>>,
}

impl<'a> HealthRow<'a> {
    fn of(instance: &'a Instance, datacenter: &'a str) -> HealthRow<'a> {
        HealthRow {
            node: NodeRow::of(&instance.node, datacenter),
            service: ServiceRow::of(&instance.service),
            checks: instance.checks.iter().map(|check| CheckRow::of(check)).collect(),
        }
    }
}
