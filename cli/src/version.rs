//! `version`: which program this is.

use crate::command::{Surroundings, option, value};
use crate::failure::Failure;
use clap::{ArgMatches, Command};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn command() -> Command {
    Command::new("version")
        .about("Shows the version")
        .arg(option("format", "FORMAT", "How to show it").value_parser(["pretty", "json"]).default_value("pretty"))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match value(matches, "format") {
        Some("json") => {
            let json = serde_json::json!({ "Version": VERSION, "Revision": "", "Prerelease": "" });
            writeln!(surroundings.out, "{json:#}")?;
        }
        _ => writeln!(surroundings.out, "Quorate v{VERSION}")?,
    }
    Ok(())
}
