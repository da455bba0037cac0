//! `/v1/agent/members/why/:node`: what led this agent to its view of a member. An extension.

use crate::call::Call;
use crate::error::Error;
use axum::response::Response;
use quorate_protocol::{Accuser, Evidence, LocalRequest, Reply, SuspicionEvidence, go};
use serde::Serialize;
use std::time::Duration;

pub(crate) const PATH: &str = "/v1/agent/members/why/";

pub(crate) async fn why(call: Call) -> Result<Response, Error> {
    let node = call.name(PATH, "Missing node name")?;
    match call.local(LocalRequest::Why { node }).await? {
        Reply::Evidence(evidence) => call.answer(&EvidenceRow::of(&evidence)),
        _ => Err(Error::WrongReply),
    }
}

/// All times are lengths: how long ago as this agent answers.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EvidenceRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    node: &'a str,
    status: &'static str,
    since: String,
    cause: &'static str,
    local_health: u32,
    own_pause: Option<PauseRow>,
    suspicion: Option<SuspicionRow<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PauseRow {
    ago: String,
    length: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SuspicionRow<'a> {
    began: String,
    ended: Option<String>,
    incarnation: u16,
    accusers: Vec<AccuserRow<'a>>,
    confirmations_needed: u32,
    shortest: String,
    longest: String,
    own_probe: Option<ProbeRow>,
    told_by: Option<AccuserRow<'a>>,
    verdict_in: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccuserRow<'a> {
    #[serde(rename = "ID")]
    id: String,
    node: &'a str,
    ago: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProbeRow {
    ago: String,
    helpers: u32,
    nacks: u32,
    by_stream: bool,
}

impl<'a> EvidenceRow<'a> {
    fn of(evidence: &'a Evidence) -> EvidenceRow<'a> {
        EvidenceRow {
            id: evidence.id.to_string(),
            node: &evidence.name,
            status: match evidence.status {
                // Elsewhere a suspect is alive, as it is to Consul; here that it is one is the point.
                quorate_protocol::MemberStatus::Suspect => "suspect",
                status => status.as_str(),
            },
            since: length(evidence.since),
            cause: evidence.cause.as_str(),
            local_health: evidence.local_health,
            own_pause: evidence
                .own_pause
                .map(|pause| PauseRow { ago: length(pause.ago), length: length(pause.length) }),
            suspicion: evidence.suspicion.as_ref().map(SuspicionRow::of),
        }
    }
}

impl<'a> SuspicionRow<'a> {
    fn of(of: &'a SuspicionEvidence) -> SuspicionRow<'a> {
        SuspicionRow {
            began: length(of.began),
            ended: of.ended.map(length),
            incarnation: of.incarnation,
            accusers: of.accusers.iter().map(AccuserRow::of).collect(),
            confirmations_needed: of.confirmations_needed,
            shortest: length(of.shortest),
            longest: length(of.longest),
            own_probe: of.own_probe.map(|probe| ProbeRow {
                ago: length(probe.ago),
                helpers: probe.helpers,
                nacks: probe.nacks,
                by_stream: probe.by_stream,
            }),
            told_by: of.told_by.as_ref().map(AccuserRow::of),
            verdict_in: of.verdict_in.map(length),
        }
    }
}

impl<'a> AccuserRow<'a> {
    fn of(accuser: &'a Accuser) -> AccuserRow<'a> {
        AccuserRow { id: accuser.id.to_string(), node: &accuser.name, ago: length(accuser.ago) }
    }
}

/// To the millisecond, as Go writes it.
fn length(length: Duration) -> String {
    go::format_duration(Duration::from_millis(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
}
