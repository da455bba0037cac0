//! What was written: Consul's configuration keys, all optional, checked for type only.

use super::gossip::GossipLan;
use super::keys::{Keys, Notes};
use super::{ConfigError, definition, restrictions};
use quorate_protocol::{CheckDefinition, ServiceDefinition};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What one source of configuration says: a file, the flags, or the preset of `-dev`.
///
/// Each field is the configuration key of the same name unless its comment says otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    /// The datacenter this agent belongs to.
    pub datacenter: Option<String>,
    /// The name of this agent, unique in its datacenter.
    pub node_name: Option<String>,
    /// The identity of this agent, a UUID.
    pub node_id: Option<String>,
    /// What the operator wants to say about the node.
    pub node_meta: BTreeMap<String, String>,
    /// Where the agent keeps what must survive a restart.
    pub data_dir: Option<PathBuf>,
    /// The domain that DNS answers for.
    pub domain: Option<String>,
    /// A second domain that DNS answers for.
    pub alt_domain: Option<String>,
    /// Whether this agent takes part in the store.
    pub server: Option<bool>,
    /// Whether this server starts a cluster alone.
    pub bootstrap: Option<bool>,
    /// How many servers to wait for before the first election.
    pub bootstrap_expect: Option<i64>,
    /// The address that traffic between agents uses.
    pub bind_addr: Option<String>,
    /// The address that others are told.
    pub advertise_addr: Option<String>,
    /// The addresses of the HTTP API and DNS.
    pub client_addr: Option<String>,
    /// `addresses.http`: overrides `client_addr` for HTTP.
    pub addresses_http: Option<String>,
    /// `addresses.dns`: overrides `client_addr` for DNS.
    pub addresses_dns: Option<String>,
    /// `ports`.
    pub ports: Ports,
    /// Agents to join, tried until one answers.
    pub retry_join: Vec<String>,
    /// Agents to join at the start; being unable to is an error.
    pub start_join: Vec<String>,
    /// The longest wait between two tries to join.
    pub retry_interval: Option<Duration>,
    /// The gossip key in base64.
    pub encrypt: Option<String>,
    /// `dns_config`.
    pub dns: DnsConfig,
    /// `performance.raft_multiplier`: stretches Raft's timeouts.
    pub raft_multiplier: Option<i64>,
    /// After how many log entries the state is written down so that the log can be cut.
    pub raft_snapshot_threshold: Option<i64>,
    /// How many log entries are kept behind a snapshot.
    pub raft_trailing_logs: Option<i64>,
    /// The shortest TTL that a session may have.
    pub session_ttl_min: Option<Duration>,
    /// How long failed and left members are remembered.
    pub reconnect_timeout: Option<Duration>,
    /// `limits`.
    pub limits: Limits,
    /// How much is logged.
    pub log_level: Option<String>,
    /// Whether the log is one JSON object a line.
    pub log_json: Option<bool>,
    /// Whether SIGTERM leaves the cluster gracefully.
    pub leave_on_terminate: Option<bool>,
    /// Whether SIGINT stops without leaving.
    pub skip_leave_on_interrupt: Option<bool>,
    /// How fast gossip is: a preset's name. Quorate's own key.
    pub gossip_profile: Option<String>,
    /// `gossip_lan`: single timings of it.
    pub gossip_lan: GossipLan,
    /// Scripts that run when something happens, as Serf writes them; Serf's key.
    pub event_handlers: Vec<String>,
    /// `services` and `service`.
    pub services: Vec<ServiceDefinition>,
    /// `checks` and `check`.
    pub checks: Vec<CheckDefinition>,
    /// Whether checks from files may run programs.
    pub enable_local_script_checks: Option<bool>,
    /// Whether any check may.
    pub enable_script_checks: Option<bool>,
    /// Bytes of output that a check keeps, at most.
    pub check_output_max_size: Option<i64>,
    /// Sentences about keys that nobody knows.
    pub unknown_keys: Vec<String>,
    /// Where each key was last set, by its path: a file, or a flag.
    pub origins: BTreeMap<String, String>,
}

/// `ports`: -1 or 0 turns one off.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ports {
    /// The HTTP API.
    pub http: Option<i64>,
    /// DNS, UDP and TCP.
    pub dns: Option<i64>,
    /// All traffic between agents.
    pub serf_lan: Option<i64>,
    /// Consul's port for gossip between datacenters; known, unused.
    pub serf_wan: Option<i64>,
    /// Consul's port for RPC; known, unused.
    pub server: Option<i64>,
    /// HTTPS; known, unused.
    pub https: Option<i64>,
    /// gRPC; known, unused.
    pub grpc: Option<i64>,
    /// gRPC with TLS; known, unused.
    pub grpc_tls: Option<i64>,
}

/// `limits`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// The largest value of a key, in bytes.
    pub kv_max_value_size: Option<i64>,
    /// The largest body of a transaction, in bytes.
    pub txn_max_req_len: Option<i64>,
    /// The most operations of a transaction. (An extension.)
    pub txn_max_ops: Option<i64>,
}

/// `dns_config`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DnsConfig {
    /// How long an answer about a node may be cached.
    pub node_ttl: Option<Duration>,
    /// How long an answer about a service may be cached, by name, `prefix*` or `*`.
    pub service_ttl: BTreeMap<String, Duration>,
    /// Whether instances in warning are dropped from answers.
    pub only_passing: Option<bool>,
    /// How many answers fit a UDP reply without EDNS.
    pub udp_answer_limit: Option<i64>,
}

impl File {
    /// The preset of `-dev`: one server on loopback that needs nobody and keeps nothing.
    pub fn dev() -> File {
        let mut dev = File {
            server: Some(true),
            bootstrap_expect: Some(1),
            bind_addr: Some("127.0.0.1".to_owned()),
            ..File::default()
        };
        dev.came_from("-dev", ["server", "bootstrap_expect", "bind_addr"]);
        dev
    }

    /// The contents of a configuration file, and sentences about keys that have no effect.
    ///
    /// # Errors
    /// `text` is not JSON, a value has the wrong type, or a definition makes no sense.
    pub fn parse(text: &str, path: &str) -> Result<(File, Vec<String>), ConfigError> {
        let value: Value = serde_json::from_str(text).map_err(|e| ConfigError::File {
            path: path.to_owned(),
            problem: format!("is not JSON: {e}; `python3 -m json.tool {path}` shows the place"),
        })?;
        let (mut file, notes) = Keys::of_file(path, value, read)?;
        let Notes { mut sentences, without_effect, unknown, read } = notes;
        file.unknown_keys = unknown;
        file.came_from(path, read.iter().map(String::as_str));
        if !without_effect.is_empty() {
            sentences.push(format!("{path}: these keys have no effect in Quorate: {}", without_effect.join(", ")));
        }
        Ok((file, sentences))
    }

    /// Lays `later` over this: what it sets wins, its lists are appended, its maps are merged.
    pub fn overlay(&mut self, later: File) {
        let File {
            datacenter,
            node_name,
            node_id,
            node_meta,
            data_dir,
            domain,
            alt_domain,
            server,
            bootstrap,
            bootstrap_expect,
            bind_addr,
            advertise_addr,
            client_addr,
            addresses_http,
            addresses_dns,
            ports,
            retry_join,
            start_join,
            retry_interval,
            encrypt,
            dns,
            raft_multiplier,
            raft_snapshot_threshold,
            raft_trailing_logs,
            session_ttl_min,
            reconnect_timeout,
            limits,
            log_level,
            log_json,
            leave_on_terminate,
            skip_leave_on_interrupt,
            gossip_profile,
            gossip_lan,
            event_handlers,
            services,
            checks,
            enable_local_script_checks,
            enable_script_checks,
            check_output_max_size,
            unknown_keys,
            origins,
        } = later;
        set(&mut self.datacenter, datacenter);
        set(&mut self.node_name, node_name);
        set(&mut self.node_id, node_id);
        self.node_meta.extend(node_meta);
        set(&mut self.data_dir, data_dir);
        set(&mut self.domain, domain);
        set(&mut self.alt_domain, alt_domain);
        set(&mut self.server, server);
        set(&mut self.bootstrap, bootstrap);
        set(&mut self.bootstrap_expect, bootstrap_expect);
        set(&mut self.bind_addr, bind_addr);
        set(&mut self.advertise_addr, advertise_addr);
        set(&mut self.client_addr, client_addr);
        set(&mut self.addresses_http, addresses_http);
        set(&mut self.addresses_dns, addresses_dns);
        self.ports.overlay(ports);
        self.retry_join.extend(retry_join);
        self.start_join.extend(start_join);
        set(&mut self.retry_interval, retry_interval);
        set(&mut self.encrypt, encrypt);
        self.dns.overlay(dns);
        set(&mut self.raft_multiplier, raft_multiplier);
        set(&mut self.raft_snapshot_threshold, raft_snapshot_threshold);
        set(&mut self.raft_trailing_logs, raft_trailing_logs);
        set(&mut self.session_ttl_min, session_ttl_min);
        set(&mut self.reconnect_timeout, reconnect_timeout);
        self.limits.overlay(limits);
        set(&mut self.log_level, log_level);
        set(&mut self.log_json, log_json);
        set(&mut self.leave_on_terminate, leave_on_terminate);
        set(&mut self.skip_leave_on_interrupt, skip_leave_on_interrupt);
        set(&mut self.gossip_profile, gossip_profile);
        self.gossip_lan.overlay(gossip_lan);
        self.event_handlers.extend(event_handlers);
        self.services.extend(services);
        self.checks.extend(checks);
        set(&mut self.enable_local_script_checks, enable_local_script_checks);
        set(&mut self.enable_script_checks, enable_script_checks);
        set(&mut self.check_output_max_size, check_output_max_size);
        self.unknown_keys.extend(unknown_keys);
        self.origins.extend(origins);
    }

    /// Remembers where keys were set.
    pub fn came_from<'k>(&mut self, source: &str, keys: impl IntoIterator<Item = &'k str>) {
        self.origins.extend(keys.into_iter().map(|key| (key.to_owned(), source.to_owned())));
    }
}

impl Ports {
    fn overlay(&mut self, later: Ports) {
        let Ports { http, dns, serf_lan, serf_wan, server, https, grpc, grpc_tls } = later;
        set(&mut self.http, http);
        set(&mut self.dns, dns);
        set(&mut self.serf_lan, serf_lan);
        set(&mut self.serf_wan, serf_wan);
        set(&mut self.server, server);
        set(&mut self.https, https);
        set(&mut self.grpc, grpc);
        set(&mut self.grpc_tls, grpc_tls);
    }
}

impl Limits {
    fn overlay(&mut self, later: Limits) {
        let Limits { kv_max_value_size, txn_max_req_len, txn_max_ops } = later;
        set(&mut self.kv_max_value_size, kv_max_value_size);
        set(&mut self.txn_max_req_len, txn_max_req_len);
        set(&mut self.txn_max_ops, txn_max_ops);
    }
}

impl DnsConfig {
    fn overlay(&mut self, later: DnsConfig) {
        let DnsConfig { node_ttl, service_ttl, only_passing, udp_answer_limit } = later;
        set(&mut self.node_ttl, node_ttl);
        self.service_ttl.extend(service_ttl);
        set(&mut self.only_passing, only_passing);
        set(&mut self.udp_answer_limit, udp_answer_limit);
    }
}

pub(super) fn set<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}

/// Keys that Consul knows and that change nothing here yet, or never will.
const WITHOUT_EFFECT: &[&str] = &[
    "acl_datacenter",
    "acl_down_policy",
    "acl_token",
    "acl_agent_token",
    "advertise_addr_ipv4",
    "advertise_addr_ipv6",
    "advertise_addr_wan",
    "advertise_reconnect_timeout",
    "audit",
    "auto_config",
    "auto_encrypt",
    "auto_reload_config",
    "autopilot",
    "ca_file",
    "ca_path",
    "cache",
    "cert_file",
    "check_update_interval",
    "config_entries",
    "connect",
    "default_query_time",
    "disable_anonymous_signature",
    "disable_coordinates",
    "disable_host_node_id",
    "disable_keyring_file",
    "disable_remote_exec",
    "disable_update_check",
    "discard_check_output",
    "discovery_max_stale",
    "enable_agent_tls_for_checks",
    "enable_central_service_config",
    "enable_debug",
    "enable_syslog",
    "encrypt_verify_incoming",
    "encrypt_verify_outgoing",
    "gossip_wan",
    "key_file",
    "license_path",
    "log_file",
    "log_rotate_bytes",
    "log_rotate_duration",
    "log_rotate_max_files",
    "max_query_time",
    "peering",
    "pid_file",
    "primary_datacenter",
    "primary_gateways",
    "primary_gateways_interval",
    "protocol",
    "raft_boltdb",
    "raft_logstore",
    "raft_protocol",
    "raft_snapshot_interval",
    "read_replica",
    "reconnect_timeout_wan",
    "recursors",
    "rejoin_after_leave",
    "reporting",
    "retry_interval_wan",
    "retry_join_wan",
    "retry_max",
    "retry_max_wan",
    "rpc",
    "segment",
    "segments",
    "serf_lan",
    "serf_wan",
    "skip_leave_on_int",
    "start_join_wan",
    "syslog_facility",
    "telemetry",
    "tls",
    "tls_cipher_suites",
    "tls_min_version",
    "tls_prefer_server_cipher_suites",
    "translate_wan_addrs",
    "ui",
    "ui_config",
    "ui_content_path",
    "ui_dir",
    "unix_sockets",
    "use_streaming_backend",
    "verify_incoming",
    "verify_incoming_https",
    "verify_incoming_rpc",
    "verify_outgoing",
    "verify_server_hostname",
    "watches",
    "xds",
];

/// Comments, as people write them in JSON, which has none.
const COMMENTS: &[&str] = &["//", "_comment", "$schema"];

/// Reads the outermost object.
fn read(keys: &mut Keys<'_>) -> Result<File, ConfigError> {
    restrictions::refuse_unenforced(keys)?;
    let mut file = File {
        datacenter: keys.text("datacenter")?,
        node_name: keys.text("node_name")?,
        node_id: keys.text("node_id")?,
        node_meta: keys.text_map("node_meta")?,
        data_dir: keys.text("data_dir")?.map(PathBuf::from),
        domain: keys.text("domain")?,
        alt_domain: keys.text("alt_domain")?,
        server: keys.switch("server")?,
        bootstrap: keys.switch("bootstrap")?,
        bootstrap_expect: keys.whole("bootstrap_expect")?,
        bind_addr: keys.text("bind_addr")?,
        advertise_addr: keys.text("advertise_addr")?,
        client_addr: keys.text("client_addr")?,
        ports: keys.object("ports", read_ports)?.unwrap_or_default(),
        retry_join: keys.texts("retry_join")?,
        start_join: keys.texts("start_join")?,
        retry_interval: keys.duration("retry_interval")?,
        encrypt: keys.text("encrypt")?,
        dns: keys.object("dns_config", read_dns)?.unwrap_or_default(),
        raft_multiplier: keys.object("performance", read_performance)?.flatten(),
        raft_snapshot_threshold: keys.whole("raft_snapshot_threshold")?,
        raft_trailing_logs: keys.whole("raft_trailing_logs")?,
        session_ttl_min: keys.duration("session_ttl_min")?,
        reconnect_timeout: keys.duration("reconnect_timeout")?,
        limits: keys.object("limits", read_limits)?.unwrap_or_default(),
        log_level: keys.text("log_level")?,
        log_json: keys.switch("log_json")?,
        leave_on_terminate: keys.switch("leave_on_terminate")?,
        skip_leave_on_interrupt: keys.switch("skip_leave_on_interrupt")?,
        gossip_profile: keys.text("gossip_profile")?,
        gossip_lan: keys.object("gossip_lan", GossipLan::read)?.unwrap_or_default(),
        event_handlers: keys.texts("event_handlers")?,
        services: keys.objects("services", definition::service)?,
        checks: keys.objects("checks", definition::check)?,
        enable_local_script_checks: keys.switch("enable_local_script_checks")?,
        enable_script_checks: keys.switch("enable_script_checks")?,
        check_output_max_size: keys.whole("check_output_max_size")?,
        ..File::default()
    };
    if let Some((http, dns)) = keys.object("addresses", read_addresses)? {
        file.addresses_http = http;
        file.addresses_dns = dns;
    }
    file.services.extend(keys.objects("service", definition::service)?);
    file.checks.extend(keys.objects("check", definition::check)?);
    keys.without_effect(WITHOUT_EFFECT);
    keys.silently(COMMENTS);
    Ok(file)
}

fn read_ports(keys: &mut Keys<'_>) -> Result<Ports, ConfigError> {
    let ports = Ports {
        http: keys.whole("http")?,
        dns: keys.whole("dns")?,
        serf_lan: keys.whole("serf_lan")?,
        serf_wan: keys.whole("serf_wan")?,
        server: keys.whole("server")?,
        https: keys.whole("https")?,
        grpc: keys.whole("grpc")?,
        grpc_tls: keys.whole("grpc_tls")?,
    };
    keys.without_effect(&[
        "sidecar_min_port",
        "sidecar_max_port",
        "expose_min_port",
        "expose_max_port",
        "proxy_min_port",
    ]);
    Ok(ports)
}

fn read_addresses(keys: &mut Keys<'_>) -> Result<(Option<String>, Option<String>), ConfigError> {
    let addresses = (keys.text("http")?, keys.text("dns")?);
    keys.without_effect(&["https", "grpc", "grpc_tls"]);
    Ok(addresses)
}

fn read_dns(keys: &mut Keys<'_>) -> Result<DnsConfig, ConfigError> {
    let dns = DnsConfig {
        node_ttl: keys.duration("node_ttl")?,
        service_ttl: keys.duration_map("service_ttl")?,
        only_passing: keys.switch("only_passing")?,
        udp_answer_limit: keys.whole("udp_answer_limit")?,
    };
    keys.without_effect(&[
        "allow_stale",
        "max_stale",
        "enable_truncate",
        "a_record_limit",
        "recursor_timeout",
        "recursor_strategy",
        "disable_compression",
        "use_cache",
        "cache_max_age",
        "enable_additional_node_meta_txt",
        "soa",
        "prefer_namespace",
    ]);
    Ok(dns)
}

fn read_performance(keys: &mut Keys<'_>) -> Result<Option<i64>, ConfigError> {
    let multiplier = keys.whole("raft_multiplier")?;
    keys.without_effect(&["leave_drain_time", "rpc_hold_timeout", "grpc_keepalive_interval", "grpc_keepalive_timeout"]);
    Ok(multiplier)
}

fn read_limits(keys: &mut Keys<'_>) -> Result<Limits, ConfigError> {
    let limits = Limits {
        kv_max_value_size: keys.whole("kv_max_value_size")?,
        txn_max_req_len: keys.whole("txn_max_req_len")?,
        txn_max_ops: keys.whole("txn_max_ops")?,
    };
    keys.without_effect(&[
        "http_max_conns_per_client",
        "https_handshake_timeout",
        "request_limits",
        "rpc_client_timeout",
        "rpc_handshake_timeout",
        "rpc_max_burst",
        "rpc_max_conns_per_client",
        "rpc_rate",
    ]);
    Ok(limits)
}
