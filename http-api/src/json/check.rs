//! Checks as the catalogue and agents show and take them.

use super::Empty;
use super::fields::Fields;
use crate::error::Error;
use quorate_protocol::check::HttpCheck;
use quorate_protocol::go::{self, quote};
use quorate_protocol::{Check, CheckDefinition, CheckKind, Row, Status};
use serde::Serialize;
use std::time::Duration;

/// Consul raises shorter intervals to this: a check must not become a load of its own.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Consul raises shorter grace periods to this: a restart must not cost a service its registration.
const SHORTEST_GRACE: Duration = Duration::from_secs(60);

/// Fields of a definition that Quorate knows and leaves aside.
const FIELDS_ASIDE: &[&str] = &[
    "Token",
    "Namespace",
    "Partition",
    "EnterpriseMeta",
    "Shell",
    "GRPCUseTLS",
    "H2PingUseTLS",
    "TCPUseTLS",
    "TLSServerName",
    "DisableRedirects",
    "ProxyHTTP",
    "ProxyGRPC",
];

/// Kinds that come later, by the fields that name them.
const KINDS_TO_COME: &[(&str, &str)] = &[
    ("DockerContainerID", "Docker"),
    ("GRPC", "gRPC"),
    ("UDP", "UDP"),
    ("H2PING", "H2PING"),
    ("OSService", "OS service"),
    ("AliasNode", "alias"),
    ("AliasService", "alias"),
];

/// A definition as it was sent, read but not judged.
pub(crate) struct CheckBody {
    /// Unique on the agent; empty for a name to be made.
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    /// The service it speaks for; empty for the node.
    pub(crate) service_id: String,
    /// Its status until the first result; empty for critical.
    pub(crate) status: String,
    notes: String,
    http: HttpCheck,
    tcp: String,
    interval: Duration,
    timeout: Duration,
    ttl: Duration,
    success_before_passing: u32,
    failures_before_warning: u32,
    failures_before_critical: u32,
    deregister_critical_service_after: Duration,
    output_max_size: i64,
    script: bool,
    to_come: Option<&'static str>,
}

impl CheckBody {
    /// Reads a definition, taking all that Consul knows.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a wrong type or a field that nobody knows.
    pub(crate) fn take(mut fields: Fields) -> Result<CheckBody, Error> {
        let id = fields.take_text("CheckID")?;
        let other_id = fields.take_text("ID")?;
        let script = ["Args", "ScriptArgs", "Script"].map(|name| fields.take_presence(name)).contains(&true);
        let mut to_come = None;
        for (name, kind) in KINDS_TO_COME {
            if fields.take_presence(name) {
                to_come = to_come.or(Some(*kind));
            }
        }
        let body = CheckBody {
            id: if id.is_empty() { other_id } else { id },
            name: fields.take_text("Name")?,
            service_id: fields.take_text("ServiceID")?,
            status: fields.take_text("Status")?,
            notes: fields.take_text("Notes")?,
            http: HttpCheck {
                url: fields.take_text("HTTP")?,
                method: fields.take_text("Method")?,
                header: fields.take_texts_map("Header")?,
                body: fields.take_text("Body")?,
                interval: Duration::ZERO,
                timeout: Duration::ZERO,
                tls_skip_verify: fields.take_truth("TLSSkipVerify")?,
            },
            tcp: fields.take_text("TCP")?,
            interval: fields.take_duration("Interval")?,
            timeout: fields.take_duration("Timeout")?,
            ttl: fields.take_duration("TTL")?,
            success_before_passing: fields.take_count("SuccessBeforePassing")?,
            failures_before_warning: fields.take_count("FailuresBeforeWarning")?,
            failures_before_critical: fields.take_count("FailuresBeforeCritical")?,
            deregister_critical_service_after: fields.take_duration("DeregisterCriticalServiceAfter")?,
            output_max_size: fields.take_number("OutputMaxSize")?.unwrap_or(0),
            script,
            to_come,
        };
        fields.ignore(FIELDS_ASIDE);
        fields.finish()?;
        Ok(body)
    }

    /// The check to run; `bad_status` is what is said of an initial status that is none.
    ///
    /// # Errors
    /// [`Error::BadRequest`], `Invalid check: …` in Consul's words.
    pub(crate) fn judge(self, bad_status: &str) -> Result<CheckDefinition, Error> {
        let initial_status = match self.status.as_str() {
            "" => Status::Critical,
            word => word.parse().map_err(|_| Error::BadRequest(bad_status.to_owned()))?,
        };
        let kind = self.kind().map_err(|why| Error::BadRequest(format!("Invalid check: {why}")))?;
        let output_max_size = usize::try_from(self.output_max_size)
            .map_err(|_| Error::BadRequest("Invalid check: MaxOutputMaxSize must be positive".to_owned()))?;
        let grace = self.deregister_critical_service_after;
        Ok(CheckDefinition {
            id: self.id,
            name: self.name,
            notes: self.notes,
            service_id: self.service_id,
            kind,
            initial_status,
            success_before_passing: self.success_before_passing,
            failures_before_warning: self.failures_before_warning,
            failures_before_critical: self.failures_before_critical,
            deregister_critical_service_after: if grace.is_zero() { grace } else { grace.max(SHORTEST_GRACE) },
            output_max_size,
        })
    }

    fn kind(&self) -> Result<CheckKind, String> {
        if self.script {
            return Err("scripts are not run for whoever can reach the API: use an HTTP, TCP or TTL check".to_owned());
        }
        if let Some(kind) = self.to_come {
            return Err(format!("{kind} checks are not supported yet: use an HTTP, TCP or TTL check"));
        }
        if !self.interval.is_zero() && !self.ttl.is_zero() {
            return Err("Interval and TTL cannot both be specified".to_owned());
        }
        let runs = !self.http.url.is_empty() || !self.tcp.is_empty();
        if runs && self.interval.is_zero() {
            return Err("Interval must be > 0 for Script, HTTP, or TCP checks".to_owned());
        }
        if !runs && self.ttl.is_zero() {
            return Err("TTL must be > 0 for TTL checks".to_owned());
        }
        let interval = self.interval.max(SHORTEST_INTERVAL);
        let timeout = self.timeout;
        if !self.http.url.is_empty() {
            let scheme = self.http.url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
            if !matches!(scheme.as_str(), "http" | "https") {
                return Err("HTTP must be an address that starts with http:// or https://".to_owned());
            }
            return Ok(CheckKind::Http(HttpCheck { interval, timeout, ..self.http.clone() }));
        }
        if !self.tcp.is_empty() {
            return Ok(CheckKind::Tcp { address: self.tcp.clone(), interval, timeout });
        }
        Ok(CheckKind::Ttl { ttl: self.ttl })
    }
}

/// A check's result as `/v1/catalog/register` takes it.
///
/// # Errors
/// [`Error::BadRequest`] for a wrong type, a field that nobody knows, or a status that is none.
pub(crate) fn take_result(mut fields: Fields, node: &str) -> Result<Check, Error> {
    let name = fields.take_text("Name")?;
    let id = fields.take_text("CheckID")?;
    let status = match fields.take_text("Status")?.as_str() {
        "" => Status::Critical,
        word => word.parse().map_err(|error| Error::BadRequest(format!("{error}")))?,
    };
    let own_node = fields.take_text("Node")?;
    let check = Check {
        node: if own_node.is_empty() { node.to_owned() } else { own_node },
        id: if id.is_empty() { name.clone() } else { id },
        name,
        status,
        notes: fields.take_text("Notes")?,
        output: fields.take_text("Output")?,
        service_id: fields.take_text("ServiceID")?,
        service_name: fields.take_text("ServiceName")?,
        service_tags: fields.take_texts("ServiceTags")?,
        kind: fields.take_text("Type")?,
        interval: fields.take_duration("Interval")?,
        timeout: fields.take_duration("Timeout")?,
    };
    fields.ignore(&["Definition", "ExposedPort", "Namespace", "Partition", "PeerName", "CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    if !check.node.eq_ignore_ascii_case(node) {
        let (id, its) = (quote(&check.id), quote(&check.node));
        return Err(Error::Refused(format!("check {id} is of node {its}, the registration of {}", quote(node))));
    }
    Ok(check)
}

/// A check's result.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CheckRow<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: &'a str,
    name: &'a str,
    status: &'static str,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    #[serde(rename = "Type")]
    kind: &'a str,
    interval: String,
    timeout: String,
    exposed_port: u16,
    definition: Empty,
    create_index: u64,
    modify_index: u64,
}

impl<'a> CheckRow<'a> {
    pub(crate) fn of(check: &'a Row<Check>) -> CheckRow<'a> {
        let row = CheckRow::local(check, &check.node);
        CheckRow { create_index: check.create_index.0, modify_index: check.modify_index.0, ..row }
    }

    /// A check as its own agent shows it; `node` where the check does not say.
    pub(crate) fn local(check: &'a Check, node: &'a str) -> CheckRow<'a> {
        let text = |length: Duration| if length.is_zero() { String::new() } else { go::format_duration(length) };
        CheckRow {
            node: if check.node.is_empty() { node } else { &check.node },
            check_id: &check.id,
            name: &check.name,
            status: check.status.as_str(),
            notes: &check.notes,
            output: &check.output,
            service_id: &check.service_id,
            service_name: &check.service_name,
            service_tags: &check.service_tags,
            kind: &check.kind,
            interval: text(check.interval),
            timeout: text(check.timeout),
            exposed_port: 0,
            definition: Empty {},
            create_index: 0,
            modify_index: 0,
        }
    }
}
