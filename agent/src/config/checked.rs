//! What is used: every value present, in range, and consistent with the others.

use super::address::{self, Host, JoinAddress};
use super::file::{DnsConfig, Ports};
use super::gossip::GossipLan;
use super::keys::cut;
use super::{ConfigError, File, key};
use crate::handlers::EventHandler;
use quorate_engine::SnapshotPolicy;
use quorate_gossip::Timing;
use quorate_protocol::check::{OUTPUT_SIZE, SERF_HEALTH, is_maintenance};
use quorate_protocol::go::format_duration;
use quorate_protocol::keyring::GossipKey;
use quorate_protocol::session::{LEAST_MIN_TTL, MAX_TTL, USUAL_MIN_TTL};
use quorate_protocol::{CheckDefinition, Definitions, NodeId, Scripts, ServiceDefinition};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A configuration that holds together. Only [`Config::check`] makes one.
///
/// * Where `gossip` is reachable from other machines, `key` is the operator's own.
/// * `advertise` is an address that others can use: never 0.0.0.0, never port 0.
/// * A server has a data directory, unless it is a throwaway one (`dev`).
/// * No two listeners claim the same address and port of the same protocol.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The name of this agent; the host's where none is configured.
    pub node_name: String,
    /// The identity of this agent, where it is configured; otherwise the data directory keeps one.
    pub node_id: Option<NodeId>,
    /// What the operator wants to say about the node.
    pub node_meta: BTreeMap<String, String>,
    /// The datacenter: lower-case letters, digits, `-` and `_`.
    pub datacenter: String,
    /// Whether this is a throwaway agent, `-dev`.
    pub dev: bool,
    /// Where the agent keeps what must survive a restart; a client without one keeps nothing.
    pub data_dir: Option<PathBuf>,
    /// What a server needs besides; none on a client.
    pub server: Option<Server>,
    /// Where all traffic between agents arrives: QUIC and gossip, on UDP.
    pub gossip: SocketAddr,
    /// Where others are told to send it.
    pub advertise: SocketAddr,
    /// Where the HTTP API listens; empty where it is turned off.
    pub http: Vec<SocketAddr>,
    /// Where DNS listens, on UDP and TCP; empty where it is turned off.
    pub dns_listen: Vec<SocketAddr>,
    /// How DNS answers.
    pub dns: Dns,
    /// Agents to join at the start; being unable to is an error.
    pub start_join: Vec<JoinAddress>,
    /// Agents to join, tried until one answers.
    pub retry_join: Vec<JoinAddress>,
    /// The longest wait between two tries to join.
    pub retry_interval: Duration,
    /// The key that secures all traffic between agents.
    pub key: GossipKey,
    /// How fast gossip is.
    pub gossip_timing: Timing,
    /// What ends with a graceful leave.
    pub leave: Leave,
    /// Scripts that run when something happens.
    pub event_handlers: Vec<EventHandler>,
    /// The largest value of a key, in bytes.
    pub kv_max_value_size: usize,
    /// The largest body of a transaction, in bytes.
    pub txn_max_req_len: usize,
    /// The most operations of a transaction.
    pub txn_max_ops: usize,
    /// The shortest TTL that a session may have.
    pub session_ttl_min: Duration,
    /// When a server writes its state down so that its log can be cut.
    pub snapshots: SnapshotPolicy,
    /// What is logged.
    pub log: Log,
    /// Services and checks to register. The only part that a reload changes.
    pub definitions: Definitions,
}

/// What a server needs besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// How many servers are waited for before the first election; 0 never starts a cluster, it waits to be added to one.
    pub bootstrap_expect: usize,
    /// What Raft's timeouts are multiplied by, 1 to 10.
    pub raft_multiplier: u32,
}

/// How DNS answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The domain answered for: lower case, without a dot at either end.
    pub domain: String,
    /// A second one.
    pub alt_domain: Option<String>,
    /// How long an answer about a node may be cached.
    pub node_ttl: Duration,
    /// How long an answer about a service may be cached: by name, `prefix*` or `*`; the longest match counts.
    pub service_ttl: BTreeMap<String, Duration>,
    /// Whether instances in warning are dropped from answers.
    pub only_passing: bool,
    /// How many answers a UDP reply without EDNS has at most.
    pub udp_answer_limit: usize,
}

/// What ends with a graceful leave. As in Consul, a client leaves and a server does not: it is expected back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// SIGINT.
    pub on_interrupt: bool,
    /// SIGTERM.
    pub on_terminate: bool,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// Whether each line is a JSON object.
    pub json: bool,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// What a developer wants to see.
    Debug,
    /// What an operator wants to see.
    Info,
    /// What an operator should look at.
    Warn,
    /// What an operator must look at.
    Error,
}

impl LogLevel {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

/// Consul's: over a long weekend.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(72 * 3600);
/// A member that was forgotten while the network was broken is met anew, not remembered: shorter than most outages makes no sense.
const LEAST_RECONNECT_TIMEOUT: Duration = Duration::from_secs(600);

/// Port 8301, Consul's for gossip in one datacenter. Here it carries everything between agents.
const SERF_LAN_PORT: u16 = 8301;
/// Consul's ports for clients.
const HTTP_PORT: u16 = 8500;
const DNS_PORT: u16 = 8600;
/// Unless configured otherwise.
const KV_MAX_VALUE_SIZE: usize = quorate_protocol::kv::MAX_VALUE_SIZE;
/// What the store of any server refuses whatever is configured: no configuration may promise more.
const KV_MAX_VALUE_SIZE_LIMIT: usize = quorate_store::MAX_VALUE_SIZE;
/// The body of a transaction, in bytes (Consul: 512 KiB). Base64 makes values a third longer, and several share it.
const TXN_MAX_REQ_LEN: Range<usize> = Range { usual: 512 * 1024, least: 1024, most: 1024 * 1024 };
/// Operations of a transaction (Consul: 128).
const TXN_MAX_OPS: Range<usize> = Range { usual: 128, least: 1, most: quorate_store::MAX_TXN_OPERATIONS };

/// A usual value and its limits.
struct Range<T> {
    usual: T,
    least: T,
    most: T,
}
/// Consul's default is 5, chosen for the smallest cloud machines; ours is what it recommends for production.
const RAFT_MULTIPLIER: u32 = 1;
const RAFT_MULTIPLIER_LIMIT: u32 = 10;
/// The largest cluster of servers that is formed at once. Each further voter slows every write.
const BOOTSTRAP_EXPECT_LIMIT: usize = 15;
/// Consul's: how many answers a UDP reply without EDNS has.
const UDP_ANSWER_LIMIT: usize = 3;
/// Consul's wait between two tries to join.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// What a DNS TTL can say (RFC 2181, section 8): 2^31 - 1 seconds.
const TTL_LIMIT: Duration = Duration::from_secs(i32::MAX as u64);
/// The output of every check is kept by every server, and read by everybody who asks for its service.
const CHECK_OUTPUT_LIMIT: usize = 64 * 1024;
const SCRIPTS_FOR_EVERYBODY: &str = "enable_script_checks is on and the HTTP API is not on loopback alone: whoever reaches it can run any program as this user; \
     use enable_local_script_checks";
/// A name travels in gossip packets of 1232 bytes next to other things.
const NODE_NAME_LIMIT: usize = 128;
/// Consul's limits of node metadata.
const META_PAIRS: usize = 64;
const META_KEY_LIMIT: usize = 128;
const META_VALUE_LIMIT: usize = 512;
/// RFC 1035, section 2.3.4.
const LABEL_LIMIT: usize = 63;
const DOMAIN_LIMIT: usize = 200;

impl Config {
    /// What `file` (all sources, laid over one another) means on `host`, and sentences about what is seldom meant.
    ///
    /// # Errors
    /// Names the first setting that cannot be used and what to write instead.
    pub fn check(file: File, host: &Host, dev: bool) -> Result<(Config, Vec<String>), ConfigError> {
        let mut checks = Checks { origins: file.origins, warnings: Vec::new() };
        let server = checks.server(file.server, file.bootstrap, file.bootstrap_expect, file.raft_multiplier)?;
        let joins = !file.retry_join.is_empty() || !file.start_join.is_empty();
        checks.lone_server(server, joins);
        let data_dir = checks.data_dir(file.data_dir, server.is_some(), dev)?;
        let bind = checks.ip("bind_addr", file.bind_addr, Ipv4Addr::UNSPECIFIED.into())?;
        let ports = checks.ports(file.ports)?;
        let gossip = SocketAddr::new(bind, ports.serf_lan);
        // Before the address to advertise: who starts with nothing at all has to hear of the key first.
        let key = checks.key(file.encrypt, bind)?;
        let advertise = checks.advertise(file.advertise_addr, bind, host)?;
        let client = checks.ips("client_addr", file.client_addr, &[Ipv4Addr::LOCALHOST.into()])?;
        let http = checks.ips("addresses.http", file.addresses_http, &client)?;
        let dns = checks.ips("addresses.dns", file.addresses_dns, &client)?;
        let http = listeners(&http, ports.http);
        let dns_listen = listeners(&dns, ports.dns);
        checks.apart(gossip, &http, &dns_listen)?;
        let scripts = match (file.enable_script_checks, file.enable_local_script_checks) {
            (Some(true), _) => Scripts::FromAnywhere,
            (_, Some(true)) => Scripts::FromFiles,
            _ => Scripts::Off,
        };
        checks.definitions(&file.services, &file.checks, scripts)?;
        let config = Config {
            node_name: checks.node_name(file.node_name, host)?,
            node_id: checks.node_id(file.node_id)?,
            node_meta: checks.node_meta(file.node_meta)?,
            datacenter: checks.datacenter(file.datacenter)?,
            dev,
            data_dir,
            server,
            gossip,
            advertise: SocketAddr::new(advertise, ports.serf_lan),
            http,
            dns_listen,
            dns: checks.dns(file.domain, file.alt_domain, file.dns)?,
            start_join: checks.join("start_join", &file.start_join, ports.serf_lan)?,
            retry_join: checks.join("retry_join", &file.retry_join, ports.serf_lan)?,
            retry_interval: checks.retry_interval(file.retry_interval)?,
            key,
            gossip_timing: checks.gossip_timing(file.gossip_profile, file.gossip_lan, file.reconnect_timeout)?,
            leave: Leave {
                on_interrupt: !file.skip_leave_on_interrupt.unwrap_or(server.is_some()),
                on_terminate: file.leave_on_terminate.unwrap_or(server.is_none()),
            },
            event_handlers: checks.event_handlers(&file.event_handlers)?,
            kv_max_value_size: checks.kv_max_value_size(file.limits.kv_max_value_size)?,
            txn_max_req_len: checks.within("limits.txn_max_req_len", file.limits.txn_max_req_len, TXN_MAX_REQ_LEN)?,
            txn_max_ops: checks.within("limits.txn_max_ops", file.limits.txn_max_ops, TXN_MAX_OPS)?,
            session_ttl_min: checks.session_ttl_min(file.session_ttl_min)?,
            snapshots: checks.snapshots(file.raft_snapshot_threshold, file.raft_trailing_logs)?,
            log: Log { level: checks.log_level(file.log_level)?, json: file.log_json.unwrap_or(false) },
            definitions: Definitions {
                services: file.services,
                checks: file.checks,
                scripts,
                output_max_size: checks.check_output_max_size(file.check_output_max_size)?,
            },
        };
        if scripts == Scripts::FromAnywhere && !config.http.iter().all(|address| address.ip().is_loopback()) {
            checks.warnings.push(SCRIPTS_FOR_EVERYBODY.to_owned());
        }
        Ok((config, checks.warnings))
    }
}

/// Ports in use; none where turned off.
struct CheckedPorts {
    http: Option<u16>,
    dns: Option<u16>,
    serf_lan: u16,
}

/// What the checks share: where settings came from, and what was noticed.
struct Checks {
    origins: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Checks {
    fn refuse(&self, key: &str, value: impl ToString, remedy: impl Into<String>) -> ConfigError {
        let place = match self.origins.get(key) {
            None => String::new(),
            Some(flag) if flag.starts_with('-') => format!(" (by {flag})"),
            Some(file) => format!(" (in {file})"),
        };
        ConfigError::Setting { key: key.to_owned(), value: cut(&value.to_string()), place, remedy: remedy.into() }
    }

    fn server(
        &self,
        server: Option<bool>,
        bootstrap: Option<bool>,
        expect: Option<i64>,
        multiplier: Option<i64>,
    ) -> Result<Option<Server>, ConfigError> {
        let raft_multiplier = match multiplier {
            None => RAFT_MULTIPLIER,
            Some(number) => u32::try_from(number)
                .ok()
                .filter(|number| (1..=RAFT_MULTIPLIER_LIMIT).contains(number))
                .ok_or_else(|| self.refuse("performance.raft_multiplier", number, "use 1 to 10"))?,
        };
        let expect = match expect {
            None => 0,
            Some(number) => {
                usize::try_from(number).ok().filter(|number| *number <= BOOTSTRAP_EXPECT_LIMIT).ok_or_else(|| {
                    self.refuse("bootstrap_expect", number, "use the number of servers in the cluster, such as 3 or 5")
                })?
            }
        };
        let bootstrap = bootstrap.unwrap_or(false);
        if bootstrap && expect > 1 {
            let remedy = "bootstrap starts a cluster with this server alone; keep one of the two";
            return Err(self.refuse("bootstrap_expect", expect, remedy));
        }
        if server.unwrap_or(false) {
            return Ok(Some(Server { bootstrap_expect: if bootstrap { 1 } else { expect }, raft_multiplier }));
        }
        let remedy = "only a server can start a cluster; add -server (\"server\": true), or remove it";
        if bootstrap {
            return Err(self.refuse("bootstrap", true, remedy));
        }
        if expect > 0 {
            return Err(self.refuse("bootstrap_expect", expect, remedy));
        }
        Ok(None)
    }

    fn lone_server(&mut self, server: Option<Server>, joins: bool) {
        match server.map(|server| server.bootstrap_expect) {
            Some(0) if !joins => self.warnings.push(
                "bootstrap_expect and retry_join are not set: this server waits to be joined and elects nobody by itself; \
                 a first server needs -bootstrap-expect=1"
                    .to_owned(),
            ),
            Some(expect) if expect > 1 && expect % 2 == 0 => self.warnings.push(format!(
                "bootstrap_expect is {expect}: an even number of servers survives no more failures than {} would",
                expect - 1
            )),
            _ => {}
        }
    }

    fn data_dir(&self, path: Option<PathBuf>, server: bool, dev: bool) -> Result<Option<PathBuf>, ConfigError> {
        match path {
            Some(path) if path.as_os_str().is_empty() => {
                Err(self.refuse("data_dir", "empty", "name a directory, such as /var/lib/quorate"))
            }
            Some(path) if path.exists() && !path.is_dir() => {
                Err(self.refuse("data_dir", path.display(), "this is a file; name a directory that this agent may own"))
            }
            None if server && !dev => Err(self.refuse(
                "data_dir",
                "not set",
                "a server keeps its log on disk; pass -data-dir=/var/lib/quorate, or try a throwaway agent with -dev",
            )),
            path => Ok(path),
        }
    }

    fn ip(&self, key: &str, text: Option<String>, usual: IpAddr) -> Result<IpAddr, ConfigError> {
        let Some(text) = text else { return Ok(usual) };
        text.trim().parse().map_err(|_| self.refuse(key, &text, ip_remedy(&text)))
    }

    fn ips(&self, key: &str, text: Option<String>, usual: &[IpAddr]) -> Result<Vec<IpAddr>, ConfigError> {
        let Some(text) = text else { return Ok(usual.to_vec()) };
        let mut addresses = Vec::new();
        if text.contains("{{") {
            return Err(self.refuse(key, &text, ip_remedy(&text)));
        }
        for word in text.split_whitespace() {
            let address = word.parse().map_err(|_| self.refuse(key, word, ip_remedy(word)))?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(self.refuse(key, "empty", "write one or more IP addresses, separated by spaces"));
        }
        Ok(addresses)
    }

    fn ports(&mut self, ports: Ports) -> Result<CheckedPorts, ConfigError> {
        let Ports { http, dns, serf_lan, serf_wan, server, https, grpc, grpc_tls } = ports;
        let serf_lan_port = self.port("ports.serf_lan", serf_lan, SERF_LAN_PORT)?.ok_or_else(|| {
            let remedy = "all traffic between agents uses this port, so it cannot be turned off; use 8301";
            self.refuse("ports.serf_lan", serf_lan.unwrap_or_default(), remedy)
        })?;
        for (key, port) in [("ports.serf_wan", serf_wan), ("ports.server", server)] {
            if self.port(key, port, serf_lan_port)?.is_some_and(|port| port != serf_lan_port) {
                self.warnings.push(format!(
                    "{key} has no effect in Quorate: ports.serf_lan ({serf_lan_port}) carries everything"
                ));
            }
        }
        for (key, port) in [("ports.https", https), ("ports.grpc", grpc), ("ports.grpc_tls", grpc_tls)] {
            if self.port(key, port.or(Some(-1)), 0)?.is_some() {
                self.warnings.push(format!("{key} has no effect in Quorate: nothing is served there yet"));
            }
        }
        Ok(CheckedPorts {
            http: self.port("ports.http", http, HTTP_PORT)?,
            dns: self.port("ports.dns", dns, DNS_PORT)?,
            serf_lan: serf_lan_port,
        })
    }

    /// As in Consul, what is not above 0 turns a port off.
    fn port(&self, key: &str, port: Option<i64>, usual: u16) -> Result<Option<u16>, ConfigError> {
        match port {
            None => Ok(Some(usual)),
            Some(-1 | 0) => Ok(None),
            Some(number) => u16::try_from(number)
                .map(Some)
                .map_err(|_| self.refuse(key, number, "use a port from 1 to 65535, or -1 to turn it off")),
        }
    }

    fn advertise(&self, text: Option<String>, bind: IpAddr, host: &Host) -> Result<IpAddr, ConfigError> {
        if text.is_some() {
            let advertise = self.ip("advertise_addr", text, bind)?;
            if advertise.is_unspecified() || advertise.is_multicast() {
                let remedy = "others cannot reach that; write the address they should use";
                return Err(self.refuse("advertise_addr", advertise, remedy));
            }
            return Ok(advertise);
        }
        if !bind.is_unspecified() {
            return Ok(bind);
        }
        address::choose(bind, &host.addresses).ok_or_else(|| {
            let found: Vec<String> = host.addresses.iter().map(IpAddr::to_string).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            let remedy = format!(
                "listening on {bind}, and no private address of this host was found to tell others (found: {found}); pass \
                 -advertise=IP, or -bind=IP"
            );
            self.refuse("advertise_addr", "not set", remedy)
        })
    }

    fn event_handlers(&self, texts: &[String]) -> Result<Vec<EventHandler>, ConfigError> {
        let read = |text: &String| EventHandler::parse(text).map_err(|why| self.refuse("event_handlers", text, why));
        texts.iter().map(read).collect()
    }

    fn key(&mut self, text: Option<String>, bind: IpAddr) -> Result<GossipKey, ConfigError> {
        const MAKE_ONE: &str = "make one with `quorate keygen` and give the same to every agent";
        match text {
            Some(text) => {
                let given = key::from_base64(text.trim()).map_err(|shape| {
                    let remedy = format!("the base64 of 16, 24 or 32 random bytes is expected; {MAKE_ONE}");
                    self.refuse("encrypt", shape, remedy)
                })?;
                if key::is_well_known(&given) && !bind.is_loopback() {
                    let remedy =
                        format!("everybody knows it, and bind_addr {bind} is open to other machines; {MAKE_ONE}");
                    return Err(self.refuse("encrypt", "the development key", remedy));
                }
                Ok(given)
            }
            None if bind.is_loopback() => {
                self.warnings.push(format!(
                    "encrypt is not set: agents on {bind} use a development key that everybody knows; before binding to \
                     another address, {MAKE_ONE}"
                ));
                Ok(key::well_known())
            }
            None => {
                let remedy = format!(
                    "without a key anybody who reaches {bind} could join; {MAKE_ONE} (-encrypt=KEY), or keep to this machine \
                     with -bind=127.0.0.1"
                );
                Err(self.refuse("encrypt", "not set", remedy))
            }
        }
    }

    fn apart(&self, gossip: SocketAddr, http: &[SocketAddr], dns: &[SocketAddr]) -> Result<(), ConfigError> {
        // HTTP and DNS meet on TCP, DNS and gossip on UDP.
        for address in dns {
            if let Some(other) = http.iter().find(|other| clash(**other, *address)) {
                let remedy = format!("HTTP uses {other} already; choose another port, or -1 to turn it off");
                return Err(self.refuse("ports.dns", address.port(), remedy));
            }
            if clash(gossip, *address) {
                let remedy = format!("gossip uses {gossip} already; choose another port, or -1 to turn it off");
                return Err(self.refuse("ports.dns", address.port(), remedy));
            }
        }
        Ok(())
    }

    fn definitions(
        &self,
        services: &[ServiceDefinition],
        checks: &[CheckDefinition],
        scripts: Scripts,
    ) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for ServiceDefinition { service, .. } in services {
            if service.id == quorate_engine::SERVER_SERVICE {
                let remedy = "this id belongs to the servers' own service; give the service another \"id\"";
                return Err(self.refuse("services", &service.id, remedy));
            }
            if !seen.insert(&service.id) {
                let remedy = "two services of this configuration have this id; give one of them another \"id\"";
                return Err(self.refuse("services", &service.id, remedy));
            }
        }
        let mut seen = BTreeSet::new();
        for check in services.iter().flat_map(|one| &one.checks).chain(checks) {
            if check.kind.runs_a_program() && scripts == Scripts::Off {
                let remedy = "it runs a program, which is off; set \"enable_local_script_checks\": true beside it";
                return Err(self.refuse("checks", &check.name, remedy));
            }
            if check.id == SERF_HEALTH || is_maintenance(&check.id) {
                let remedy = "this id belongs to the agent's own checks; give the check another \"id\"";
                return Err(self.refuse("checks", &check.id, remedy));
            }
            if !check.id.is_empty() && !seen.insert(&check.id) {
                let remedy = "two checks of this configuration have this id; give one of them another \"id\"";
                return Err(self.refuse("checks", &check.id, remedy));
            }
        }
        Ok(())
    }

    fn check_output_max_size(&self, size: Option<i64>) -> Result<usize, ConfigError> {
        let Some(size) = size else { return Ok(OUTPUT_SIZE) };
        let refused = || self.refuse("check_output_max_size", size, format!("use 1 to {CHECK_OUTPUT_LIMIT} bytes"));
        usize::try_from(size).ok().filter(|size| (1..=CHECK_OUTPUT_LIMIT).contains(size)).ok_or_else(refused)
    }

    fn node_name(&mut self, name: Option<String>, host: &Host) -> Result<String, ConfigError> {
        let Some(name) = name.or_else(|| host.name.clone()) else {
            return Err(self.refuse("node_name", "not set", "this host has no name to use instead; pass -node=NAME"));
        };
        if name.is_empty()
            || name.len() > NODE_NAME_LIMIT
            || name.contains(|c: char| c.is_control() || c.is_whitespace())
        {
            let remedy = format!("a name of 1 to {NODE_NAME_LIMIT} bytes without spaces is expected; pass -node=NAME");
            return Err(self.refuse("node_name", format!("'{name}'"), remedy));
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
            self.warnings.push(format!(
                "node_name is {}: DNS cannot find a node with characters other than letters, digits and '-'",
                cut(&name)
            ));
        }
        Ok(name)
    }

    fn node_id(&self, text: Option<String>) -> Result<Option<NodeId>, ConfigError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        match text.trim().parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => {
                let remedy = "a UUID is expected (`uuidgen` makes one); without it the agent makes and keeps its own";
                Err(self.refuse("node_id", text, remedy))
            }
        }
    }

    fn node_meta(&self, meta: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ConfigError> {
        if meta.len() > META_PAIRS {
            return Err(self.refuse("node_meta", format!("{} pairs", meta.len()), "64 pairs are the most; drop some"));
        }
        for (key, value) in &meta {
            let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if key.is_empty() || key.len() > META_KEY_LIMIT || !plain {
                let remedy = "a key of 1 to 128 letters, digits, '-' and '_' is expected, as in -node-meta=rack:r7";
                return Err(self.refuse("node_meta", format!("'{key}'"), remedy));
            }
            if key.starts_with("consul-") {
                return Err(self.refuse("node_meta", key, "keys that begin with consul- are reserved; rename it"));
            }
            if value.len() > META_VALUE_LIMIT {
                let remedy = format!("its value has {} bytes, 512 are the most; shorten it", value.len());
                return Err(self.refuse("node_meta", key, remedy));
            }
        }
        Ok(meta)
    }

    fn datacenter(&self, name: Option<String>) -> Result<String, ConfigError> {
        let written = name.unwrap_or_else(|| "dc1".to_owned());
        let name = written.to_lowercase();
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if name.is_empty() || name.len() > LABEL_LIMIT || !plain {
            let remedy = "a name of 1 to 63 letters, digits, '-' and '_' is expected, such as dc1";
            return Err(self.refuse("datacenter", format!("'{written}'"), remedy));
        }
        Ok(name)
    }

    fn dns(&self, domain: Option<String>, alt: Option<String>, dns: DnsConfig) -> Result<Dns, ConfigError> {
        let DnsConfig { node_ttl, service_ttl, only_passing, udp_answer_limit } = dns;
        for (name, ttl) in &service_ttl {
            self.ttl("dns_config.service_ttl", *ttl, name)?;
        }
        let node_ttl = node_ttl.unwrap_or_default();
        self.ttl("dns_config.node_ttl", node_ttl, "nodes")?;
        let udp_answer_limit = match udp_answer_limit {
            None => UDP_ANSWER_LIMIT,
            Some(number) => usize::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| self.refuse("dns_config.udp_answer_limit", number, "use 1 or more; 3 is usual"))?,
        };
        let domain = self.domain("domain", domain.unwrap_or_else(|| "consul".to_owned()))?;
        let alt_domain = match alt.filter(|alt| !alt.is_empty()) {
            Some(alt) => Some(self.domain("alt_domain", alt)?),
            None => None,
        };
        let only_passing = only_passing.unwrap_or(false);
        Ok(Dns { domain, alt_domain, node_ttl, service_ttl, only_passing, udp_answer_limit })
    }

    fn ttl(&self, key: &str, ttl: Duration, of: &str) -> Result<(), ConfigError> {
        if ttl <= TTL_LIMIT {
            return Ok(());
        }
        let value = format!("{}s for '{}'", ttl.as_secs(), cut(of));
        Err(self.refuse(key, value, "DNS counts to 2147483647 seconds; use less, such as \"10s\""))
    }

    fn domain(&self, key: &str, written: String) -> Result<String, ConfigError> {
        let domain = written.trim_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=LABEL_LIMIT).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if domain.len() > DOMAIN_LIMIT || !domain.split('.').all(is_label) {
            return Err(self.refuse(
                key,
                format!("'{written}'"),
                "a domain such as \"consul\" or \"sd.example.com\" is expected",
            ));
        }
        Ok(domain)
    }

    fn join(&self, key: &str, addresses: &[String], port: u16) -> Result<Vec<JoinAddress>, ConfigError> {
        let mut all = Vec::new();
        for text in addresses {
            let address = JoinAddress::parse(text.trim(), port)
                .map_err(|remedy| self.refuse(key, format!("'{text}'"), remedy))?;
            if !all.contains(&address) {
                all.push(address);
            }
        }
        Ok(all)
    }

    fn retry_interval(&self, interval: Option<Duration>) -> Result<Duration, ConfigError> {
        let interval = interval.unwrap_or(RETRY_INTERVAL);
        if interval < Duration::from_secs(1) {
            return Err(self.refuse("retry_interval", format!("{interval:?}"), "use 1s or more; 30s is usual"));
        }
        Ok(interval)
    }

    fn gossip_timing(
        &self,
        profile: Option<String>,
        single: GossipLan,
        reconnect_timeout: Option<Duration>,
    ) -> Result<Timing, ConfigError> {
        let profile = match profile.as_deref() {
            None | Some("lan") => Timing::lan(),
            Some("lan-calm") => Timing::lan_calm(),
            Some("wan") => Timing::wan(),
            Some("local") => Timing::local(),
            Some(other) => return Err(self.refuse("gossip_profile", other, "use lan, lan-calm, wan or local")),
        };
        let timing = single.over(profile, |key, value, remedy| self.refuse(key, value, remedy))?;
        Ok(Timing { reap_after: self.reconnect_timeout(reconnect_timeout)?, ..timing })
    }

    fn kv_max_value_size(&self, bytes: Option<i64>) -> Result<usize, ConfigError> {
        let Some(bytes) = bytes else { return Ok(KV_MAX_VALUE_SIZE) };
        usize::try_from(bytes).ok().filter(|bytes| (1..=KV_MAX_VALUE_SIZE_LIMIT).contains(bytes)).ok_or_else(|| {
            let remedy = format!("use 1 to {KV_MAX_VALUE_SIZE_LIMIT} bytes; {KV_MAX_VALUE_SIZE} is usual");
            self.refuse("limits.kv_max_value_size", bytes, remedy)
        })
    }

    /// Consul asks for 8 h, because its servers take a member out of the catalogue by then; here they do when it leaves.
    fn reconnect_timeout(&self, length: Option<Duration>) -> Result<Duration, ConfigError> {
        match length {
            None => Ok(RECONNECT_TIMEOUT),
            Some(length) if length >= LEAST_RECONNECT_TIMEOUT => Ok(length),
            Some(other) => {
                let [least, usual] = [LEAST_RECONNECT_TIMEOUT, RECONNECT_TIMEOUT].map(format_duration);
                let remedy = format!("use {least} or more, the same on all agents; {usual} is usual");
                Err(self.refuse("reconnect_timeout", format_duration(other), remedy))
            }
        }
    }

    fn session_ttl_min(&self, least: Option<Duration>) -> Result<Duration, ConfigError> {
        match least {
            None => Ok(USUAL_MIN_TTL),
            Some(least) if (LEAST_MIN_TTL..=MAX_TTL).contains(&least) => Ok(least),
            Some(other) => {
                let [least, most, usual] = [LEAST_MIN_TTL, MAX_TTL, USUAL_MIN_TTL].map(format_duration);
                let remedy = format!("use {least} to {most}; {usual} is usual");
                Err(self.refuse("session_ttl_min", format_duration(other), remedy))
            }
        }
    }

    fn snapshots(&self, threshold: Option<i64>, trailing: Option<i64>) -> Result<SnapshotPolicy, ConfigError> {
        let usual = SnapshotPolicy::default();
        Ok(SnapshotPolicy {
            entries: self.within(
                "raft_snapshot_threshold",
                threshold,
                Range { usual: usual.entries, least: 16, most: 1 << 24 },
            )?,
            trailing: self.within(
                "raft_trailing_logs",
                trailing,
                Range { usual: usual.trailing, least: 0, most: 1 << 24 },
            )?,
            ..usual
        })
    }

    /// A whole number that has a usual value and limits.
    fn within<T>(&self, key: &str, number: Option<i64>, range: Range<T>) -> Result<T, ConfigError>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let Some(number) = number else { return Ok(range.usual) };
        let allowed = T::try_from(number).ok().filter(|number| *number >= range.least && *number <= range.most);
        let remedy = || format!("use {} to {}; {} is usual", range.least, range.most, range.usual);
        allowed.ok_or_else(|| self.refuse(key, number, remedy()))
    }

    fn log_level(&self, word: Option<String>) -> Result<LogLevel, ConfigError> {
        match word.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("trace") => Ok(LogLevel::Trace),
            Some("debug") => Ok(LogLevel::Debug),
            None | Some("info") => Ok(LogLevel::Info),
            Some("warn" | "warning") => Ok(LogLevel::Warn),
            Some("error" | "err") => Ok(LogLevel::Error),
            Some(other) => Err(self.refuse("log_level", other, "use trace, debug, info, warn or error")),
        }
    }
}

fn ip_remedy(text: &str) -> &'static str {
    if text.contains("{{") {
        return "templates come later; write the IP address itself";
    }
    if text.starts_with("unix:") {
        return "unix sockets come later; write an IP address";
    }
    if text.parse::<SocketAddr>().is_ok() {
        return "an IP address without a port is expected; the port has its own setting";
    }
    "an IP address is expected, such as 127.0.0.1 or 10.0.0.5"
}

fn listeners(addresses: &[IpAddr], port: Option<u16>) -> Vec<SocketAddr> {
    port.map(|port| addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect()).unwrap_or_default()
}

fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    a.port() == b.port() && (a.ip() == b.ip() || same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()))
}
