//! `leave`: let the agent leave the cluster and stop.

use crate::client::{self, Client};
use crate::command::Surroundings;
use crate::failure::Failure;
use clap::{ArgMatches, Command};

pub(crate) fn command() -> Command {
    client::with_options(Command::new("leave").about("Lets the agent leave the cluster and stop"))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let doing = "leaving";
    client.ok(doing, client.put(doing, "/v1/agent/leave", &[], b"")?)?;
    Ok(writeln!(surroundings.out, "Graceful leave complete")?)
}
