//! `operator`: who takes part in Raft, and how the leader looks after servers.

mod autopilot;
mod raft;

use crate::command::Surroundings;
use crate::failure::Failure;
use clap::{ArgMatches, Command};

pub(crate) fn command() -> Command {
    Command::new("operator")
        .about("Tools for those who run the servers")
        .subcommand_required(true)
        .subcommands([raft::command(), autopilot::command()])
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("raft", matches)) => raft::run(matches, surroundings),
        Some(("autopilot", matches)) => autopilot::run(matches, surroundings),
        _ => Err(Failure::new("`quorate operator` needs raft or autopilot.")),
    }
}
