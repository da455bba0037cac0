//! `/v1/agent/maintenance` and `/v1/agent/service/maintenance/`: the node or a service out of service, and back.

use super::done;
use crate::call::{Call, Door};
use crate::error::Error;
use crate::route::{Routes, methods};
use axum::Router;
use axum::response::Response;
use quorate_protocol::LocalRequest;

const SERVICE: &str = "/v1/agent/service/maintenance/";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/agent/maintenance", methods().put(|call: Call| async move { maintain(&call, None).await }))
        .below(SERVICE, methods().put(service))
}

async fn service(call: Call) -> Result<Response, Error> {
    let service_id = call.name(SERVICE, "Missing service ID")?;
    maintain(&call, Some(service_id)).await
}

async fn maintain(call: &Call, service_id: Option<String>) -> Result<Response, Error> {
    let enable = match call.query.get("enable") {
        None | Some("") => return Err(Error::BadRequest("Missing value for enable".to_owned())),
        Some(word) => truth(word).ok_or_else(|| Error::BadRequest("Invalid value for enable".to_owned()))?,
    };
    let reason = enable.then(|| call.query.get("reason").unwrap_or_default().to_owned());
    call.order(LocalRequest::Maintain { service_id, reason }).await?;
    Ok(done())
}

/// The words that Go's `strconv.ParseBool` takes.
fn truth(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
