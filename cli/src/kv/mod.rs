//! `kv`: keys and values.

mod delete;
mod entry;
mod export;
mod get;
mod import;
mod put;
mod watch;

use crate::command::Surroundings;
use crate::failure::Failure;
use clap::{Arg, ArgMatches, Command};
use std::io::Read;

pub(crate) use entry::{Entry, Found, find};

/// More than any agent takes at once, and little enough to hold: a pipe may never end.
const INPUT_MAX: u64 = 1 << 30;

pub(crate) fn command() -> Command {
    Command::new("kv").about("Reads and writes keys").subcommand_required(true).subcommands([
        get::command(),
        put::command(),
        delete::command(),
        export::command(),
        import::command(),
        watch::command(),
    ])
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("get", matches)) => get::run(matches, surroundings),
        Some(("put", matches)) => put::run(matches, surroundings),
        Some(("delete", matches)) => delete::run(matches, surroundings),
        Some(("export", matches)) => export::run(matches, surroundings),
        Some(("import", matches)) => import::run(matches, surroundings),
        Some(("watch", matches)) => watch::run(matches, surroundings),
        _ => Err(Failure::new("`quorate kv` needs get, put, delete, export, import or watch.")),
    }
}

fn key_arg(name: &'static str) -> Arg {
    Arg::new("key").value_name(name).help("The key; a slash at its beginning is dropped")
}

/// Keys never begin with a slash, but people write one.
fn key(matches: &ArgMatches) -> &str {
    let key = crate::command::value(matches, "key").unwrap_or_default();
    key.strip_prefix('/').unwrap_or(key)
}

/// A key's place in the HTTP API.
pub(crate) fn path(key: &str) -> String {
    format!("/v1/kv/{}", crate::client::in_path(key))
}

fn missing_key() -> Failure {
    Failure::new("Error! Missing KEY argument")
}

/// An agent says `true` or `false` to a write.
pub(crate) fn is_true(body: &[u8]) -> bool {
    body.trim_ascii() == b"true"
}

/// What an argument stands for: standard input for `-`, a file for `@FILE`, itself otherwise.
fn given(argument: &str, surroundings: &mut Surroundings<'_>) -> Result<Vec<u8>, Failure> {
    match argument.strip_prefix('@') {
        Some(file) => std::fs::File::open(file)
            .and_then(read_all)
            .map_err(|error| Failure::new(format!("Error! Failed to read '{file}': {error}. Name a readable file."))),
        None if argument == "-" => read_all(&mut *surroundings.input)
            .map_err(|error| Failure::new(format!("Error! Failed to read standard input: {error}."))),
        None => Ok(argument.as_bytes().to_vec()),
    }
}

fn read_all(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(INPUT_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > INPUT_MAX {
        return Err(std::io::Error::other("it is longer than 1 GiB, and no agent takes that much"));
    }
    Ok(bytes)
}
