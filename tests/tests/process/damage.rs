//! Files of a stopped server that were changed or cut: it notices before it serves a byte, puts its state aside, and learns everything
//! from the others under a new id.

use crate::agent::wait_until;
use crate::servers::{COUNT, Servers};
use crate::skip::rounds;
use crate::workload::Workload;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

const BETWEEN: u64 = 50;

/// One way to damage a file.
type Damage = fn(&Path) -> Result<()>;

/// The middle one of the bytes that something was written to: what was never written carries nothing.
fn flip_a_bit(file: &Path) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let written: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    let at = *written.get(written.len() / 2).with_context(|| format!("{} is empty", file.display()))?;
    bytes[at] ^= 1;
    Ok(std::fs::write(file, bytes)?)
}

fn cut_off_half_of_what_is_written(file: &Path) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    bytes.truncate(written / 2);
    Ok(std::fs::write(file, bytes)?)
}

fn remove(file: &Path) -> Result<()> {
    Ok(std::fs::remove_file(file)?)
}

/// The log's only file: the runs of these tests are too short for a second one.
fn log_file(data_dir: &Path) -> Result<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(data_dir.join("raft"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")))
        .collect();
    files.sort();
    files.into_iter().next().context("a file of the log")
}

/// Kills a server, damages its log and starts it again.
fn damage(servers: &mut Servers, hurt: usize, damage: Damage) -> Result<()> {
    servers.agent_mut(hurt).kill()?;
    damage(&log_file(servers.data_dir(hurt))?)?;
    servers.agent_mut(hurt).restart()
}

fn node_id(servers: &Servers, server: usize) -> Result<String> {
    let text = std::fs::read_to_string(servers.data_dir(server).join("node-id"))?;
    // A checksum follows it.
    Ok(text.split_whitespace().next().context("an id")?.to_owned())
}

/// How often its state was put aside.
fn put_aside(servers: &Servers, server: usize) -> usize {
    (1..).take_while(|n| servers.data_dir(server).join(format!("raft.damaged-{n}")).is_dir()).count()
}

#[test]
fn a_damaged_log_is_put_aside_and_learnt_anew() -> Result<()> {
    let mut servers = Servers::start()?;
    servers.set_autopilot(
        r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","ServerStabilizationTime":"1s"}"#,
    )?;
    let workload = Workload::start(servers.urls());
    workload.await_progress(BETWEEN)?;
    let mut repaired = 0;
    for _ in 0..rounds() {
        for damaged in [flip_a_bit as Damage, cut_off_half_of_what_is_written, remove] {
            // The leader too: the others elect another.
            let hurt = (servers.leader()? + repaired) % COUNT;
            let (old_id, aside) = (node_id(&servers, hurt)?, put_aside(&servers, hurt));
            damage(&mut servers, hurt, damaged)?;
            let id = node_id(&servers, hurt)?;
            ensure!(id != old_id, "it came back under the id that may have promised what is lost");
            let log = servers.agent(hurt).log();
            ensure!(put_aside(&servers, hurt) == aside + 1, "nothing was put aside:\n{log}");
            ensure!(log.contains("is not trusted any more") && log.contains(&id), "it does not say so:\n{log}");

            wait_until("the damaged server to be a voter under its new id, and its old id to be gone", || {
                let configuration = servers.agent((hurt + 1) % COUNT).json("/v1/operator/raft/configuration")?;
                let peers = configuration["Servers"].as_array().cloned().unwrap_or_default();
                let is_voter = peers.iter().any(|peer| peer["ID"] == id.as_str() && peer["Voter"] == true);
                Ok((is_voter && peers.len() == COUNT).then_some(()))
            })?;
            servers.await_all_serve()?;
            workload.await_progress(BETWEEN)?;
            repaired += 1;
        }
    }
    println!("{repaired} servers repaired: {}", workload.finish()?);
    Ok(())
}
