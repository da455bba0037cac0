//! `kv delete`: remove a key, or all under a prefix.

use super::{is_true, key, key_arg, missing_key, path};
use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option};
use crate::failure::Failure;
use clap::{ArgMatches, Command, value_parser};

pub(super) fn command() -> Command {
    client::with_options(Command::new("delete").about("Removes a key").args([
        key_arg("KEY_OR_PREFIX"),
        flag("recurse", "Remove every key that starts with the prefix"),
        flag("cas", "Only if the key has the index of -modify-index"),
        option("modify-index", "INDEX", "With -cas: the index").value_parser(value_parser!(u64)),
    ]))
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let key = key(matches);
    let (recurse, cas) = (is_on(matches, "recurse"), is_on(matches, "cas"));
    let index = matches.get_one::<u64>("modify-index").copied().filter(|index| *index > 0);
    match (recurse, cas, index) {
        (false, _, _) if key.is_empty() => return Err(missing_key()),
        (true, true, _) => return Err(Failure::new("Error! Cannot specify both -cas and -recurse!")),
        (_, true, None) => return Err(Failure::new("Error! Must specify a -modify-index greater than 0 with -cas!")),
        (_, false, Some(_)) => return Err(Failure::new("Error! Cannot specify -modify-index without -cas!")),
        _ => {}
    }
    let client = Client::new(matches, surroundings)?;
    let index = index.unwrap_or_default().to_string();
    let query: &[(&str, &str)] = match (recurse, cas) {
        (true, _) => &[("recurse", "")],
        (_, true) => &[("cas", &index)],
        _ => &[],
    };
    let doing = format!("deleting the key '{key}'");
    let said = client.ok(&doing, client.delete(&doing, &path(key), query)?)?;
    if !is_true(&said) {
        return Err(Failure::new(format!(
            "Error! Did not delete key {key}: CAS failed. Its index is not {index}: see `quorate kv get -detailed {key}`."
        )));
    }
    match recurse {
        true => writeln!(surroundings.out, "Success! Deleted keys with prefix: {key}")?,
        false => writeln!(surroundings.out, "Success! Deleted key: {key}")?,
    }
    Ok(())
}
