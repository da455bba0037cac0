//! `/v1/operator/autopilot/`: how the leader looks after servers, and how well they are.

use super::ask;
use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::Empty;
use crate::json::fields::Fields;
use crate::json::time::rfc3339;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use quorate_protocol::{
    Answer, AutopilotConfig, AutopilotState, LogIndex, OperatorRequest, Outcome, RaftServer, Read, Reply, ServerHealth,
    Write, go,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

pub(super) fn routes() -> Router<Door> {
    Router::new()
        .exactly("/v1/operator/autopilot/configuration", methods().get(configuration).put(configure))
        .exactly("/v1/operator/autopilot/health", methods().get(health))
        .exactly("/v1/operator/autopilot/state", methods().get(state))
}

async fn configuration(call: Call) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown {
        cleanup_dead_servers: bool,
        last_contact_threshold: String,
        max_trailing_logs: u64,
        min_quorum: u32,
        server_stabilization_time: String,
        redundancy_zone_tag: &'static str,
        disable_upgrade_migration: bool,
        upgrade_version_tag: &'static str,
        create_index: u64,
        modify_index: u64,
    }
    let found = call.read(Read::Autopilot).await?;
    let Answer::Autopilot(config) = &found.answer else { return Err(Error::WrongReply) };
    let shown = Shown {
        cleanup_dead_servers: config.cleanup_dead_servers,
        last_contact_threshold: go::format_duration(config.last_contact_threshold),
        max_trailing_logs: config.max_trailing_logs,
        min_quorum: config.min_quorum,
        server_stabilization_time: go::format_duration(config.server_stabilization_time),
        redundancy_zone_tag: "",
        disable_upgrade_migration: false,
        upgrade_version_tag: "",
        create_index: config.create_index.0,
        modify_index: config.modify_index.0,
    };
    call.answer_read(found.freshness, &shown)
}

async fn configure(call: Call, body: Body) -> Result<Response, Error> {
    let cas = call.query.number("cas").map_err(|error| match error {
        // The one number of Consul's whose refusal is a bad request.
        Error::Refused(why) => Error::BadRequest(format!("Bad request: Error parsing cas value: {why}")),
        other => other,
    })?;
    let config =
        take_config(Fields::parse_saying("Bad request: Error parsing autopilot config", &call.json(body).await?)?)?;
    let written = call.write(call.dc(), Write::Autopilot { config, cas: cas.map(LogIndex) }).await?;
    call.answer_write(written.index, &(written.outcome == Outcome::Done))
}

/// What is not said is as it is by default, as Consul's documentation has it.
fn take_config(mut fields: Fields) -> Result<AutopilotConfig, Error> {
    let default = AutopilotConfig::default();
    let min_quorum = fields.take_count("MinQuorum")?;
    let config = AutopilotConfig {
        cleanup_dead_servers: fields.take_truth_if_given("CleanupDeadServers")?.unwrap_or(default.cleanup_dead_servers),
        last_contact_threshold: fields
            .take_duration_if_given("LastContactThreshold")?
            .unwrap_or(default.last_contact_threshold),
        max_trailing_logs: fields.take_unsigned("MaxTrailingLogs")?.unwrap_or(default.max_trailing_logs),
        min_quorum,
        server_stabilization_time: fields
            .take_duration_if_given("ServerStabilizationTime")?
            .unwrap_or(default.server_stabilization_time),
    };
    fields.ignore(&["RedundancyZoneTag", "DisableUpgradeMigration", "UpgradeVersionTag", "CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok(config)
}

async fn health(call: Call) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown<'a> {
        healthy: bool,
        failure_tolerance: u32,
        servers: Vec<HealthRow<'a>>,
    }
    let state = ask_state(&call).await?;
    let now = (call.config().wall_clock)();
    let mut response = call.answer(&Shown {
        healthy: state.healthy,
        failure_tolerance: state.failure_tolerance,
        servers: state.servers.iter().map(|server| HealthRow::of(server, now)).collect(),
    })?;
    if !state.healthy {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    Ok(response)
}

async fn state(call: Call) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown<'a> {
        healthy: bool,
        failure_tolerance: u32,
        optimistic_failure_tolerance: u32,
        servers: BTreeMap<String, StateRow<'a>>,
        leader: String,
        voters: Vec<String>,
    }
    let state = ask_state(&call).await?;
    let now = (call.config().wall_clock)();
    let ids = |wanted: fn(&RaftServer) -> bool| {
        let servers = state.servers.iter().map(|health| &health.server);
        servers.filter(move |server| wanted(server)).map(|server| server.id.to_string())
    };
    call.answer(&Shown {
        healthy: state.healthy,
        failure_tolerance: state.failure_tolerance,
        optimistic_failure_tolerance: state.failure_tolerance,
        servers: state.servers.iter().map(|server| (server.server.id.to_string(), StateRow::of(server, now))).collect(),
        leader: ids(|server| server.leader).next().unwrap_or_default(),
        voters: ids(|server| server.voter).collect(),
    })
}

async fn ask_state(call: &Call) -> Result<AutopilotState, Error> {
    match ask(call, OperatorRequest::AutopilotState).await? {
        Reply::Autopilot(state) => Ok(state),
        _ => Err(Error::WrongReply),
    }
}

/// A server as `health` shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    address: String,
    serf_status: &'a str,
    version: &'a str,
    leader: bool,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    voter: bool,
    stable_since: String,
}

impl<'a> HealthRow<'a> {
    fn of(health: &'a ServerHealth, now: SystemTime) -> HealthRow<'a> {
        HealthRow {
            id: health.server.id.to_string(),
            name: &health.server.node,
            address: health.server.address.to_string(),
            serf_status: &health.serf_status,
            version: &health.version,
            leader: health.server.leader,
            last_contact: go::format_duration(health.last_contact),
            last_term: health.last_term.0,
            last_index: health.last_index.0,
            healthy: health.healthy,
            voter: health.server.voter,
            stable_since: stable_since(health, now),
        }
    }
}

/// A server as `state` shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StateRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    address: String,
    node_status: &'a str,
    version: &'a str,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    stable_since: String,
    read_replica: bool,
    status: &'static str,
    meta: Empty,
    node_type: &'static str,
}

impl<'a> StateRow<'a> {
    fn of(health: &'a ServerHealth, now: SystemTime) -> StateRow<'a> {
        StateRow {
            id: health.server.id.to_string(),
            name: &health.server.node,
            address: health.server.address.to_string(),
            node_status: &health.serf_status,
            version: &health.version,
            last_contact: go::format_duration(health.last_contact),
            last_term: health.last_term.0,
            last_index: health.last_index.0,
            healthy: health.healthy,
            stable_since: stable_since(health, now),
            read_replica: false,
            status: match (health.server.leader, health.server.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "non-voter",
            },
            meta: Empty {},
            node_type: "voter",
        }
    }
}

fn stable_since(health: &ServerHealth, now: SystemTime) -> String {
    rfc3339(now.checked_sub(health.stable_for).unwrap_or(SystemTime::UNIX_EPOCH))
}
