//! `reload`: let the agent read its configuration files again.

use crate::client::{self, Client};
use crate::command::Surroundings;
use crate::failure::Failure;
use clap::{ArgMatches, Command};

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("reload").about("Lets the agent read its services and checks from its files again"),
    )
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let doing = "reloading";
    client.ok(doing, client.put(doing, "/v1/agent/reload", &[], b"")?)?;
    Ok(writeln!(surroundings.out, "Configuration reload triggered")?)
}
