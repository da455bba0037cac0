//! `kv`: keys and values.

mod delete;
mod get;
mod put;

use crate::command::Surroundings;
use crate::failure::Failure;
use clap::{Arg, ArgMatches, Command};

pub(crate) fn command() -> Command {
    Command::new("kv").about("Reads and writes keys").subcommand_required(true).subcommands([
        get::command(),
        put::command(),
        delete::command(),
    ])
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("get", matches)) => get::run(matches, surroundings),
        Some(("put", matches)) => put::run(matches, surroundings),
        Some(("delete", matches)) => delete::run(matches, surroundings),
        _ => Err(Failure::new("`quorate kv` needs get, put or delete.")),
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

fn path(key: &str) -> String {
    format!("/v1/kv/{}", crate::client::in_path(key))
}

fn missing_key() -> Failure {
    Failure::new("Error! Missing KEY argument")
}

/// An agent says `true` or `false` to a write.
fn is_true(body: &[u8]) -> bool {
    body.trim_ascii() == b"true"
}
