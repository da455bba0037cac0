//! Stopping and leaving. A leader hands over first, so that nobody waits for an election.

use crate::Engine;
use crate::door::Output;
use crate::source::Source;
use quorate_protocol::{NodeId, Refusal, Reply, Time};
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

/// The leadership is on its way to another server; nothing is written meanwhile.
#[derive(Debug)]
pub struct HandOver {
    /// When it is given up, and this server goes on to lead.
    pub until: Time,
    /// The operator who asked for it.
    asker: Option<Source>,
}

impl Engine {
    /// Says goodbye; the rest happens as gossip spreads it.
    pub(crate) fn leave(&mut self, now: Time) {
        if !self.ending.leaving {
            self.ending.leaving = true;
            // Where nobody can take it, the others find a leader as after a crash.
            let _ = self.hand_over(now, None, None);
            self.gossip.leave(now);
        }
    }

    /// Stops without leaving, as soon as another leads.
    pub(crate) fn stop(&mut self, now: Time) {
        let patience = if self.hand_over(now, None, None).is_ok() { HAND_OVER } else { Duration::ZERO };
        self.ending.stop_at.get_or_insert(now + patience);
    }

    /// Begins to hand the leadership over, if there is one and somebody to take it.
    pub(crate) fn hand_over(
        &mut self,
        now: Time,
        to: Option<NodeId>,
        asker: Option<Source>,
    ) -> Result<(), TransferError> {
        let Some(server) = &mut self.server else { return Err(NotLeader { leader: None }.into()) };
        server.raft.transfer_leadership(now, to)?;
        server.handing_over = Some(HandOver { until: now + server.election_timeout, asker });
        Ok(())
    }

    /// Whether this server leads and takes nothing, since another is about to lead.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.handing_over.is_some())
    }

    /// The leadership is gone: to whoever was to have it, or to another who was quicker.
    pub(crate) fn end_hand_over(&mut self) {
        let asker = self.server.as_mut().and_then(|server| server.handing_over.take()?.asker);
        asker.into_iter().for_each(|asker| self.reply(asker, Reply::Done));
    }

    /// The other server did not take over: this one leads on, and takes what had to wait.
    pub(crate) fn time_out_hand_over(&mut self, now: Time) {
        let overdue = |server: &mut crate::server::Server| server.handing_over.take_if(|one| one.until <= now);
        let Some(hand_over) = self.server.as_mut().and_then(overdue) else { return };
        if let Some(asker) = hand_over.asker {
            let why = "the other server did not take over within an election timeout; this one leads on, try again";
            self.reply(asker, Reply::Refused(Refusal::Invalid(why.to_owned())));
        }
        self.release_held(now);
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
