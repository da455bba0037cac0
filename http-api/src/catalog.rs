//! `/v1/catalog/`: nodes and what runs on them.

use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::check::take_result;
use crate::json::fields::Fields;
use crate::json::node::NodeRow;
use crate::json::service::{InstanceRow, ServiceRow, is_any_address, take_service};
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use quorate_protocol::{Answer, Deregistration, Node, Read, Registration, Reply, Service, StatusRequest, Write};
use serde::Serialize;
use std::collections::BTreeMap;

const SERVICE: &str = "/v1/catalog/service/";
const NODE: &str = "/v1/catalog/node/";
const NODE_SERVICES: &str = "/v1/catalog/node-services/";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/catalog/datacenters", methods().get(datacenters))
        .exactly("/v1/catalog/nodes", methods().get(nodes))
        .exactly("/v1/catalog/services", methods().get(services))
        .below(SERVICE, methods().get(service))
        .below(NODE, methods().get(node))
        .below(NODE_SERVICES, methods().get(node_services))
        .exactly("/v1/catalog/register", methods().put(register))
        .exactly("/v1/catalog/deregister", methods().put(deregister))
}

async fn datacenters(call: Call) -> Result<Response, Error> {
    match call.status(StatusRequest::Datacenters).await? {
        Reply::Datacenters(names) => call.answer(&names),
        _ => Err(Error::WrongReply),
    }
}

async fn nodes(call: Call) -> Result<Response, Error> {
    call.query.no_filter()?;
    let found = call.read(Read::Nodes { node_meta: call.query.node_meta() }).await?;
    let Answer::Nodes(nodes) = &found.answer else { return Err(Error::WrongReply) };
    let rows: Vec<_> = nodes.iter().map(|node| NodeRow::of(node, call.datacenter())).collect();
    call.answer_catalog(found.freshness, &rows)
}

async fn services(call: Call) -> Result<Response, Error> {
    call.query.no_filter()?;
    let found = call.read(Read::Services { node_meta: call.query.node_meta() }).await?;
    let Answer::Services(tags_by_name) = &found.answer else { return Err(Error::WrongReply) };
    call.answer_catalog(found.freshness, tags_by_name)
}

async fn service(call: Call) -> Result<Response, Error> {
    let service = call.name(SERVICE, "Missing service name")?;
    call.query.no_filter()?;
    let (tags, node_meta) = (call.query.tags(), call.query.node_meta());
    let found = call.read(Read::ServiceInstances { service, tags, node_meta }).await?;
    let Answer::Instances(instances) = &found.answer else { return Err(Error::WrongReply) };
    let rows: Vec<_> = instances.iter().map(|instance| InstanceRow::of(instance, call.datacenter())).collect();
    call.answer_catalog(found.freshness, &rows)
}

/// A node with a map of its services; `null` for a node that there is not.
async fn node(call: Call) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown<'a> {
        node: NodeRow<'a>,
        services: BTreeMap<&'a str, ServiceRow<'a>>,
    }
    let node = call.name(NODE, "Missing node name")?;
    call.query.no_filter()?;
    let found = call.read(Read::NodeServices { node }).await?;
    let Answer::NodeServices(node) = &found.answer else { return Err(Error::WrongReply) };
    let shown = node.as_ref().map(|on| Shown {
        node: NodeRow::of(&on.node, call.datacenter()),
        services: on.services.iter().map(|service| (service.id.as_str(), ServiceRow::of(service))).collect(),
    });
    call.answer_catalog(found.freshness, &shown)
}

/// The same with a list of its services; both `null` for a node that there is not.
async fn node_services(call: Call) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown<'a> {
        node: Option<NodeRow<'a>>,
        services: Option<Vec<ServiceRow<'a>>>,
    }
    let node = call.name(NODE_SERVICES, "Missing node name")?;
    call.query.no_filter()?;
    let found = call.read(Read::NodeServices { node }).await?;
    let Answer::NodeServices(node) = &found.answer else { return Err(Error::WrongReply) };
    let shown = Shown {
        node: node.as_ref().map(|on| NodeRow::of(&on.node, call.datacenter())),
        services: node.as_ref().map(|on| on.services.iter().map(|service| ServiceRow::of(service)).collect()),
    };
    call.answer_catalog(found.freshness, &shown)
}

async fn register(call: Call, body: Body) -> Result<Response, Error> {
    let mut fields = Fields::parse(&call.json(body).await?)?;
    let dc = take_datacenter(&call, &mut fields)?;
    let registration = take_registration(fields)?;
    let written = call.write(dc, Write::Register(Box::new(registration))).await?;
    call.answer_write(written.index, &true)
}

async fn deregister(call: Call, body: Body) -> Result<Response, Error> {
    let mut fields = Fields::parse(&call.json(body).await?)?;
    let dc = take_datacenter(&call, &mut fields)?;
    let deregistration = take_deregistration(fields)?;
    let written = call.write(dc, Write::Deregister(deregistration)).await?;
    call.answer_write(written.index, &true)
}

/// Where a change goes: the query string wins over the body, the own datacenter is named by nothing.
fn take_datacenter(call: &Call, fields: &mut Fields) -> Result<Option<String>, Error> {
    let in_body = fields.take_text("Datacenter")?;
    if call.query.get("dc").is_some_and(|dc| !dc.is_empty()) {
        return Ok(call.dc());
    }
    Ok(Some(in_body).filter(|dc| !dc.is_empty() && *dc != call.config().datacenter))
}

fn take_registration(mut fields: Fields) -> Result<Registration, Error> {
    let id = fields.take_text("ID")?;
    let node = Node {
        id: None,
        name: fields.take_text("Node")?,
        address: fields.take_text("Address")?,
        tagged_addresses: fields.take_text_map("TaggedAddresses")?,
        meta: fields.take_text_map("NodeMeta")?,
    };
    let skip_node_update = fields.take_truth("SkipNodeUpdate")?;
    let service = fields.take_object("Service")?.map(take_catalog_service).transpose()?;
    let mut checks = fields.take_objects("Checks")?;
    checks.extend(fields.take_object("Check")?);
    let checks = checks.into_iter().map(|check| take_result(check, &node.name)).collect::<Result<_, _>>()?;
    fields.ignore(&["Namespace", "Partition", "EnterpriseMeta", "PeerName", "Locality", "Token", "WriteRequest"]);
    fields.ignore(&["CreateIndex", "ModifyIndex", "RaftIndex"]);
    fields.finish()?;

    let refuse = |why: &str| Err(Error::Refused(why.to_owned()));
    if node.name.is_empty() {
        return refuse("Must provide node");
    }
    if node.address.is_empty() && !skip_node_update {
        return refuse("Must provide address if SkipNodeUpdate is not set");
    }
    let id = match id.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error| Error::Refused(format!("Invalid node ID: {error}")))?),
    };
    if service.as_ref().is_some_and(|service| service.name.is_empty()) {
        return refuse("Must provide service name (Service.Service) when a service is given");
    }
    if service.as_ref().is_some_and(|service| is_any_address(&service.address)) {
        return refuse("Invalid service address");
    }
    Ok(Registration { node: Node { id, ..node }, skip_node_update, service, checks })
}

fn take_catalog_service(mut fields: Fields) -> Result<Service, Error> {
    let mut service = take_service(&mut fields, "Service")?;
    fields.ignore(&["CreateIndex", "ModifyIndex", "Datacenter"]);
    fields.finish()?;
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
    Ok(service)
}

fn take_deregistration(mut fields: Fields) -> Result<Deregistration, Error> {
    let node = fields.take_text("Node")?;
    let service_id = fields.take_text("ServiceID")?;
    let check_id = fields.take_text("CheckID")?;
    fields.ignore(&["Address", "Namespace", "Partition", "EnterpriseMeta", "PeerName", "Token", "WriteRequest"]);
    fields.finish()?;
    if node.is_empty() {
        return Err(Error::Refused("Must provide node".to_owned()));
    }
    Ok(match (service_id.is_empty(), check_id.is_empty()) {
        (false, _) => Deregistration::Service { node, service_id },
        (true, false) => Deregistration::Check { node, check_id },
        (true, true) => Deregistration::Node { node },
    })
}
