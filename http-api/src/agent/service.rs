//! `/v1/agent/service/` and `/v1/agent/services`: the services of this agent.

use super::done;
use crate::call::{Call, Door};
use crate::error::Error;
use crate::headers::{self, CONTENT_HASH};
use crate::json::check::CheckBody;
use crate::json::fields::Fields;
use crate::json::service::{AgentServiceRow, is_any_address, take_service};
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use quorate_protocol::{LocalRequest, Refusal, Reply, Service, ServiceDefinition, Token, go};
use std::collections::BTreeMap;

const SERVICE: &str = "/v1/agent/service/";
const DEREGISTER: &str = "/v1/agent/service/deregister/";
const BAD_STATUS: &str = "Status for checks must 'passing', 'warning', 'critical'";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/agent/services", methods().get(list))
        .below(SERVICE, methods().get(one))
        .exactly("/v1/agent/service/register", methods().put(register))
        .below(DEREGISTER, methods().put(deregister))
}

async fn list(call: Call) -> Result<Response, Error> {
    call.query.no_filter()?;
    let services = services(&call).await?;
    let own = &call.config().datacenter;
    let rows: BTreeMap<_, _> = services.iter().map(|(id, service)| (id, AgentServiceRow::of(service, own))).collect();
    call.answer(&rows)
}

/// One service; with `hash`, as soon as its content is another.
async fn one(call: Call) -> Result<Response, Error> {
    let service_id = call.name(SERVICE, "Missing service ID")?;
    // What is no hash of ours is another than the one there is.
    let hash = call.query.get("hash").and_then(|text| u64::from_str_radix(text, 16).ok());
    let patience = call.patience()?;
    let wait = hash.map(|hash| (hash, patience));
    match call.local(LocalRequest::Service { service_id, wait }).await? {
        Reply::LocalService(service) => {
            let hash = format!("{:016x}", service.content_hash());
            let row = AgentServiceRow::of(&service, &call.config().datacenter).with_hash(&hash);
            let mut response = call.answer(&row)?;
            if let Ok(hash) = HeaderValue::try_from(hash) {
                response.headers_mut().insert(CONTENT_HASH, hash);
            }
            Ok(response)
        }
        _ => Err(Error::WrongReply),
    }
}

/// This agent's services by id.
pub(super) async fn services(call: &Call) -> Result<BTreeMap<String, Service>, Error> {
    match call.local(LocalRequest::Services).await? {
        Reply::LocalServices(services) => Ok(services),
        _ => Err(Error::WrongReply),
    }
}

async fn register(call: Call, body: Body) -> Result<Response, Error> {
    let fields = Fields::parse(&call.json(body).await?)?;
    let mut definition = take_definition(fields)?;
    if definition.token.is_none() {
        definition.token = call.token();
    }
    let problem = definition.service.dns_problem();
    let replace_existing_checks = matches!(call.query.get("replace-existing-checks"), Some("" | "true"));
    call.order(LocalRequest::RegisterService { definition: Box::new(definition), replace_existing_checks }).await?;
    let mut response = done();
    if let Some(problem) = problem {
        headers::write_warning(&problem, response.headers_mut());
    }
    Ok(response)
}

/// A service with its checks.
fn take_definition(mut fields: Fields) -> Result<ServiceDefinition, Error> {
    let token = Token(fields.take_text("Token")?);
    let mut service = take_service(&mut fields, "Name")?;
    let mut bodies = Vec::new();
    if let Some(check) = fields.take_object("Check")?.filter(|check| !check.is_blank()) {
        bodies.push(CheckBody::take(check)?);
    }
    for check in fields.take_objects("Checks")? {
        bodies.push(CheckBody::take(check)?);
    }
    fields.finish()?;

    if service.name.is_empty() {
        return Err(Error::BadRequest("Missing service name".to_owned()));
    }
    if is_any_address(&service.address) {
        return Err(Error::BadRequest("Invalid service address".to_owned()));
    }
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
    let checks = bodies.into_iter().map(|body| body.judge(BAD_STATUS)).collect::<Result<_, _>>()?;
    Ok(ServiceDefinition { service, checks, token })
}

async fn deregister(call: Call) -> Result<Response, Error> {
    let service_id = call.name(DEREGISTER, "Missing service ID")?;
    let shown = go::quote(&service_id);
    match call.order(LocalRequest::DeregisterService { service_id }).await {
        Err(Error::Cluster(Refusal::NotFound(_))) => Err(Error::NotFound(format!(
            "Unknown service ID {shown}. Ensure that the service ID is passed, not the service name."
        ))),
        other => other.map(|()| done()),
    }
}
