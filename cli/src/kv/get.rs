//! `kv get`: a value, the values under a prefix, or the keys alone.

use super::{Entry, find, key, key_arg, missing_key, path};
use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgMatches, Command};
use std::io::Write;

pub(super) fn command() -> Command {
    client::with_options(Command::new("get").about("Shows the value of a key").args([
        key_arg("KEY_OR_PREFIX"),
        flag("base64", "Show values as base64"),
        flag("detailed", "Show indexes, flags, who holds the key and the fencing token too"),
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
        let entries = find(&client, &format!("reading the keys under '{key}'"), key, &query)?.entries;
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
        let entries = find(&client, &format!("reading the key '{key}'"), key, &[])?.entries;
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
        if let Some(token) = self.fencing_token {
            writeln!(out, "FencingToken     {token}")?;
        }
        write!(out, "Value            ")?;
        self.write_value(base64, out)
    }
}
