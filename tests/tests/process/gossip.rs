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
        // Signs of life come in between.
        let told = std::iter::repeat_with(|| told.recv_timeout(Duration::from_secs(10)));
        let data = told.take(100).find(|data| !data.as_ref().is_ok_and(String::is_empty)).context("an event")??;
        let row: serde_json::Value = serde_json::from_str(&data)?;
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

/// An order to all agents' keys; it is done by all, or fails.
fn keyring(agent: &Agent, method: &str, key: &str) -> Result<()> {
    let url = format!("{}/v1/operator/keyring", agent.http());
    let answer = request(method, &url, Some(format!("{{\"Key\":\"{key}\"}}").as_bytes()))?;
    ensure!(answer.status == 200, "{method}: {}", answer.body);
    Ok(())
}

#[test]
fn the_key_changes_under_load_and_for_one_that_was_away() -> Result<()> {
    let (old, new) = (quorate_key()?, quorate_key()?);
    let net = Net::new();
    let join = net.host(1).to_string();
    let directories: Vec<tempfile::TempDir> = (0..6).map(|_| tempfile::tempdir()).collect::<Result<_, _>>()?;
    let start = |n: u8| {
        let path = directories.get(usize::from(n)).and_then(|directory| directory.path().to_str()).context("a path")?;
        let mut arguments = vec!["-encrypt", &old, "-data-dir", path, "-retry-join", &join];
        if n < 4 {
            arguments.extend(["-server", "-bootstrap-expect", "3"]);
        }
        Agent::start(&format!("a{n}"), net.host(n), &arguments)
    };
    let mut agents = vec![start(1)?, start(2)?, start(3)?, start(4)?];
    let all_alive = |agents: &[Agent]| {
        wait_until("all to see all", || {
            let sees = |agent: &Agent| Ok::<_, anyhow::Error>(agent.members()?.iter().filter(|(_, s)| *s == 1).count());
            let seen: Vec<usize> = agents.iter().map(sees).collect::<Result<_>>()?;
            Ok(seen.iter().all(|count| *count == agents.len()).then_some(()))
        })
    };
    all_alive(&agents)?;
    wait_until("a leader", || Ok((agents[0].put("/v1/kv/k", b"0")?.body == "true").then_some(())))?;

    // One writes without a pause, through a client; what is not acknowledged, since a leader was killed, is written again.
    let (http, (stop, stopped)) = (agents[3].http(), mpsc::channel::<()>());
    let writer = std::thread::spawn(move || -> Result<u64> {
        for n in 1.. {
            if stopped.try_recv().is_ok() {
                return Ok(n - 1);
            }
            wait_until("a write", || {
                let answer = request("PUT", &format!("{http}/v1/kv/k"), Some(n.to_string().as_bytes()))?;
                Ok((answer.body == "true").then_some(()))
            })?;
        }
        Ok(0)
    });
    // One is away while the key is installed and used, and comes back with the old one.
    let mut away = agents.remove(2);
    away.kill()?;
    wait_until("its absence to be seen", || {
        Ok((agents[0].members()?.iter().filter(|(_, s)| *s == 1).count() == 3).then_some(()))
    })?;
    keyring(&agents[2], "POST", &new)?;
    keyring(&agents[2], "PUT", &new)?;
    away.restart()?;
    agents.push(away);
    all_alive(&agents)?;
    wait_until("all to seal with the new key", || {
        let pools = agents[0].json("/v1/operator/keyring")?;
        Ok((pools[0]["PrimaryKeys"][&new] == 4).then_some(()))
    })?;
    keyring(&agents[0], "DELETE", &old)?;
    let refused = keyring(&agents[0], "DELETE", &new).expect_err("it is the primary").to_string();
    ensure!(refused.contains("Removing the primary key is not allowed"), "{refused}");
    ensure!(agents[1].quorate(&["keyring", "-list"])?.contains(&format!("{new} [4/4] (primary)")));

    // Whoever has only the old key is a stranger; who restarts has the new one.
    let mut late = agents.remove(0);
    late.kill()?;
    late.restart()?;
    agents.push(late);
    all_alive(&agents)?;
    stop.send(())?;
    let written = writer.join().map_err(|_| anyhow::anyhow!("the writer died"))??;
    ensure!(written > 5, "only {written} writes");
    let read = wait_until("the last write", || Ok(Some(agents[0].get("/v1/kv/k?raw&consistent")?.body)))?;
    ensure!(read == written.to_string(), "{read} instead of {written}");
    let stranger = start(5)?;
    std::iter::repeat_with(|| agents[0].quorate(&["members"])).take(5).try_for_each(|members| {
        ensure!(!members?.contains("a5 "), "a stranger was let in");
        Ok(())
    })?;
    ensure!(stranger.members()?.len() == 1, "{:?}", stranger.members());
    Ok(())
}

fn quorate_key() -> Result<String> {
    let output = Command::new(crate::agent::binary()?).arg("keygen").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn scripts_run_when_something_happens_and_answer_queries() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let log = kept.path().join("log").to_str().context("a path")?.to_owned();
    let net = Net::new();
    let join = net.host(1).to_string();
    let deploy = format!("user:deploy=echo \"$SERF_USER_EVENT $(cat) on $SERF_SELF_NAME\" >> {log}");
    let failed = format!("member-failed=cut -f1 | sed 's/^/failed /' >> {log}");
    let handlers = [
        "-event-handler",
        &deploy,
        "-event-handler",
        &failed,
        "-event-handler",
        "query:load=read why; echo 0.5 \"$why\"",
    ];
    let c1 = Agent::start("c1", net.host(1), &handlers)?;
    let mut c2 = Agent::start("c2", net.host(2), &["-retry-join", &join])?;
    wait_until("both to see both", || Ok((c2.members()?.len() == 2 && c1.members()?.len() == 2).then_some(())))?;
    c2.quorate(&["event", "-name", "deploy", "v2"])?;
    c2.quorate(&["event", "-name", "other", "v2"])?;
    let logged = |line: &str| {
        wait_until(line, || {
            Ok(std::fs::read_to_string(&log).unwrap_or_default().lines().any(|l| l == line).then_some(()))
        })
    };
    logged("deploy v2 on c1")?;
    let said = c2.quorate(&["query", "-timeout", "3s", "load", "because"])?;
    ensure!(said.contains("Response from 'c1': 0.5 because"), "{said}");
    c2.kill()?;
    logged("failed c2")?;
    ensure!(std::fs::read_to_string(&log)?.lines().count() == 2, "{}", std::fs::read_to_string(&log)?);
    Ok(())
}

#[test]
fn members_are_found_again_after_a_restart_and_distances_are_known() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let path = kept.path().to_str().context("a path")?;
    let net = Net::new();
    let join = net.host(1).to_string();
    let mut c1 = Agent::start("c1", net.host(1), &["-data-dir", path, "-gossip-profile", "local"])?;
    let c2 = Agent::start("c2", net.host(2), &["-retry-join", &join, "-gossip-profile", "local"])?;
    let c3 = Agent::start("c3", net.host(3), &["-retry-join", &join, "-gossip-profile", "local"])?;
    let all = |agent: &Agent| {
        wait_until("all three", || Ok((agent.members()?.iter().filter(|(_, s)| *s == 1).count() == 3).then_some(())))
    };
    all(&c1)?;
    wait_until("the members to be kept", || Ok((std::fs::metadata(kept.path().join("local")).is_ok()).then_some(())))?;
    c1.kill()?;
    c1.restart()?;
    for agent in [&c1, &c2, &c3] {
        all(agent)?;
    }
    // Nobody measured between these two but they themselves.
    let estimate = wait_until("an estimate", || match c1.quorate(&["rtt", "c2", "c3"]) {
        Ok(estimate) => Ok(Some(estimate)),
        Err(_) => Ok(None),
    })?;
    ensure!(estimate.starts_with("Estimated c2 <-> c3 rtt: "), "{estimate}");
    Ok(())
}
