//! Disks that are full and flushes that fail: the server refuses, or ends at once and acknowledges nothing more; with a good disk
//! again it has all that it acknowledged.

use crate::agent::{Agent, Answer, Net, wait_until};
use crate::servers::{COUNT, Servers};
use crate::skip::{rounds, skip, succeeds};
use crate::workload::Workload;
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BETWEEN: u64 = 50;
/// A server whose disk fails has ended by then.
const END_BOUND: Duration = Duration::from_secs(10);
/// Large values, so that a disk of this test is full after some hundred of them.
const VALUE: usize = 256 * 1024;
/// More large values than the disk can take.
const MORE_THAN_FITS: usize = 400;

/// A file system of its own with little space; unmounted when dropped.
struct SmallDisk {
    at: tempfile::TempDir,
}

impl SmallDisk {
    /// None where this machine does not let us.
    fn mount() -> Result<Option<SmallDisk>> {
        let at = tempfile::tempdir()?;
        let path = at.path().to_str().context("a path in UTF-8")?;
        // Room for two segments of the log, and little more.
        let is_mounted = succeeds("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs", path]);
        Ok(is_mounted.then_some(SmallDisk { at }))
    }

    fn data_dir(&self) -> PathBuf {
        self.at.path().join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.at.path().join("ballast")
    }

    /// Others take all the space that is left.
    fn fill(&self) -> Result<()> {
        let mut ballast = std::fs::File::create(self.ballast())?;
        let piece = vec![1; 64 * 1024];
        while ballast.write_all(&piece).is_ok() {}
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        succeeds("umount", &["-l", self.at.path().to_str().unwrap_or_default()]);
    }
}

/// Large values that can be told apart.
fn value(number: usize) -> Vec<u8> {
    format!("{number:08}").into_bytes().repeat(VALUE / 8)
}

/// Whether a write was turned away for want of space, by a leader that goes on.
fn is_for_want_of_space(answer: &Answer) -> bool {
    answer.status == 500 && answer.body.contains("is nearly full")
}

/// Whoever ended did so by its own decision, which its log names.
fn assert_ended_well(agent: &mut Agent) -> Result<()> {
    let code = agent.await_end()?;
    ensure!(code == Some(1), "it ended with {code:?}:\n{}", agent.log());
    ensure!(agent.log().contains("the disk failed"), "it does not say why:\n{}", agent.log());
    Ok(())
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() -> Result<()> {
    let Some(disk) = SmallDisk::mount()? else {
        skip("a_full_disk_takes_nothing_and_loses_nothing", "a small disk needs root (`mount -t tmpfs` failed)");
        return Ok(());
    };
    let data_dir = disk.data_dir();
    let data_dir = data_dir.to_str().context("a path in UTF-8")?;
    let arguments = ["-server", "-bootstrap-expect", "1", "-data-dir", data_dir];
    let mut server = Agent::start("s1", Net::new().host(1), &arguments)?;
    wait_until("the server to lead", || Ok((server.put("/v1/kv/first", b"1")?.body == "true").then_some(())))?;
    disk.fill()?;

    let mut acknowledged = 0;
    let refusal = loop {
        match server.put(&format!("/v1/kv/large/{acknowledged}"), &value(acknowledged)) {
            Ok(answer) if answer.body == "true" => acknowledged += 1,
            Ok(answer) => break Some(answer),
            Err(_) => break None,
        }
        ensure!(acknowledged < MORE_THAN_FITS, "the disk cannot hold what was acknowledged");
    };
    if let Some(refusal) = refusal.filter(is_for_want_of_space) {
        // Still there: what it has can be read, and nothing else is taken either.
        ensure!(server.has_ended()?.is_none(), "{refusal:?} and then it ended:\n{}", server.log());
        ensure!(server.get("/v1/kv/first?raw&consistent")?.body == "1");
        ensure!(is_for_want_of_space(&server.put("/v1/kv/small", b"1")?), "a small write is taken");
        disk.free()?;
    } else {
        assert_ended_well(&mut server)?;
        disk.free()?;
        server.restart()?;
    }

    wait_until("writes to be taken again", || Ok((server.put("/v1/kv/after", b"2")?.body == "true").then_some(())))?;
    for number in 0..acknowledged {
        let read = server.get(&format!("/v1/kv/large/{number}?raw&consistent"))?;
        ensure!(
            read.body.as_bytes() == value(number),
            "value {number} of {acknowledged}: {} {}",
            read.status,
            read.body.len()
        );
    }
    println!("{acknowledged} large values were acknowledged before the disk was full, and all are there");
    Ok(())
}

#[test]
fn others_go_on_while_one_disk_is_full() -> Result<()> {
    let Some(disk) = SmallDisk::mount()? else {
        skip("others_go_on_while_one_disk_is_full", "a small disk needs root (`mount -t tmpfs` failed)");
        return Ok(());
    };
    let mut servers = Servers::start_at(&Net::new(), |server| (server == 0).then(|| disk.data_dir()))?;
    let workload = Workload::start(servers.urls());
    workload.await_progress(BETWEEN)?;
    disk.fill()?;
    // Through one of the others, until the full one is hurt or has had more than it can hold.
    let mut taken = 0;
    let mut is_refused = false;
    while !is_refused && servers.agent_mut(0).has_ended()?.is_none() {
        ensure!(taken < MORE_THAN_FITS, "the full disk was never noticed:\n{}", servers.agent(0).log());
        let put = servers.agent(1).put(&format!("/v1/kv/large/{}", taken % 8), &value(taken));
        let answer = put.with_context(|| format!("the log of s2:\n{}", servers.agent(1).log()))?;
        is_refused = is_for_want_of_space(&answer);
        // Also when an election turned it away: the loop ends.
        taken += 1;
    }
    let has_ended = servers.agent_mut(0).has_ended()?.is_some();
    if has_ended {
        assert_ended_well(servers.agent_mut(0))?;
        workload.await_progress(BETWEEN)?;
    }
    disk.free()?;
    if has_ended {
        servers.agent_mut(0).restart()?;
    }
    servers.await_all_serve()?;
    workload.await_progress(BETWEEN)?;
    println!("{taken} large values beside: {}", workload.finish()?);
    Ok(())
}

/// Lets system calls of a running agent fail, from now until it ends.
struct FailingCalls {
    strace: Child,
}

impl FailingCalls {
    /// None where this machine does not let us.
    fn begin(process: u32, calls: &str, error: &str, log: &Path) -> Result<Option<FailingCalls>> {
        let log = log.to_str().context("a path in UTF-8")?;
        let started = Command::new("strace")
            .args(["-f", "-o", log, "-p", &process.to_string()])
            .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(strace) = started else { return Ok(None) };
        let mut failing = FailingCalls { strace };
        // It has attached once the process says who traces it. Where it may not, it fails at once; where the process is hit and gone
        // before anybody looks, it ends well.
        let is_attached = wait_until("strace to attach", || {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"));
            let is_traced = status.is_ok_and(|status| !status.contains("TracerPid:\t0"));
            let ended = failing.strace.try_wait()?;
            Ok(if is_traced { Some(true) } else { ended.map(|status| status.success()) })
        })?;
        Ok(is_attached.then_some(failing))
    }
}

impl Drop for FailingCalls {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

#[test]
fn a_failing_disk_ends_the_server_before_it_acknowledges_more() -> Result<()> {
    let mut servers = Servers::start()?;
    let workload = Workload::start(servers.urls());
    let logs = tempfile::tempdir()?;
    workload.await_progress(BETWEEN)?;
    let mut failures = 0;
    for _ in 0..rounds() {
        for (calls, error) in [("fsync,fdatasync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC")] {
            // The leader, and followers too: the leader must not count on what they did not flush.
            let hurt = (servers.leader()? + failures) % COUNT;
            let process = servers.agent(hurt).process();
            let Some(failing) = FailingCalls::begin(process, calls, error, &logs.path().join("strace"))? else {
                skip(
                    "a_failing_disk_ends_the_server_before_it_acknowledges_more",
                    "strace is not there or may not attach: no flush could be made to fail",
                );
                return Ok(());
            };
            let since = Instant::now();
            assert_ended_well(servers.agent_mut(hurt))?;
            ensure!(since.elapsed() < END_BOUND, "{calls} {error}: it ended after {:?}", since.elapsed());
            drop(failing);
            workload.await_progress(BETWEEN)?;
            servers.agent_mut(hurt).restart()?;
            servers.await_all_serve()?;
            failures += 1;
        }
    }
    println!("{failures} failing disks: {}", workload.finish()?);
    Ok(())
}
