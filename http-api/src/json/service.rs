//! Services as the catalogue and agents show and take them.

use super::Empty;
use super::fields::Fields;
use super::node::id_text;
use crate::error::Error;
use quorate_protocol::{Instance, Row, Service, ServiceAddress, Weights, go};
use serde::Serialize;
use std::collections::BTreeMap;

/// Consul's limits on `Meta`: they bound what one registration costs every server.
const META_PAIRS: usize = 64;
const META_KEY_LENGTH: usize = 128;
const META_VALUE_LENGTH: usize = 512;

/// Fields of a service in Consul that Quorate knows and leaves aside: the mesh, tenancy, and outside of agents the token.
const FIELDS_ASIDE: &[&str] =
    &["Kind", "Proxy", "Connect", "Namespace", "Partition", "Locality", "SocketPath", "Token", "PeerName", "Ports"];

/// What a registration says of a service, in an agent's words (`Name`) or the catalogue's (`Service`).
///
/// # Errors
/// [`Error::BadRequest`] for a wrong type or a value out of bounds.
pub(crate) fn take_service(fields: &mut Fields, name: &str) -> Result<Service, Error> {
    let service = Service {
        id: fields.take_text("ID")?,
        name: fields.take_text(name)?,
        tags: fields.take_texts("Tags")?,
        address: fields.take_text("Address")?,
        port: fields.take_port("Port")?,
        meta: fields.take_text_map("Meta")?,
        tagged_addresses: take_addresses(fields)?,
        weights: take_weights(fields)?,
        enable_tag_override: fields.take_truth("EnableTagOverride")?,
    };
    fields.ignore(FIELDS_ASIDE);
    check_meta(&service.meta)?;
    Ok(service)
}

/// Whether an address means "any", which nobody can connect to.
pub(crate) fn is_any_address(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "::" | "[::]")
}

fn take_addresses(fields: &mut Fields) -> Result<BTreeMap<String, ServiceAddress>, Error> {
    fields
        .take_object_map("TaggedAddresses")?
        .into_iter()
        .map(|(tag, mut fields)| {
            let address = ServiceAddress { address: fields.take_text("Address")?, port: fields.take_port("Port")? };
            fields.finish()?;
            Ok((tag, address))
        })
        .collect()
}

fn take_weights(fields: &mut Fields) -> Result<Weights, Error> {
    let Some(mut weights) = fields.take_object("Weights")? else { return Ok(Weights::default()) };
    let passing = weights.take_number("Passing")?.unwrap_or(0);
    let warning = weights.take_number("Warning")?.unwrap_or(0);
    weights.finish()?;
    let refuse = |why: &str| Error::BadRequest(format!("Invalid Weights: {why}"));
    if passing < 1 {
        return Err(refuse("Passing must be greater than 0"));
    }
    if warning < 0 {
        return Err(refuse("Warning must be greater or equal than 0"));
    }
    match (u16::try_from(passing), u16::try_from(warning)) {
        (Ok(passing), Ok(warning)) => Ok(Weights { passing, warning }),
        _ => Err(refuse("Passing and Warning must not exceed 65535")),
    }
}

fn check_meta(meta: &BTreeMap<String, String>) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::BadRequest(format!("Invalid Service Meta: {why}")));
    if meta.len() > META_PAIRS {
        return refuse(format!("{} pairs are more than the {META_PAIRS} allowed", meta.len()));
    }
    for (key, value) in meta {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let shown = go::quote(key);
        if key.is_empty() || key.len() > META_KEY_LENGTH || !key.bytes().all(plain) {
            return refuse(format!(
                "the key {shown} must be 1 to {META_KEY_LENGTH} letters, digits, dashes or underscores"
            ));
        }
        if value.len() > META_VALUE_LENGTH {
            return refuse(format!("the value of {shown} is longer than {META_VALUE_LENGTH} bytes"));
        }
    }
    Ok(())
}

/// The parts of the mesh that clients look for.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Proxy {
    mesh_gateway: Empty,
    expose: Empty,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WeightsRow {
    passing: u16,
    warning: u16,
}

impl WeightsRow {
    const fn of(weights: Weights) -> WeightsRow {
        WeightsRow { passing: weights.passing, warning: weights.warning }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddressRow<'a> {
    address: &'a str,
    port: u16,
}

fn addresses(service: &Service) -> BTreeMap<&str, AddressRow<'_>> {
    service
        .tagged_addresses
        .iter()
        .map(|(tag, address)| (tag.as_str(), AddressRow { address: &address.address, port: address.port }))
        .collect()
}

/// A service on its node: the `Service` of `/v1/health/service`, and what `/v1/catalog/node` lists.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceRow<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: BTreeMap<&'a str, AddressRow<'a>>,
    meta: &'a BTreeMap<String, String>,
    port: u16,
    weights: WeightsRow,
    enable_tag_override: bool,
    proxy: Proxy,
    connect: Empty,
    create_index: u64,
    modify_index: u64,
}

impl<'a> ServiceRow<'a> {
    pub(crate) fn of(service: &'a Row<Service>) -> ServiceRow<'a> {
        ServiceRow {
            id: &service.id,
            service: &service.name,
            tags: &service.tags,
            address: &service.address,
            tagged_addresses: addresses(service),
            meta: &service.meta,
            port: service.port,
            weights: WeightsRow::of(service.weights),
            enable_tag_override: service.enable_tag_override,
            proxy: Proxy::default(),
            connect: Empty {},
            create_index: service.create_index.0,
            modify_index: service.modify_index.0,
        }
    }
}

/// A service flattened with its node: a row of `/v1/catalog/service`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InstanceRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: &'a BTreeMap<String, String>,
    node_meta: &'a BTreeMap<String, String>,
    service_kind: &'static str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    service_address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service_tagged_addresses: BTreeMap<&'a str, AddressRow<'a>>,
    service_weights: WeightsRow,
    service_meta: &'a BTreeMap<String, String>,
    service_port: u16,
    service_enable_tag_override: bool,
    service_proxy: Proxy,
    service_connect: Empty,
    create_index: u64,
    modify_index: u64,
}

impl<'a> InstanceRow<'a> {
    pub(crate) fn of(instance: &'a Instance, datacenter: &'a str) -> InstanceRow<'a> {
        let (node, service) = (&instance.node, &instance.service);
        InstanceRow {
            id: id_text(node),
            node: &node.name,
            address: &node.address,
            datacenter,
            tagged_addresses: &node.tagged_addresses,
            node_meta: &node.meta,
            service_kind: "",
            service_id: &service.id,
            service_name: &service.name,
            service_tags: &service.tags,
            service_address: &service.address,
            service_tagged_addresses: addresses(service),
            service_weights: WeightsRow::of(service.weights),
            service_meta: &service.meta,
            service_port: service.port,
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: Proxy::default(),
            service_connect: Empty {},
            create_index: service.create_index.0,
            modify_index: service.modify_index.0,
        }
    }
}

/// A service as its own agent shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AgentServiceRow<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    meta: &'a BTreeMap<String, String>,
    port: u16,
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: BTreeMap<&'a str, AddressRow<'a>>,
    weights: WeightsRow,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_hash: &'a str,
    datacenter: &'a str,
}

impl<'a> AgentServiceRow<'a> {
    /// With what its content is known by, where one service alone is shown.
    pub(crate) fn with_hash(self, content_hash: &'a str) -> AgentServiceRow<'a> {
        AgentServiceRow { content_hash, ..self }
    }

    pub(crate) fn of(service: &'a Service, datacenter: &'a str) -> AgentServiceRow<'a> {
        AgentServiceRow {
            id: &service.id,
            service: &service.name,
            tags: &service.tags,
            meta: &service.meta,
            port: service.port,
            address: &service.address,
            tagged_addresses: addresses(service),
            weights: WeightsRow::of(service.weights),
            enable_tag_override: service.enable_tag_override,
            content_hash: "",
            datacenter,
        }
    }
}
