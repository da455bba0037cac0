//! `join`: let the agent join others.

use crate::client::{self, Client, in_path};
use crate::command::{Surroundings, flag, is_on, values};
use crate::failure::Failure;
use clap::{Arg, ArgAction, ArgMatches, Command};

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("join").about("Lets the agent join a cluster").args([
            Arg::new("addresses")
                .value_name("ADDRESS")
                .help("Where another agent is: host or host:port")
                .required(true)
                .action(ArgAction::Append)
                .num_args(1..),
            flag("wan", "Join the wide-area pool (not yet)"),
        ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    if is_on(matches, "wan") {
        return Err(Failure::new("There is no wide-area pool yet: leave out -wan."));
    }
    let client = Client::new(matches, surroundings)?;
    let mut joined = 0;
    for address in values(matches, "addresses") {
        let doing = format!("joining address '{address}'");
        let asked = client.put(&doing, &format!("/v1/agent/join/{}", in_path(address)), &[], b"");
        match asked.and_then(|answer| client.ok(&doing, answer)) {
            Ok(_) => joined += 1,
            Err(Failure::Sentence(sentence)) => writeln!(surroundings.err, "{sentence}")?,
            Err(other) => return Err(other),
        }
    }
    if joined == 0 {
        return Err(Failure::new(
            "Failed to join any nodes. Are they running, and is this their gossip port (8301 by default)?",
        ));
    }
    Ok(writeln!(surroundings.out, "Successfully joined cluster by contacting {joined} nodes.")?)
}
