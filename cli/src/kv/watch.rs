//! `kv watch`: what happens to a key, or to all under a prefix, as it happens.

use super::entry::Entry;
use super::{key, key_arg, missing_key, path};
use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgMatches, Command, value_parser};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};

/// The longest line of a stream: the largest value in base64, several times over.
const LINE_MAX: u64 = 64 << 20;

pub(super) fn command() -> Command {
    client::with_options(
        Command::new("watch")
            .about("Shows what happens to a key, as it happens")
            .after_help(
                "Every put and delete, once and in order, until ctrl-c. When the connection breaks it goes on where it was. When the\n\
                 servers no longer remember back to -index it says so and ends: list the keys again, and watch from there.",
            )
            .args([
                key_arg("KEY_OR_PREFIX"),
                flag("recurse", "Every key that starts with the prefix"),
                option("index", "INDEX", "Begin after this index; from now on by default").value_parser(value_parser!(u64)),
                option("format", "FORMAT", "How to show it: a line each").value_parser(["pretty", "json"]).default_value("pretty"),
            ]),
    )
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let key = key(matches);
    let recurse = is_on(matches, "recurse");
    if key.is_empty() && !recurse {
        return Err(missing_key());
    }
    let client = Client::new(matches, surroundings)?;
    let json = value(matches, "format") == Some("json");
    let mut told = matches.get_one::<u64>("index").copied();
    let doing = format!("watching '{key}'");
    loop {
        let index = told.map(|index| index.to_string());
        let mut query = vec![("stream", "")];
        query.extend(recurse.then_some(("recurse", "")));
        query.extend(index.iter().map(|index| ("index", index.as_str())));
        let mut events = Events { lines: BufReader::new(client.get_stream(&doing, &path(key), &query)?.body) };
        let begun = told;
        while let Some(event) = events.next() {
            match event.name.as_str() {
                "put" => show(&put(&client, &doing, &event)?, json, surroundings.out)?,
                "delete" => show(&delete(&client, &doing, &event)?, json, surroundings.out)?,
                "compacted" => {
                    return Err(Failure::new(format!(
                        "Error {doing}: the servers no longer remember what happened after index {}. List the keys with `quorate kv get`, \
                         and watch again.",
                        told.unwrap_or(0)
                    )));
                }
                // Signs of life, and what later versions may tell.
                _ => {}
            }
            told = event.id.or(told);
        }
        // Each time something must have come, or this would spin.
        if told == begun {
            let resume = told.map_or_else(String::new, |index| format!(" Go on with -index={index}."));
            return Err(Failure::new(format!("Error {doing}: the stream ended.{resume}")));
        }
    }
}

/// A change.
enum Change {
    Put(Entry),
    Delete { key: String, index: u64 },
}

fn put(client: &Client, doing: &str, event: &Event) -> Result<Change, Failure> {
    super::entry::decoded(client, doing, event.data.as_bytes()).map(Change::Put)
}

fn delete(client: &Client, doing: &str, event: &Event) -> Result<Change, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Deleted {
        key: String,
        modify_index: u64,
    }
    let Deleted { key, modify_index: index } = client.json(doing, event.data.as_bytes())?;
    Ok(Change::Delete { key, index })
}

fn show(change: &Change, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    match (change, json) {
        (Change::Put(entry), false) => {
            write!(out, "{} put {}:", entry.modify_index, entry.key)?;
            out.write_all(&entry.value)?;
            writeln!(out)?;
        }
        (Change::Delete { key, index }, false) => writeln!(out, "{index} delete {key}")?,
        (Change::Put(entry), true) => {
            let session = (!entry.session.is_empty()).then_some(&entry.session);
            let shown: Value = json!({
                "op": "put", "index": entry.modify_index, "key": entry.key, "flags": entry.flags, "session": session,
                "value": STANDARD.encode(&entry.value),
            });
            writeln!(out, "{shown}")?;
        }
        (Change::Delete { key, index }, true) => {
            writeln!(out, "{}", json!({ "op": "delete", "index": index, "key": key }))?;
        }
    }
    // Whoever reads this waits for it.
    Ok(out.flush()?)
}

/// Server-sent events (HTML living standard, 9.2), as far as agents send them.
struct Events<R> {
    lines: BufReader<R>,
}

#[derive(Default)]
struct Event {
    name: String,
    data: String,
    id: Option<u64>,
}

impl<R: Read> Events<R> {
    /// The next one; none when the stream has ended or broken off, which is the same to whoever resumes.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = Vec::new();
            self.lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).ok()?;
            let line = String::from_utf8(line).ok()?;
            let line = line.strip_suffix('\n')?;
            match line.split_once(": ") {
                None if line.is_empty() && !event.name.is_empty() => return Some(event),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = data.to_owned(),
                Some(("id", id)) => event.id = id.parse().ok(),
                // A comment, or the end of one.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_or_not_at_all() {
        let text = "event: progress\nid: 3\ndata: {}\n\n: a comment: with a colon\n\nevent: put\ndata: {\"a\": 1}\n\nevent: put\nid: 4\ndata: ";
        let mut events = Events { lines: BufReader::new(text.as_bytes()) };
        let mut seen = Vec::new();
        while let Some(Event { name, data, id }) = events.next() {
            seen.push((name, data, id));
        }
        let expected = [("progress", "{}", Some(3)), ("put", "{\"a\": 1}", None)];
        assert_eq!(seen, expected.map(|(name, data, id)| (name.to_owned(), data.to_owned(), id)));
    }
}
