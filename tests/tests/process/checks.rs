//! Checks of every kind against real things, definitions that are read again while the agent runs, and registrations that make no sense.

use crate::agent::{Agent, Net, request, run, wait_until};
use crate::skip::{skip, succeeds};
use anyhow::{Context, Result, ensure};
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory for configuration files, data and programs of one test.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Place> {
        let place = Place { directory: tempfile::tempdir()? };
        fs::create_dir(place.path("config"))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configure(&self, value: &Value) -> Result<()> {
        Ok(fs::write(self.path("config/checks.json"), value.to_string())?)
    }

    fn program(&self, name: &str, script: &str) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path.display().to_string())
    }

    /// Arguments of an agent that reads and keeps everything here.
    fn arguments(&self) -> Result<[String; 4]> {
        let text = |path: &Path| path.to_str().context("a path in UTF-8").map(str::to_owned);
        let (config, data) = (self.path("config"), self.path("data"));
        Ok(["-config-dir".into(), text(&config)?, "-data-dir".into(), text(&data)?])
    }
}

fn start(ip: std::net::IpAddr, place: &Place) -> Result<Agent> {
    let arguments = place.arguments()?;
    let all: Vec<&str> = ["-dev"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    Agent::start("n1", ip, &all)
}

/// Waits until a check has this status, and its output has this word.
fn await_check(agent: &Agent, id: &str, status: &str, word: &str) -> Result<()> {
    let mut last = Value::Null;
    let seen = wait_until(&format!("the check {id} to be {status}"), || {
        last = agent.json("/v1/agent/checks")?[id].clone();
        let output = last["Output"].as_str().unwrap_or_default();
        Ok((last["Status"] == status && output.contains(word)).then_some(()))
    });
    seen.with_context(|| format!("the last that was seen: {last}"))
}

/// A program that is ended when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_kind_of_check_sees_real_things_come_and_go() -> Result<()> {
    let place = Place::new()?;
    let ip = Net::new().host(1);
    let (tcp, udp) = (TcpListener::bind((ip, 0))?, UdpSocket::bind((ip, 0))?);
    let (tcp_port, udp_port) = (tcp.local_addr()?.port(), udp.local_addr()?.port());
    fs::create_dir(place.path("www"))?;
    fs::write(place.path("www/health"), "all is well")?;
    let web_port = free_port(ip)?;
    let web = Command::new("python3")
        .args(["-m", "http.server", &web_port.to_string(), "--bind", &ip.to_string(), "--directory"])
        .arg(place.path("www"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let web = Running(web);
    let mood = place.path("mood");
    fs::write(&mood, "0 fine")?;
    let script = place.program("script", &format!("read code word < {}; echo $word $1; exit $code", mood.display()))?;
    let program = |args: &[&str], timeout: &str| json!({"args": args, "interval": "1s", "timeout": timeout});
    let with = |id: &str, mut check: Value| {
        check["id"] = id.into();
        check["name"] = id.into();
        check
    };
    let (second, here) = ("1s", |port: u16| format!("{ip}:{port}"));
    place.configure(&json!({
        "enable_local_script_checks": true,
        "service": {"name": "web", "port": web_port, "checks": [
            with("http", json!({"http": format!("http://{ip}:{web_port}/health"), "interval": second})),
        ]},
        "checks": [
            with("tcp", json!({"tcp": here(tcp_port), "interval": second})),
            with("udp", json!({"udp": here(udp_port), "interval": second, "timeout": "100ms"})),
            // The agent's own API speaks HTTP/2, and does not speak gRPC.
            with("h2ping", json!({"h2ping": here(8500), "h2ping_use_tls": false, "interval": second})),
            with("not-grpc", json!({"grpc": here(8500), "interval": second})),
            with("script", program(&[&script, "today"], "10s")),
            with("endless", program(&["/bin/sh", "-c", "echo begun; sleep 600"], "1s")),
            with("ttl", json!({"ttl": "1m"})),
            with("docker", json!({"docker_container_id": "c1", "args": ["/bin/true"], "interval": second})),
            with("unit", json!({"os_service": "there-is-no-such-unit.service", "interval": second})),
            with("alias", json!({"alias_service": "web"})),
        ],
    }))?;
    let agent = start(ip, &place)?;
    for (id, status, word) in [
        ("http", "passing", "200 OK Output: all is well"),
        ("tcp", "passing", "Success"),
        ("udp", "passing", "Success"),
        ("h2ping", "passing", "ping was successful"),
        ("not-grpc", "critical", "does not speak gRPC"),
        ("script", "passing", "fine today"),
        ("endless", "critical", "Timed out (1s) running check\n\nbegun"),
        // No daemon that has this container, and no such unit: what is said depends on the machine.
        ("docker", "critical", "Docker"),
        ("unit", "critical", "there-is-no-such-unit"),
        ("ttl", "critical", ""),
    ] {
        await_check(&agent, id, status, word)?;
    }
    let kinds = agent.json("/v1/agent/checks")?;
    ensure!(kinds["unit"]["Type"] == "os_service" && kinds["script"]["Type"] == "script", "{kinds}");
    for id in ["ttl", "docker", "unit", "endless", "not-grpc"] {
        ensure!(agent.put(&format!("/v1/agent/check/deregister/{id}"), b"")?.status == 200, "{id}");
    }
    await_check(&agent, "alias", "passing", "All checks passing.")?;

    fs::write(&mood, "1 hmm")?;
    await_check(&agent, "script", "warning", "hmm today")?;
    await_check(&agent, "alias", "warning", "Aliased check \"script\" failing: hmm today")?;
    fs::write(&mood, "0 fine")?;
    drop((tcp, udp, web));
    await_check(&agent, "tcp", "critical", "connection refused")?;
    await_check(&agent, "udp", "critical", "connection refused")?;
    await_check(&agent, "http", "critical", "connection refused")?;
    await_check(&agent, "alias", "critical", "failing: ")?;
    wait_until("the service to go from DNS", || {
        Ok(agent.dns("web.service.consul.", RecordType::A)?.answers.is_empty().then_some(()))
    })
}

/// A port that was free a moment ago.
fn free_port(ip: std::net::IpAddr) -> Result<u16> {
    Ok(TcpListener::bind((ip, 0))?.local_addr()?.port())
}

/// A health server of gRPC's own library: serves `web` and, once it is told to on its standard input, no longer.
const GRPC_SERVER: &str = r#"
import sys
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
servicer.set("web", health_pb2.HealthCheckResponse.SERVING)
print(server.add_insecure_port(sys.argv[1] + ":0"), flush=True)
server.start()
sys.stdin.readline()
servicer.set("web", health_pb2.HealthCheckResponse.NOT_SERVING)
sys.stdin.readline()
"#;

#[test]
fn a_grpc_server_is_asked_for_its_health() -> Result<()> {
    if !succeeds("python3", &["-c", "import grpc_health.v1.health"]) {
        skip("a_grpc_server_is_asked_for_its_health", "python3 has no grpcio-health-checking");
        return Ok(());
    }
    let (place, ip) = (Place::new()?, Net::new().host(1));
    let mut server = Command::new("python3")
        .args(["-c", GRPC_SERVER, &ip.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut orders = server.stdin.take().context("its input")?;
    let mut said = BufReader::new(server.stdout.take().context("its output")?);
    let _server = Running(server);
    let mut port = String::new();
    said.read_line(&mut port)?;
    let address = format!("{ip}:{}", port.trim());
    let check = |id: &str, target: &str| json!({"id": id, "name": id, "grpc": target, "interval": "1s"});
    place.configure(&json!({"checks": [
        check("whole", &address),
        check("web", &format!("{address}/web")),
        check("other", &format!("{address}/other")),
        json!({"id": "ping", "name": "ping", "h2ping": address, "h2ping_use_tls": false, "interval": "1s"}),
    ]}))?;
    let agent = start(ip, &place)?;
    await_check(&agent, "whole", "passing", "success")?;
    await_check(&agent, "web", "passing", "success")?;
    await_check(&agent, "other", "critical", "knows no service \"other\"")?;
    await_check(&agent, "ping", "passing", "successful")?;
    std::io::Write::write_all(&mut orders, b"stop\n")?;
    await_check(&agent, "web", "critical", "serving status: NOT_SERVING")
}

#[test]
fn definitions_are_read_again_and_reports_hold() -> Result<()> {
    let (place, ip) = (Place::new()?, Net::new().host(1));
    let beat = json!({"id": "beat", "name": "beat", "ttl": "10m"});
    place.configure(&json!({"services": [{"name": "web", "port": 1, "check": beat}, {"name": "old", "port": 2}]}))?;
    let mut agent = start(ip, &place)?;
    ensure!(agent.put("/v1/agent/check/pass/beat?note=told", b"")?.status == 200);
    ensure!(agent.put("/v1/agent/service/register", br#"{"Name":"api","Port":3}"#)?.status == 200);
    let services = |agent: &Agent| -> Result<Vec<String>> {
        Ok(agent.json("/v1/agent/services")?.as_object().context("an object")?.keys().cloned().collect())
    };

    // By signal.
    place.configure(&json!({"services": [{"name": "web", "port": 11, "check": beat}, {"name": "new", "port": 2}]}))?;
    agent.signal("HUP")?;
    wait_until("the new services", || Ok((services(&agent)? == ["api", "new", "web"]).then_some(())))?;
    ensure!(agent.json("/v1/agent/service/web")?["Port"] == 11);
    await_check(&agent, "beat", "passing", "told")?;

    // By hand: what is wrong is said, and changes nothing.
    fs::write(place.path("config/broken.json"), "{")?;
    let (code, said) = run(&["reload", &format!("-http-addr={ip}:8500")])?;
    ensure!(code == Some(1) && said.contains("broken.json: is not JSON"), "{said}");
    ensure!(services(&agent)? == ["api", "new", "web"]);
    let config = place.path("config").display().to_string();
    let (code, said) = run(&["validate", &config, "--", "-dev"])?;
    ensure!(code == Some(1) && said.contains("broken.json: is not JSON"), "{said}");
    fs::remove_file(place.path("config/broken.json"))?;
    place.configure(&json!({"service": {"name": "web", "port": 12, "check": beat}}))?;
    let (code, said) = run(&["validate", &config, "--", "-dev"])?;
    ensure!(code == Some(0) && said.ends_with("Configuration is valid!\n"), "{said}");
    ensure!(agent.quorate(&["reload"])? == "Configuration reload triggered\n");
    ensure!(services(&agent)? == ["api", "web"]);

    // Out of service, over a restart, and back.
    ensure!(agent.quorate(&["maint", "-enable", "-service", "web", "-reason", "upgrade"])?.contains("now enabled"));
    agent.restart()?;
    await_check(&agent, "beat", "passing", "told")?;
    ensure!(services(&agent)? == ["api", "web"]);
    ensure!(agent.quorate(&["maint"])? == "Service:\n  ID:     web\n  Reason: upgrade\n\n");
    ensure!(agent.get("/v1/agent/health/service/name/web?format=text")?.body == "maintenance");
    let found = |agent: &Agent| Ok::<_, anyhow::Error>(agent.dns("web.service.consul.", RecordType::A)?.answers.len());
    wait_until("the node to be in the catalogue again", || {
        Ok(agent.dns("api.service.consul.", RecordType::A)?.answers.first().map(|_| ()))
    })?;
    ensure!(found(&agent)? == 0, "what is in maintenance is not found");
    agent.quorate(&["maint", "-disable", "-service", "web"])?;
    wait_until("the service to be found", || Ok((found(&agent)? == 1).then_some(())))
}

#[test]
fn registrations_that_make_no_sense_leave_nothing_behind() -> Result<()> {
    let (place, ip) = (Place::new()?, Net::new().host(1));
    let agent = start(ip, &place)?;
    let with = |check: &str| format!(r#"{{"Name":"x","Check":{check}}}"#);
    let large = format!(r#"{{"Name":"x","Meta":{{"a":"{}"}}}}"#, "y".repeat(10 * 1024 * 1024));
    let checks = |good: &str, bad: &str| format!(r#"{{"Name":"x","Checks":[{good},{bad}]}}"#);
    for (body, status, sentence) in [
        (
            with(r#"{"HTTP":"http://x","Interval":"often"}"#),
            400,
            r#"Request decode failed: time: invalid duration "often""#,
        ),
        (with(r#"{"HTTP":"http://x","Interval":"10"}"#), 400, r#"missing unit in duration "10""#),
        (with(r#"{"HTTP":"http://x"}"#), 400, "Invalid check: Interval must be > 0"),
        (with(r#"{"HTTP":"http://x","Interval":"1s","TTL":"1s"}"#), 400, "Invalid check: Interval and TTL cannot both"),
        (with(r#"{"HTTP":"http://x","TCP":"x:1","Interval":"1s"}"#), 400, "Invalid check: http is set as well"),
        (with(r#"{"Args":["/bin/true"],"Interval":"1s"}"#), 500, "Scripts are disabled on this agent"),
        (checks(r#"{"TTL":"1s"}"#, r#"{"Bogus":1}"#), 400, r#"unknown field "Bogus""#),
        (checks(r#"{"TTL":"1s"}"#, r#"{"TTL":"1s","CheckID":"serfHealth"}"#), 400, "belongs to the leader"),
        (r#"{"Name":"x","Colour":"red"}"#.into(), 400, r#"Request decode failed: json: unknown field "Colour""#),
        (r#"{"Name":""}"#.into(), 400, "Missing service name"),
        (r#"{"Name":"x","Port":"80"}"#.into(), 400, "Request decode failed: Port must be"),
        (large, 413, "too large, max size: 524288 bytes"),
    ] {
        let answer = agent.put("/v1/agent/service/register", body.as_bytes());
        // Whoever sends ten megabytes may still be sending when the answer is out.
        let Ok(answer) = answer else {
            ensure!(status == 413, "{sentence}: {answer:?}");
            continue;
        };
        ensure!(answer.status == status && answer.body.contains(sentence), "{sentence}: {answer:?}");
        ensure!(agent.json("/v1/agent/services")? == json!({}), "{sentence}");
        ensure!(agent.json("/v1/agent/checks")? == json!({}), "{sentence}");
    }
    let taken = agent.put("/v1/agent/service/register", br#"{"Name":"web_api","Port":80}"#)?;
    ensure!(taken.status == 200, "{taken:?}");
    wait_until("the warning in the log", || {
        Ok(agent.log().contains("Service name \"web_api\" cannot be asked for in DNS").then_some(()))
    })?;
    ensure!(request("GET", &format!("{}/v1/agent/service/web_api", agent.http()), None)?.status == 200);
    Ok(())
}
