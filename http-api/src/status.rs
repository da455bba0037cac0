//! `/v1/status/`: the servers. And `/livez` and `/readyz`, for whatever starts and restarts agents. (Extensions.)

use crate::call::{Call, Door};
use crate::error::Error;
use crate::route::{Routes, methods};
use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use quorate_protocol::{LocalRequest, Refusal, Reply, StatusRequest};

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/status/leader", methods().get(leader))
        .exactly("/v1/status/peers", methods().get(peers))
        .exactly("/livez", methods().get(live))
        .exactly("/readyz", methods().get(ready))
}

/// Its address, or an empty string while there is none.
async fn leader(call: Call) -> Result<Response, Error> {
    match call.status(StatusRequest::Leader).await? {
        Reply::Leader(address) => call.answer(&address.map(|address| address.to_string()).unwrap_or_default()),
        _ => Err(Error::WrongReply),
    }
}

async fn peers(call: Call) -> Result<Response, Error> {
    match call.status(StatusRequest::Peers).await? {
        Reply::Peers(addresses) => call.answer(&addresses),
        _ => Err(Error::WrongReply),
    }
}

/// 200 while the agent answers at all; it need not be restarted for being busy.
async fn live(call: Call) -> Result<Response, Error> {
    match call.local(LocalRequest::Describe).await {
        Ok(_) | Err(Error::Cluster(Refusal::Busy)) => Ok(well()),
        Err(error) => Err(Error::Unavailable(error.sentence())),
    }
}

/// 200 while a leader is known, so that what is asked of this agent can be answered.
async fn ready(call: Call) -> Result<Response, Error> {
    match call.status(StatusRequest::Leader).await {
        Ok(Reply::Leader(Some(_))) => Ok(well()),
        Ok(_) => Err(Error::Unavailable(Refusal::NoLeader.to_string())),
        Err(error) => Err(Error::Unavailable(error.sentence())),
    }
}

fn well() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], "ok").into_response()
}
