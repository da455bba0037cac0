//! Handing the leadership to another voter (dissertation, 3.10).
//!
//! ```text
//!  transfer_leadership ──▶ no more proposals, no lease ──▶ the other one has the whole log ──▶ TimeoutNow
//!                                                                                                 │
//!            deposed by its election, or an election timeout later as before, without lease ◀─────┘
//! ```
//!
//! The other one stands at once, without asking for pre-votes, and nobody holds out for the old leader: no promise is
//! broken, because the lease that rests on them was given up first. A `TimeoutNow` that was delayed may still start an
//! election long after the transfer was given up. So a leader that has sent one has no lease for the rest of its term;
//! its reads are confirmed by rounds.

use crate::output::NotLeader;
use crate::output::TransferError;
use crate::raft::{Raft, State};
use crate::replication::Leader;
use quorate_protocol::raft::RaftBody;
use quorate_protocol::{NodeId, Time};

/// A transfer that is under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    /// When it is given up.
    pub(crate) ends: Time,
    /// It was told to stand for election.
    told: bool,
}

impl Raft {
    /// Begins to hand the leadership to another voter; without a name to the one that has most of the log, of those
    /// that are heard. Until it is done, proposals are refused. If no other leader is heard within an election timeout,
    /// this server goes on to lead.
    ///
    /// # Errors
    /// Says why it was not begun.
    pub fn transfer_leadership(&mut self, now: Time, to: Option<NodeId>) -> Result<(), TransferError> {
        self.advance_clock(now);
        let ends = self.now + self.config.election_timeout;
        let State::Leader(leader) = &self.state else { return Err(self.not_leader().into()) };
        if let Some(transfer) = &leader.transfer {
            return Err(TransferError::InProgress(transfer.to));
        }
        let to = match to {
            Some(id) if id == self.config.id => return Err(TransferError::LeadsAlready),
            Some(id) if !self.configurations.latest().is_voter(id) => return Err(TransferError::NoVoter(id)),
            Some(id) if !self.is_heard(leader, id) => return Err(TransferError::NotHeard(id)),
            Some(id) => id,
            None => self.best_successor(leader).ok_or(TransferError::NobodyElse)?,
        };
        let State::Leader(leader) = &mut self.state else { return Ok(()) };
        leader.transfer = Some(Transfer { to, ends, told: false });
        self.counters.transfers += 1;
        self.advance_transfer();
        Ok(())
    }

    fn is_heard(&self, leader: &Leader, id: NodeId) -> bool {
        let heard = leader.peers.get(&id).map(|peer| peer.heard);
        heard.is_some_and(|heard| self.now.since(heard) < self.config.election_timeout)
    }

    fn best_successor(&self, leader: &Leader) -> Option<NodeId> {
        let voters = self.configurations.latest().voters();
        let heard = voters.filter(|id| *id != self.config.id && self.is_heard(leader, *id));
        heard.max_by_key(|id| leader.peers.get(id).map(|peer| (peer.match_index, peer.heard)))
    }

    /// The leader that takes proposals; one that hands over takes none.
    pub(crate) fn accepting_leader(&self) -> Result<&Leader, NotLeader> {
        match &self.state {
            State::Leader(leader) if leader.transfer.is_none() => Ok(leader),
            State::Leader(_) => Err(NotLeader { leader: None }),
            _ => Err(self.not_leader()),
        }
    }

    /// Tells the other one to stand, once it has the whole log.
    pub(crate) fn advance_transfer(&mut self) {
        let last_index = self.log.last_index();
        let State::Leader(leader) = &mut self.state else { return };
        let Some(transfer) = leader.transfer.as_mut().filter(|transfer| !transfer.told) else { return };
        let to = transfer.to;
        if leader.peers.get(&to).is_some_and(|peer| peer.match_index == last_index) {
            transfer.told = true;
            leader.lease_given_up = true;
            self.send(to, RaftBody::TimeoutNow);
        }
    }

    /// Tells it again: a message may be lost.
    pub(crate) fn repeat_transfer(&mut self) {
        if let State::Leader(leader) = &mut self.state
            && let Some(transfer) = &mut leader.transfer
        {
            transfer.told = false;
            self.advance_transfer();
        }
    }

    /// Goes on to lead if the other one did not take over in time.
    pub(crate) fn end_transfer_when_due(&mut self) {
        if let State::Leader(leader) = &mut self.state {
            leader.transfer = leader.transfer.take().filter(|transfer| self.now < transfer.ends);
        }
    }

    pub(crate) fn handle_timeout_now(&mut self, from: NodeId) {
        if !self.observe_leader(from) || !self.configurations.latest().is_voter(self.config.id) {
            return;
        }
        self.start_election(true);
    }
}
