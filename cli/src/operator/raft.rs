//! `operator raft`: the servers that take part, one removed, another leader, and the way out when most are lost.

use crate::client::{self, Client};
use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use crate::table;
use clap::{ArgMatches, Command};
use serde::Deserialize;

/// The option that says that the warning was read, and what the HTTP API wants to hear.
const CONFIRMATION: &str = "i-accept-losing-writes";

const WARNING: &str = "\
This makes the server behind this agent the only server of its cluster.

  * Whatever only the lost servers had acknowledged is LOST, and nobody can tell what it was.
  * If any of the other servers is alive or ever starts again with its old data, there are TWO clusters, and each takes writes
    that the other does not have.

It is for one case: most servers are lost for ever, and so there will be no leader again. Before you go on:

  1. Make sure that the others are stopped, and that their data directories are moved away.
  2. Choose the survivor with the newest data: the one whose `quorate info` shows the greatest last_log_index (raft).
  3. Copy its data directory while it is stopped, then start it again.

Then run this on that server alone, with -i-accept-losing-writes, and let new servers with empty data directories join it.";

pub(super) fn command() -> Command {
    let remove_peer = Command::new("remove-peer")
        .about("Takes a server out of Raft")
        .after_help("For a server that will not return: one that runs joins again. One of -id and -address is needed.")
        .args([
            option("id", "ID", "The server's id, as list-peers shows it"),
            option("address", "IP:PORT", "The server's address, as list-peers shows it"),
        ]);
    let transfer = Command::new("transfer-leader").about("Hands the leadership to another server").arg(option(
        "id",
        "ID",
        "To which; the one whose log is furthest by default",
    ));
    let recover = Command::new("recover-quorum")
        .about("Makes this server the only one, when the others are lost for ever")
        .long_about(format!("Makes this server the only one, when the others are lost for ever.\n\n{WARNING}"))
        .arg(flag(CONFIRMATION, "Do it: the warning has been read"));
    Command::new("raft").about("Shows and changes who takes part in Raft").subcommand_required(true).subcommands(
        [Command::new("list-peers").about("Lists the servers that take part"), remove_peer, transfer, recover]
            .map(client::with_options),
    )
}

pub(super) fn run(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("list-peers", matches)) => list_peers(matches, surroundings),
        Some(("remove-peer", matches)) => remove_peer(matches, surroundings),
        Some(("transfer-leader", matches)) => transfer_leader(matches, surroundings),
        Some(("recover-quorum", matches)) => recover_quorum(matches, surroundings),
        _ => Err(Failure::new(
            "`quorate operator raft` needs list-peers, remove-peer, transfer-leader or recover-quorum.",
        )),
    }
}

fn list_peers(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let configuration: Configuration = client.get_json("listing the peers", "/v1/operator/raft/configuration", &[])?;
    let header = ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"].map(str::to_owned);
    let rows = configuration.servers.into_iter().map(|server| {
        let state = if server.leader { "leader" } else { "follower" };
        let Server { node, id, address, voter, protocol_version, .. } = server;
        [node, id, address, state.to_owned(), voter.to_string(), protocol_version]
    });
    table::write(surroundings.out, &[header].into_iter().chain(rows).collect::<Vec<_>>())?;
    Ok(())
}

fn remove_peer(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let (name, given) = match (value(matches, "id"), value(matches, "address")) {
        (Some(id), None) => ("id", id),
        (None, Some(address)) => ("address", address),
        _ => {
            return Err(Failure::new(
                "Name the server by one of -id and -address: `quorate operator raft list-peers` shows them.",
            ));
        }
    };
    let client = Client::new(matches, surroundings)?;
    let doing = format!("removing the peer with the {name} '{given}'");
    client.ok(&doing, client.delete(&doing, "/v1/operator/raft/peer", &[(name, given)])?)?;
    Ok(writeln!(surroundings.out, "Removed peer with {name} \"{given}\"")?)
}

fn transfer_leader(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let client = Client::new(matches, surroundings)?;
    let query: Vec<(&str, &str)> = value(matches, "id").map(|id| ("id", id)).into_iter().collect();
    let doing = "transferring the leadership";
    client.ok(doing, client.post(doing, "/v1/operator/raft/transfer-leader", &query, &[])?)?;
    Ok(writeln!(surroundings.out, "Success")?)
}

fn recover_quorum(matches: &ArgMatches, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    if !is_on(matches, CONFIRMATION) {
        return Err(Failure::new(WARNING));
    }
    let client = Client::new(matches, surroundings)?;
    let doing = "recovering from the lost quorum";
    client.ok(doing, client.post(doing, "/v1/operator/raft/recover-quorum", &[("confirm", CONFIRMATION)], &[])?)?;
    writeln!(surroundings.out, "This server is now the only one of its cluster, and elects itself.")?;
    Ok(writeln!(surroundings.out, "Start new servers with empty data directories, and let them join it.")?)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    servers: Vec<Server>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Server {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    protocol_version: String,
    voter: bool,
}
