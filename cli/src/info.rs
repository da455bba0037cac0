//! `info`: what the agent says of itself.

use crate::client::{self, Client};
use crate::command::Surroundings;
use crate::failure::Failure;
use clap::{ArgMatches, Command};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) fn command() -> Command {
    client::with_options(Command::new("info").about("Shows what the agent says of itself"))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let agent: Agent = client.get_json("asking the agent for itself", "/v1/agent/self", &[])?;
    for (section, facts) in agent.stats {
        writeln!(surroundings.out, "{section}:")?;
        for (name, fact) in facts {
            match fact {
                Value::String(text) => writeln!(surroundings.out, "\t{name} = {text}")?,
                other => writeln!(surroundings.out, "\t{name} = {other}")?,
            }
        }
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Agent {
    stats: BTreeMap<String, BTreeMap<String, Value>>,
}
