//! An agent that stops tells those who wait, instead of cutting them off.

use crate::agent::{Agent, Net, wait_until};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Asks, and does not wait for the answer.
fn ask(agent: &Agent, method: &str, path: &str) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect((agent.ip, 8500))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", agent.ip)?;
    Ok(BufReader::new(stream))
}

/// All that comes until the agent closes the connection.
fn rest(mut connection: BufReader<TcpStream>) -> Result<String> {
    let mut said = String::new();
    connection.read_to_string(&mut said).with_context(|| format!("it was cut off after {said:?}"))?;
    Ok(said)
}

fn session(agent: &Agent) -> Result<String> {
    // The agent puts itself into the catalogue a moment after it has started.
    wait_until("a session", || {
        let made = agent.put("/v1/session/create", b"")?;
        let id = serde_json::from_str::<serde_json::Value>(&made.body)
            .ok()
            .and_then(|made| Some(made["ID"].as_str()?.to_owned()));
        Ok(id)
    })
}

#[test]
fn whoever_waits_is_told_that_the_agent_stops() -> Result<()> {
    for signal in ["TERM", "INT"] {
        let mut agent = Agent::start("dev", Net::new().host(1), &["-dev"])?;
        let (holder, waiter) = (session(&agent)?, session(&agent)?);
        ensure!(agent.put(&format!("/v1/kv/lock?acquire={holder}"), b"")?.body == "true");
        let index = agent.get("/v1/kv/lock")?.index.context("an index")?;

        let watching = ask(&agent, "GET", &format!("/v1/kv/lock?index={index}&wait=10m"))?;
        let queued = ask(&agent, "PUT", &format!("/v1/kv/lock?acquire={waiter}&wait=10m"))?;
        let mut streaming = ask(&agent, "GET", "/v1/kv/lock?stream")?;
        let mut line = String::new();
        while line != "event: progress\n" {
            line.clear();
            ensure!(streaming.read_line(&mut line)? > 0, "the stream ends before it began");
        }
        agent.signal(signal)?;
        for (what, connection) in [("a blocking query", watching), ("a wait for a lock", queued)] {
            let said = rest(connection).context(what)?;
            ensure!(
                said.starts_with("HTTP/1.1 500 ") && said.contains("\r\n\r\nagent is shutting down"),
                "{what}: {said:?}"
            );
        }
        let said = rest(streaming).context("a stream")?;
        ensure!(said.contains(": agent is shutting down\n\n") && said.ends_with("\r\n0\r\n\r\n"), "a stream: {said:?}");
        ensure!(agent.await_end()? == Some(0), "{}", agent.log());
    }
    Ok(())
}
