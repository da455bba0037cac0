//! Service and check definitions in a configuration file, with Consul's spellings.

use super::ConfigError;
use super::keys::Keys;
use quorate_protocol::check::{CheckSpec, HttpCheck, SHORTEST_GRACE, SHORTEST_INTERVAL};
use quorate_protocol::go::format_duration;
use quorate_protocol::{
    CheckDefinition, CheckKind, Service, ServiceAddress, ServiceDefinition, Status, Token, Weights,
};
use std::time::Duration;

const PORT: &str = "a port from 0 to 65535";
const WEIGHT: &str = "a weight from 0 to 65535";
const COUNT: &str = "a count from 0 to 4294967295";

/// Fields of a service that are let through.
const SERVICE_WITHOUT_EFFECT: &[&str] =
    &["connect", "kind", "locality", "namespace", "ns", "partition", "ports", "proxy", "socket_path", "task_group"];

/// Fields of a check that are let through.
const CHECK_WITHOUT_EFFECT: &[&str] = &["namespace", "ns", "partition", "shell", "type"];

/// Reads a service and its checks.
///
/// # Errors
/// A value has the wrong type, or the definition makes no sense.
pub fn service(keys: &mut Keys<'_>) -> Result<ServiceDefinition, ConfigError> {
    let name = keys.text("name")?.unwrap_or_default();
    if name.is_empty() {
        return Err(keys.refuse("name", "not set", "a service needs the name it is looked up by, such as \"web\""));
    }
    let service = Service {
        id: keys.text("id")?.filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone()),
        name,
        tags: keys.texts("tags")?,
        address: keys.text("address")?.unwrap_or_default(),
        port: keys.number("port", PORT)?.unwrap_or(0),
        meta: keys.text_map("meta")?,
        tagged_addresses: keys.object_map("tagged_addresses", service_address)?,
        weights: keys.object("weights", weights)?.unwrap_or_default(),
        enable_tag_override: keys.switch("enable_tag_override")?.unwrap_or(false),
    };
    let mut checks = keys.objects("checks", |check| one_check(check, Some(&service)))?;
    checks.extend(keys.objects("check", |check| one_check(check, Some(&service)))?);
    let token = token(keys)?;
    keys.without_effect(SERVICE_WITHOUT_EFFECT);
    Ok(ServiceDefinition { service, checks, token })
}

/// Reads a check that stands by itself.
///
/// # Errors
/// A value has the wrong type, or the definition makes no sense.
pub fn check(keys: &mut Keys<'_>) -> Result<CheckDefinition, ConfigError> {
    one_check(keys, None)
}

fn service_address(keys: &mut Keys<'_>) -> Result<ServiceAddress, ConfigError> {
    Ok(ServiceAddress {
        address: keys.text("address")?.unwrap_or_default(),
        port: keys.number("port", PORT)?.unwrap_or(0),
    })
}

fn weights(keys: &mut Keys<'_>) -> Result<Weights, ConfigError> {
    let usual = Weights::default();
    Ok(Weights {
        passing: keys.number("passing", WEIGHT)?.unwrap_or(usual.passing),
        warning: keys.number("warning", WEIGHT)?.unwrap_or(usual.warning),
    })
}

fn one_check(keys: &mut Keys<'_>, service: Option<&Service>) -> Result<CheckDefinition, ConfigError> {
    let id = match keys.text("id")? {
        Some(id) => id,
        None => keys.text("check_id")?.unwrap_or_default(),
    };
    let name = keys.text("name")?.unwrap_or_default();
    let service_id = keys.text("service_id")?.unwrap_or_default();
    let kind = kind(keys)?;
    let name = match (name.is_empty(), service) {
        (false, _) => name,
        (true, Some(service)) => format!("Service '{}' check", service.name),
        (true, None) => return Err(keys.refuse("name", "not set", "a check needs a name, such as \"disk space\"")),
    };
    let definition = CheckDefinition {
        id: if id.is_empty() && service.is_none() { name.clone() } else { id },
        name,
        notes: keys.text("notes")?.unwrap_or_default(),
        service_id: service.map_or(service_id, |service| service.id.clone()),
        kind,
        initial_status: status(keys)?,
        success_before_passing: keys.number("success_before_passing", COUNT)?.unwrap_or(0),
        failures_before_warning: keys.number("failures_before_warning", COUNT)?.unwrap_or(0),
        failures_before_critical: keys.number("failures_before_critical", COUNT)?.unwrap_or(0),
        deregister_critical_service_after: deregistration(keys)?,
        output_max_size: keys.number("output_max_size", "a number of bytes")?.unwrap_or(0),
        token: token(keys)?,
    };
    keys.without_effect(CHECK_WITHOUT_EFFECT);
    Ok(definition)
}

fn token(keys: &mut Keys<'_>) -> Result<Token, ConfigError> {
    Ok(Token(keys.text("token")?.unwrap_or_default()))
}

fn status(keys: &mut Keys<'_>) -> Result<Status, ConfigError> {
    match keys.text("status")? {
        None => Ok(Status::default()),
        Some(word) if word.is_empty() => Ok(Status::default()),
        Some(word) => word.parse().map_err(|_| {
            keys.refuse("status", &super::keys::cut(&word), "use \"passing\", \"warning\" or \"critical\"")
        }),
    }
}

fn deregistration(keys: &mut Keys<'_>) -> Result<Duration, ConfigError> {
    const KEY: &str = "deregister_critical_service_after";
    let after = keys.duration(KEY)?.unwrap_or_default();
    if after.is_zero() {
        return Ok(after);
    }
    Ok(at_least(keys, KEY, after, SHORTEST_GRACE))
}

/// What the check does.
fn kind(keys: &mut Keys<'_>) -> Result<CheckKind, ConfigError> {
    let spec = spec(keys)?;
    let given = spec.interval;
    let kind =
        spec.judge().map_err(|fault| keys.refuse(fault.field, &super::keys::cut(&fault.value), &fault.remedy))?;
    if kind.is_probed() {
        at_least(keys, "interval", given, SHORTEST_INTERVAL);
    }
    Ok(kind)
}

fn spec(keys: &mut Keys<'_>) -> Result<CheckSpec, ConfigError> {
    let mut text = |key| keys.text(key).map(Option::unwrap_or_default);
    let http = HttpCheck { url: text("http")?, method: text("method")?, body: text("body")?, ..HttpCheck::default() };
    let spec = CheckSpec {
        tcp: text("tcp")?,
        udp: text("udp")?,
        grpc: text("grpc")?,
        h2ping: text("h2ping")?,
        docker_container_id: text("docker_container_id")?,
        os_service: text("os_service")?,
        alias_node: text("alias_node")?,
        alias_service: text("alias_service")?,
        tls_server_name: text("tls_server_name")?,
        ..CheckSpec::default()
    };
    let (args, older_args) = (keys.texts("args")?, keys.texts("script_args")?);
    // Redirects lead where the operator did not look (CVE-2022-29153): they are followed where that was asked for in so many words.
    let follow_redirects = keys.switch("disable_redirects")? == Some(false);
    Ok(CheckSpec {
        http: HttpCheck { header: keys.texts_map("header")?, follow_redirects, ..http },
        tcp_use_tls: keys.switch("tcp_use_tls")?.unwrap_or(false),
        grpc_use_tls: keys.switch("grpc_use_tls")?.unwrap_or(false),
        h2ping_use_tls: keys.switch("h2ping_use_tls")?,
        args: if args.is_empty() { older_args } else { args },
        tls_skip_verify: keys.switch("tls_skip_verify")?.unwrap_or(false),
        interval: keys.duration("interval")?.unwrap_or_default(),
        timeout: keys.duration("timeout")?.unwrap_or_default(),
        ttl: keys.duration("ttl")?.unwrap_or_default(),
        ..spec
    })
}

/// The length, or the shortest there is with a word to the operator.
fn at_least(keys: &mut Keys<'_>, key: &str, given: Duration, least: Duration) -> Duration {
    if given < least {
        let least = format_duration(least);
        keys.warn(key, &format!("is below {least}, the shortest there is; {least} is used"));
    }
    given.max(least)
}
