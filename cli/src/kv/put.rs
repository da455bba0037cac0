//! `kv put`: set a value.

use super::{is_true, key, key_arg, missing_key, path};
use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command, value_parser};
use std::io::Read;

/// More than any agent takes, and little enough to hold: a pipe may never end.
const INPUT_MAX: u64 = 64 << 20;

pub(super) fn command() -> Command {
    client::with_options(
        Command::new("put")
            .about("Sets the value of a key")
            .allow_negative_numbers(true)
            .after_help("Data that begins with a dash follows two: `quorate kv put KEY -- -data`.")
            .args([
                key_arg("KEY"),
                Arg::new("data").value_name("DATA").help("The value; - reads standard input, @FILE a file"),
                flag("base64", "DATA is base64: store what it stands for"),
                flag("cas", "Only if the key has the index of -modify-index"),
                option("modify-index", "INDEX", "With -cas: the index; 0 only creates")
                    .value_parser(value_parser!(u64))
                    .default_value("0"),
                option("flags", "NUMBER", "A number to keep with the value")
                    .value_parser(value_parser!(u64))
                    .default_value("0"),
                flag("acquire", "Take the lock (not yet)"),
                flag("release", "Release the lock (not yet)"),
                option("session", "ID", "The session that locks (not yet)"),
            ]),
    )
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let key = key(matches);
    if key.is_empty() {
        return Err(missing_key());
    }
    if is_on(matches, "acquire") || is_on(matches, "release") || value(matches, "session").is_some() {
        return Err(Failure::new(
            "Error! Locks come with sessions, which are not there yet: use -cas with -modify-index to write safely.",
        ));
    }
    let data = data(matches, surroundings)?;
    let client = Client::new(matches, surroundings)?;
    let number = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or_default().to_string();
    let (flags, index) = (number("flags"), number("modify-index"));
    let mut query = vec![("flags", flags.as_str())];
    if is_on(matches, "cas") {
        query.push(("cas", index.as_str()));
    }
    let doing = format!("writing the key '{key}'");
    let said = client.ok(&doing, client.put(&doing, &path(key), &query, &data)?)?;
    if !is_true(&said) {
        return Err(Failure::new(format!(
            "Error! Did not write to {key}: CAS failed. Its index is not {index}: see `quorate kv get -detailed {key}`."
        )));
    }
    Ok(writeln!(surroundings.out, "Success! Data written to: {key}")?)
}

fn data(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<Vec<u8>, Failure> {
    let given = value(matches, "data").unwrap_or_default();
    let bytes = match given.strip_prefix('@') {
        Some(file) => std::fs::File::open(file)
            .and_then(read_all)
            .map_err(|error| Failure::new(format!("Error! Failed to read '{file}': {error}. Name a readable file.")))?,
        None if given == "-" => read_all(&mut *surroundings.input)
            .map_err(|error| Failure::new(format!("Error! Failed to read standard input: {error}.")))?,
        None => given.as_bytes().to_vec(),
    };
    if !is_on(matches, "base64") {
        return Ok(bytes);
    }
    STANDARD.decode(bytes.trim_ascii()).map_err(|error| {
        Failure::new(format!("Error! The data is not base64: {error}. Leave out -base64 to store it as it is."))
    })
}

fn read_all(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(INPUT_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > INPUT_MAX {
        return Err(std::io::Error::other("it is longer than 64 MiB, and no agent takes that much"));
    }
    Ok(bytes)
}
