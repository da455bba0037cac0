//! `/v1/operator/`: the servers, for those who look after them.
//!
//! Who takes part in Raft is here; how the leader looks after servers is in [`autopilot`]; the keys of all agents are in [`keyring`].

mod autopilot;
mod keyring;

use crate::call::{Call, Door};
use crate::error::Error;
use crate::route::{Routes, methods};
use axum::Router;
use axum::response::{IntoResponse, Response};
use quorate_protocol::go::quote;
use quorate_protocol::{Ask, LocalRequest, NodeId, OperatorRequest, PeerSelector, RaftServer, Refusal, Reply};
use serde::Serialize;

/// What whoever gives up the other servers must say.
const CONFIRMATION: &str = "i-accept-losing-writes";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/operator/raft/configuration", methods().get(configuration))
        .exactly("/v1/operator/raft/peer", methods().delete(remove_peer))
        .exactly("/v1/operator/raft/transfer-leader", methods().post(transfer_leader))
        .exactly("/v1/operator/raft/recover-quorum", methods().post(recover_quorum))
        .merge(autopilot::routes())
        .merge(keyring::routes())
}

async fn configuration(call: Call) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown<'a> {
        servers: Vec<ServerRow<'a>>,
        index: u64,
    }
    match ask(&call, OperatorRequest::RaftConfiguration).await? {
        Reply::RaftConfiguration(configuration) => call.answer(&Shown {
            servers: configuration.servers.iter().map(ServerRow::of).collect(),
            index: configuration.index.0,
        }),
        _ => Err(Error::WrongReply),
    }
}

async fn remove_peer(call: Call) -> Result<Response, Error> {
    let refuse = |why: &str| Err(Error::BadRequest(format!("Bad request: {why}")));
    let absent = |kind: &str, text: &str| {
        Error::Refused(format!("{kind} {} was not found in the Raft configuration", quote(text)))
    };
    let peer = match (call.query.get("id"), call.query.get("address")) {
        (None, None) => {
            return refuse("Must specify either ?id with the server's ID or ?address with IP:port of peer to remove");
        }
        (Some(_), Some(_)) => return refuse("Must specify only one of ?id or ?address"),
        (Some(id), None) => PeerSelector::Id(id.parse().map_err(|_| absent("id", id))?),
        (None, Some(address)) => PeerSelector::Address(address.parse().map_err(|_| absent("address", address))?),
    };
    done(&ask(&call, OperatorRequest::RemovePeer(peer)).await?)?;
    Ok(().into_response())
}

async fn transfer_leader(call: Call) -> Result<Response, Error> {
    let to: Option<NodeId> = match call.query.get("id").filter(|id| !id.is_empty()) {
        None => None,
        Some(id) => Some(id.parse().map_err(|why| Error::BadRequest(format!("Bad request: Invalid id: {why}")))?),
    };
    done(&ask(&call, OperatorRequest::TransferLeader { to }).await?)?;
    call.answer(&Success { success: true })
}

/// Asked of the server that is to remain, and of no other. (An extension.)
async fn recover_quorum(call: Call) -> Result<Response, Error> {
    if call.query.get("confirm") != Some(CONFIRMATION) {
        return Err(Error::BadRequest(format!(
            "this makes the server that is asked the only one of its cluster, and whatever only the others had acknowledged is lost: first \
             make sure that the others are gone for ever and that this one has the longest log, then say so with ?confirm={CONFIRMATION}"
        )));
    }
    call.order(LocalRequest::RecoverQuorum).await?;
    call.answer(&Success { success: true })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Success {
    success: bool,
}

/// Asks the leader. As in Consul, what it does not find is no path that is not there: 500.
async fn ask(call: &Call, request: OperatorRequest) -> Result<Reply, Error> {
    call.ask(call.dc(), Ask::Operator(request)).await.map_err(|error| match error {
        Error::Cluster(Refusal::NotFound(sentence)) => Error::Refused(sentence),
        other => other,
    })
}

fn done(reply: &Reply) -> Result<(), Error> {
    match reply {
        Reply::Done => Ok(()),
        _ => Err(Error::WrongReply),
    }
}

/// A server that takes part in Raft.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    node: &'a str,
    address: String,
    leader: bool,
    /// Consul's third version, the first in which servers have identities apart from their addresses.
    protocol_version: &'static str,
    voter: bool,
}

impl<'a> ServerRow<'a> {
    fn of(server: &'a RaftServer) -> ServerRow<'a> {
        ServerRow {
            id: server.id.to_string(),
            node: &server.node,
            address: server.address.to_string(),
            leader: server.leader,
            protocol_version: "3",
            voter: server.voter,
        }
    }
}
