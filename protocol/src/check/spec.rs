//! From what a definition says, in a file or over HTTP, to what a check does.

use super::kind::{Alias, CheckKind, DockerCheck, GrpcCheck, HttpCheck, TlsUse};
use std::time::Duration;

/// Consul raises shorter intervals to this: a slip such as `"interval": 10` (nanoseconds) must not become a flood.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Consul raises shorter grace periods before a deregistration to this: a restart must not cost a service its registration.
pub const SHORTEST_GRACE: Duration = Duration::from_secs(60);

/// What a definition says of what a check does; empty and zero where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckSpec {
    /// What an HTTP check asks, but for its times and TLS.
    pub http: HttpCheck,
    /// `host:port` of a TCP check.
    pub tcp: String,
    /// Whether it is inside TLS.
    pub tcp_use_tls: bool,
    /// `host:port` of a UDP check.
    pub udp: String,
    /// `host:port`, or `host:port/service`, of a gRPC check.
    pub grpc: String,
    /// Whether it is inside TLS.
    pub grpc_use_tls: bool,
    /// `host:port` of an HTTP/2 check.
    pub h2ping: String,
    /// Whether it is inside TLS; so it is where nobody says otherwise.
    pub h2ping_use_tls: Option<bool>,
    /// A program and its arguments.
    pub args: Vec<String>,
    /// The container that the program is in.
    pub docker_container_id: String,
    /// The name of a service of the host's service manager.
    pub os_service: String,
    /// The node whose health is shown.
    pub alias_node: String,
    /// The service whose health is shown.
    pub alias_service: String,
    /// The name that a server's certificate must have.
    pub tls_server_name: String,
    /// Whether any certificate will do.
    pub tls_skip_verify: bool,
    /// How often.
    pub interval: Duration,
    /// How long one run may take.
    pub timeout: Duration,
    /// The longest silence of a client that reports.
    pub ttl: Duration,
}

/// Why a definition makes no check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{remedy}")]
pub struct Fault {
    /// The field to change, as in a configuration file.
    pub field: &'static str,
    /// What it says now.
    pub value: String,
    /// What is wrong with it, in Consul's words where it has some.
    pub remedy: String,
}

impl Fault {
    fn new(field: &'static str, value: &str, remedy: impl Into<String>) -> Fault {
        Fault { field, value: value.to_owned(), remedy: remedy.into() }
    }

    fn unset(field: &'static str, remedy: impl Into<String>) -> Fault {
        Fault::new(field, "not set", remedy)
    }
}

/// What makes a check of one kind.
type Make = fn(CheckSpec) -> Result<CheckKind, Fault>;

/// A kind that a definition names, by its field.
struct Named {
    field: &'static str,
    make: Make,
}

impl CheckSpec {
    /// The check that is meant. An interval below the [shortest](SHORTEST_INTERVAL) is raised to it.
    ///
    /// # Errors
    /// [`Fault`] where nothing, or more than one thing, is meant.
    pub fn judge(self) -> Result<CheckKind, Fault> {
        if !self.interval.is_zero() && !self.ttl.is_zero() {
            return Err(Fault::new("ttl", "set", "Interval and TTL cannot both be specified"));
        }
        let mut named = self.named();
        let one = match (named.next(), named.next()) {
            (None, _) if self.ttl.is_zero() => {
                let remedy = "TTL must be > 0 for TTL checks; any other kind is named by its field: HTTP, TCP, UDP, GRPC, H2PING, \
                              Args, DockerContainerID, OSService, AliasService, AliasNode";
                return Err(Fault::unset("ttl", remedy));
            }
            (None, _) => return Ok(CheckKind::Ttl { ttl: self.ttl }),
            (Some(one), None) => one,
            (Some(one), Some(another)) => {
                let remedy = format!("{} is set as well, and a check is of one kind: make two of it", one.field);
                return Err(Fault::new(another.field, "set", remedy));
            }
        };
        drop(named);
        let (interval, ttl) = (self.interval, self.ttl);
        let kind = (one.make)(self)?;
        if kind.is_probed() && interval.is_zero() {
            return Err(Fault::unset("interval", "Interval must be > 0 for Script, HTTP, or TCP checks"));
        }
        if !kind.is_probed() && !interval.is_zero() {
            return Err(Fault::new("interval", "set", "Interval cannot be set for Alias checks"));
        }
        if !ttl.is_zero() {
            return Err(Fault::new("ttl", "set", format!("TTL must not be set for {} checks", kind.word())));
        }
        Ok(kind)
    }

    /// The kinds that are named. The arguments of a program belong to its container, where there is one.
    fn named(&self) -> impl Iterator<Item = Named> {
        let (in_container, program) = (!self.docker_container_id.is_empty(), !self.args.is_empty());
        let kinds: [(&'static str, bool, Make); 9] = [
            ("http", !self.http.url.is_empty(), CheckSpec::http),
            ("tcp", !self.tcp.is_empty(), CheckSpec::tcp),
            ("udp", !self.udp.is_empty(), CheckSpec::udp),
            ("grpc", !self.grpc.is_empty(), CheckSpec::grpc),
            ("h2ping", !self.h2ping.is_empty(), CheckSpec::h2ping),
            ("docker_container_id", in_container, CheckSpec::docker),
            ("args", program && !in_container, CheckSpec::script),
            ("os_service", !self.os_service.is_empty(), CheckSpec::os_service),
            ("alias_service", !self.alias_service.is_empty() || !self.alias_node.is_empty(), CheckSpec::alias),
        ];
        kinds.into_iter().filter_map(|(field, is_named, make)| is_named.then_some(Named { field, make }))
    }

    /// How often, and how long one run may take.
    fn timing(&self) -> (Duration, Duration) {
        (self.interval.max(SHORTEST_INTERVAL), self.timeout)
    }

    fn tls(&self, on: bool) -> TlsUse {
        if on {
            TlsUse { on, skip_verify: self.tls_skip_verify, server_name: self.tls_server_name.clone() }
        } else {
            TlsUse::default()
        }
    }

    fn http(self) -> Result<CheckKind, Fault> {
        let (interval, timeout) = self.timing();
        Ok(CheckKind::Http(HttpCheck {
            url: web_address(self.http.url)?,
            interval,
            timeout,
            tls_skip_verify: self.tls_skip_verify,
            tls_server_name: self.tls_server_name,
            ..self.http
        }))
    }

    fn tcp(self) -> Result<CheckKind, Fault> {
        let ((interval, timeout), tls) = (self.timing(), self.tls(self.tcp_use_tls));
        Ok(CheckKind::Tcp { address: host_and_port("tcp", self.tcp)?, interval, timeout, tls })
    }

    fn udp(self) -> Result<CheckKind, Fault> {
        let (interval, timeout) = self.timing();
        Ok(CheckKind::Udp { address: host_and_port("udp", self.udp)?, interval, timeout })
    }

    fn grpc(self) -> Result<CheckKind, Fault> {
        let ((interval, timeout), tls) = (self.timing(), self.tls(self.grpc_use_tls));
        let (address, service) = match self.grpc.split_once('/') {
            Some((address, service)) => (address.to_owned(), service.to_owned()),
            None => (self.grpc, String::new()),
        };
        Ok(CheckKind::Grpc(GrpcCheck { address: host_and_port("grpc", address)?, service, interval, timeout, tls }))
    }

    fn h2ping(self) -> Result<CheckKind, Fault> {
        let ((interval, timeout), tls) = (self.timing(), self.tls(self.h2ping_use_tls.unwrap_or(true)));
        Ok(CheckKind::H2Ping { address: host_and_port("h2ping", self.h2ping)?, interval, timeout, tls })
    }

    fn docker(self) -> Result<CheckKind, Fault> {
        let (interval, timeout) = self.timing();
        if self.args.is_empty() {
            return Err(Fault::unset("args", "a Docker check needs the program to run in the container"));
        }
        Ok(CheckKind::Docker(DockerCheck { container: self.docker_container_id, args: self.args, interval, timeout }))
    }

    fn script(self) -> Result<CheckKind, Fault> {
        let (interval, timeout) = self.timing();
        Ok(CheckKind::Script { args: self.args, interval, timeout })
    }

    fn os_service(self) -> Result<CheckKind, Fault> {
        let (interval, timeout) = self.timing();
        Ok(CheckKind::OsService { name: self.os_service, interval, timeout })
    }

    fn alias(self) -> Result<CheckKind, Fault> {
        Ok(CheckKind::Alias(Alias { node: self.alias_node, service_id: self.alias_service }))
    }
}

fn web_address(url: String) -> Result<String, Fault> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") {
        return Ok(url);
    }
    let remedy = "HTTP must be an address that starts with http:// or https://";
    Err(Fault::new("http", &url, remedy))
}

fn host_and_port(field: &'static str, address: String) -> Result<String, Fault> {
    let whole = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if whole {
        return Ok(address);
    }
    let remedy = format!("{} must be host:port, such as 127.0.0.1:5432", field.to_uppercase());
    Err(Fault::new(field, &address, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[track_caller]
    fn check(spec: CheckSpec, expected: Result<&str, &str>) {
        let judged = spec.judge().map(|kind| format!("{kind:?}")).map_err(|fault| format!("{}: {fault}", fault.field));
        match (&judged, expected) {
            (Ok(kind), Ok(word)) => assert!(kind.contains(word), "{word} in {kind}"),
            (Err(fault), Err(start)) => assert!(fault.starts_with(start), "{start} begins {fault}"),
            _ => panic!("{expected:?}, not {judged:?}"),
        }
    }

    fn every_ten_seconds() -> CheckSpec {
        CheckSpec { interval: TEN, ..CheckSpec::default() }
    }

    #[test]
    fn every_kind_by_its_field() {
        let spec = every_ten_seconds;
        let http = |url: &str| HttpCheck { url: url.into(), ..HttpCheck::default() };
        let args = vec!["/bin/true".to_owned()];
        check(CheckSpec { http: http("HTTPS://x"), ..spec() }, Ok("Http("));
        check(CheckSpec { tcp: "db:5432".into(), ..spec() }, Ok("Tcp { address: \"db:5432\""));
        check(CheckSpec { udp: "[::1]:53".into(), ..spec() }, Ok("Udp { address: \"[::1]:53\""));
        check(CheckSpec { grpc: "x:1".into(), ..spec() }, Ok("address: \"x:1\", service: \"\""));
        check(CheckSpec { grpc: "x:1/a.b/c".into(), ..spec() }, Ok("address: \"x:1\", service: \"a.b/c\""));
        check(CheckSpec { h2ping: "x:1".into(), ..spec() }, Ok("tls: TlsUse { on: true"));
        check(CheckSpec { h2ping: "x:1".into(), h2ping_use_tls: Some(false), ..spec() }, Ok("tls: TlsUse { on: false"));
        check(CheckSpec { args: args.clone(), ..spec() }, Ok("Script { args: [\"/bin/true\"]"));
        check(
            CheckSpec { args, docker_container_id: "c1".into(), ..spec() },
            Ok("container: \"c1\", args: [\"/bin/true\"]"),
        );
        check(CheckSpec { os_service: "nginx".into(), ..spec() }, Ok("OsService { name: \"nginx\""));
        check(CheckSpec { ttl: TEN, ..CheckSpec::default() }, Ok("Ttl { ttl: 10s"));
        check(
            CheckSpec { alias_service: "web1".into(), ..CheckSpec::default() },
            Ok("Alias(Alias { node: \"\", service_id: \"web1\""),
        );
        check(CheckSpec { alias_node: "n2".into(), ..CheckSpec::default() }, Ok("node: \"n2\", service_id: \"\""));
        let often = CheckSpec { tcp: "x:1".into(), interval: Duration::from_nanos(10), ..CheckSpec::default() };
        check(often, Ok("interval: 1s"));
    }

    #[test]
    fn what_makes_no_check_names_the_field() {
        let spec = every_ten_seconds;
        check(CheckSpec::default(), Err("ttl: TTL must be > 0 for TTL checks"));
        check(spec(), Err("ttl: TTL must be > 0 for TTL checks"));
        check(CheckSpec { ttl: TEN, ..spec() }, Err("ttl: Interval and TTL cannot both be specified"));
        let tcp = CheckSpec { tcp: "x:1".into(), ..CheckSpec::default() };
        check(tcp.clone(), Err("interval: Interval must be > 0 for Script, HTTP, or TCP checks"));
        check(CheckSpec { ttl: TEN, ..tcp }, Err("interval: Interval must be > 0"));
        check(CheckSpec { tcp: "x:1".into(), udp: "x:1".into(), ..spec() }, Err("udp: tcp is set as well"));
        check(
            CheckSpec { alias_service: "web".into(), ..spec() },
            Err("interval: Interval cannot be set for Alias checks"),
        );
        check(
            CheckSpec { alias_service: "web".into(), ttl: TEN, ..CheckSpec::default() },
            Err("ttl: TTL must not be set"),
        );
        check(CheckSpec { docker_container_id: "c1".into(), ..spec() }, Err("args: a Docker check needs the program"));
        for address in ["x", ":1", "x:", "x:http", "x:70000"] {
            check(CheckSpec { tcp: address.into(), ..spec() }, Err("tcp: TCP must be host:port"));
            check(CheckSpec { grpc: format!("{address}/s"), ..spec() }, Err("grpc: GRPC must be host:port"));
        }
        for url in ["x:80", "ftp://x", "/health"] {
            let http = HttpCheck { url: url.into(), ..HttpCheck::default() };
            check(CheckSpec { http, ..spec() }, Err("http: HTTP must be an address that starts with http://"));
        }
    }
}
