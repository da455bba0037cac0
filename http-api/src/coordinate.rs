//! `/v1/coordinate/`: where nodes are, as round-trip times tell. Each agent answers with what it knows; no server is needed.

use crate::call::{Call, Door};
use crate::error::Error;
use crate::headers;
use crate::json::fields::Fields;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use quorate_protocol::coordinate::{Coordinate, DIMENSIONS, NodeCoordinate};
use quorate_protocol::{LocalRequest, LogIndex, Reply};
use serde::Serialize;

const NODE: &str = "/v1/coordinate/node/";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/coordinate/nodes", methods().get(nodes))
        .below(NODE, methods().get(node))
        .exactly("/v1/coordinate/datacenters", methods().get(datacenters))
        .exactly("/v1/coordinate/update", methods().put(update))
}

async fn nodes(call: Call) -> Result<Response, Error> {
    let known = known(&call).await?;
    listed(&call, &known.iter().map(Row::of).collect::<Vec<_>>())
}

async fn node(call: Call) -> Result<Response, Error> {
    let name = call.name(NODE, "Missing node name")?;
    let known = known(&call).await?;
    let rows: Vec<Row<'_>> = known.iter().filter(|one| one.node == name).map(Row::of).collect();
    if rows.is_empty() { Ok(StatusCode::NOT_FOUND.into_response()) } else { listed(&call, &rows) }
}

/// The servers of this datacenter: other datacenters are not linked yet.
async fn datacenters(call: Call) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown<'a> {
        datacenter: &'a str,
        #[serde(rename = "AreaID")]
        area_id: &'a str,
        coordinates: Vec<Row<'a>>,
    }
    let known = known(&call).await?;
    let coordinates = known.iter().filter(|one| one.server).map(Row::of).collect();
    call.answer(&[Shown { datacenter: call.datacenter(), area_id: "lan", coordinates }])
}

/// For nodes without an agent.
async fn update(call: Call, body: Body) -> Result<Response, Error> {
    let mut fields = Fields::parse(&call.json(body).await?)?;
    let node = fields.take_text("Node")?;
    let _segment = fields.take_text("Segment")?;
    let coordinate = fields.take_object("Coord")?;
    fields.finish()?;
    let refuse = |why: &str| Error::BadRequest(format!("Request decode failed: {why}"));
    let mut coordinate = coordinate.filter(|_| !node.is_empty()).ok_or_else(|| refuse("Node and Coord are needed"))?;
    let place = coordinate.take_reals("Vec")?;
    let (error, adjustment) = (coordinate.take_real("Error")?, coordinate.take_real("Adjustment")?);
    let height = coordinate.take_real("Height")?;
    coordinate.finish()?;
    let place: [f64; DIMENSIONS] =
        place.try_into().map_err(|_| refuse(&format!("Coord.Vec must have {DIMENSIONS} numbers")))?;
    let coordinate = Coordinate { place, height, error, adjustment };
    call.order(LocalRequest::SetCoordinate { node, coordinate }).await?;
    Ok(().into_response())
}

async fn known(call: &Call) -> Result<Vec<NodeCoordinate>, Error> {
    match call.local(LocalRequest::Coordinates).await? {
        Reply::Coordinates(known) => Ok(known),
        _ => Err(Error::WrongReply),
    }
}

/// It is not waited for: places change all the time.
fn listed(call: &Call, rows: &[Row<'_>]) -> Result<Response, Error> {
    let mut response = call.answer(&rows)?;
    headers::write_index(LogIndex(1), response.headers_mut());
    Ok(response)
}

/// As Consul shows it: seconds.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    node: &'a str,
    segment: &'static str,
    coord: Shown,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    vec: [f64; DIMENSIONS],
    error: f64,
    adjustment: f64,
    height: f64,
}

impl<'a> Row<'a> {
    fn of(known: &'a NodeCoordinate) -> Row<'a> {
        let Coordinate { place, height, error, adjustment } = known.coordinate;
        Row { node: &known.node, segment: "", coord: Shown { vec: place, error, adjustment, height } }
    }
}
