//! The README's quick start, as a newcomer does it: an agent in development mode, a service with an HTTP check against a real web server,
//! found by DNS and HTTP, gone from both when the web server stops; a key, watched.

use crate::agent::{Agent, Net, wait_until};
use anyhow::{Context, Result, ensure};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A web server of the simplest kind; stops when dropped.
struct WebServer {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WebServer {
    fn start(ip: IpAddr) -> Result<WebServer> {
        let listener = TcpListener::bind((ip, 0))?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            }
        });
        Ok(WebServer { port, stop, thread: Some(thread) })
    }

    fn stop(mut self, ip: IpAddr) {
        self.stop.store(true, Ordering::Relaxed);
        // The listener wakes for one last connection.
        let _ = std::net::TcpStream::connect((ip, self.port));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_service_is_found_while_it_is_healthy() -> Result<()> {
    let ip = Net::new().host(1);
    let agent = Agent::start("dev", ip, &["-dev"])?;
    let web = WebServer::start(ip)?;
    let port = web.port;
    let definition = format!(
        r#"{{"Name": "web", "Port": {port}, "Tags": ["v1"], "Check": {{"HTTP": "http://{ip}:{port}/", "Interval": "1s"}}}}"#
    );
    let registered = agent.put("/v1/agent/service/register", definition.as_bytes())?;
    ensure!(registered.status == 200, "{registered:?}");

    let passing = || -> Result<Vec<serde_json::Value>> {
        Ok(agent.json("/v1/health/service/web?passing")?.as_array().cloned().unwrap_or_default())
    };
    let found = wait_until("the service to pass", || Ok(passing()?.first().cloned()))?;
    assert_eq!(found["Service"]["Port"], port);
    assert_eq!(found["Service"]["Tags"][0], "v1");
    assert_eq!(found["Node"]["Node"], "dev");

    for name in ["web.service.consul.", "v1.web.service.dc1.consul.", "_web._tcp.service.consul."] {
        let answer = agent.dns(name, RecordType::SRV)?;
        let ports: Vec<u16> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv.port),
                _ => None,
            })
            .collect();
        assert_eq!(ports, [port], "{name}");
        assert_eq!(answer.additionals.iter().filter(|record| record.record_type() == RecordType::A).count(), 1);
    }

    web.stop(ip);
    wait_until("the service to be gone over HTTP", || Ok(passing()?.is_empty().then_some(())))?;
    wait_until("the service to be gone from DNS", || {
        let answer = agent.dns("web.service.consul.", RecordType::SRV)?;
        Ok((answer.metadata.response_code == ResponseCode::NXDomain).then_some(()))
    })?;

    let gone = agent.put("/v1/agent/service/deregister/web", b"")?;
    ensure!(gone.status == 200, "{gone:?}");
    wait_until("the catalogue to forget the service", || {
        Ok(agent.json("/v1/catalog/services")?.get("web").is_none().then_some(()))
    })
}

#[test]
fn a_key_is_stored_and_its_change_seen() -> Result<()> {
    let ip = Net::new().host(1);
    let agent = Agent::start("dev", ip, &["-dev"])?;
    ensure!(agent.put("/v1/kv/app/color", b"blue")?.body == "true");
    let read = agent.get("/v1/kv/app/color?raw")?;
    assert_eq!((read.status, read.body.as_str()), (200, "blue"));
    let index = read.index.context("an index")?;

    let url = format!("{}/v1/kv/app/color?raw&index={index}&wait=60s", agent.http());
    let watcher = std::thread::spawn(move || crate::agent::request("GET", &url, None));
    ensure!(agent.put("/v1/kv/app/other", b"x")?.body == "true", "another key wakes nobody");
    ensure!(agent.put("/v1/kv/app/color", b"green")?.body == "true");
    let changed = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
    assert_eq!(changed.body, "green");
    assert!(changed.index > Some(index));
    Ok(())
}

#[test]
fn a_value_too_large_is_refused_and_nothing_is_stored() -> Result<()> {
    let ip = Net::new().host(1);
    let agent = Agent::start("dev", ip, &["-dev"])?;
    let largest = vec![b'x'; 512 * 1024];
    ensure!(agent.put("/v1/kv/largest", &largest)?.body == "true");
    ensure!(agent.get("/v1/kv/largest?raw")?.body.len() == largest.len());
    let refused = agent.put("/v1/kv/larger", &[largest.as_slice(), b"x"].concat())?;
    assert_eq!(refused.status, 413, "{}", refused.body);
    assert!(
        refused.body.starts_with("Request body(524289 bytes) too large, max size: 524288 bytes."),
        "{}",
        refused.body
    );
    let missing = agent.get("/v1/kv/larger")?;
    assert_eq!((missing.status, missing.body.as_str()), (404, ""));
    assert!(missing.index.is_some());
    Ok(())
}

#[test]
fn an_interrupt_stops_the_agent_cleanly() -> Result<()> {
    let ip = Net::new().host(1);
    let mut agent = Agent::start("dev", ip, &["-dev"])?;
    assert_eq!(agent.interrupt()?, Some(0), "{}", agent.log());
    Ok(())
}
