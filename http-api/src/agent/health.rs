//! `/v1/agent/health/service/`: this agent's services judged by its own checks, without asking a server.

use super::{check, service};
use crate::call::{Call, Door};
use crate::error::Error;
use crate::headers::REASON;
use crate::json::check::CheckRow;
use crate::json::service::AgentServiceRow;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use quorate_protocol::check::is_maintenance;
use quorate_protocol::{Check, Service, Status};
use serde::Serialize;
use std::collections::BTreeMap;

const BY_ID: &str = "/v1/agent/health/service/id/";
const BY_NAME: &str = "/v1/agent/health/service/name/";

pub(crate) fn routes() -> Router<Door> {
    Router::new().below(BY_ID, methods().get(by_id)).below(BY_NAME, methods().get(by_name))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Judged<'a> {
    aggregated_status: &'static str,
    service: AgentServiceRow<'a>,
    checks: Vec<CheckRow<'a>>,
}

async fn by_id(call: Call) -> Result<Response, Error> {
    let id = call.name(BY_ID, "Missing serviceID")?;
    let services = service::services(&call).await?;
    let checks = check::checks(&call).await?;
    match services.get(&id) {
        Some(service) => {
            let (judgement, judged) = judge(&call, service, &checks);
            answer(&call, judgement, &judged)
        }
        None => unknown(&call, &format!("ServiceId {id} not found"), &None::<()>),
    }
}

async fn by_name(call: Call) -> Result<Response, Error> {
    let name = call.name(BY_NAME, "Missing service Name")?;
    let services = service::services(&call).await?;
    let checks = check::checks(&call).await?;
    let judged: Vec<_> = services
        .values()
        .filter(|service| service.name == name)
        .map(|service| judge(&call, service, &checks))
        .collect();
    match judged.iter().map(|(judgement, _)| *judgement).max() {
        Some(worst) => {
            let rows: Vec<_> = judged.into_iter().map(|(_, row)| row).collect();
            answer(&call, worst, &rows)
        }
        None => unknown(&call, &format!("ServiceName {name} Not Found"), &[(); 0]),
    }
}

/// How well a service is. The order is by gravity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Judgement {
    /// As its checks say.
    Checked(Status),
    /// Somebody took it, or its node, out of service.
    Maintenance,
}

impl Judgement {
    fn of(check: &Check) -> Judgement {
        if is_maintenance(&check.id) { Judgement::Maintenance } else { Judgement::Checked(check.status) }
    }

    const fn word(self) -> &'static str {
        match self {
            Judgement::Checked(status) => status.as_str(),
            Judgement::Maintenance => "maintenance",
        }
    }

    const fn code(self) -> StatusCode {
        match self {
            Judgement::Checked(Status::Passing) => StatusCode::OK,
            Judgement::Checked(Status::Warning) => StatusCode::TOO_MANY_REQUESTS,
            Judgement::Checked(Status::Critical) | Judgement::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The gravest of its own checks and the node's.
fn judge<'a>(call: &'a Call, service: &'a Service, checks: &'a BTreeMap<String, Check>) -> (Judgement, Judged<'a>) {
    let of_it: Vec<&Check> =
        checks.values().filter(|check| check.service_id.is_empty() || check.service_id == service.id).collect();
    let judgement = of_it.iter().map(|check| Judgement::of(check)).max().unwrap_or(Judgement::Checked(Status::Passing));
    let config = call.config();
    let judged = Judged {
        aggregated_status: judgement.word(),
        service: AgentServiceRow::of(service, &config.datacenter),
        checks: of_it.into_iter().map(|check| CheckRow::local(check, &config.node_name)).collect(),
    };
    (judgement, judged)
}

fn answer(call: &Call, judgement: Judgement, body: &impl Serialize) -> Result<Response, Error> {
    answer_as(call, judgement.code(), judgement.word(), body)
}

fn unknown(call: &Call, reason: &str, body: &impl Serialize) -> Result<Response, Error> {
    answer_as(call, StatusCode::NOT_FOUND, reason, body)
}

fn answer_as(call: &Call, code: StatusCode, reason: &str, body: &impl Serialize) -> Result<Response, Error> {
    let mut response = if call.query.get("format") == Some("text") {
        let mut response = Response::new(Body::from(reason.to_owned()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    } else {
        call.answer(body)?
    };
    *response.status_mut() = code;
    if let Ok(reason) = HeaderValue::try_from(reason) {
        response.headers_mut().insert(REASON, reason);
    }
    Ok(response)
}
