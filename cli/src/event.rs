//! `event`: tell all agents that something happened.

use crate::client::{self, Client, in_path};
use crate::command::{Surroundings, option, value};
use crate::failure::Failure;
use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;

pub(crate) fn command() -> Command {
    client::with_options(Command::new("event").about("Sends a user event to all agents").args([
        option("name", "NAME", "What happened; required"),
        option("node", "REGEX", "Only for nodes whose name matches"),
        option("service", "REGEX", "Only for nodes with a service whose name matches"),
        option("tag", "REGEX", "Only for nodes with such a service that has a matching tag; needs -service"),
        Arg::new("payload").help("Whatever belongs to the event; at most 9 KiB together with its name"),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let Some(name) = value(matches, "name").filter(|name| !name.is_empty()) else {
        return Err(Failure::new("An event has a name: give it with -name, such as `quorate event -name deploy v2`."));
    };
    let filters: Vec<(&str, &str)> =
        ["node", "service", "tag"].into_iter().filter_map(|part| Some((part, value(matches, part)?))).collect();
    let payload = value(matches, "payload").unwrap_or_default();
    let client = Client::new(matches, surroundings)?;
    let doing = "sending the event";
    let path = format!("/v1/event/fire/{}", in_path(name));
    let answer = client.ok(doing, client.put(doing, &path, &filters, payload.as_bytes())?)?;
    let event: Event = client.json(doing, &answer)?;
    Ok(writeln!(surroundings.out, "Event ID: {}", event.id)?)
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "ID")]
    id: String,
}
