//! `/v1/operator/keyring`: the keys that secure the traffic between agents. No server is needed.

use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::fields::Fields;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_protocol::keyring::{GossipKey, KeyringChange, KeyringReport, KeyringRequest};
use quorate_protocol::query::MAX_RELAYS;
use quorate_protocol::{LocalRequest, Reply};
use serde::Serialize;
use std::collections::BTreeMap;

pub(super) fn routes() -> Router<Door> {
    Router::new().exactly("/v1/operator/keyring", methods().get(list).post(install).put(make_primary).delete(remove))
}

async fn list(call: Call) -> Result<Response, Error> {
    let local = call.query.truth("local-only")?;
    let report = ask(&call, KeyringRequest::List, local).await?;
    agreed(&call, &report)?;
    call.answer(&[Listed {
        wan: false,
        datacenter: call.datacenter(),
        segment: "",
        keys: shown(&report.keys),
        primary_keys: shown(&report.primaries),
        num_nodes: report.members,
    }])
}

async fn install(call: Call, body: Body) -> Result<Response, Error> {
    change(call, body, KeyringChange::Install).await
}

async fn make_primary(call: Call, body: Body) -> Result<Response, Error> {
    change(call, body, KeyringChange::Use).await
}

async fn remove(call: Call, body: Body) -> Result<Response, Error> {
    change(call, body, KeyringChange::Remove).await
}

async fn change(call: Call, body: Body, change: fn(GossipKey) -> KeyringChange) -> Result<Response, Error> {
    if call.query.has("local-only") {
        return Err(Error::BadRequest("local-only can only be used with GET: keys are changed everywhere".to_owned()));
    }
    let mut fields = Fields::parse(&call.json(body).await?)?;
    let text = fields.take_text("Key")?;
    fields.finish()?;
    // As in Consul, what is wrong with a key is found out behind the door.
    let bytes = STANDARD.decode(&text).map_err(|_| Error::Refused("the key is not base64".to_owned()))?;
    let key = GossipKey::try_from(Bytes::from(bytes)).map_err(|why| Error::Refused(why.to_string()))?;
    let report = ask(&call, KeyringRequest::Change(change(key)), false).await?;
    agreed(&call, &report)?;
    Ok(().into_response())
}

async fn ask(call: &Call, request: KeyringRequest, local: bool) -> Result<KeyringReport, Error> {
    let relays = call.query.number("relay-factor")?.unwrap_or(0);
    let relays = u8::try_from(relays)
        .ok()
        .filter(|relays| *relays <= MAX_RELAYS)
        .ok_or_else(|| Error::BadRequest(format!("Relay factor must be in range: [0, {MAX_RELAYS}]")))?;
    match call.local(LocalRequest::Keyring { request, relays, local }).await? {
        Reply::Keyring(report) => Ok(report),
        _ => Err(Error::WrongReply),
    }
}

/// Refuses in Consul's words where not all did it: a status of 500, and what each said.
fn agreed(call: &Call, report: &KeyringReport) -> Result<(), Error> {
    let (members, refused) = (report.members, report.refused.len());
    let pool = format!("{} (LAN)", call.datacenter());
    let mut errors = if refused > 0 {
        vec![format!("{pool} error: {refused}/{members} nodes reported failure")]
    } else if report.answered < members {
        vec![format!("{pool} error: {}/{members} nodes reported success", report.answered)]
    } else {
        return Ok(());
    };
    errors.extend(report.refused.iter().map(|(node, why)| format!("{node}: {why}")));
    let count = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
    let listed: String = errors.iter().map(|error| format!("\n\t* {error}")).collect();
    Err(Error::Refused(format!("{count} occurred:{listed}\n\n")))
}

fn shown(keys: &BTreeMap<GossipKey, usize>) -> BTreeMap<String, usize> {
    keys.iter().map(|(key, count)| (STANDARD.encode(key.bytes()), *count)).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    #[serde(rename = "WAN")]
    wan: bool,
    datacenter: &'a str,
    segment: &'a str,
    keys: BTreeMap<String, usize>,
    primary_keys: BTreeMap<String, usize>,
    num_nodes: usize,
}
