//! `force-leave`: declare a failed member gone.

use crate::client::{self, Client, in_path};
use crate::command::{Surroundings, flag, is_on, value};
use crate::failure::Failure;
use clap::{Arg, ArgMatches, Command};

pub(crate) fn command() -> Command {
    client::with_options(Command::new("force-leave").about("Declares a failed member gone").args([
        flag("prune", "Have everybody forget it at once"),
        Arg::new("node").help("The name of the member").required(true),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let doing = "declaring the member gone";
    let path = format!("/v1/agent/force-leave/{}", in_path(value(matches, "node").unwrap_or_default()));
    let query: &[(&str, &str)] = if is_on(matches, "prune") { &[("prune", "1")] } else { &[] };
    client.ok(doing, client.put(doing, &path, query, b"")?)?;
    Ok(())
}
