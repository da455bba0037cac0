//! An agent that cannot do what it is told says so in a sentence: the key, the value and the remedy.

use crate::agent::{Agent, Net, run, wait_until};
use anyhow::{Context, Result, ensure};
use std::net::{SocketAddr, UdpSocket};

#[test]
fn a_taken_port_is_named() -> Result<()> {
    let ip = Net::new().host(1);
    let _agent = Agent::start("first", ip, &["-dev"])?;
    let ip = ip.to_string();
    let (code, text) = run(&["agent", "-dev", "-node", "second", "-bind", &ip, "-client", &ip])?;
    assert_eq!(code, Some(1), "{text}");
    ensure!(text.contains("8301") && text.contains("-serf-lan-port"), "{text}");
    let (code, text) =
        run(&["agent", "-dev", "-node", "second", "-bind", &ip, "-client", &ip, "-serf-lan-port", "8401"])?;
    assert_eq!(code, Some(1), "{text}");
    ensure!(text.contains("ports.http") && text.contains("8500") && text.contains("-http-port"), "{text}");
    Ok(())
}

#[test]
fn a_foreign_data_directory_is_refused() -> Result<()> {
    let ip = Net::new().host(1).to_string();
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_str().context("a path")?;
    let id = "11111111-1111-4111-8111-111111111111";
    let arguments = ["-server", "-bootstrap-expect", "1", "-data-dir", path, "-node-id", id];
    drop(Agent::start("owner", ip.parse()?, &arguments)?);
    let other = "22222222-2222-4222-8222-222222222222";
    let (code, text) = run(&["agent", "-server", "-data-dir", path, "-bind", &ip, "-client", &ip, "-node-id", other])?;
    assert_eq!(code, Some(1), "{text}");
    ensure!(text.contains(id) && text.contains(other) && text.contains(path), "{text}");
    Ok(())
}

#[test]
fn unknown_keys_warn_and_wrong_types_stop() -> Result<()> {
    let ip = Net::new().host(1).to_string();
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("agent.json");
    let path = file.to_str().context("a path")?;
    std::fs::write(&file, r#"{"ports": {"http": "eighty"}}"#)?;
    let (code, text) = run(&["agent", "-dev", "-bind", &ip, "-client", &ip, "-config-file", path])?;
    assert_eq!(code, Some(1), "{text}");
    ensure!(text.contains("ports.http") && text.contains("eighty") && text.contains(path), "{text}");

    std::fs::write(&file, r#"{"prots": {"http": 80}}"#)?;
    let agent = Agent::start("dev", ip.parse()?, &["-dev", "-config-file", path])?;
    ensure!(agent.log().contains("prots"), "{}", agent.log());
    Ok(())
}

#[test]
fn hostile_datagrams_change_nothing_but_a_counter() -> Result<()> {
    let net = Net::new();
    let agent = Agent::start("dev", net.host(1), &["-dev"])?;
    let before = agent.members()?;
    let socket = UdpSocket::bind(SocketAddr::new(net.host(9), 0))?;
    let target = SocketAddr::new(agent.ip, 8301);
    for first in [0x00_u8, 0x01, 0x3f, 0x40, 0x7f, 0xc0, 0xff] {
        for length in [1, 2, 44, 45, 46, 200, 1200, 1472, 9000] {
            let bytes: Vec<u8> =
                (0..length).map(|i| if i == 0 { first } else { u8::try_from(i % 251).unwrap_or(0) }).collect();
            let _ = socket.send_to(&bytes, target);
        }
    }
    wait_until("the counters to rise", || {
        let counters = agent.json("/v1/agent/self")?["Stats"]["counters"].clone();
        let dropped = counters.as_object().is_some_and(|all| {
            all.iter().any(|(name, value)| name.starts_with("datagrams_") && value.as_str() != Some("0"))
        });
        Ok(dropped.then_some(()))
    })?;
    assert_eq!(agent.members()?, before);
    ensure!(agent.put("/v1/kv/alive", b"yes")?.body == "true");
    Ok(())
}
