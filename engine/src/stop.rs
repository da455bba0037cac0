//! Stopping and leaving. A leader hands over first, so that nobody waits for an election.

use crate::Engine;
use crate::door::Output;
use quorate_protocol::Time;
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
            self.hand_over(now);
            self.gossip.leave(now);
        }
    }

    /// Stops without leaving, as soon as another leads.
    pub(crate) fn stop(&mut self, now: Time) {
        let patience = if self.hand_over(now) { HAND_OVER } else { Duration::ZERO };
        self.ending.stop_at.get_or_insert(now + patience);
    }

    /// Begins to hand the leadership over, if there is one and somebody to take it.
    fn hand_over(&mut self, now: Time) -> bool {
        self.server.as_mut().is_some_and(|server| server.raft.transfer_leadership(now, None).is_ok())
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
