//! `/v1/agent/`: this agent, whatever the cluster does.

mod check;
mod events;
mod health;
mod maintenance;
mod query;
mod service;
mod why;

use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::fields::Fields;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use quorate_protocol::{AgentDescription, LocalRequest, Member, Refusal, Reply, go};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

const JOIN: &str = "/v1/agent/join/";
const FORCE_LEAVE: &str = "/v1/agent/force-leave/";

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/agent/self", methods().get(itself))
        .exactly("/v1/agent/members", methods().get(members))
        .below(why::PATH, methods().get(why::why))
        .below(JOIN, methods().put(join))
        .exactly("/v1/agent/leave", methods().put(leave))
        .exactly("/v1/agent/reload", methods().put(reload))
        .below(FORCE_LEAVE, methods().put(force_leave))
        .exactly("/v1/agent/tags", methods().put(change_tags))
        .merge(events::routes())
        .merge(query::routes())
        .merge(service::routes())
        .merge(check::routes())
        .merge(health::routes())
        .merge(maintenance::routes())
}

async fn itself(call: Call) -> Result<Response, Error> {
    match call.local(LocalRequest::Describe).await? {
        Reply::Agent(agent) => call.answer(&SelfRow::of(&agent, &call)),
        _ => Err(Error::WrongReply),
    }
}

async fn members(call: Call) -> Result<Response, Error> {
    call.query.no_filter()?;
    // There is no wide-area pool yet, so nobody is in it.
    if call.query.get("wan").is_some_and(|value| !value.is_empty()) {
        return call.answer(&[(); 0]);
    }
    match call.local(LocalRequest::Members).await? {
        Reply::Members(members) => call.answer(&members.iter().map(MemberRow::of).collect::<Vec<_>>()),
        _ => Err(Error::WrongReply),
    }
}

async fn join(call: Call) -> Result<Response, Error> {
    let text = call.name(JOIN, "Missing address to join")?;
    if call.query.get("wan").is_some_and(|value| !value.is_empty()) {
        return Err(Error::BadRequest("the wide-area pool is not supported yet: leave out ?wan".to_owned()));
    }
    call.order(LocalRequest::Join { addresses: vec![text] }).await?;
    Ok(done())
}

/// The agent may be gone before the answer is out; clients expect that.
async fn leave(call: Call) -> Result<Response, Error> {
    call.order(LocalRequest::Leave).await?;
    Ok(done())
}

/// Reads the configuration files again.
async fn reload(call: Call) -> Result<Response, Error> {
    match call.order(LocalRequest::Reload { definitions: None }).await {
        // The files are at fault, not the request.
        Err(Error::BadRequest(why)) => Err(Error::Refused(why)),
        other => other.map(|()| done()),
    }
}

/// Declares a failed member gone.
async fn force_leave(call: Call) -> Result<Response, Error> {
    let name = call.name(FORCE_LEAVE, "Missing node name")?;
    let prune = call.query.truth("prune")?;
    match call.order(LocalRequest::ForceLeave { name, prune }).await {
        // Consul's status.
        Err(Error::Cluster(Refusal::NotFound(why))) => Err(Error::Refused(why)),
        other => other.map(|()| done()),
    }
}

/// Changes what this agent says of itself: `{"Set":{"k":"v"},"Delete":["k2"]}`. (An extension.)
async fn change_tags(call: Call, body: Body) -> Result<Response, Error> {
    let mut fields = Fields::parse(&call.json(body).await?)?;
    let set = fields.take_text_map("Set")?;
    let delete = fields.take_texts("Delete")?.into_iter().collect();
    fields.finish()?;
    call.order(LocalRequest::ChangeTags { set, delete }).await?;
    Ok(done())
}

/// 200 with an empty body.
fn done() -> Response {
    Response::new(Body::empty())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MemberRow<'a> {
    name: &'a str,
    addr: IpAddr,
    port: u16,
    tags: &'a BTreeMap<String, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl<'a> MemberRow<'a> {
    /// The protocol numbers are those of a Consul 1.9 agent, which clients compare and nothing here speaks: the range
    /// of Quorate's own wire is in the tags `vsn_min` and `vsn_max`.
    fn of(member: &'a Member) -> MemberRow<'a> {
        MemberRow {
            name: &member.name,
            addr: member.address.ip(),
            port: member.address.port(),
            tags: &member.tags,
            status: member.status.as_number(),
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SelfRow<'a> {
    config: ConfigRow<'a>,
    debug_config: DebugConfigRow<'a>,
    /// Where the agent is in the network; not measured yet.
    coord: Option<()>,
    member: MemberRow<'a>,
    stats: BTreeMap<&'static str, BTreeMap<String, String>>,
    meta: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigRow<'a> {
    datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "NodeID")]
    node_id: String,
    revision: &'a str,
    server: bool,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DebugConfigRow<'a> {
    datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "NodeID")]
    node_id: String,
    revision: &'a str,
    server_mode: bool,
    version: &'a str,
    #[serde(rename = "SerfAdvertiseAddrLAN")]
    serf_advertise_addr_lan: String,
    #[serde(rename = "KVMaxValueSize")]
    kv_max_value_size: usize,
    default_query_time: String,
    max_query_time: String,
}

impl<'a> SelfRow<'a> {
    fn of(agent: &'a AgentDescription, call: &'a Call) -> SelfRow<'a> {
        let config = call.config();
        let node_id = agent.member.id.to_string();
        SelfRow {
            config: ConfigRow {
                datacenter: &agent.datacenter,
                node_name: &agent.member.name,
                node_id: node_id.clone(),
                revision: &config.revision,
                server: agent.server,
                version: &agent.version,
            },
            debug_config: DebugConfigRow {
                datacenter: &agent.datacenter,
                node_name: &agent.member.name,
                node_id,
                revision: &config.revision,
                server_mode: agent.server,
                version: &agent.version,
                serf_advertise_addr_lan: format!("tcp://{}", agent.member.address),
                kv_max_value_size: config.max_value_size,
                default_query_time: go::format_duration(config.default_query_time),
                max_query_time: go::format_duration(config.max_query_time),
            },
            coord: None,
            member: MemberRow::of(&agent.member),
            stats: stats(agent, &config.revision),
            meta: &config.node_meta,
        }
    }
}

/// Numbers and states as text, by section, as `consul info` prints them.
fn stats(agent: &AgentDescription, revision: &str) -> BTreeMap<&'static str, BTreeMap<String, String>> {
    let mut sections = BTreeMap::new();
    sections.insert("build", section([("version", agent.version.clone()), ("revision", revision.to_owned())]));
    sections.insert(
        "runtime",
        section([("os", std::env::consts::OS.to_owned()), ("arch", std::env::consts::ARCH.to_owned())]),
    );
    let (alive, failed, left) = (agent.members_alive, agent.members_failed, agent.members_left);
    sections.insert(
        "serf_lan",
        section([
            ("members", (alive + failed + left).to_string()),
            ("failed", failed.to_string()),
            ("left", left.to_string()),
        ]),
    );
    let mut consul = section([
        ("server", agent.server.to_string()),
        ("known_servers", agent.known_servers.to_string()),
        ("acl", "disabled".to_owned()),
    ]);
    if let Some(raft) = &agent.raft {
        let leader = raft.leader.and_then(|leader| raft.peers.iter().find(|peer| peer.id == leader));
        consul.extend(section([
            ("bootstrap", (agent.member.bootstrap_expect() == Some(1)).to_string()),
            ("known_datacenters", "1".to_owned()),
            ("leader", (raft.leader == Some(agent.member.id)).to_string()),
            ("leader_addr", leader.map(|peer| peer.address.to_string()).unwrap_or_default()),
        ]));
        let others = raft.peers.iter().filter(|peer| peer.voter && peer.id != agent.member.id).count();
        sections.insert(
            "raft",
            section([
                ("state", raft.role.clone()),
                ("term", raft.term.to_string()),
                ("last_log_index", raft.last_index.to_string()),
                ("commit_index", raft.commit_index.to_string()),
                ("applied_index", raft.applied_index.to_string()),
                ("num_peers", others.to_string()),
            ]),
        );
    }
    sections.insert("consul", consul);
    let counters = agent.counters.iter().map(|(name, count)| (name.clone(), count.to_string())).collect();
    sections.insert("counters", counters);
    sections
}

fn section<const N: usize>(lines: [(&str, String); N]) -> BTreeMap<String, String> {
    lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
