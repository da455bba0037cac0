//! `session`: who may hold keys. Consul's command line has no such command; its HTTP API has the endpoints.

use crate::client::{self, Client, in_path};
use crate::command::{Surroundings, flag, is_on, option, value, values};
use crate::failure::Failure;
use crate::table;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(crate) fn command() -> Command {
    let create = Command::new("create")
        .about("Makes a session and prints its id")
        .after_help(
            "A session ends when its node is deregistered, when one of its checks turns critical, when it is destroyed, or\n\
             when it has a TTL and is not renewed for two of them.",
        )
        .args([
            option("name", "NAME", "A name for people"),
            option("node", "NAME", "The node that it is bound to; the agent's own by default"),
            option("ttl", "DURATION", "Ends unless renewed: 10s to 24h; without it, renewing is not needed"),
            flag("exact-ttl", "End after one TTL without renewal instead of two"),
            option("lock-delay", "DURATION", "How long keys that it held stay unavailable when it is invalidated")
                .default_value("15s"),
            option("behavior", "WHAT", "What becomes of the keys that it holds when it ends")
                .value_parser(["release", "delete"])
                .default_value("release"),
            option("node-check", "ID", "Ends with this check of the node (serfHealth by default); may be repeated, empty for none")
                .action(ArgAction::Append),
            option("service-check", "ID", "Ends with this check of a service on the node; may be repeated")
                .action(ArgAction::Append),
        ]);
    let list =
        Command::new("list").about("Lists the sessions").arg(option("node", "NAME", "Only those bound to this node"));
    Command::new("session").about("Makes, renews and ends sessions").subcommand_required(true).subcommands(
        [
            create,
            Command::new("destroy").about("Ends a session and lets go of what it holds").arg(id()),
            Command::new("renew").about("Begins a session's TTL anew").arg(id()),
            Command::new("info").about("Shows a session").arg(id()),
            list,
        ]
        .map(client::with_options),
    )
}

fn id() -> Arg {
    Arg::new("id").value_name("ID").help("The session's id").required(true)
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("create", matches)) => create(matches, surroundings),
        Some(("destroy", matches)) => destroy(matches, surroundings),
        Some(("renew", matches)) => renew(matches, surroundings),
        Some(("info", matches)) => info(matches, surroundings),
        Some(("list", matches)) => list(matches, surroundings),
        _ => Err(Failure::new("`quorate session` needs create, destroy, renew, info or list.")),
    }
}

fn create(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let mut body = Map::new();
    for (field, name) in
        [("Name", "name"), ("Node", "node"), ("TTL", "ttl"), ("LockDelay", "lock-delay"), ("Behavior", "behavior")]
    {
        body.extend(value(matches, name).map(|given| (field.to_owned(), json!(given))));
    }
    if is_on(matches, "exact-ttl") {
        body.insert("ExactTTL".to_owned(), json!(true));
    }
    if matches.contains_id("node-check") {
        let checks: Vec<&str> = values(matches, "node-check").into_iter().filter(|check| !check.is_empty()).collect();
        body.insert("NodeChecks".to_owned(), json!(checks));
    }
    if matches.contains_id("service-check") {
        let checks: Vec<Value> = values(matches, "service-check").into_iter().map(|id| json!({ "ID": id })).collect();
        body.insert("ServiceChecks".to_owned(), json!(checks));
    }
    Ok(writeln!(surroundings.out, "{}", made(&client, &Value::Object(body))?)?)
}

/// Makes a session of what the HTTP API calls it, and gives its id.
pub(crate) fn made(client: &Client, wanted: &Value) -> Result<String, Failure> {
    let doing = "creating a session";
    let answer = client.put(doing, "/v1/session/create", &[], wanted.to_string().as_bytes())?;
    let made: Made = client.json(doing, &client.ok(doing, answer)?)?;
    Ok(made.id)
}

/// Ends a session; one that has ended already is no error.
pub(crate) fn ended(client: &Client, id: &str) -> Result<(), Failure> {
    let doing = format!("destroying the session '{id}'");
    client.ok(&doing, client.put(&doing, &format!("/v1/session/destroy/{}", in_path(id)), &[], b"")?).map(|_| ())
}

/// Begins its TTL anew; no if there is no such session.
pub(crate) fn renewed(client: &Client, id: &str) -> Result<bool, Failure> {
    let doing = format!("renewing the session '{id}'");
    let answer = client.put(&doing, &format!("/v1/session/renew/{}", in_path(id)), &[], b"")?;
    if answer.status == 404 {
        return Ok(false);
    }
    client.ok(&doing, answer).map(|_| true)
}

fn destroy(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let id = value(matches, "id").unwrap_or_default();
    ended(&Client::new(matches, surroundings)?, id)?;
    Ok(writeln!(surroundings.out, "Session destroyed: {id}")?)
}

fn renew(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let id = value(matches, "id").unwrap_or_default();
    match renewed(&Client::new(matches, surroundings)?, id)? {
        true => Ok(writeln!(surroundings.out, "Session renewed: {id}")?),
        false => Err(none(id)),
    }
}

fn none(id: &str) -> Failure {
    Failure::new(format!("No session exists with the id '{id}': it has ended, or `quorate session list` knows better."))
}

fn info(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let id = value(matches, "id").unwrap_or_default();
    let client = Client::new(matches, surroundings)?;
    let path = format!("/v1/session/info/{}", in_path(id));
    let found: Option<Vec<Session>> = client.get_json(&format!("reading the session '{id}'"), &path, &[])?;
    let session = found.unwrap_or_default().into_iter().next().ok_or_else(|| none(id))?;
    let rows = [
        ("ID", session.id.clone()),
        ("Name", session.name.clone()),
        ("Node", session.node.clone()),
        ("TTL", session.ttl().to_owned()),
        ("ExactTTL", session.exact_ttl.to_string()),
        ("Behavior", session.behavior.clone()),
        ("LockDelay", format!("{:?}", Duration::from_nanos(session.lock_delay))),
        ("NodeChecks", session.node_checks.clone().unwrap_or_default().join(",")),
        ("ServiceChecks", session.service_checks()),
        ("CreateIndex", session.create_index.to_string()),
        ("ModifyIndex", session.modify_index.to_string()),
    ];
    table::write(surroundings.out, &rows.map(|(name, fact)| [name.to_owned(), dash(fact)]))?;
    Ok(())
}

fn list(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let path = match value(matches, "node") {
        Some(node) => format!("/v1/session/node/{}", in_path(node)),
        None => "/v1/session/list".to_owned(),
    };
    let found: Option<Vec<Session>> = client.get_json("listing the sessions", &path, &[])?;
    let mut sessions = found.unwrap_or_default();
    sessions.sort_by(|a, b| (&a.node, &a.name, &a.id).cmp(&(&b.node, &b.name, &b.id)));
    if sessions.is_empty() {
        return Ok(writeln!(surroundings.out, "There are no sessions.")?);
    }
    let header = ["ID", "Node", "Name", "TTL", "Behavior"].map(str::to_owned);
    let rows = sessions.into_iter().map(|s| {
        let ttl = s.ttl().to_owned();
        [s.id, s.node, s.name, ttl, s.behavior].map(dash)
    });
    table::write(surroundings.out, &[header].into_iter().chain(rows).collect::<Vec<_>>())?;
    Ok(())
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[derive(Debug, Deserialize)]
struct Made {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Session {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    node: String,
    #[serde(rename = "TTL")]
    ttl: String,
    #[serde(rename = "ExactTTL")]
    exact_ttl: bool,
    behavior: String,
    /// In nanoseconds.
    lock_delay: u64,
    node_checks: Option<Vec<String>>,
    service_checks: Option<Vec<ServiceCheck>>,
    create_index: u64,
    modify_index: u64,
}

impl Session {
    fn ttl(&self) -> &str {
        if self.ttl.is_empty() { "none" } else { &self.ttl }
    }

    fn service_checks(&self) -> String {
        let ids = self.service_checks.iter().flatten().map(|check| check.id.as_str());
        ids.collect::<Vec<_>>().join(",")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceCheck {
    #[serde(rename = "ID")]
    id: String,
}
