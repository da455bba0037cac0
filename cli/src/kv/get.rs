//! `kv get`: a value, the values under a prefix, or the keys alone.

use super::{key, key_arg, missing_key, path};
use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgMatches, Command};
use serde::Deserialize;
use std::io::Write;

pub(super) fn command() -> Command {
    client::with_options(Command::new("get").about("Shows the value of a key").args([
        key_arg("KEY_OR_PREFIX"),
        flag("base64", "Show values as base64"),
        flag("detailed", "Show indexes, flags and session too"),
        flag("keys", "Show the keys that start with the prefix, without values"),
        flag("recurse", "Show every key that starts with the prefix, with its value"),
        option("separator", "TEXT", "With -keys: where keys are cut off; empty for nowhere").default_value("/"),
    ]))
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let key = key(matches);
    let client = Client::new(matches, surroundings)?;
    if is_on(matches, "keys") {
        keys(&client, key, value(matches, "separator").unwrap_or_default(), surroundings.out)
    } else if is_on(matches, "recurse") {
        let query = [("recurse", "")];
        let entries = entries(&client, &format!("reading the keys under '{key}'"), key, &query)?;
        for (i, entry) in entries.iter().enumerate() {
            if is_on(matches, "detailed") {
                if i > 0 {
                    writeln!(surroundings.out)?;
                }
                entry.write_detailed(is_on(matches, "base64"), surroundings.out)?;
            } else {
                write!(surroundings.out, "{}:", entry.key)?;
                entry.write_value(is_on(matches, "base64"), surroundings.out)?;
            }
        }
        Ok(())
    } else if key.is_empty() {
        Err(missing_key())
    } else {
        let entries = entries(&client, &format!("reading the key '{key}'"), key, &[])?;
        let entry = entries.first().ok_or_else(|| Failure::new(format!("Error! No key exists at: {key}")))?;
        match is_on(matches, "detailed") {
            true => entry.write_detailed(is_on(matches, "base64"), surroundings.out),
            false => entry.write_value(is_on(matches, "base64"), surroundings.out),
        }
    }
}

fn keys(client: &Client, prefix: &str, separator: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let doing = format!("listing the keys under '{prefix}'");
    let answer = client.get(&doing, &path(prefix), &[("keys", ""), ("separator", separator)])?;
    if answer.status == 404 {
        return Ok(());
    }
    let keys: Vec<String> = client.json(&doing, &client.ok(&doing, answer)?)?;
    for key in keys {
        writeln!(out, "{key}")?;
    }
    Ok(())
}

/// The entries; none where the agent says that there are none.
fn entries(client: &Client, doing: &str, key: &str, query: &[(&str, &str)]) -> Result<Vec<Entry>, Failure> {
    let answer = client.get(doing, &path(key), query)?;
    if answer.status == 404 {
        return Ok(Vec::new());
    }
    let entries: Vec<Wire> = client.json(doing, &client.ok(doing, answer)?)?;
    entries.into_iter().map(|wire| wire.decoded(doing)).collect()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wire {
    key: String,
    value: Option<String>,
    flags: u64,
    lock_index: u64,
    create_index: u64,
    modify_index: u64,
    session: String,
}

impl Wire {
    fn decoded(self, doing: &str) -> Result<Entry, Failure> {
        let Wire { key, value, flags, lock_index, create_index, modify_index, session } = self;
        let value = STANDARD.decode(value.unwrap_or_default()).map_err(|error| {
            Failure::new(format!("Error {doing}: the agent sent a value of '{key}' that is not base64 ({error})."))
        })?;
        Ok(Entry { key, value, flags, lock_index, create_index, modify_index, session })
    }
}

struct Entry {
    key: String,
    value: Vec<u8>,
    flags: u64,
    lock_index: u64,
    create_index: u64,
    modify_index: u64,
    session: String,
}

impl Entry {
    /// The value's own bytes, whatever they are, and a line end.
    fn write_value(&self, base64: bool, out: &mut dyn Write) -> Result<(), Failure> {
        match base64 {
            true => out.write_all(STANDARD.encode(&self.value).as_bytes())?,
            false => out.write_all(&self.value)?,
        }
        Ok(writeln!(out)?)
    }

    fn write_detailed(&self, base64: bool, out: &mut dyn Write) -> Result<(), Failure> {
        let session = if self.session.is_empty() { "-" } else { &self.session };
        writeln!(out, "CreateIndex      {}", self.create_index)?;
        writeln!(out, "Flags            {}", self.flags)?;
        writeln!(out, "Key              {}", self.key)?;
        writeln!(out, "LockIndex        {}", self.lock_index)?;
        writeln!(out, "ModifyIndex      {}", self.modify_index)?;
        writeln!(out, "Session          {session}")?;
        write!(out, "Value            ")?;
        self.write_value(base64, out)
    }
}
