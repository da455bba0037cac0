//! `keyring`: list and change the keys that secure the traffic between agents.

use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use clap::{ArgGroup, ArgMatches, Command};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("keyring")
            .about("Lists and changes the keys that secure the traffic between agents")
            .args([
                flag("list", "Which keys how many agents have"),
                option("install", "KEY", "Has all agents take this key as well; it opens and does not seal yet"),
                option("use", "KEY", "Has all agents seal with this key, which they have"),
                option("remove", "KEY", "Has all agents forget this key, which none seals with"),
                option("relay-factor", "N", "Through how many members answers also come, at most 5"),
                flag("local-only", "With -list: of this agent alone"),
            ])
            .group(ArgGroup::new("what").args(["install", "use", "remove"])),
    )
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    const PATH: &str = "/v1/operator/keyring";
    let client = Client::new(matches, surroundings)?;
    let mut query: Vec<(&str, &str)> =
        value(matches, "relay-factor").map(|n| ("relay-factor", n)).into_iter().collect();
    if is_on(matches, "list") {
        if is_on(matches, "local-only") {
            query.push(("local-only", "1"));
        }
        writeln!(surroundings.out, "==> Gathering installed encryption keys...")?;
        let pools: Vec<Pool> = client.get_json("listing the keys", PATH, &query)?;
        return show(&pools, surroundings);
    }
    let change = ["install", "use", "remove"].into_iter().find_map(|what| Some((what, value(matches, what)?)));
    let Some((what, key)) = change else {
        return Err(Failure::new("Nothing to do: give -list, -install KEY, -use KEY or -remove KEY."));
    };
    let body = json!({"Key": key}).to_string();
    let (says, doing) = match what {
        "install" => ("Installing new gossip encryption key", "installing the key"),
        "use" => ("Changing primary gossip encryption key", "changing the primary key"),
        _ => ("Removing gossip encryption key", "removing the key"),
    };
    writeln!(surroundings.out, "==> {says}...")?;
    let answer = match what {
        "install" => client.post(doing, PATH, &query, body.as_bytes())?,
        "use" => client.put(doing, PATH, &query, body.as_bytes())?,
        _ => client.delete_named(doing, PATH, &query, body.as_bytes())?,
    };
    client.ok(doing, answer).map(|_| ())
}

/// As Consul shows them: a pool, and of each key how many agents have it.
fn show(pools: &[Pool], surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    for pool in pools {
        writeln!(surroundings.out, "\n{} (LAN):", pool.datacenter)?;
        for (key, count) in &pool.keys {
            let primary = if pool.primary_keys.contains_key(key) { " (primary)" } else { "" };
            writeln!(surroundings.out, "  {key} [{count}/{}]{primary}", pool.num_nodes)?;
        }
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    datacenter: String,
    keys: BTreeMap<String, usize>,
    #[serde(default)]
    primary_keys: BTreeMap<String, usize>,
    num_nodes: usize,
}
