//! `rtt`: how long a round trip between two nodes takes, as their coordinates tell.

use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, values};
use crate::failure::Failure;
use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;
use serde_json::Value;

pub(crate) fn command() -> Command {
    client::with_options(Command::new("rtt").about("Estimates how long a round trip between two nodes takes").args([
        flag("wan", "Between servers of two datacenters; they are not linked yet"),
        Arg::new("node").num_args(1..=2).required(true).help("A node, and another: the agent's own by default"),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    if is_on(matches, "wan") {
        return Err(Failure::new("-wan is not supported yet: other datacenters are not linked. Leave it out."));
    }
    let client = Client::new(matches, surroundings)?;
    let named = values(matches, "node");
    let own = match named.as_slice() {
        [_, _] => String::new(),
        _ => {
            let itself: Value = client.get_json("asking the agent for its name", "/v1/agent/self", &[])?;
            itself["Config"]["NodeName"].as_str().unwrap_or_default().to_owned()
        }
    };
    let (one, other) = match named.as_slice() {
        [one, other] => (*one, *other),
        [one, ..] => (*one, own.as_str()),
        [] => return Err(Failure::new("Name a node, such as `quorate rtt web-1`.")),
    };
    let nodes: Vec<Node> = client.get_json("asking where nodes are", "/v1/coordinate/nodes", &[])?;
    let find = |name: &str| {
        nodes.iter().find(|node| node.node == name).map(|node| &node.coord).ok_or_else(|| {
            Failure::new(format!(
                "Could not find a coordinate for node '{name}': is it a member (`quorate members`)? A new one has a \
                 coordinate within a minute."
            ))
        })
    };
    let seconds = find(one)?.distance(find(other)?);
    Ok(writeln!(
        surroundings.out,
        "Estimated {one} <-> {other} rtt: {:.3} ms (using LAN coordinates)",
        seconds * 1000.0
    )?)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    coord: Coordinate,
}

/// In seconds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Coordinate {
    vec: Vec<f64>,
    adjustment: f64,
    height: f64,
}

impl Coordinate {
    /// As Consul's documentation computes it: the adjusted distance, unless that is none.
    fn distance(&self, other: &Coordinate) -> f64 {
        let squares: f64 = self.vec.iter().zip(&other.vec).map(|(a, b)| (a - b) * (a - b)).sum();
        let raw = squares.sqrt() + self.height + other.height;
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }
}
