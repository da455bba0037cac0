//! Service and check definitions in a configuration file, with Consul's spellings.

use super::ConfigError;
use super::keys::Keys;
use quorate_protocol::check::HttpCheck;
use quorate_protocol::{CheckDefinition, CheckKind, Service, ServiceAddress, Status, Weights};
use std::time::Duration;

/// No check runs more often than this, as in Consul: a slip such as `"interval": 10` (ns) must not become a flood.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// No service is deregistered sooner than this after becoming critical, as in Consul.
const MIN_DEREGISTER: Duration = Duration::from_secs(60);

const PORT: &str = "a port from 0 to 65535";
const WEIGHT: &str = "a weight from 0 to 65535";
const COUNT: &str = "a count from 0 to 4294967295";

/// Fields of a service that are let through.
const SERVICE_WITHOUT_EFFECT: &[&str] = &[
    "connect",
    "kind",
    "locality",
    "namespace",
    "ns",
    "partition",
    "ports",
    "proxy",
    "socket_path",
    "token",
    "task_group",
];

/// Fields of a check that are let through.
const CHECK_WITHOUT_EFFECT: &[&str] = &[
    "token",
    "namespace",
    "ns",
    "partition",
    "shell",
    "disable_redirects",
    "tls_server_name",
    "tcp_use_tls",
    "grpc_use_tls",
    "h2ping_use_tls",
    "type",
];

/// Kinds of checks that come later.
const KINDS_TO_COME: &[&str] = &[
    "args",
    "script_args",
    "script",
    "grpc",
    "h2ping",
    "udp",
    "docker_container_id",
    "alias_node",
    "alias_service",
    "os_service",
];

/// Reads a service and its checks.
///
/// # Errors
/// A value has the wrong type, or the definition makes no sense.
pub fn service(keys: &mut Keys<'_>) -> Result<(Service, Vec<CheckDefinition>), ConfigError> {
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
    keys.without_effect(SERVICE_WITHOUT_EFFECT);
    Ok((service, checks))
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
    for kind in KINDS_TO_COME {
        if let Some(value) = keys.peek(kind) {
            let shown = super::keys::cut(&value.to_string());
            return Err(keys.refuse(kind, &shown, "checks of this kind come later; use http, tcp or ttl"));
        }
    }
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
    };
    keys.without_effect(CHECK_WITHOUT_EFFECT);
    Ok(definition)
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
    if after.is_zero() || after >= MIN_DEREGISTER {
        return Ok(after);
    }
    keys.warn(KEY, "is below 1m, the shortest there is; 1m is used");
    Ok(MIN_DEREGISTER)
}

fn kind(keys: &mut Keys<'_>) -> Result<CheckKind, ConfigError> {
    let (http, tcp) = (filled(keys.text("http")?), filled(keys.text("tcp")?));
    let ttl = keys.duration("ttl")?.filter(|ttl| !ttl.is_zero());
    let timeout = keys.duration("timeout")?.unwrap_or_default();
    let interval = keys.duration("interval")?.unwrap_or_default();
    let request = HttpCheck {
        url: String::new(),
        method: keys.text("method")?.unwrap_or_default(),
        header: keys.texts_map("header")?,
        body: keys.text("body")?.unwrap_or_default(),
        interval: Duration::ZERO,
        timeout,
        tls_skip_verify: keys.switch("tls_skip_verify")?.unwrap_or(false),
    };
    match (http, tcp, ttl) {
        (Some(url), None, None) => {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                let shown = super::keys::cut(&url);
                return Err(keys.refuse(
                    "http",
                    &shown,
                    "write the whole URL, such as \"http://127.0.0.1:8080/health\"",
                ));
            }
            Ok(CheckKind::Http(HttpCheck { url, interval: at_least_a_second(keys, interval)?, ..request }))
        }
        (None, Some(address), None) => {
            if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
                let shown = super::keys::cut(&address);
                return Err(keys.refuse("tcp", &shown, "write host:port, such as \"127.0.0.1:5432\""));
            }
            Ok(CheckKind::Tcp { address, interval: at_least_a_second(keys, interval)?, timeout })
        }
        (None, None, Some(ttl)) => {
            if !interval.is_zero() {
                return Err(keys.refuse(
                    "interval",
                    &format!("{interval:?}"),
                    "a ttl check waits to be told; remove it",
                ));
            }
            Ok(CheckKind::Ttl { ttl })
        }
        (None, None, None) => {
            Err(keys.refuse("http", "not set", "a check needs one of http, tcp (both with interval) or ttl"))
        }
        _ => Err(keys.refuse("http", "not alone", "only one of http, tcp and ttl is possible; make two checks of it")),
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn at_least_a_second(keys: &mut Keys<'_>, interval: Duration) -> Result<Duration, ConfigError> {
    if interval.is_zero() {
        return Err(keys.refuse("interval", "not set", "http and tcp checks need to know how often, such as \"10s\""));
    }
    if interval < MIN_INTERVAL {
        keys.warn("interval", "is below 1s, the shortest there is; 1s is used");
        return Ok(MIN_INTERVAL);
    }
    Ok(interval)
}
