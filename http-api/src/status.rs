//! `/v1/status/`: the servers.

use crate::call::{Call, Door};
use crate::error::Error;
use crate::route::{Routes, methods};
use axum::Router;
use axum::response::Response;
use quorate_protocol::{Reply, StatusRequest};

pub(crate) fn routes() -> Router<Door> {
    Router::new().exactly("/v1/status/leader", methods().get(leader)).exactly("/v1/status/peers", methods().get(peers))
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
