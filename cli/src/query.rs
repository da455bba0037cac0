//! `query`: ask all agents something, and show their answers as they come.

use crate::client::{self, Client, in_path};
use crate::command::{Surroundings, flag, is_on, option, value, values};
use crate::failure::Failure;
use crate::stream::Events;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("query").about("Asks all agents something, and shows the answers as they come").args([
            option("node", "NAME", "Only this node; may be repeated").action(ArgAction::Append),
            option("tag", "KEY=REGEX", "Only nodes with such a tag; may be repeated").action(ArgAction::Append),
            option("timeout", "DURATION", "How long answers are taken; long enough for all to answer by default"),
            option("relay-factor", "N", "Through how many members answers also come, at most 5"),
            flag("no-ack", "Do not have agents say that the question arrived"),
            option("format", "FORMAT", "text, or json once all is there")
                .value_parser(["text", "json"])
                .default_value("text"),
            Arg::new("name").help("What is asked; required"),
            Arg::new("payload").help("Whatever belongs to it; at most 1024 bytes together with name and filters"),
        ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let Some(name) = value(matches, "name").filter(|name| !name.is_empty()) else {
        return Err(Failure::new("A query has a name: `quorate query NAME [PAYLOAD]`, such as `quorate query load`."));
    };
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    for filter in ["node", "tag"] {
        parameters.extend(values(matches, filter).into_iter().map(|value| (filter, value)));
    }
    for single in ["timeout", "relay-factor"] {
        parameters.extend(value(matches, single).map(|value| (single, value)));
    }
    if !is_on(matches, "no-ack") {
        parameters.push(("ack", ""));
    }
    let payload = value(matches, "payload").unwrap_or_default();
    let mut replies = Replies::ask(&Client::new(matches, surroundings)?, name, &parameters, payload.as_bytes())?;
    if value(matches, "format") == Some("json") {
        return as_json(&mut replies, surroundings);
    }
    let out = &mut surroundings.out;
    writeln!(out, "Query '{name}' dispatched")?;
    let (mut acks, mut answers) = (0, 0);
    while let Some(reply) = replies.next()? {
        match reply {
            Reply::Ack { node } => {
                acks += 1;
                writeln!(out, "Ack from '{node}'")?;
            }
            Reply::Answer { node, payload } => {
                answers += 1;
                writeln!(out, "Response from '{node}': {}", String::from_utf8_lossy(&payload))?;
            }
        }
        out.flush()?;
    }
    Ok(writeln!(out, "Total Acks: {acks}\nTotal Responses: {answers}")?)
}

/// Serf's form.
fn as_json(replies: &mut Replies, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let (mut acks, mut answers) = (Vec::new(), Map::new());
    while let Some(reply) = replies.next()? {
        match reply {
            Reply::Ack { node } => acks.push(Value::from(node)),
            Reply::Answer { node, payload } => {
                answers.insert(node, Value::from(String::from_utf8_lossy(&payload)));
            }
        }
    }
    let shown = serde_json::to_string_pretty(&json!({"Acks": acks, "Responses": answers})).unwrap_or_default();
    Ok(writeln!(surroundings.out, "{shown}")?)
}

/// What members say to a query, as it comes.
pub(crate) struct Replies(Events);

/// What one member says.
pub(crate) enum Reply {
    /// The question arrived.
    Ack { node: String },
    /// Its answer.
    Answer { node: String, payload: Vec<u8> },
}

impl Replies {
    pub(crate) fn ask(
        client: &Client,
        name: &str,
        parameters: &[(&str, &str)],
        payload: &[u8],
    ) -> Result<Replies, Failure> {
        let path = format!("/v1/agent/query/{}", in_path(name));
        let stream = client.put_for_stream("asking all agents", &path, parameters, payload)?;
        Ok(Replies(Events::new(stream, "answers")))
    }

    /// The next reply; none once the time is up.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, Failure> {
        loop {
            let Some((kind, data)) = self.0.next()? else {
                return Err(Failure::new("The stream of answers ended early: the agent is gone. Ask again."));
            };
            let unreadable =
                |error: &dyn std::fmt::Display| Failure::new(format!("The agent's answer is unreadable: {error}"));
            let said: Said = serde_json::from_str(&data).map_err(|error| unreadable(&error))?;
            match kind.as_str() {
                "ack" => return Ok(Some(Reply::Ack { node: said.node })),
                "answer" => {
                    let payload = STANDARD.decode(said.payload).map_err(|error| unreadable(&error))?;
                    return Ok(Some(Reply::Answer { node: said.node, payload }));
                }
                "done" => return Ok(None),
                _ => {}
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    node: String,
    payload: String,
}
