//! A leader that is stopped (SIGSTOP), replaced, and runs on: what it was asked meanwhile it must not answer from its past
//! (etcd answered so, #20418).

use crate::agent::wait_until;
use crate::servers::{COUNT, Servers};
use crate::skip::rounds;
use crate::workload::Workload;
use anyhow::Result;
use std::time::{Duration, Instant};

const BETWEEN: u64 = 50;
/// Questions to the stopped leader in each pause.
const QUESTIONS: usize = 16;

#[test]
fn a_paused_leader_never_shows_the_past() -> Result<()> {
    let servers = Servers::start()?;
    let mut workload = Workload::start(servers.urls());
    workload.await_progress(BETWEEN)?;
    let mut pauses = 0;
    for round in 0..rounds() {
        // Too short to be noticed; about as long as a lease; and long enough to be replaced, then as long as a few seconds.
        for pause in [100, 300, 600, 1000 + 1000 * (round as u64 % 4)].map(Duration::from_millis) {
            let leader = servers.leader()?;
            servers.agent(leader).signal("STOP")?;
            let until = Instant::now() + pause;
            if pause >= Duration::from_secs(1) {
                // The others go on, so that the stopped one has a past to show.
                servers.leader_other_than(Some(leader))?;
                workload.await_progress(BETWEEN)?;
            }
            workload.ask(leader, QUESTIONS);
            wait_until("the end of the pause", || Ok((Instant::now() >= until).then_some(())))?;
            servers.agent(leader).signal("CONT")?;
            (0..COUNT).for_each(|server| workload.ask(server, QUESTIONS / 2));
            workload.await_progress(BETWEEN)?;
            pauses += 1;
        }
    }
    println!("{pauses} pauses of the leader: {}", workload.finish()?);
    Ok(())
}
