//! `kv export`: everything under a prefix as JSON, for `kv import`.

use super::{find, key, key_arg};
use crate::client::{self, Client};
use crate::command::Surroundings;
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgMatches, Command};
use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;

/// A key in the file. The names are Consul's, so that either can read what the other wrote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exported {
    pub(super) key: String,
    #[serde(default)]
    pub(super) flags: u64,
    /// In base64.
    #[serde(default)]
    pub(super) value: String,
}

pub(super) fn command() -> Command {
    client::with_options(
        Command::new("export")
            .about("Writes every key under a prefix as JSON")
            .after_help("Locks and sessions are not part of it: `quorate snapshot save` keeps everything.")
            .arg(key_arg("PREFIX")),
    )
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let prefix = key(matches);
    let client = Client::new(matches, surroundings)?;
    let doing = format!("exporting the keys under '{prefix}'");
    let entries = find(&client, &doing, prefix, &[("recurse", "")])?.entries;
    let exported: Vec<Exported> = entries
        .into_iter()
        .map(|entry| Exported { key: entry.key, flags: entry.flags, value: STANDARD.encode(entry.value) })
        .collect();
    let formatter = PrettyFormatter::with_indent(b"\t");
    let mut json = serde_json::Serializer::with_formatter(&mut *surroundings.out, formatter);
    exported.serialize(&mut json).map_err(std::io::Error::from)?;
    Ok(writeln!(surroundings.out)?)
}
