//! Stopping and leaving. A leader hands over first, so that nobody waits for an election.

use crate::Engine;
use crate::door::Output;
use crate::server::Server;
use quorate_protocol::{NodeId, Time};
use quorate_raft::{NotLeader, TransferError};
use std::time::Duration;

/// How long a hand-over may take: a round trip and an election that is won at once, with room for slow disks. Then it stops all the same,
/// and the others find a leader as after a crash.
const HAND_OVER: Duration = Duration::from_millis(500);

/// How an agent ends.
#[derive(Debug, Default)]
pub struct Ending {
    /// It left, or is about to.
    pub leaving: bool,
    left_told: bool,
    /// It is to stop at the latest then, without leaving.
    pub stop_at: Option<Time>,
}

impl Engine {
    /// Says goodbye; the rest happens as gossip spreads it.
    pub(crate) fn leave(&mut self, now: Time) {
        if !self.ending.leaving {
            self.ending.leaving = true;
            // Where nobody can take it, the others find a leader as after a crash.
            let _ = self.hand_over(now, None);
            self.gossip.leave(now);
            self.forget_members();
        }
    }

    /// Stops without leaving, as soon as another leads.
    pub(crate) fn stop(&mut self, now: Time) {
        let patience = if self.hand_over(now, None).is_ok() { HAND_OVER } else { Duration::ZERO };
        self.ending.stop_at.get_or_insert(now + patience);
    }

    /// Begins to hand the leadership over. Until another server leads, or does not in time, whoever asks for the leader waits: this one takes
    /// no writes, and is still the one that everybody knows.
    pub(crate) fn hand_over(&mut self, now: Time, to: Option<NodeId>) -> Result<(), TransferError> {
        let Some(server) = &mut self.server else { return Err(NotLeader { leader: None }.into()) };
        server.raft.transfer_leadership(now, to)?;
        server.hands_over_until = Some(now + server.election_timeout);
        Ok(())
    }

    /// Nobody took over: this server leads on, and serves what had to wait.
    pub(crate) fn time_out_hand_over(&mut self, now: Time) {
        let overdue = |server: &mut Server| server.hands_over_until.take_if(|until| *until <= now);
        if self.server.as_mut().and_then(overdue).is_some() {
            self.release_held(now);
        }
    }

    /// Tells when the agent may end.
    pub(crate) fn end_if_done(&mut self, now: Time) {
        if self.ending.leaving && !self.ending.left_told && self.gossip.has_left() {
            self.ending.left_told = true;
            self.outputs.push_back(Output::Left);
        }
        let leads = self.server.as_ref().is_some_and(|server| server.leader.is_some());
        if self.ending.stop_at.is_some_and(|at| at <= now || !leads) {
            self.ending.stop_at = None;
            self.outputs.push_back(Output::Stopped);
        }
    }
}
