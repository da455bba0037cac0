//! `tags`: change what an agent says of itself.

use crate::client::{self, Client};
use crate::command::{Surroundings, option, values};
use crate::failure::Failure;
use clap::{ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

pub(crate) fn command() -> Command {
    client::with_options(Command::new("tags").about("Changes the tags of the agent").args([
        option("set", "KEY=VALUE", "Sets a tag; may be repeated").action(ArgAction::Append),
        option("delete", "KEY", "Takes a tag away; may be repeated").action(ArgAction::Append),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let mut set = Map::new();
    for pair in values(matches, "set") {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::new(format!("-set '{pair}' is no tag: write it as KEY=VALUE.")));
        };
        set.insert(key.to_owned(), Value::from(value));
    }
    let delete = values(matches, "delete");
    if set.is_empty() && delete.is_empty() {
        return Err(Failure::new("Nothing to change: give -set KEY=VALUE, -delete KEY, or both."));
    }
    let client = Client::new(matches, surroundings)?;
    let doing = "changing the tags";
    let body = json!({"Set": set, "Delete": delete}).to_string();
    client.ok(doing, client.put(doing, "/v1/agent/tags", &[], body.as_bytes())?)?;
    Ok(writeln!(surroundings.out, "Successfully updated agent tags")?)
}
