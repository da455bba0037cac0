//! `kv import`: sets every key of an export.

use super::export::Exported;
use super::{given, is_true, path};
use crate::client::{self, Client};
use crate::command::{Surroundings, value};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command};

pub(super) fn command() -> Command {
    client::with_options(
        Command::new("import")
            .about("Sets every key of an export")
            .after_help("One key at a time, in the file's order; keys that are not in the file stay as they are.")
            .arg(
                Arg::new("data")
                    .value_name("DATA")
                    .help("JSON as `kv export` writes it; - reads standard input, @FILE a file"),
            ),
    )
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let Some(data) = value(matches, "data") else { return Err(Failure::new("Error! Missing DATA argument")) };
    // Read and decoded as a whole first: a file that breaks off in the middle sets nothing.
    let entries = decoded(&given(data, surroundings)?)?;
    let client = Client::new(matches, surroundings)?;
    for (key, flags, value) in entries {
        let doing = format!("importing the key '{key}'");
        let flags = flags.to_string();
        let said = client.ok(&doing, client.put(&doing, &path(&key), &[("flags", &flags)], &value)?)?;
        if !is_true(&said) {
            return Err(Failure::new(format!("Error {doing}: the agent did not write it. Import again from there.")));
        }
        writeln!(surroundings.out, "Imported: {key}")?;
    }
    Ok(())
}

fn decoded(data: &[u8]) -> Result<Vec<(String, u64, Vec<u8>)>, Failure> {
    let entries: Vec<Exported> = serde_json::from_slice(data).map_err(|error| {
        Failure::new(format!("Error! Cannot read the data as an export ({error}): `quorate kv export` writes one."))
    })?;
    let one = |Exported { key, flags, value }: Exported| match STANDARD.decode(&value) {
        _ if key.is_empty() => Err(Failure::new("Error! Cannot import: an entry has no key.")),
        Ok(value) => Ok((key, flags, value)),
        Err(error) => Err(Failure::new(format!("Error! Cannot import: the value of {key} is not base64 ({error})."))),
    };
    entries.into_iter().map(one).collect()
}
