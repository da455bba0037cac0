//! `members`: who is here, and why one of them is believed to be as it is.

use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use crate::{table, why};
use clap::{ArgMatches, Command};
use regex_lite::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The exit code where no member matches, as in Consul.
const NONE_FOUND: i32 = 2;

pub(crate) fn command() -> Command {
    client::with_options(
        Command::new("members").about("Lists the members of the gossip pool").args([
            flag("detailed", "Show the tags of each member"),
            option("status", "REGEX", "Only members whose status matches: alive, leaving, left, failed")
                .default_value(".*"),
            flag("wan", "The wide-area pool (not yet)"),
            option(
                "why",
                "NODE",
                "What led the agent to its view of this member: who accused it, what the agent waited for",
            ),
        ]),
    )
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    if is_on(matches, "wan") {
        return Err(Failure::new("There is no wide-area pool yet: leave out -wan."));
    }
    let pattern = value(matches, "status").unwrap_or(".*");
    // Anchored at both ends, so that a plain word means that status alone.
    let status = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
        Failure::new(format!("-status '{pattern}' is not a regular expression ({error}): try 'alive|failed'."))
    })?;
    let client = Client::new(matches, surroundings)?;
    if let Some(node) = value(matches, "why") {
        return why::run(&client, node, surroundings);
    }
    let mut members: Vec<Member> = client.get_json("listing the members", "/v1/agent/members", &[])?;
    members.retain(|member| status.is_match(member.status()));
    if members.is_empty() {
        return Err(Failure::Silent(NONE_FOUND));
    }
    members.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.address().cmp(&b.address())));
    if is_on(matches, "detailed") {
        let rows = members.iter().map(|m| [m.name.clone(), m.address(), m.status().to_owned(), m.all_tags()]);
        let header = ["Node", "Address", "Status", "Tags"].map(str::to_owned);
        table::write(surroundings.out, &[header].into_iter().chain(rows).collect::<Vec<_>>())?;
    } else {
        let header = ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC"].map(str::to_owned);
        let rows = members.iter().map(Member::row);
        table::write(surroundings.out, &[header].into_iter().chain(rows).collect::<Vec<_>>())?;
    }
    Ok(())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
}

impl Member {
    fn address(&self) -> String {
        if self.addr.contains(':') {
            format!("[{}]:{}", self.addr, self.port)
        } else {
            format!("{}:{}", self.addr, self.port)
        }
    }

    const fn status(&self) -> &'static str {
        match self.status {
            0 => "none",
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "unknown",
        }
    }

    fn row(&self) -> [String; 7] {
        let tag = |name: &str| self.tags.get(name).map(String::as_str);
        let kind = match tag("role") {
            Some("consul") => "server",
            Some("node") => "client",
            _ => "unknown",
        };
        // Consul's build is `version:revision`.
        let build = tag("build").and_then(|build| build.split(':').next()).unwrap_or("unknown");
        let protocol = tag("vsn").or_else(|| tag("vsn_max")).unwrap_or("unknown");
        let [status, kind, build, protocol, dc] =
            [self.status(), kind, build, protocol, tag("dc").unwrap_or_default()].map(str::to_owned);
        [self.name.clone(), self.address(), status, kind, build, protocol, dc]
    }

    fn all_tags(&self) -> String {
        self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }
}
