//! `monitor`: follow what happens to members, and user events.

use crate::client::{self, Client};
use crate::command::{Surroundings, option, value};
use crate::failure::Failure;
use clap::{ArgMatches, Command};
use std::io::{BufRead, BufReader};

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("monitor")
            .about("Follows what happens to members, and user events, until it is interrupted")
            .args([option(
                "events",
                "TYPES",
                "A list of *, member-join, member-failed, member-leave, member-update, member-reap, user, user:NAME",
            )
            .default_value("*")]),
    )
}

/// One line for each: its type, and what belongs to it in JSON.
pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let types = value(matches, "events").unwrap_or("*");
    let stream = client.get_stream("following the events", "/v1/agent/events", &[("type", types)])?;
    let mut kind = String::new();
    for line in BufReader::new(stream.body).lines() {
        let line =
            line.map_err(|error| Failure::new(format!("The stream of events ended: {error}. Follow it again.")))?;
        if let Some(name) = line.strip_prefix("event: ") {
            kind = name.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            writeln!(surroundings.out, "{kind} {data}")?;
            surroundings.out.flush()?;
        } else if let Some(why) = line.strip_prefix(": ") {
            return Err(Failure::new(format!("The agent ended the stream of events: {why}")));
        }
    }
    Err(Failure::new("The stream of events ended: the agent is gone. Follow it again."))
}
