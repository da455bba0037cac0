//! `monitor`: follow what happens to members, user events and queries.

use crate::client::{self, Client};
use crate::command::{Surroundings, option, value};
use crate::failure::Failure;
use crate::stream::Events;
use clap::{ArgMatches, Command};

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("monitor")
            .about("Follows what happens to members, user events and queries, until it is interrupted")
            .args([option(
                "events",
                "TYPES",
                "A list of *, member-join, member-failed, member-leave, member-update, member-reap, user, user:NAME, query, query:NAME",
            )
            .default_value("*")]),
    )
}

/// One line for each: its type, and what belongs to it in JSON.
pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let types = value(matches, "events").unwrap_or("*");
    let stream = client.get_stream("following the events", "/v1/agent/events", &[("type", types)])?;
    let mut events = Events::new(stream, "events");
    while let Some((kind, data)) = events.next()? {
        writeln!(surroundings.out, "{kind} {data}")?;
        surroundings.out.flush()?;
    }
    Err(Failure::new("The stream of events ended: the agent is gone. Follow it again."))
}
