//! `operator autopilot`: how the leader looks after servers, and how well they are.

use crate::client::{self, Client};
use crate::command::{Surroundings, option, value};
use crate::failure::Failure;
use crate::table;
use clap::{ArgMatches, Command, value_parser};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PATH: &str = "/v1/operator/autopilot/configuration";

pub(super) fn command() -> Command {
    let set = Command::new("set-config").about("Changes settings; those that are not named stay").args([
        option(
            "cleanup-dead-servers",
            "BOOL",
            "Take servers that failed out of Raft while the others stay a healthy majority",
        )
        .value_parser(value_parser!(bool)),
        option("last-contact-threshold", "DURATION", "A server that was not heard for longer is not healthy"),
        option("max-trailing-logs", "NUMBER", "A server whose log is further behind is not healthy")
            .value_parser(value_parser!(u64)),
        option("min-quorum", "NUMBER", "Take no server out below this many voters").value_parser(value_parser!(u64)),
        option("server-stabilization-time", "DURATION", "How long a new server must be healthy before it votes"),
    ]);
    let state = Command::new("state")
        .about("Shows how well the servers are")
        .arg(option("format", "FORMAT", "How to show it").value_parser(["pretty", "json"]).default_value("pretty"));
    Command::new("autopilot")
        .about("Shows and changes how the leader looks after servers")
        .subcommand_required(true)
        .subcommands([Command::new("get-config").about("Shows the settings"), set, state].map(client::with_options))
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("get-config", matches)) => get_config(matches, surroundings),
        Some(("set-config", matches)) => set_config(matches, surroundings),
        Some(("state", matches)) => state(matches, surroundings),
        _ => Err(Failure::new("`quorate operator autopilot` needs get-config, set-config or state.")),
    }
}

fn get_config(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    for (name, setting) in settings(&client)? {
        match (name.as_str(), setting) {
            // They only say where the rest is stored.
            ("CreateIndex" | "ModifyIndex", _) => {}
            (_, Value::String(text)) => writeln!(surroundings.out, "{name} = {text}")?,
            (_, other) => writeln!(surroundings.out, "{name} = {other}")?,
        }
    }
    Ok(())
}

fn settings(client: &Client) -> Result<Map<String, Value>, Failure> {
    client.get_json("reading the autopilot's settings", PATH, &[])
}

fn set_config(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let number = |name: &str| matches.get_one::<u64>(name).map(|number| json!(number));
    let text = |name: &str| value(matches, name).map(|text| json!(text));
    let changes: Vec<(&str, Value)> = [
        ("CleanupDeadServers", matches.get_one::<bool>("cleanup-dead-servers").map(|on| json!(on))),
        ("LastContactThreshold", text("last-contact-threshold")),
        ("MaxTrailingLogs", number("max-trailing-logs")),
        ("MinQuorum", number("min-quorum")),
        ("ServerStabilizationTime", text("server-stabilization-time")),
    ]
    .into_iter()
    .filter_map(|(field, given)| Some((field, given?)))
    .collect();
    if changes.is_empty() {
        return Err(Failure::new("Nothing to change: name a setting, such as -min-quorum=3."));
    }
    let client = Client::new(matches, surroundings)?;
    // Whoever changed something meanwhile is not overwritten: the write depends on what was read.
    let mut settings = settings(&client)?;
    let index = settings.get("ModifyIndex").and_then(Value::as_u64).unwrap_or_default().to_string();
    settings.extend(changes.into_iter().map(|(field, given)| (field.to_owned(), given)));
    let doing = "setting the autopilot's settings";
    let body = Value::Object(settings).to_string();
    let said = client.ok(doing, client.put(doing, PATH, &[("cas", &index)], body.as_bytes())?)?;
    match said.trim_ascii() {
        b"false" => Err(Failure::new("Configuration changed meanwhile: look at it with get-config, and set it again.")),
        _ => Ok(writeln!(surroundings.out, "Configuration updated!")?),
    }
}

fn state(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let (doing, path) = ("asking how well the servers are", "/v1/operator/autopilot/state");
    if value(matches, "format") == Some("json") {
        let state: Value = client.get_json(doing, path, &[])?;
        return Ok(writeln!(surroundings.out, "{state:#}")?);
    }
    let state: State = client.get_json(doing, path, &[])?;
    writeln!(surroundings.out, "Healthy:            {}", state.healthy)?;
    writeln!(surroundings.out, "Failure Tolerance:  {}", state.failure_tolerance)?;
    writeln!(surroundings.out, "Leader:             {}", state.leader)?;
    writeln!(surroundings.out, "Voters:             {}", state.voters.unwrap_or_default().join(", "))?;
    writeln!(surroundings.out)?;
    let header =
        ["Name", "ID", "Address", "Status", "Node Status", "Healthy", "Last Contact", "Last Term", "Last Index"];
    let mut servers: Vec<Server> = state.servers.into_values().collect();
    servers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let rows = servers.into_iter().map(|s| {
        let (healthy, term, index) = (s.healthy.to_string(), s.last_term.to_string(), s.last_index.to_string());
        [s.name, s.id, s.address, s.status, s.node_status, healthy, s.last_contact, term, index]
    });
    table::write(surroundings.out, &[header.map(str::to_owned)].into_iter().chain(rows).collect::<Vec<_>>())?;
    Ok(())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct State {
    healthy: bool,
    failure_tolerance: u32,
    leader: String,
    voters: Option<Vec<String>>,
    servers: BTreeMap<String, Server>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Server {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    address: String,
    node_status: String,
    status: String,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
}
