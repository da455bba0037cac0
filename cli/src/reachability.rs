//! `reachability`: whether every living member hears this agent and is heard by it.

use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on};
use crate::failure::Failure;
use crate::query::{Replies, Reply};
use clap::{ArgMatches, Command};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The query that every agent acknowledges.
const PING: &str = "_ping";

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("reachability")
            .about("Tests whether every living member hears this agent and is heard by it")
            .arg(flag("verbose", "Show each acknowledgement")),
    )
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let members: Vec<Member> = client.get_json("listing the members", "/v1/agent/members", &[])?;
    let alive: BTreeSet<String> = members.into_iter().filter(|m| m.status == ALIVE).map(|m| m.name).collect();
    let out = &mut surroundings.out;
    writeln!(out, "Starting reachability test...")?;
    let mut heard = BTreeSet::new();
    let mut replies = Replies::ask(&client, PING, &[("ack", "")], &[])?;
    // Once all have answered there is nothing to wait for.
    while !alive.is_subset(&heard)
        && let Some(reply) = replies.next()?
    {
        let (Reply::Ack { node } | Reply::Answer { node, .. }) = reply;
        if is_on(matches, "verbose") {
            writeln!(out, "\tAck from '{node}'")?;
        }
        heard.insert(node);
    }
    let silent: Vec<&str> = alive.difference(&heard).map(String::as_str).collect();
    if silent.is_empty() {
        return Ok(writeln!(out, "Successfully contacted all {} live nodes", alive.len())?);
    }
    writeln!(out, "Received acks from {} of {} live nodes", alive.len() - silent.len(), alive.len())?;
    Err(Failure::new(format!(
        "No answer from: {}. `quorate members` shows what becomes of them. If they stay silent and alive, datagrams of the gossip \
         port are lost on the way there or back: look at firewalls and the UDP port.",
        silent.join(", ")
    )))
}

/// As `/v1/agent/members` says it.
const ALIVE: u8 = 1;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    status: u8,
}
