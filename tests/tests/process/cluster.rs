//! One cluster of real processes on loopback: what survives which death.

use crate::agent::{Agent, Net, wait_until};
use anyhow::{Context, Result, ensure};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::IpAddr;

fn data_dir() -> Result<(tempfile::TempDir, String)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_str().context("a path in UTF-8")?.to_owned();
    Ok((directory, path))
}

fn await_members(agent: &Agent, expected: &[(&str, u64)]) -> Result<()> {
    let expected: Vec<(String, u64)> = expected.iter().map(|(name, status)| ((*name).to_owned(), *status)).collect();
    wait_until(&format!("{} to see {expected:?}", agent.name), || {
        let seen = agent.members()?;
        if seen == expected { Ok(Some(())) } else { Err(anyhow::anyhow!("it sees {seen:?}")) }
    })
}

fn await_serf_health(asked: &Agent, node: &str, status: &str) -> Result<()> {
    wait_until(&format!("serfHealth of {node} to be {status}"), || {
        let checks = asked.json(&format!("/v1/health/node/{node}"))?;
        Ok((checks[0]["Status"] == status).then_some(()))
    })
}

fn await_dns(asked: &Agent, node: &str, code: ResponseCode) -> Result<()> {
    wait_until(&format!("DNS to answer {code} for {node}"), || {
        let answer = asked.dns(&format!("{node}.node.consul."), RecordType::A)?;
        Ok((answer.metadata.response_code == code).then_some(()))
    })
}

fn is_listed(asked: &Agent, node: &str) -> Result<bool> {
    let nodes = asked.json("/v1/catalog/nodes")?;
    Ok(nodes.as_array().context("an array")?.iter().any(|row| row["Node"] == node))
}

#[test]
fn one_server_and_three_clients() -> Result<()> {
    let (_kept, path) = data_dir()?;
    let net = Net::new();
    let join = net.host(1).to_string();
    let mut server = Agent::start("s1", net.host(1), &["-server", "-bootstrap-expect", "1", "-data-dir", &path])?;
    let client = |n: u8| Agent::start(&format!("c{n}"), net.host(n + 1), &["-retry-join", &join]);
    let (c1, mut c2, mut c3) = (client(1)?, client(2)?, client(3)?);
    for agent in [&server, &c1, &c2, &c3] {
        await_members(agent, &[("c1", 1), ("c2", 1), ("c3", 1), ("s1", 1)])?;
    }

    // A key put through a client reaches the server's log, and survives the server's death.
    ensure!(c1.put("/v1/kv/kept", b"through a client")?.body == "true");
    server.kill()?;
    server.restart()?;
    let read = wait_until("the key to be read through another client", || {
        Ok(c2.get("/v1/kv/kept?raw")?).map(|answer| (answer.status == 200).then_some(answer.body))
    })?;
    assert_eq!(read, "through a client");
    await_members(&server, &[("c1", 1), ("c2", 1), ("c3", 1), ("s1", 1)])?;

    // A service of a client is in the catalogue and in DNS, before and after.
    let service = br#"{"Name": "db", "Port": 5432, "Check": {"TTL": "10m", "Status": "passing"}}"#;
    ensure!(c2.put("/v1/agent/service/register", service)?.status == 200);
    wait_until("the service to be found from another client", || {
        let answer = c1.dns("db.service.consul.", RecordType::A)?;
        Ok((answer.answers.len() == 1).then_some(()))
    })?;

    for node in ["c2", "c3"] {
        await_serf_health(&c1, node, "passing")?;
        await_dns(&c1, node, ResponseCode::NoError)?;
    }
    // A killed client is failed, in members, catalogue and DNS; one that was interrupted has left.
    c2.kill()?;
    assert_eq!(c3.interrupt()?, Some(0), "{}", c3.log());
    await_members(&server, &[("c1", 1), ("c2", 4), ("c3", 3), ("s1", 1)])?;
    await_members(&c1, &[("c1", 1), ("c2", 4), ("c3", 3), ("s1", 1)])?;
    await_serf_health(&c1, "c2", "critical")?;
    wait_until("the service of the failed client to be dropped from DNS", || {
        let answer = c1.dns("db.service.consul.", RecordType::A)?;
        Ok((answer.metadata.response_code == ResponseCode::NXDomain).then_some(()))
    })?;
    wait_until("the client that left to be gone from the catalogue", || Ok((!is_listed(&c1, "c3")?).then_some(())))?;
    await_dns(&c1, "c3", ResponseCode::NXDomain)?;
    ensure!(is_listed(&c1, "c2")?, "a failed node stays listed");
    Ok(())
}

#[test]
fn three_servers_outlive_their_leader() -> Result<()> {
    let net = Net::new();
    let join = net.host(1).to_string();
    let directories: Vec<(tempfile::TempDir, String)> = (0..3).map(|_| data_dir()).collect::<Result<_>>()?;
    let start = |n: u8| {
        let path = &directories.get(usize::from(n) - 1).context("a directory")?.1;
        let arguments = ["-server", "-bootstrap-expect", "3", "-data-dir", path.as_str(), "-retry-join", &join];
        Agent::start(&format!("s{n}"), net.host(n), &arguments)
    };
    let mut servers = vec![start(1)?, start(2)?, start(3)?];
    let leader_seen_by = |agent: &Agent| -> Result<Option<IpAddr>> {
        let leader = agent.json("/v1/status/leader")?;
        Ok(leader.as_str().and_then(|text| text.parse::<std::net::SocketAddr>().ok()).map(|address| address.ip()))
    };
    let leader = wait_until("a leader", || leader_seen_by(servers.first().context("a server")?))?;
    ensure!(servers.iter().all(|server| server.put("/v1/kv/a", b"1").is_ok_and(|answer| answer.body == "true")));
    wait_until("every server to name its peers", || {
        let peers = servers.first().context("a server")?.json("/v1/status/peers")?;
        Ok((peers.as_array().map(Vec::len) == Some(3)).then_some(()))
    })?;

    let position = servers.iter().position(|server| server.ip == leader).context("the leader is one of them")?;
    let mut old_leader = servers.remove(position);
    old_leader.kill()?;
    wait_until("the others to elect a leader and write", || {
        let answer = servers.first().context("a server")?.put("/v1/kv/b", b"2")?;
        Ok((answer.body == "true").then_some(()))
    })?;
    old_leader.restart()?;
    for server in servers.iter().chain([&old_leader]) {
        for (key, value) in [("a", "1"), ("b", "2")] {
            let read = wait_until("the key to be read everywhere", || {
                let answer = server.get(&format!("/v1/kv/{key}?raw&consistent"))?;
                Ok((answer.status == 200).then_some(answer.body))
            })?;
            assert_eq!(read, value);
        }
    }
    Ok(())
}
