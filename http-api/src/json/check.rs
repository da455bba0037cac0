//! Checks as the catalogue and agents show and take them.

use super::Empty;
use super::fields::Fields;
use crate::error::Error;
use quorate_protocol::check::{CheckSpec, HttpCheck, SHORTEST_GRACE};
use quorate_protocol::go::{self, quote};
use quorate_protocol::{Check, CheckDefinition, Row, Status, Token};
use serde::Serialize;
use std::time::Duration;

/// Fields of a definition that Quorate knows and leaves aside: tenancy, the mesh, and a shell that Consul itself no longer starts.
const FIELDS_ASIDE: &[&str] = &["Namespace", "Partition", "EnterpriseMeta", "Shell", "ProxyHTTP", "ProxyGRPC"];

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
    /// With whose rights it is registered.
    pub(crate) token: Token,
    notes: String,
    spec: CheckSpec,
    success_before_passing: u32,
    failures_before_warning: u32,
    failures_before_critical: u32,
    deregister_critical_service_after: Duration,
    output_max_size: i64,
}

impl CheckBody {
    /// Reads a definition, taking all that Consul knows.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a wrong type or a field that nobody knows.
    pub(crate) fn take(mut fields: Fields) -> Result<CheckBody, Error> {
        let id = fields.take_text("CheckID")?;
        let other_id = fields.take_text("ID")?;
        let body = CheckBody {
            id: if id.is_empty() { other_id } else { id },
            name: fields.take_text("Name")?,
            service_id: fields.take_text("ServiceID")?,
            status: fields.take_text("Status")?,
            token: Token(fields.take_text("Token")?),
            notes: fields.take_text("Notes")?,
            spec: take_spec(&mut fields)?,
            success_before_passing: fields.take_count("SuccessBeforePassing")?,
            failures_before_warning: fields.take_count("FailuresBeforeWarning")?,
            failures_before_critical: fields.take_count("FailuresBeforeCritical")?,
            deregister_critical_service_after: fields.take_duration("DeregisterCriticalServiceAfter")?,
            output_max_size: fields.take_number("OutputMaxSize")?.unwrap_or(0),
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
        let kind = self.spec.judge().map_err(|fault| Error::BadRequest(format!("Invalid check: {fault}")))?;
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
            token: self.token,
        })
    }
}

/// What a definition says of what the check does.
fn take_spec(fields: &mut Fields) -> Result<CheckSpec, Error> {
    let (args, older_args) = (fields.take_texts("Args")?, fields.take_texts("ScriptArgs")?);
    Ok(CheckSpec {
        http: HttpCheck {
            url: fields.take_text("HTTP")?,
            method: fields.take_text("Method")?,
            header: fields.take_texts_map("Header")?,
            body: fields.take_text("Body")?,
            // Redirects lead where the registrant did not look (CVE-2022-29153): they are followed where that was asked for in so many words.
            follow_redirects: fields.take_truth_if_given("DisableRedirects")? == Some(false),
            ..HttpCheck::default()
        },
        tcp: fields.take_text("TCP")?,
        tcp_use_tls: fields.take_truth("TCPUseTLS")?,
        udp: fields.take_text("UDP")?,
        grpc: fields.take_text("GRPC")?,
        grpc_use_tls: fields.take_truth("GRPCUseTLS")?,
        h2ping: fields.take_text("H2PING")?,
        h2ping_use_tls: fields.take_truth_if_given("H2PingUseTLS")?,
        args: if args.is_empty() { older_args } else { args },
        docker_container_id: fields.take_text("DockerContainerID")?,
        os_service: fields.take_text("OSService")?,
        alias_node: fields.take_text("AliasNode")?,
        alias_service: fields.take_text("AliasService")?,
        tls_server_name: fields.take_text("TLSServerName")?,
        tls_skip_verify: fields.take_truth("TLSSkipVerify")?,
        interval: fields.take_duration("Interval")?,
        timeout: fields.take_duration("Timeout")?,
        ttl: fields.take_duration("TTL")?,
    })
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
