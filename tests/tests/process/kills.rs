//! `kill -9` of any server, of the leader, of all at once, under load: what was acknowledged stays, and no read shows the past.

use crate::locks::LockHolders;
use crate::servers::{COUNT, Servers};
use crate::skip::rounds;
use crate::workload::Workload;
use anyhow::Result;

/// Operations of each kind between two faults.
const BETWEEN: u64 = 100;
const HOLDS_BETWEEN: u64 = 5;

#[test]
fn nothing_acknowledged_is_lost_by_kills() -> Result<()> {
    let mut servers = Servers::start()?;
    let workload = Workload::start(servers.urls());
    let holders = LockHolders::start(&servers.urls());
    let serves = || -> Result<()> {
        workload.await_progress(BETWEEN)?;
        holders.await_holds(HOLDS_BETWEEN)
    };
    serves()?;
    let mut kills = 0;
    for round in 0..rounds() {
        // Any one.
        let one = round % COUNT;
        servers.agent_mut(one).kill()?;
        serves()?;
        servers.agent_mut(one).restart()?;

        // The leader, and the next one as soon as the first is back.
        for _ in 0..2 {
            let leader = servers.leader()?;
            servers.agent_mut(leader).kill()?;
            serves()?;
            servers.agent_mut(leader).restart()?;
        }

        // All at once.
        (0..COUNT).try_for_each(|server| servers.agent_mut(server).kill())?;
        (0..COUNT).try_for_each(|server| servers.agent_mut(server).restart())?;
        serves()?;
        kills += 3 + COUNT;
    }
    let holds = holders.finish()?;
    println!("{kills} kills: {}, {holds} holds of the lock", workload.finish()?);
    Ok(())
}
