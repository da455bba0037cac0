//! What agents do together without any server.

use crate::agent::{Agent, Net, request, wait_until};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn clients_alone_share_events_and_tags() -> Result<()> {
    let net = Net::new();
    let join = net.host(1).to_string();
    let client = |n: u8| Agent::start(&format!("c{n}"), net.host(n), &["-retry-join", &join]);
    let (c1, c2, mut c3) = (client(1)?, client(2)?, client(3)?);
    for agent in [&c1, &c2, &c3] {
        wait_until("all to see all", || {
            Ok((agent.members()?.iter().filter(|(_, s)| *s == 1).count() == 3).then_some(()))
        })?;
    }

    // One follows what happens at another agent.
    let mut monitor = Command::new(crate::agent::binary()?)
        .args([
            "monitor",
            &format!("-http-addr={}:8500", c2.ip),
            "-events",
            "member-failed,member-update,member-reap,user:deploy",
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = monitor.stdout.take().context("its output")?;
    let (send, followed) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    wait_until("the monitor to follow", || {
        c1.quorate(&["event", "-name", "deploy", "ready"])?;
        Ok(followed.recv_timeout(Duration::from_millis(200)).ok())
    })?;
    while followed.recv_timeout(Duration::from_millis(500)).is_ok() {}

    let fired = c1.put("/v1/event/fire/deploy?node=c2", b"v2")?;
    ensure!(fired.status == 200 && fired.body.contains("\"Payload\":\"djI=\""), "{}", fired.body);
    let line = followed.recv_timeout(Duration::from_secs(10))?;
    ensure!(line.starts_with("user {") && line.contains("\"Payload\":\"djI=\""), "{line}");
    for agent in [&c1, &c2, &c3] {
        wait_until("the event in the log", || Ok(agent.log().contains("event=user name=deploy").then_some(())))?;
    }
    let last =
        |agent: &Agent| Ok::<_, anyhow::Error>(agent.json("/v1/event/list?name=deploy")?[0]["NodeFilter"].clone());
    wait_until("the event to be listed where it is meant to be", || {
        let events = c2.json("/v1/event/list?name=deploy")?;
        let events = events.as_array().context("an array")?.clone();
        Ok(events.last().is_some_and(|event| event["NodeFilter"] == "c2").then_some(()))
    })?;
    ensure!(last(&c3)? == "", "and nowhere else");

    // Who waits for the next one gets it.
    let waiting = c3.get("/v1/event/list?name=later")?;
    let url = format!("{}/v1/event/list?name=later&index={}&wait=60s", c3.http(), waiting.index.unwrap_or_default());
    let waiter = std::thread::spawn(move || request("GET", &url, None));
    c1.quorate(&["event", "-name", "later"])?;
    let answer = waiter.join().map_err(|_| anyhow::anyhow!("the waiter died"))??;
    ensure!(answer.body.contains("\"later\""), "{}", answer.body);

    c1.quorate(&["tags", "-set", "rack=r1"])?;
    let line = followed.recv_timeout(Duration::from_secs(10))?;
    ensure!(line.starts_with("member-update {") && line.contains("\"rack\":\"r1\""), "{line}");
    ensure!(c2.log().contains("event=member-update node=c1"), "{}", c2.log());

    // A dead member is declared gone, and forgotten.
    c3.kill()?;
    let line = followed.recv_timeout(Duration::from_secs(30))?;
    ensure!(line.starts_with("member-failed {\"Name\":\"c3\""), "{line}");
    c1.quorate(&["force-leave", "-prune", "c3"])?;
    let line = followed.recv_timeout(Duration::from_secs(10))?;
    ensure!(line.starts_with("member-reap {\"Name\":\"c3\""), "{line}");
    ensure!(c2.members()?.iter().all(|(name, _)| name != "c3"), "still there");
    ensure!(c1.quorate(&["force-leave", "c2"]).is_err(), "it is alive");
    monitor.kill()?;
    monitor.wait()?;
    Ok(())
}

#[test]
fn clients_alone_ask_each_other() -> Result<()> {
    let net = Net::new();
    let join = net.host(1).to_string();
    let client = |n: u8| Agent::start(&format!("c{n}"), net.host(n), &["-retry-join", &join]);
    let agents = [client(1)?, client(2)?, client(3)?];
    let [c1, c2, c3] = &agents;
    for agent in &agents {
        wait_until("all to see all", || {
            Ok((agent.members()?.iter().filter(|(_, s)| *s == 1).count() == 3).then_some(()))
        })?;
    }
    let said = c1.quorate(&["reachability"])?;
    ensure!(said.contains("Successfully contacted all 3 live nodes"), "{said}");

    // A program beside c2 answers what is asked there.
    let url = format!("{}/v1/agent/events?type=query:load", c2.http());
    let (send, told) = mpsc::channel();
    std::thread::spawn(move || follow(&url, &send));
    told.recv_timeout(Duration::from_secs(10))?;
    let http = c2.http();
    let program = std::thread::spawn(move || -> Result<()> {
        let row: serde_json::Value = serde_json::from_str(&told.recv_timeout(Duration::from_secs(10))?)?;
        let id = row["ID"].as_str().context("an ID")?;
        let answer = request("PUT", &format!("{http}/v1/agent/answer/{id}"), Some(b"0.5"))?;
        ensure!(answer.status == 200, "{}", answer.body);
        Ok(())
    });
    let said = c3.quorate(&["query", "-tag", "role=^node$", "-timeout", "3s", "load"])?;
    program.join().map_err(|_| anyhow::anyhow!("the program died"))??;
    for line in ["Ack from 'c1'", "Ack from 'c2'", "Ack from 'c3'", "Response from 'c2': 0.5", "Total Responses: 1"] {
        ensure!(said.contains(line), "{line} in {said}");
    }
    let said = c3.quorate(&["query", "-node", "c1", "-timeout", "500ms", "load"])?;
    ensure!(said.ends_with("Ack from 'c1'\nTotal Acks: 1\nTotal Responses: 0\n"), "{said}");
    Ok(())
}

/// Sends each event's data of a stream, and nothing at its beginning.
fn follow(url: &str, to: &mpsc::Sender<String>) -> Result<()> {
    let stream = ureq::get(url).call()?;
    for line in BufReader::new(stream.into_body().into_reader()).lines() {
        let line = line?;
        if let Some(data) = line.strip_prefix("data: ").or_else(|| line.strip_prefix(":")) {
            to.send(data.to_owned())?;
        }
    }
    Ok(())
}
