//! `keygen`: a new key for the gossip pool.

use crate::command::Surroundings;
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgMatches, Command};

pub(crate) fn command() -> Command {
    Command::new("keygen").about("Makes a key for `agent -encrypt`")
}

pub(crate) fn run(_: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| Failure::new(format!("Error reading random data from the system: {error}")))?;
    Ok(writeln!(surroundings.out, "{}", STANDARD.encode(key))?)
}
