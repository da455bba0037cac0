//! `maint`: take the node or a service out of service, and put it back.

use crate::client::{self, Client, in_path};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use clap::{ArgMatches, Command};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The ids of the checks that say so.
const NODE: &str = "_node_maintenance";
const SERVICE_PREFIX: &str = "_service_maintenance:";

pub(crate) fn command() -> Command {
    let about = "Takes the node or a service out of service; without a flag, shows what is";
    client::with_options(Command::new("maint").about(about).args([
        flag("enable", "Take it out of service"),
        flag("disable", "Put it back"),
        option("reason", "TEXT", "Why, for people; only with -enable"),
        option("service", "ID", "The id of a service of the agent; the whole node where not given"),
    ]))
}

pub(crate) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let (service, reason) = (value(matches, "service"), value(matches, "reason"));
    let enable = match (is_on(matches, "enable"), is_on(matches, "disable")) {
        (true, true) => return Err(Failure::new("Only one of -enable or -disable may be provided.")),
        (false, _) if reason.is_some() => return Err(Failure::new("A -reason may only be provided with -enable.")),
        (false, false) if service.is_some() => {
            return Err(Failure::new("Say what to do with the service: -enable or -disable."));
        }
        (false, false) => return list(matches, surroundings),
        (enable, _) => enable,
    };
    let client = Client::new(matches, surroundings)?;
    let doing = "changing the maintenance mode";
    let path = match service {
        Some(id) => format!("/v1/agent/service/maintenance/{}", in_path(id)),
        None => "/v1/agent/maintenance".to_owned(),
    };
    let mut query = vec![("enable", if enable { "true" } else { "false" })];
    query.extend(reason.map(|reason| ("reason", reason)));
    client.ok(doing, client.put(doing, &path, &query, b"")?)?;
    let now = if enable { "enabled" } else { "disabled" };
    match service {
        Some(id) => writeln!(surroundings.out, "Service maintenance is now {now} for {id:?}")?,
        None => writeln!(surroundings.out, "Node maintenance is now {now}")?,
    }
    Ok(())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Check {
    node: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    notes: String,
}

fn list(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let checks: BTreeMap<String, Check> = client.get_json("listing the checks", "/v1/agent/checks", &[])?;
    for (id, check) in checks {
        let (what, key, name) = match id.as_str() {
            NODE => ("Node", "Name:  ", check.node),
            id if id.starts_with(SERVICE_PREFIX) => ("Service", "ID:    ", check.service_id),
            _ => continue,
        };
        writeln!(surroundings.out, "{what}:\n  {key} {name}\n  Reason: {}\n", check.notes)?;
    }
    Ok(())
}
