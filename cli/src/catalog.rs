//! `catalog`: datacenters, nodes and services as the servers know them.

use crate::client::{self, Client, in_path};
use crate::command::{Surroundings, flag, is_on, option, value, values};
use crate::failure::Failure;
use crate::table;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn command() -> Command {
    let datacenters = Command::new("datacenters").about("Lists the datacenters");
    let nodes = Command::new("nodes").about("Lists the nodes").args([
        flag("detailed", "Show whole ids, further addresses and meta"),
        node_meta(),
        option("service", "NAME", "Only nodes with this service"),
    ]);
    let services = Command::new("services").about("Lists the services").args([
        flag("tags", "Show the tags of each service"),
        node_meta(),
        option("node", "NAME", "Only services on this node"),
    ]);
    Command::new("catalog")
        .about("Lists datacenters, nodes and services")
        .subcommand_required(true)
        .subcommands([datacenters, nodes, services].map(client::with_options))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("datacenters", matches)) => datacenters(matches, surroundings),
        Some(("nodes", matches)) => nodes(matches, surroundings),
        Some(("services", matches)) => services(matches, surroundings),
        _ => Err(Failure::new("`quorate catalog` needs datacenters, nodes or services.")),
    }
}

fn datacenters(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let names: Vec<String> = client.get_json("listing the datacenters", "/v1/catalog/datacenters", &[])?;
    for name in names {
        writeln!(surroundings.out, "{name}")?;
    }
    Ok(())
}

fn nodes(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let meta = node_meta_pairs(matches);
    let meta = as_query(&meta);
    let mut nodes: Vec<Node> = match value(matches, "service") {
        Some(service) => {
            let path = format!("/v1/catalog/service/{}", in_path(service));
            client.get_json(&format!("listing the nodes with the service '{service}'"), &path, &meta)?
        }
        None => client.get_json("listing the nodes", "/v1/catalog/nodes", &meta)?,
    };
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    nodes.dedup_by(|a, b| a.node == b.node);
    if nodes.is_empty() {
        writeln!(surroundings.out, "No nodes match the given query - try expanding your search.")?;
    } else if is_on(matches, "detailed") {
        let header = ["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"].map(str::to_owned);
        let rows = nodes
            .into_iter()
            .map(|n| [n.node, n.id, n.address, n.datacenter, pairs(n.tagged_addresses), pairs(n.node_meta.or(n.meta))]);
        table::write(surroundings.out, &[header].into_iter().chain(rows).collect::<Vec<_>>())?;
    } else {
        let header = ["Node", "ID", "Address", "DC"].map(str::to_owned);
        let rows = nodes.into_iter().map(|n| [n.node, n.id.chars().take(8).collect(), n.address, n.datacenter]);
        table::write(surroundings.out, &[header].into_iter().chain(rows).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn services(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let services = match value(matches, "node") {
        Some(node) => on_node(&client, node)?,
        None => {
            let path = "/v1/catalog/services";
            client.get_json::<BTreeMap<_, _>>("listing the services", path, &as_query(&node_meta_pairs(matches)))?
        }
    };
    if services.is_empty() {
        writeln!(surroundings.out, "No services match the given query - try expanding your search.")?;
    } else if is_on(matches, "tags") {
        let row = |(name, tags): (String, Option<BTreeSet<String>>)| {
            [name, tags.unwrap_or_default().into_iter().collect::<Vec<_>>().join(",")]
        };
        table::write(surroundings.out, &services.into_iter().map(row).collect::<Vec<_>>())?;
    } else {
        for name in services.keys() {
            writeln!(surroundings.out, "{name}")?;
        }
    }
    Ok(())
}

/// Names with their tags; an agent may say `null` for no tags.
type Services = BTreeMap<String, Option<BTreeSet<String>>>;

fn on_node(client: &Client, node: &str) -> Result<Services, Failure> {
    let path = format!("/v1/catalog/node/{}", in_path(node));
    let found: Option<OnNode> = client.get_json(&format!("listing the services on the node '{node}'"), &path, &[])?;
    let mut services = Services::new();
    for service in found.map(|found| found.services).unwrap_or_default().into_values() {
        services.entry(service.service).or_default().get_or_insert_default().extend(service.tags.unwrap_or_default());
    }
    Ok(services)
}

fn node_meta() -> Arg {
    option("node-meta", "KEY=VALUE", "Only nodes with this meta; may be repeated").action(ArgAction::Append)
}

/// People write `key=value`, the HTTP API wants `key:value`.
fn node_meta_pairs(matches: &ArgMatches) -> Vec<String> {
    values(matches, "node-meta").into_iter().map(|pair| pair.replacen('=', ":", 1)).collect()
}

fn as_query(pairs: &[String]) -> Vec<(&'static str, &str)> {
    pairs.iter().map(|pair| ("node-meta", pair.as_str())).collect()
}

fn pairs(map: Option<BTreeMap<String, String>>) -> String {
    map.unwrap_or_default().iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// A row of `/v1/catalog/nodes`, or of `/v1/catalog/service/…`, which has the node's meta under another name.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Node {
    node: String,
    #[serde(rename = "ID")]
    id: String,
    address: String,
    datacenter: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    node_meta: Option<BTreeMap<String, String>>,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct OnNode {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Service {
    service: String,
    tags: Option<BTreeSet<String>>,
}
