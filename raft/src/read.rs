//! Reading without writing: heartbeat rounds, the read index and the lease (dissertation, 6.4).
//!
//! Each heartbeat belongs to a numbered round. A majority that answers round r shows that this server still led after
//! r was sent; so
//! * a read that was asked before r was sent may be answered from the commit index of that time (read index), and
//! * no other leader can be elected until an election timeout after r was sent (lease).
//!
//! Reads that arrive while a round is under way gather for the next one. What travels is the number of the round,
//! which is never used again, and not the caller's context: a late answer can only ever confirm what was asked before
//! its question was sent. (etcd reused the identity of a retried read and gave stale answers for years:
//! etcd-io/etcd#20418.)

use crate::output::{NotLeader, Output};
use crate::planted::PlantedBug;
use crate::raft::{Raft, State};
use quorate_protocol::raft::RaftBody;
use quorate_protocol::{LogIndex, NodeId, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// Reads that may wait: more are told [`Output::ReadLost`] at once, as a busy server should.
const MAX_READS: usize = 65_536;

/// The reads of a leader.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Not yet in a round.
    waiting: Vec<u64>,
    /// In a round that is under way.
    asked: VecDeque<Asked>,
    count: usize,
    /// When each round that may still matter was sent.
    rounds: VecDeque<(u64, Time)>,
}

#[derive(Debug)]
struct Asked {
    round: u64,
    index: LogIndex,
    contexts: Vec<u64>,
}

impl Reads {
    fn add(&mut self, context: u64) -> bool {
        let room = self.count < MAX_READS;
        if room {
            self.count += 1;
            self.waiting.push(context);
        }
        room
    }

    /// Notes that a round is sent now; with an index, it is to confirm the waiting reads.
    fn start_round(&mut self, now: Time, round: u64, index: Option<LogIndex>, memory: Duration) {
        while self.rounds.front().is_some_and(|(_, sent)| now.since(*sent) > memory) {
            self.rounds.pop_front();
        }
        self.rounds.push_back((round, now));
        if let Some(index) = index
            && !self.waiting.is_empty()
        {
            self.asked.push_back(Asked { round, index, contexts: std::mem::take(&mut self.waiting) });
        }
    }

    fn sent(&self, round: u64) -> Option<Time> {
        let place = self.rounds.binary_search_by_key(&round, |(number, _)| *number).ok()?;
        self.rounds.get(place).map(|(_, sent)| *sent)
    }

    fn confirmed(&mut self, round: u64) -> Option<(LogIndex, Vec<u64>)> {
        let first = self.asked.pop_front_if(|asked| asked.round <= round)?;
        self.count -= first.contexts.len();
        Some((first.index, first.contexts))
    }

    /// Everything that waits, in the order in which it was asked.
    pub(crate) fn into_contexts(self) -> impl Iterator<Item = u64> {
        self.asked.into_iter().flat_map(|asked| asked.contexts).chain(self.waiting)
    }
}

impl Raft {
    /// Asks for an index at which a read sees everything that was acknowledged before this call. Answered by
    /// [`Output::ReadReady`] or [`Output::ReadLost`]; `context` is only handed back.
    ///
    /// # Errors
    /// Only the leader can tell.
    pub fn read_index(&mut self, now: Time, context: u64) -> Result<(), NotLeader> {
        self.advance_clock(now);
        let joins_round = self.planted(PlantedBug::ReadJoinsRound);
        let State::Leader(leader) = &mut self.state else { return Err(self.not_leader()) };
        if joins_round && let Some(asked) = leader.reads.asked.back_mut() {
            leader.reads.count += 1;
            asked.contexts.push(context);
        } else if !leader.reads.add(context) {
            self.outputs.push_back(Output::ReadLost { context });
        }
        Ok(())
    }

    /// Whether this server may answer reads from what it has committed, without asking anybody: it leads, has
    /// committed an entry of its term (before, it may not know what is committed), and a majority promised not to
    /// elect another one yet.
    ///
    /// False while the leadership is handed over, and in the rest of a term in which that was tried.
    ///
    /// True until an election timeout less the allowed drift of clocks, a tenth, after a heartbeat was **sent** that
    /// a majority has answered. A follower keeps the promise over restarts by giving no vote for an election timeout
    /// after its start.
    pub fn holds_lease(&self, now: Time) -> bool {
        let State::Leader(leader) = &self.state else { return false };
        if self.log.commit() < leader.term_start {
            return false;
        }
        if self.planted(PlantedBug::LeaseWithoutEnd) {
            return true;
        }
        let handing_over = leader.transfer.is_some() || leader.lease_given_up;
        if handing_over && !self.planted(PlantedBug::TransferKeepsLease) {
            return false;
        }
        let sent = leader.reached(self.configurations.latest(), self.config.id, Some(now), |peer| peer.acked_sent);
        sent.flatten().is_some_and(|sent| now < sent + self.config.lease())
    }

    /// Starts a round for the reads that wait, if none is under way and their index can be known.
    pub(crate) fn flush_reads(&mut self) {
        if let State::Leader(leader) = &self.state
            && !leader.reads.waiting.is_empty()
            && leader.reads.asked.is_empty()
            && self.log.commit() >= leader.term_start
        {
            self.start_round();
        }
    }

    /// Sends a heartbeat to everybody.
    pub(crate) fn start_round(&mut self) {
        let State::Leader(leader) = &mut self.state else { return };
        let commit = self.log.commit();
        self.round += 1;
        // Before the no-op is committed, earlier terms may hold committed entries beyond our commit index.
        let index = (commit >= leader.term_start).then_some(commit);
        leader.reads.start_round(self.now, self.round, index, self.config.election_timeout);
        leader.heartbeat_at = self.now + self.config.heartbeat_interval;
        let messages: Vec<(NodeId, RaftBody)> = leader
            .peers
            .iter()
            .map(|(id, peer)| {
                let commit_index = commit.min(peer.match_index);
                (*id, RaftBody::Heartbeat { round: self.round, commit_index })
            })
            .collect();
        for (to, body) in messages {
            self.send(to, body);
        }
        self.repeat_transfer();
        self.abandon_silent_peers();
        self.confirm_reads();
    }

    pub(crate) fn handle_heartbeat_reply(&mut self, from: NodeId, round: u64) {
        let (now, patience, snapshot_patience) =
            (self.now, self.config.heartbeat_interval, self.config.election_timeout);
        let State::Leader(leader) = &mut self.state else { return self.counters.stale += 1 };
        if round > self.round {
            return self.counters.malformed += 1;
        }
        let Some(peer) = leader.peers.get_mut(&from) else { return self.counters.stale += 1 };
        peer.heard = now;
        peer.answered_heartbeat(now, patience, snapshot_patience);
        if round > peer.acked_round {
            peer.acked_round = round;
            peer.acked_sent = leader.reads.sent(round).or(peer.acked_sent);
        }
        self.confirm_reads();
    }

    fn confirm_reads(&mut self) {
        let State::Leader(leader) = &mut self.state else { return };
        let round = leader
            .reached(self.configurations.latest(), self.config.id, u64::MAX, |peer| peer.acked_round)
            .unwrap_or(0);
        while let Some((index, contexts)) = leader.reads.confirmed(round) {
            self.outputs.extend(contexts.into_iter().map(|context| Output::ReadReady { context, index }));
        }
    }
}
