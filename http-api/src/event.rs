//! `/v1/event/`: user events, which every agent hears. No server is needed.

use crate::call::{Call, Door};
use crate::error::Error;
use crate::headers;
use crate::json::event::EventRow;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use quorate_protocol::event::event_index;
use quorate_protocol::{EventFilter, LocalRequest, Refusal, Reply, UserEvent};

const FIRE: &str = "/v1/event/fire/";

pub(crate) fn routes() -> Router<Door> {
    Router::new().below(FIRE, methods().put(fire)).exactly("/v1/event/list", methods().get(list))
}

async fn fire(call: Call, body: Body) -> Result<Response, Error> {
    let name = call.name(FIRE, "Missing name")?;
    if call.dc().is_some() {
        return Err(Error::Cluster(Refusal::NoPathToDatacenter));
    }
    let text = |parameter| call.query.get(parameter).unwrap_or_default().to_owned();
    let filter = EventFilter { node: text("node"), service: text("service"), tag: text("tag") };
    let payload = call.value(body).await?;
    match events(&call, LocalRequest::FireEvent { name, payload, filter }).await?.first() {
        Some(event) => call.answer(&EventRow::just_fired(event)),
        None => Err(Error::WrongReply),
    }
}

async fn list(call: Call) -> Result<Response, Error> {
    let name = call.query.get("name").unwrap_or_default().to_owned();
    let wait = call.query.wait(call.config())?;
    let events = events(&call, LocalRequest::UserEvents { name, wait }).await?;
    let mut response = call.answer(&events.iter().map(EventRow::of).collect::<Vec<_>>())?;
    headers::write_index(event_index(&events), response.headers_mut());
    Ok(response)
}

async fn events(call: &Call, request: LocalRequest) -> Result<Vec<UserEvent>, Error> {
    match call.local(request).await? {
        Reply::UserEvents(events) => Ok(events),
        _ => Err(Error::WrongReply),
    }
}
