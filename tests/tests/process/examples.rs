//! The programs of `examples/` do what they say, against an agent in development mode.

use crate::agent::{Agent, Net, build, wait_until};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};

/// An agent that has put itself into the catalogue: sessions are bound to a node in it.
fn agent() -> Result<Agent> {
    let agent = Agent::start("dev", Net::new().host(1), &["-dev"])?;
    wait_until("the agent to be in the catalogue", || {
        let nodes = agent.json("/v1/catalog/nodes")?;
        Ok(nodes.as_array().is_some_and(|nodes| !nodes.is_empty()).then_some(()))
    })?;
    Ok(agent)
}

/// A running example; killed when dropped.
struct Example {
    child: Child,
    output: File,
}

impl Example {
    fn start(program: &str, arguments: &[&str], variable: &str, address: &str) -> Result<Example> {
        let output = tempfile::tempfile()?;
        let child = Command::new(build("quorate-examples", program)?)
            .args(arguments)
            .env_remove("QUORATE_HTTP_ADDR")
            .env_remove("CONSUL_HTTP_ADDR")
            .env(variable, address)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()
            .with_context(|| format!("start {program}"))?;
        Ok(Example { child, output })
    }

    /// What it said so far.
    fn said(&mut self) -> Result<String> {
        let mut said = String::new();
        self.output.rewind()?;
        self.output.read_to_string(&mut said)?;
        Ok(said)
    }

    fn await_end(&mut self) -> Result<ExitStatus> {
        wait_until("the example to end", || Ok(self.child.try_wait()?))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an example that has an end, which its last line tells.
fn tells(program: &str, variable: &str, address: impl Fn(&Agent) -> String, last_line: &str) -> Result<()> {
    let agent = agent()?;
    let mut example = Example::start(program, &[], variable, &address(&agent))?;
    let ended = example.await_end();
    let said = example.said()?;
    let status = ended.with_context(|| format!("{program} said:\n{said}"))?;
    ensure!(status.success() && said.lines().last() == Some(last_line), "{program} ended with {status}:\n{said}");
    let left = agent.get("/v1/kv/examples/?keys")?;
    ensure!(left.status == 404, "{program} leaves keys behind: {}", left.body);
    Ok(())
}

#[test]
fn leader_election() -> Result<()> {
    let address = |agent: &Agent| format!("{}:8500", agent.ip);
    tells("leader_election", "QUORATE_HTTP_ADDR", address, "leader_election: three led, one at a time")
}

#[test]
fn fencing_token() -> Result<()> {
    tells("fencing_token", "CONSUL_HTTP_ADDR", Agent::http, "fencing_token: the late write was refused")
}

#[test]
fn config_watch() -> Result<()> {
    tells("config_watch", "QUORATE_HTTP_ADDR", Agent::http, "config_watch: every change came once and in order")
}

#[test]
fn register_and_watch() -> Result<()> {
    let agent = agent()?;
    let mut example = Example::start("register_and_watch", &["7000"], "QUORATE_HTTP_ADDR", &agent.http())?;
    let expected = format!("worker: {}:7000", agent.ip);
    wait_until("the program to see itself", || {
        let said = example.said()?;
        ensure!(said.lines().any(|line| line == expected), "it said:\n{said}");
        Ok(Some(()))
    })
}
