//! Each test reads as: this was written, this is used (or this sentence is the answer).

use super::*;
use proptest::prelude::*;
use quorate_gossip::Timing;
use quorate_protocol::{CheckKind, Scripts, Status};
use std::net::IpAddr;
use std::time::Duration;

/// A host named `host` with one private address.
fn host() -> Host {
    Host { name: Some("host".to_owned()), addresses: vec!["10.9.8.7".parse::<IpAddr>().unwrap()] }
}

fn args(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// What `line` of flags and `json` of a file at `a.json` come to.
fn both(line: &str, json: &str) -> Result<Loaded, ConfigError> {
    let (flags, mut warnings) = Flags::parse(args(line))?;
    flags.files()?;
    let mut file = if flags.dev() { File::dev() } else { File::default() };
    let (next, notes) = File::parse(json, "a.json")?;
    file.overlay(next);
    warnings.extend(notes);
    let dev = flags.dev();
    file.overlay(flags.into_file());
    let unknown_keys = file.unknown_keys.clone();
    let (config, notes) = Config::check(file, &host(), dev)?;
    warnings.extend(notes);
    Ok(Loaded { config, warnings, unknown_keys })
}

fn flags(line: &str) -> Config {
    both(line, "{}").unwrap_or_else(|e| panic!("{line}: {e}")).config
}

/// A key of 32 bytes.
const KEY: &str = "cXVvcmF0ZS1iZW5jaC1rZXktb2YtMzItYnl0ZXMhISE=";

#[test]
fn dev_is_one_server_on_loopback_that_keeps_nothing() {
    let config = flags("-dev");
    assert_eq!(config.server, Some(Server { bootstrap_expect: 1, raft_multiplier: 1 }));
    assert_eq!(config.gossip.to_string(), "127.0.0.1:8301");
    assert_eq!(config.advertise, config.gossip);
    assert_eq!(config.http, ["127.0.0.1:8500".parse().unwrap()]);
    assert_eq!(config.dns_listen, ["127.0.0.1:8600".parse().unwrap()]);
    assert_eq!((config.node_name.as_str(), config.datacenter.as_str()), ("host", "dc1"));
    assert_eq!((config.data_dir, config.dev), (None, true));
    assert!(key::is_well_known(&config.key));
    assert_eq!(config.log, Log { level: LogLevel::Info, json: false });
    assert_eq!(config.kv_max_value_size, 524_288);
}

#[test]
fn the_line_of_the_gossip_bench() {
    let line = format!(
        "-node n7 -bind 127.0.1.8 -serf-lan-port 7946 -client 127.0.1.8 -http-port 8500 -dns-port -1 -gossip-profile \
         lan-calm -encrypt {KEY} -retry-join 127.0.1.2:7946"
    );
    let Loaded { config, warnings, .. } = both(&line, "{}").unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.node_name, "n7");
    assert_eq!((config.server, config.data_dir), (None, None));
    assert_eq!(config.gossip.to_string(), "127.0.1.8:7946");
    assert_eq!(config.http, ["127.0.1.8:8500".parse().unwrap()]);
    assert_eq!(config.dns_listen, []);
    assert_eq!(config.gossip_timing, Timing::lan_calm());
    assert_eq!(config.key.bytes(), b"quorate-bench-key-of-32-bytes!!!");
    assert_eq!(config.retry_join, [JoinAddress { host: "127.0.1.2".to_owned(), port: 7946 }]);
}

#[test]
fn single_timings_of_gossip_lie_over_the_profile() {
    let lan =
        r#"{"gossip_lan": {"probe_interval": "1s", "suspicion_mult": 5, "gossip_nodes": 4, "retransmit_mult": 8}}"#;
    let Loaded { config, .. } = both("-dev -gossip-profile lan-calm", lan).unwrap();
    let expected = Timing {
        probe_period: Duration::from_secs(1),
        suspicion_periods: 5,
        gossip_fanout: 4,
        transmissions: 8,
        ..Timing::lan_calm()
    };
    assert_eq!(config.gossip_timing, expected);
}

#[test]
fn the_line_of_the_store_bench() {
    let line = "-server -bootstrap-expect 3 -node n1 -bind 127.0.0.2 -data-dir /nowhere -http-port 18501 -retry-join 127.0.0.1";
    let Loaded { config, warnings, .. } = both(line, "{}").unwrap();
    assert_eq!(config.server, Some(Server { bootstrap_expect: 3, raft_multiplier: 1 }));
    assert_eq!(config.data_dir, Some(PathBuf::from("/nowhere")));
    assert_eq!(config.retry_join[0].to_string(), "127.0.0.1:8301");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("encrypt is not set") && warnings[0].contains("quorate keygen"), "{warnings:?}");
}

#[test]
fn one_dash_or_two_and_both_ways_to_give_a_value() {
    let expected = flags("-dev -node x -http-port -1 -log-json");
    for line in [
        "--dev --node x --http-port -1 --log-json",
        "-dev=true -node=x -http-port=-1 -log-json=true",
        "--dev=true --node=x --http-port=-1 --log-json",
        "-node y -dev -node x -http-port 1 -http-port -1 -log-json=false -log-json",
    ] {
        assert_eq!(flags(line), expected, "{line}");
    }
    assert_eq!(flags("-dev -server=false -bootstrap-expect 0").server, None);
}

#[test]
fn help_is_shown_and_nonsense_is_not_understood() {
    for line in ["-h", "-help", "--help", "-dev -help"] {
        match Flags::parse(args(line)) {
            Err(ConfigError::Show(text, 0)) => assert!(text.contains("bootstrap-expect"), "{text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    for (line, expected) in [
        ("-sevrer", "--sevrer"),
        ("stray", "stray"),
        ("-http-port eighty", "'eighty' for '--http-port"),
        ("-retry-interval 5", "a duration such as"),
        ("-dev=perhaps", "perhaps"),
        ("-node", "--node"),
    ] {
        match Flags::parse(args(line)) {
            Err(ConfigError::Flag(text)) => assert!(text.contains(expected), "{line}: {text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn flags_of_consul_without_meaning_here_warn() {
    let line = "-dev -ui -raft-protocol 3 -protocol=2 -disable-host-node-id -pid-file /run/x.pid -node x -rejoin -server-port 8300";
    let Loaded { config, warnings, .. } = both(line, "{}").unwrap();
    assert_eq!(config.node_name, "x");
    for name in
        ["-ui ", "-raft-protocol ", "-protocol ", "-disable-host-node-id ", "-pid-file ", "-rejoin ", "ports.server "]
    {
        assert!(warnings.iter().any(|w| w.starts_with(name) && w.contains("has no effect")), "{name} {warnings:?}");
    }
}

#[test]
fn clients_leave_and_servers_do_not() {
    let check = |line: &str, json: &str, on_interrupt: bool, on_terminate: bool| {
        assert_eq!(both(line, json).unwrap().config.leave, Leave { on_interrupt, on_terminate }, "{line} {json}");
    };
    check("-bind 127.0.0.1", "{}", true, true);
    check("-dev", "{}", false, false);
    check("-dev", r#"{"skip_leave_on_interrupt": false}"#, true, false);
    check("-dev", r#"{"leave_on_terminate": true}"#, false, true);
    check("-bind 127.0.0.1", r#"{"leave_on_terminate": false, "skip_leave_on_interrupt": true}"#, false, false);
}

#[test]
fn a_later_source_wins_and_lists_grow() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("b.json", r#"{"node_name": "b", "datacenter": "b", "retry_join": ["b"], "node_meta": {"k": "b", "b": "1"}}"#);
    write(
        "a.json",
        r#"{"node_name": "a", "retry_join": "a", "ports": {"http": 1, "dns": 2}, "node_meta": {"k": "a"}}"#,
    );
    write("c.txt", "not read");
    write("last.txt", r#"{"datacenter": "last", "ports": {"http": 3}}"#);
    let line = format!(
        "-bind 127.0.0.1 -node flag -config-dir {0} -config-file {0}/last.txt -retry-join flag -node-meta k:flag",
        directory.path().display()
    );
    let config = load(args(&line)).unwrap().config;
    assert_eq!((config.node_name.as_str(), config.datacenter.as_str()), ("flag", "last"));
    assert_eq!(config.retry_join.iter().map(|a| a.host.as_str()).collect::<Vec<_>>(), ["a", "b", "flag"]);
    assert_eq!((config.http[0].port(), config.dns_listen[0].port()), (3, 2));
    assert_eq!(config.node_meta.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>(), ["b:1", "k:flag"]);

    // The order of the command line counts, whichever flag names the file.
    let line = format!("-bind 127.0.0.1 -config-file {0}/last.txt -config-dir {0}", directory.path().display());
    assert_eq!(load(args(&line)).unwrap().config.datacenter, "b");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("bytes.json"), [0xff, 0xfe]).unwrap();
    std::fs::write(path("broken.json"), "{\n  \"server\": tru\n}").unwrap();
    std::fs::write(path("list.json"), "[]").unwrap();
    std::fs::write(path("wrong.json"), r#"{"ports": {"http": "eighty"}}"#).unwrap();
    std::fs::create_dir(path("hcl")).unwrap();
    std::fs::write(path("hcl/x.hcl"), "server = true").unwrap();
    for (flag, name, expected) in [
        ("-config-file", "absent.json", "cannot be opened"),
        ("-config-file", "bytes.json", "not UTF-8"),
        ("-config-file", "broken.json", "line 3 column"),
        ("-config-file", "list.json", "a list was found where an object is expected"),
        ("-config-file", "wrong.json", "ports.http is \"eighty\" (a string)"),
        ("-config-file", "hcl/x.hcl", "HCL comes later"),
        ("-config-file", "hcl", "HCL comes later"),
        ("-config-dir", "hcl", "HCL comes later"),
        ("-config-dir", "absent", "no readable directory"),
    ] {
        let text = load(args(&format!("-dev {flag} {}", path(name)))).unwrap_err().to_string();
        assert!(text.contains(&path(name)) && text.contains(expected), "{name}: {text}");
    }
}

#[test]
fn refusals_name_the_key_the_value_the_place_and_the_remedy() {
    let refused = |line: &str, json: &str, expected: &[&str]| {
        let text = match both(line, json) {
            Err(e) => e.to_string(),
            Ok(loaded) => panic!("{line} {json}: {loaded:?}"),
        };
        for part in expected {
            assert!(text.contains(part), "{line} {json}: {part:?} is not in: {text}");
        }
    };
    // Role.
    refused("-server -bind 127.0.0.1", "{}", &["data_dir is not set", "-data-dir=", "-dev"]);
    refused(
        "-bind 127.0.0.1 -bootstrap-expect 3",
        "{}",
        &["bootstrap_expect is 3 (by -bootstrap-expect)", "add -server"],
    );
    refused("-bind 127.0.0.1 -bootstrap", "{}", &["bootstrap is true (by -bootstrap)", "add -server"]);
    refused("-dev -bootstrap -bootstrap-expect 3", "{}", &["bootstrap_expect is 3", "keep one"]);
    refused("-dev -bootstrap-expect -1", "{}", &["bootstrap_expect is -1", "such as 3 or 5"]);
    refused("-dev -bootstrap-expect 1000", "{}", &["bootstrap_expect is 1000"]);
    refused("-dev -data-dir Cargo.toml", "{}", &["data_dir is Cargo.toml (by -data-dir)", "this is a file"]);
    refused("-dev", r#"{"data_dir": ""}"#, &["data_dir is empty (in a.json)", "name a directory"]);
    refused(
        "-dev",
        r#"{"performance": {"raft_multiplier": 11}}"#,
        &["performance.raft_multiplier is 11 (in a.json)", "1 to 10"],
    );
    // Addresses.
    refused("-dev -bind localhost", "{}", &["bind_addr is localhost (by -bind)", "an IP address is expected"]);
    refused("-dev -bind 127.0.0.1:8301", "{}", &["bind_addr is 127.0.0.1:8301", "without a port"]);
    refused(
        "-dev",
        r#"{"bind_addr": "{{ GetPrivateIP }}"}"#,
        &["bind_addr is {{ GetPrivateIP }} (in a.json)", "templates"],
    );
    refused("-dev", r#"{"addresses": {"http": "unix:///x"}}"#, &["addresses.http is unix:///x", "unix sockets"]);
    refused("-dev", r#"{"client_addr": "127.0.0.1 nope"}"#, &["client_addr is nope (in a.json)"]);
    refused("-dev", r#"{"client_addr": " "}"#, &["client_addr is empty", "one or more IP addresses"]);
    refused("-dev -advertise 0.0.0.0", "{}", &["advertise_addr is 0.0.0.0 (by -advertise)", "cannot reach"]);
    // Ports.
    refused("-dev -http-port 65536", "{}", &["ports.http is 65536 (by -http-port)", "1 to 65535"]);
    refused("-dev -http-port -2", "{}", &["ports.http is -2"]);
    refused("-dev -serf-lan-port -1", "{}", &["ports.serf_lan is -1", "cannot be turned off"]);
    refused("-dev -dns-port 8500", "{}", &["ports.dns is 8500 (by -dns-port)", "HTTP uses 127.0.0.1:8500"]);
    refused("-dev", r#"{"ports": {"dns": 8301}}"#, &["ports.dns is 8301 (in a.json)", "gossip uses 127.0.0.1:8301"]);
    // The store.
    refused(
        "-dev",
        r#"{"reconnect_timeout": "1m"}"#,
        &["reconnect_timeout is 1m0s (in a.json)", "10m0s or more", "72h0m0s is usual"],
    );
    refused(
        "-dev",
        r#"{"session_ttl_min": "500ms"}"#,
        &["session_ttl_min is 500ms (in a.json)", "1s to 24h", "10s is usual"],
    );
    refused("-dev", r#"{"limits": {"kv_max_value_size": 0}}"#, &["limits.kv_max_value_size is 0", "524288 is usual"]);
    refused("-dev", r#"{"raft_snapshot_threshold": 1}"#, &["raft_snapshot_threshold is 1", "use 16 to", "is usual"]);
    // The key.
    refused("-bind 10.0.0.1", "{}", &["encrypt is not set", "quorate keygen", "-bind=127.0.0.1"]);
    refused("", "{}", &["encrypt is not set", "0.0.0.0", "quorate keygen"]);
    refused("-dev -bind 10.0.0.1", "{}", &["encrypt is not set"]);
    refused(
        "-dev -encrypt short",
        "{}",
        &["encrypt is 5 characters that are not base64 (by -encrypt)", "quorate keygen"],
    );
    refused("-dev -encrypt c2hvcnQ=", "{}", &["encrypt is base64 of 5 bytes", "16, 24 or 32", "quorate keygen"]);
    let well_known = "cXVvcmF0ZS1kZXZlbG9wbWVudC1rZXktaW5zZWN1cmU=";
    refused(
        &format!("-bind 10.0.0.1 -encrypt {well_known}"),
        "{}",
        &["encrypt is the development key", "everybody knows"],
    );
    // Identity.
    refused("-dev -datacenter dc.1", "{}", &["datacenter is 'dc.1' (by -datacenter)", "such as dc1"]);
    refused("-dev", r#"{"datacenter": ""}"#, &["datacenter is '' (in a.json)"]);
    refused("-dev", r#"{"node_name": "a b"}"#, &["node_name is 'a b' (in a.json)", "-node=NAME"]);
    refused("-dev -node-id 1234", "{}", &["node_id is 1234 (by -node-id)", "UUID"]);
    refused("-dev -node-meta a.b:c", "{}", &["node_meta is 'a.b' (by -node-meta)", "-node-meta=rack:r7"]);
    refused("-dev -node-meta consul-x:c", "{}", &["node_meta is consul-x", "reserved"]);
    refused("-dev -domain a..b", "{}", &["domain is 'a..b' (by -domain)", "such as \"consul\""]);
    refused("-dev -alt-domain !", "{}", &["alt_domain is '!' (by -alt-domain)"]);
    // The rest.
    refused("-dev -retry-join provider=aws", "{}", &["retry_join is 'provider=aws' (by -retry-join)", "host names"]);
    refused("-dev -join a:b", "{}", &["start_join is 'a:b' (by -join)", "1 to 65535"]);
    refused("-dev -retry-interval 1ms", "{}", &["retry_interval is 1ms (by -retry-interval)", "1s or more"]);
    for (lan, said) in [
        (r#"{"probe_interval": "10ms"}"#, ["gossip_lan.probe_interval is 10ms (in a.json)", "100ms to 1m0s"]),
        (r#"{"probe_interval": "300ms"}"#, ["gossip_lan.probe_timeout is 200ms", "150ms, half of the probe interval"]),
        (r#"{"gossip_interval": "1m"}"#, ["gossip_lan.gossip_interval is 1m0s", "100ms is this profile's"]),
        (r#"{"gossip_nodes": 0}"#, ["gossip_lan.gossip_nodes is 0", "use 1 to 16; 3 is"]),
        (r#"{"suspicion_mult": 41}"#, ["gossip_lan.suspicion_mult is 41", "use 1 to 40"]),
        (r#"{"retransmit_mult": -1}"#, ["gossip_lan.retransmit_mult is -1", "use 1 to 16"]),
    ] {
        refused("-dev", &format!(r#"{{"gossip_lan": {lan}}}"#), &said);
    }
    refused("-dev -gossip-profile fast", "{}", &["gossip_profile is fast (by -gossip-profile)", "lan-calm"]);
    refused("-dev -log-level loud", "{}", &["log_level is loud (by -log-level)", "trace, debug"]);
    refused(
        "-dev -log-level INFO",
        r#"{"limits": {"kv_max_value_size": 0}}"#,
        &["limits.kv_max_value_size is 0", "524288"],
    );
    refused("-dev", r#"{"dns_config": {"udp_answer_limit": 0}}"#, &["dns_config.udp_answer_limit is 0", "1 or more"]);
    refused("-dev", r#"{"dns_config": {"node_ttl": "900000h"}}"#, &["dns_config.node_ttl is 3240000000s"]);
    refused("-dev", r#"{"dns_config": {"service_ttl": {"w*": "900000h"}}}"#, &["dns_config.service_ttl", "'w*'"]);
}

#[test]
fn a_host_without_a_private_address_is_asked_for_one() {
    let file = || File { encrypt: Some(KEY.to_owned()), ..File::default() };
    let (config, _) = Config::check(file(), &host(), false).unwrap();
    assert_eq!(
        (config.gossip.to_string(), config.advertise.to_string()),
        ("0.0.0.0:8301".into(), "10.9.8.7:8301".into())
    );
    let public = Host { addresses: vec!["203.0.113.7".parse().unwrap()], ..host() };
    let text = Config::check(file(), &public, false).unwrap_err().to_string();
    assert!(
        text.contains("advertise_addr is not set") && text.contains("203.0.113.7") && text.contains("-advertise=IP")
    );
    let nameless = Host { name: None, ..host() };
    let text = Config::check(file(), &nameless, false).unwrap_err().to_string();
    assert!(text.contains("node_name is not set") && text.contains("-node=NAME"), "{text}");
}

#[test]
fn wrong_types_say_what_was_found_and_what_is_expected() {
    for (json, expected) in [
        (r#"{"server": "yes"}"#, r#"server is "yes" (a string) (in a.json): true or false"#),
        (r#"{"ports": {"http": "eighty"}}"#, r#"ports.http is "eighty" (a string) (in a.json): a whole number"#),
        (r#"{"ports": {"http": 80.5}}"#, "ports.http is 80.5 (a number)"),
        (r#"{"ports": [1]}"#, "ports is [1] (a list) (in a.json): an object"),
        (r#"{"datacenter": 7}"#, "datacenter is 7 (a number) (in a.json): a string"),
        (r#"{"retry_join": ["a", 7]}"#, "retry_join[1] is 7 (a number)"),
        (r#"{"retry_join": {"a": 7}}"#, r#"retry_join is {"a":7} (an object) (in a.json): a list of strings"#),
        (
            r#"{"retry_interval": "soon"}"#,
            r#"retry_interval is "soon" (a string) (in a.json): a duration such as "30s""#,
        ),
        (r#"{"node_meta": {"a": 1}}"#, "node_meta.a is 1 (a number)"),
        (r#"{"dns_config": {"service_ttl": {"*": "x"}}}"#, r#"dns_config.service_ttl.* is "x""#),
        (r#"{"services": [{"name": "a"}, {"name": "b", "port": "80"}]}"#, r#"services[1].port is "80" (a string)"#),
        (
            r#"{"services": [{"name": "a", "port": 65536}]}"#,
            "services[0].port is 65536 (a number) (in a.json): a port from 0",
        ),
        (r#"{"service": "web"}"#, r#"service[0] is "web" (a string)"#),
        (
            r#"{"checks": [{"name": "c", "http": "http://x", "interval": true}]}"#,
            "checks[0].interval is true (a boolean)",
        ),
    ] {
        let text = File::parse(json, "a.json").unwrap_err().to_string();
        assert!(text.starts_with(expected), "{json}: {text}");
    }
}

#[test]
fn unknown_keys_warn_with_a_hint() {
    let json = r#"{"datacentre": "x", "http_port": 80, "ports": {"htttp": 1}, "zebra": 1, "nothing": null, "retry-join": [],
                   "services": [{"name": "a", "tag": ["x"]}]}"#;
    let (_, warnings) = File::parse(json, "a.json").unwrap();
    for expected in [
        "a.json: the key datacentre is unknown; did you mean datacenter?",
        "a.json: the key http_port is unknown; did you mean ports.http?",
        "a.json: the key ports.htttp is unknown; did you mean ports.http?",
        "a.json: the key zebra is unknown and is ignored",
        "a.json: the key retry-join is unknown; did you mean retry_join?",
        "a.json: the key services[0].tag is unknown; did you mean services[0].tags?",
    ] {
        assert!(warnings.iter().any(|warning| warning == expected), "{expected}: {warnings:#?}");
    }
    assert_eq!(warnings.len(), 6, "{warnings:#?}");
}

#[test]
fn keys_of_consul_without_effect_are_listed_once() {
    let json = r#"{"ui_config": {"enabled": true}, "telemetry": {"anything": 1}, "performance": {"leave_drain_time": "5s"},
                   "acl": {"enabled": false}, "connect": {"enabled": true}}"#;
    let (_, warnings) = File::parse(json, "a.json").unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    for key in ["ui_config", "telemetry", "performance.leave_drain_time", "acl.enabled", "connect"] {
        assert!(warnings[0].contains(key), "{key}: {warnings:?}");
    }
}

#[test]
fn what_would_have_to_be_enforced_is_refused() {
    for (json, key) in [
        (r#"{"acl": {"enabled": true}}"#, "acl.enabled is true"),
        (r#"{"acl_default_policy": "deny"}"#, "acl_default_policy is \"deny\""),
        (r#"{"http_config": {"block_endpoints": ["/v1/kv"]}}"#, "http_config.block_endpoints is"),
        (r#"{"http_config": {"allow_write_http_from": ["127.0.0.0/8"]}}"#, "http_config.allow_write_http_from is"),
        (r#"{"serf_lan_allowed_cidrs": ["10.0.0.0/8"]}"#, "serf_lan_allowed_cidrs is"),
    ] {
        let text = File::parse(json, "a.json").unwrap_err().to_string();
        assert!(text.starts_with(key), "{json}: {text}");
    }
    for line in ["-allow-write-http-from 10.0.0.0/8", "-serf-lan-allowed-cidrs=10.0.0.0/8"] {
        let text = Flags::parse(args(line)).unwrap_err().to_string();
        assert!(text.contains("10.0.0.0/8") && text.contains("remove it"), "{text}");
    }
}

#[test]
fn services_and_checks_in_any_of_the_spellings() {
    let json = r#"{
        "service": {"name": "web", "port": 8080, "tags": ["v1"], "meta": {"a": "b"},
                    "tagged_addresses": {"lan": {"address": "10.0.0.1", "port": 81}}, "weights": {"passing": 5},
                    "connect": {}, "check": {"HTTP": "http://127.0.0.1:8080/", "Interval": "10s", "Timeout": "1s",
                    "Header": {"X": ["1"]}, "DeregisterCriticalServiceAfter": "2s"}},
        "services": [{"ID": "db-1", "Name": "db", "checks": [{"tcp": "127.0.0.1:5432", "interval": "500ms", "status": "passing"},
                    {"id": "beat", "name": "heartbeat", "ttl": "30s"}]}],
        "checks": [{"name": "disk", "ttl": "1m", "service_id": "db-1", "failures_before_critical": 3}]
    }"#;
    let (file, warnings) = File::parse(json, "a.json").unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    let [db, web] = file.services.as_slice() else { panic!("{:?}", file.services) };
    let (db, db_checks, web, web_checks) = (&db.service, &db.checks, &web.service, &web.checks);
    assert_eq!((db.id.as_str(), db.name.as_str()), ("db-1", "db"));
    assert_eq!((web.id.as_str(), web.port, web.weights.passing, web.weights.warning), ("web", 8080, 5, 1));
    assert_eq!(web.tagged_addresses["lan"].port, 81);
    let CheckKind::Http(http) = &web_checks[0].kind else { panic!("{web_checks:?}") };
    assert_eq!((http.interval, http.timeout), (Duration::from_secs(10), Duration::from_secs(1)));
    assert_eq!(http.header["X"], ["1"]);
    assert_eq!(web_checks[0].name, "Service 'web' check");
    assert_eq!(web_checks[0].deregister_critical_service_after, Duration::from_secs(60));
    assert_eq!(db_checks[0].kind.interval(), Duration::from_secs(1));
    assert_eq!((db_checks[0].initial_status, db_checks[0].service_id.as_str()), (Status::Passing, "db-1"));
    assert_eq!(
        (db_checks[1].id.as_str(), &db_checks[1].kind),
        ("beat", &CheckKind::Ttl { ttl: Duration::from_secs(30) })
    );
    let disk = &file.checks[0];
    assert_eq!((disk.id.as_str(), disk.service_id.as_str(), disk.failures_before_critical), ("disk", "db-1", 3));
    assert_eq!(disk.initial_status, Status::Critical);
}

#[test]
fn definitions_that_make_no_sense_are_refused() {
    let check = |check: &str, expected: &str| {
        let json = format!(r#"{{"checks": [{check}]}}"#);
        let text = File::parse(&json, "a.json").unwrap_err().to_string();
        assert!(text.contains(expected), "{check}: {text}");
    };
    check(r#"{"ttl": "1s"}"#, "checks[0].name is not set");
    check(
        r#"{"name": "a"}"#,
        "checks[0].ttl is not set (in a.json): TTL must be > 0 for TTL checks; any other kind is named by",
    );
    check(r#"{"name": "a", "http": "http://x"}"#, "checks[0].interval is not set");
    check(
        r#"{"name": "a", "http": "x:80", "interval": "1s"}"#,
        "checks[0].http is x:80 (in a.json): HTTP must be an address",
    );
    check(r#"{"name": "a", "tcp": "x", "interval": "1s"}"#, "host:port");
    check(
        r#"{"name": "a", "ttl": "1s", "interval": "1s"}"#,
        "checks[0].ttl is set (in a.json): Interval and TTL cannot both be specified",
    );
    check(
        r#"{"name": "a", "udp": "x:1", "tcp": "x:1", "interval": "1s"}"#,
        "checks[0].udp is set (in a.json): tcp is set as well",
    );
    check(r#"{"name": "a", "ttl": "1s", "status": "fine"}"#, "checks[0].status is fine");
    check(r#"{"name": "a", "grpc": "x", "interval": "1s"}"#, "checks[0].grpc is x (in a.json): GRPC must be host:port");
    check(r#"{"name": "a", "docker_container_id": "c", "interval": "1s"}"#, "checks[0].args is not set");
    let text = File::parse(r#"{"service": {"port": 1}}"#, "a.json").unwrap_err().to_string();
    assert!(text.contains("service[0].name is not set"), "{text}");
    let text = both("-dev", r#"{"services": [{"name": "a"}, {"name": "b", "id": "a"}]}"#).unwrap_err().to_string();
    assert!(text.contains("services is a (in a.json)") && text.contains("another \"id\""), "{text}");
}

#[test]
fn what_is_seldom_meant_is_said() {
    let said = |line: &str, expected: &str| {
        let warnings = both(line, "{}").unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{line}: {warnings:?}");
    };
    said("-dev -bootstrap-expect 4", "an even number of servers survives no more failures than 3");
    said("-dev -bootstrap-expect 0", "waits to be joined");
    said("-dev -node web_1", "DNS cannot find");
    said("-dev", "a development key that everybody knows");
}

#[test]
fn a_key_is_never_shown() {
    let Loaded { config, warnings, .. } = both(&format!("-dev -encrypt {KEY}"), "{}").unwrap();
    let shown = format!("{config:?} {warnings:?}");
    assert!(!shown.contains("cXVvcmF0") && !shown.contains("quorate-bench") && shown.contains("GossipKey(32 bytes)"));
    let broken = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";
    assert!(!both(&format!("-dev -encrypt {broken}"), "{}").unwrap_err().to_string().contains("c2Vj"));
}

#[test]
fn the_sample_file_is_read_without_a_word() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/agent.json");
    let (file, warnings) = File::parse(&std::fs::read_to_string(path).unwrap(), path).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let (config, warnings) = Config::check(file, &host(), false).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((config.definitions.services.len(), config.definitions.checks.len()), (1, 2));
}

#[test]
fn every_snippet_of_the_page_on_checks_is_a_whole_configuration() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/checks.md")).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for snippet in page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let (file, warnings) = File::parse(snippet, "checks.json").unwrap();
        assert_eq!(warnings, Vec::<String>::new(), "{snippet}");
        let mut whole = File::dev();
        whole.overlay(file);
        let (config, _) = Config::check(whole, &host(), true).unwrap();
        let of_services = config.definitions.services.iter().flat_map(|one| &one.checks);
        kinds.extend(of_services.chain(&config.definitions.checks).map(|check| check.kind.word()));
    }
    let all = ["alias", "docker", "grpc", "h2ping", "http", "os_service", "script", "tcp", "ttl", "udp"];
    assert!(kinds.iter().eq(&all), "{kinds:?}");
}

/// Any JSON, with keys that the reader knows in it.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        prop_oneof![Just("1s".to_owned()), Just("127.0.0.1".to_owned()), Just("http://x".to_owned()), "\\PC{0,12}"]
            .prop_map(serde_json::Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "ports",
            "http",
            "dns",
            "dns_config",
            "service_ttl",
            "services",
            "service",
            "checks",
            "check",
            "name",
            "id",
            "tcp",
            "ttl",
            "interval",
            "timeout",
            "node_meta",
            "retry_join",
            "encrypt",
            "bind_addr",
            "client_addr",
            "domain",
            "server",
            "bootstrap_expect",
            "performance",
            "raft_multiplier",
            "limits",
            "kv_max_value_size",
            "acl",
            "tagged_addresses",
            "weights",
            "header",
            "deregister_critical_service_after",
            "status",
            "datacenter",
            "retry_interval",
            "log_level",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,64}") {
        let _ = File::parse(&text, "a.json");
    }

    #[test]
    fn no_json_panics_and_what_is_refused_names_its_place(value in json()) {
        match File::parse(&value.to_string(), "a.json") {
            Err(e) => prop_assert!(e.to_string().contains("a.json"), "{}", e),
            Ok((file, _)) => {
                let _ = Config::check(file, &host(), true);
            }
        }
    }

    #[test]
    fn no_command_line_panics(words in prop::collection::vec(prop_oneof![
        prop::sample::select(vec!["-dev", "-node", "-http-port", "-1", "--", "-ui", "-raft-protocol", "-encrypt", "-server",
            "-server=", "-bind=127.0.0.1", "-=", "-", "---", "-config-format", "-allow-write-http-from"])
            .prop_map(str::to_owned),
        "\\PC{0,12}",
    ], 0..8)) {
        let args: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        if let Ok((flags, _)) = Flags::parse(args) {
            let _ = Config::check(flags.into_file(), &host(), true);
        }
    }

    #[test]
    fn overlaying_nothing_changes_nothing(value in json()) {
        if let Ok((file, _)) = File::parse(&value.to_string(), "a.json") {
            let mut same = file.clone();
            same.overlay(File::default());
            prop_assert_eq!(&same, &file);
            let mut fresh = File::default();
            fresh.overlay(file.clone());
            prop_assert_eq!(&fresh, &file);
        }
    }
}

#[test]
fn every_kind_of_check_is_read() {
    for (fields, word) in [
        (r#""http": "https://x", "disable_redirects": true, "tls_server_name": "y""#, "http"),
        (r#""tcp": "x:1", "tcp_use_tls": true"#, "tcp"),
        (r#""udp": "x:1""#, "udp"),
        (r#""grpc": "x:1/web", "grpc_use_tls": true, "tls_skip_verify": true"#, "grpc"),
        (r#""h2ping": "x:1", "h2ping_use_tls": false"#, "h2ping"),
        (r#""args": ["/bin/true"]"#, "script"),
        (r#""ScriptArgs": "/bin/true""#, "script"),
        (r#""docker_container_id": "c1", "args": ["/bin/true"], "shell": "/bin/sh""#, "docker"),
        (r#""os_service": "nginx""#, "os_service"),
    ] {
        let json =
            format!(r#"{{"enable_local_script_checks": true, "check": {{"name": "a", "interval": "10s", {fields}}}}}"#);
        let loaded = both("-dev", &json).unwrap();
        assert_eq!(loaded.config.definitions.checks[0].kind.word(), word, "{fields}");
        assert_eq!(loaded.unknown_keys, Vec::<String>::new(), "{fields}");
    }
    let loaded = both("-dev", r#"{"check": {"name": "a", "alias_node": "n2", "alias_service": "web"}}"#).unwrap();
    assert_eq!(loaded.config.definitions.checks[0].kind.word(), "alias");
}

#[test]
fn programs_run_only_where_the_operator_says_so() {
    let script = r#""checks": [{"name": "disk", "args": ["/bin/true"], "interval": "10s"}]"#;
    let error = both("-dev", &format!("{{{script}}}")).map(|loaded| loaded.config).unwrap_err().to_string();
    assert_eq!(
        error,
        "checks is disk (in a.json): it runs a program, which is off; set \"enable_local_script_checks\": true beside it"
    );
    for (line, json, scripts) in [
        ("-dev", r#"{"enable_local_script_checks": true}"#, Scripts::FromFiles),
        ("-dev -enable-local-script-checks", "{}", Scripts::FromFiles),
        ("-dev -enable-script-checks", r#"{"enable_local_script_checks": true}"#, Scripts::FromAnywhere),
        ("-dev -enable-script-checks=false", r#"{"enable_script_checks": true}"#, Scripts::Off),
        ("-dev", "{}", Scripts::Off),
    ] {
        assert_eq!(both(line, json).unwrap().config.definitions.scripts, scripts, "{line} {json}");
    }
    let warned =
        |line: &str| both(line, "{}").unwrap().warnings.iter().any(|warning| warning.contains("can run any program"));
    assert!(warned("-dev -client 0.0.0.0 -enable-script-checks"));
    assert!(!warned("-dev -enable-script-checks"));
}

#[test]
fn output_is_bounded() {
    assert_eq!(flags("-dev").definitions.output_max_size, 4096);
    assert_eq!(flags("-dev -check_output_max_size 100").definitions.output_max_size, 100);
    for size in ["0", "-1", "65537"] {
        let error = both(&format!("-dev -check_output_max_size {size}"), "{}").map(|loaded| loaded.config).unwrap_err();
        assert!(error.to_string().contains("(by -check_output_max_size): use 1 to 65536 bytes"), "{error}");
    }
}

#[test]
fn keys_that_nobody_knows_are_told_apart_from_those_without_effect() {
    let loaded =
        both("-dev", r#"{"ui": true, "sevice": {}, "check": {"name": "a", "ttl": "10s", "colour": "red"}}"#).unwrap();
    let [outer, inner] = loaded.unknown_keys.as_slice() else { panic!("{:?}", loaded.unknown_keys) };
    assert!(
        outer.contains("check[0].colour is unknown") && inner.contains("the key sevice is unknown"),
        "{outer} {inner}"
    );
    assert!(loaded.unknown_keys.iter().all(|sentence| loaded.warnings.contains(sentence)));
}

#[test]
fn ids_of_checks_are_unique_and_not_the_agents_own() {
    for (check, word) in [
        (r#"{"id": "serfHealth", "name": "a", "ttl": "10s"}"#, "belongs to the agent's own checks"),
        (r#"{"id": "_node_maintenance", "name": "a", "ttl": "10s"}"#, "belongs to the agent's own checks"),
        (r#"{"name": "b", "ttl": "10s"}"#, "two checks"),
    ] {
        let json =
            format!(r#"{{"service": {{"name": "web", "check": {{"id": "b", "ttl": "10s"}}}}, "check": {check}}}"#);
        let error = both("-dev", &json).map(|loaded| loaded.config).unwrap_err().to_string();
        assert!(error.contains(word), "{check}: {error}");
    }
}

#[test]
fn ids_of_services_are_unique_and_not_the_servers_own() {
    for (json, word) in [
        (r#"{"services": [{"name": "web"}, {"name": "web"}]}"#, "two services"),
        (r#"{"service": {"name": "consul"}}"#, "belongs to the servers"),
    ] {
        let error = both("-dev", json).map(|loaded| loaded.config.definitions).unwrap_err().to_string();
        assert!(error.contains(word), "{json}: {error}");
    }
}

#[test]
fn event_handlers_are_read_and_wrong_ones_refused() {
    let handlers = |text: &str| {
        let (file, _) = File::parse(&format!(r#"{{"bind_addr": "127.0.0.1"{text}}}"#), "a.json").unwrap();
        let checked = Config::check(file, &host(), true).map_err(|error| error.to_string());
        checked.map(|(config, _)| config.event_handlers.len())
    };
    assert_eq!(handlers(""), Ok(0), "off without configuration");
    assert_eq!(handlers(r#", "event_handlers": ["user:deploy=/x/deploy.sh", "/x/all.sh"]"#), Ok(2));
    let refused = handlers(r#", "event_handlers": ["member-jion=/x"]"#).unwrap_err();
    assert!(refused.contains("event_handlers") && refused.contains("member-join"), "{refused}");
}
