//! Bringing one log to all servers: the leader's side, then the follower's.

use crate::output::{NotLeader, PeerProgress};
use crate::planted::PlantedBug;
use crate::progress::Progress;
use crate::quorum;
use crate::raft::{Raft, State};
use crate::read::Reads;
use crate::transfer::Transfer;
use bytes::Bytes;
use quorate_protocol::raft::{Configuration, LogEntry, Payload, RaftBody};
use quorate_protocol::{LogIndex, NodeId, Term, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a commit index may wait for an append that takes it along. Told at once, each lone write would cost every follower a second
/// message and its answer, just when the client's next write comes. Nobody but a stale reader notices.
const COMMIT_WAITS: Duration = Duration::from_millis(2);

/// What only a leader has.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Everybody else in the configuration in force.
    pub(crate) peers: BTreeMap<NodeId, Progress>,
    /// The term it leads.
    pub(crate) term: Term,
    /// The first entry of this term.
    pub(crate) term_start: LogIndex,
    /// When the next heartbeat is due.
    pub(crate) heartbeat_at: Time,
    /// When the peers are told the commit index, if no append tells them before; never if they know.
    pub(crate) tell_commit_at: Time,
    /// Reads that wait to be confirmed.
    pub(crate) reads: Reads,
    /// Where the snapshots end that were being sent when that was last looked at.
    pub(crate) snapshots: BTreeSet<LogIndex>,
    /// The leadership is being handed over.
    pub(crate) transfer: Option<Transfer>,
    /// Somebody was told to stand for election in spite of this leader: there is no lease in this term any more.
    pub(crate) lease_given_up: bool,
}

impl Leader {
    pub(crate) fn new(term: Term, term_start: LogIndex) -> Leader {
        Leader {
            peers: BTreeMap::new(),
            term,
            term_start,
            heartbeat_at: Time::NEVER,
            tell_commit_at: Time::NEVER,
            reads: Reads::default(),
            snapshots: BTreeSet::new(),
            transfer: None,
            lease_given_up: false,
        }
    }

    /// The greatest value that a majority of the voters has reached; see [`quorum::reached`].
    pub(crate) fn reached<T: Ord + Copy + Default>(
        &self,
        configuration: &Configuration,
        me: NodeId,
        own: T,
        of: impl Fn(&Progress) -> T,
    ) -> Option<T> {
        let value = |id| if id == me { own } else { self.peers.get(&id).map(&of).unwrap_or_default() };
        quorum::reached(configuration.voters().map(value))
    }
}

impl Raft {
    /// Appends a command to the log, if this server leads. It is decided when it comes out of
    /// [`crate::Output::Committed`] with the same term and index; if another term stands at that index then, it was
    /// lost.
    ///
    /// It travels with the next call of [`Raft::poll`], together with whatever else was proposed before that.
    ///
    /// # Errors
    /// Says who leads, or nobody while this server hands over the leadership.
    pub fn propose(&mut self, now: Time, command: Bytes) -> Result<(Term, LogIndex), NotLeader> {
        self.advance_clock(now);
        self.accepting_leader()?;
        Ok((self.hard_state.term, self.append_as_leader(Payload::Command(command))))
    }

    /// How far another server is, if this one leads.
    pub fn progress(&self, id: NodeId) -> Option<PeerProgress> {
        let State::Leader(leader) = &self.state else { return None };
        let peer = leader.peers.get(&id)?;
        Some(PeerProgress {
            match_index: peer.match_index,
            match_term: self.log.term_at(peer.match_index),
            last_contact: self.now.since(peer.heard),
            caught_up: peer.is_caught_up(self.now, self.config.election_timeout),
        })
    }

    pub(crate) fn append_as_leader(&mut self, payload: Payload) -> LogIndex {
        let index = self.log.last_index().next();
        let configured = matches!(payload, Payload::Configuration(_));
        self.append_entry(LogEntry { term: self.hard_state.term, index, payload });
        if configured {
            self.update_peers();
            // Fewer voters may need fewer acknowledgements.
            self.advance_commit();
        }
        index
    }

    /// Follows the configuration in force: begins with new servers, forgets removed ones.
    pub(crate) fn update_peers(&mut self) {
        let State::Leader(leader) = &mut self.state else { return };
        let configuration = self.configurations.latest();
        leader.peers.retain(|id, _| configuration.peers.contains_key(id));
        for id in configuration.peers.keys().filter(|id| **id != self.config.id) {
            leader.peers.entry(*id).or_insert_with(|| Progress::new(self.now, self.log.last_index()));
        }
    }

    /// What is due on a leader.
    pub(crate) fn handle_leader_timeout(&mut self) {
        self.end_transfer_when_due();
        if self.quorum_deadline().is_some_and(|deadline| self.now >= deadline) {
            // Cut off: let clients ask those who may have elected another one (dissertation, 6.2).
            self.counters.quorum_lost += 1;
            self.become_follower();
            self.set_leader(None);
            return;
        }
        if let State::Leader(leader) = &self.state
            && self.now >= leader.heartbeat_at
        {
            self.start_round();
        }
    }

    /// When a leader that hears nothing more has to step down; `None` if it is a majority by itself.
    pub(crate) fn quorum_deadline(&self) -> Option<Time> {
        let State::Leader(leader) = &self.state else { return None };
        let heard = leader.reached(self.configurations.latest(), self.config.id, Time::NEVER, |peer| peer.heard)?;
        (heard != Time::NEVER).then(|| heard + self.config.election_timeout)
    }

    /// Queues every append that may leave now.
    pub(crate) fn flush_appends(&mut self) {
        let State::Leader(leader) = &mut self.state else { return };
        let tell = self.now >= leader.tell_commit_at;
        let mut messages = Vec::new();
        let mut all_know = true;
        for (id, peer) in &mut leader.peers {
            while let Some(body) = peer.next_append(self.now, &self.log, self.config.max_append_bytes, tell) {
                messages.push((*id, body));
            }
            all_know &= peer.knows_commit(&self.log);
        }
        leader.tell_commit_at = match all_know {
            true => Time::NEVER,
            // One that was probed until now, too.
            false => leader.tell_commit_at.min(self.now + COMMIT_WAITS),
        };
        for (to, body) in messages {
            self.send(to, body);
        }
    }

    pub(crate) fn handle_append_accepted(&mut self, from: NodeId, match_index: LogIndex) {
        let State::Leader(leader) = &mut self.state else { return self.counters.stale += 1 };
        if match_index > self.log.last_index() {
            return self.counters.malformed += 1;
        }
        let Some(peer) = leader.peers.get_mut(&from) else { return self.counters.stale += 1 };
        peer.heard = self.now;
        peer.accepted(self.now, &self.log, match_index, self.config.election_timeout);
        self.advance_commit();
        self.advance_transfer();
    }

    pub(crate) fn handle_append_rejected(
        &mut self,
        from: NodeId,
        previous_index: LogIndex,
        hint_index: LogIndex,
        hint_term: Term,
    ) {
        let State::Leader(leader) = &mut self.state else { return self.counters.stale += 1 };
        if hint_index > previous_index {
            return self.counters.malformed += 1;
        }
        let Some(peer) = leader.peers.get_mut(&from) else { return self.counters.stale += 1 };
        peer.heard = self.now;
        if peer.rejected(&self.log, previous_index, hint_index, hint_term) {
            self.counters.appends_rejected += 1;
        } else {
            self.counters.stale += 1;
        }
    }

    /// Commits what a majority has on disk, this server's own disk being one of them.
    ///
    /// Only an entry of the leader's own term is counted; earlier ones come with it (dissertation, 3.6.2 and figure
    /// 3.7).
    pub(crate) fn advance_commit(&mut self) {
        let State::Leader(leader) = &self.state else { return };
        let early = self.planted(PlantedBug::OwnDiskCountedEarly);
        let own = if early { self.log.last_index() } else { self.disk.durable_index() };
        let reached = leader.reached(self.configurations.latest(), self.config.id, own, |peer| peer.match_index);
        let Some(index) = reached.filter(|index| *index > self.log.commit()) else { return };
        let own_term = self.log.term_at(index) == Some(self.hard_state.term);
        if !own_term && !self.planted(PlantedBug::EarlierTermCounted) {
            return;
        }
        self.log.commit_to(index);
        if let State::Leader(leader) = &mut self.state {
            leader.tell_commit_at = leader.tell_commit_at.min(self.now + COMMIT_WAITS);
        }
        let configuration = self.configurations.latest();
        if self.configurations.latest_index() <= index && !configuration.is_voter(self.config.id) {
            // Its own removal is done (dissertation, 4.2.2).
            self.become_follower();
            self.set_leader(None);
        }
    }

    // ---- the follower's side ----

    /// Takes note that `from` leads the present term. False if that cannot be.
    pub(crate) fn observe_leader(&mut self, from: NodeId) -> bool {
        if matches!(self.state, State::Leader(_)) || self.leader.is_some_and(|leader| leader != from) {
            self.counters.contradictory += 1;
            return false;
        }
        self.become_follower();
        self.set_leader(Some(from));
        self.heard_leader = Some(self.now);
        self.reset_election_timer();
        true
    }

    pub(crate) fn handle_heartbeat(&mut self, from: NodeId, round: u64, commit_index: LogIndex) {
        if !self.observe_leader(from) {
            return;
        }
        if commit_index > self.log.last_index() {
            // The leader believes that we acknowledged what we do not have.
            self.counters.contradictory += 1;
        } else if commit_index > self.log.commit() {
            self.log.commit_to(commit_index);
        }
        self.send(from, RaftBody::HeartbeatReply { round });
    }

    pub(crate) fn handle_append(
        &mut self,
        from: NodeId,
        previous_index: LogIndex,
        previous_term: Term,
        mut entries: Vec<LogEntry>,
        commit_index: LogIndex,
    ) {
        if !self.observe_leader(from) {
            return;
        }
        let match_index = entries.last().map_or(previous_index, |entry| entry.index);
        if previous_index < self.log.base() {
            // It begins with what is committed and no longer kept here: that need not be compared, only the rest.
            entries.retain(|entry| entry.index >= self.log.base());
        } else if self.log.term_at(previous_index) != Some(previous_term) {
            let hint_index = self.log.last_at_or_before(previous_index, previous_term).unwrap_or(self.log.base());
            let hint_term = self.log.term_at(hint_index).unwrap_or_default();
            return self.send(from, RaftBody::AppendRejected { previous_index, hint_index, hint_term });
        }
        if !self.take_entries(entries) {
            return self.counters.contradictory += 1;
        }
        let commit = commit_index.min(match_index);
        if commit > self.log.commit() {
            self.log.commit_to(commit);
        }
        self.send_durable(from, RaftBody::AppendAccepted { match_index });
    }

    /// Appends what is not there yet; what is there and differs is cut off first. False, and nothing done, if that
    /// would undo what is committed.
    fn take_entries(&mut self, entries: Vec<LogEntry>) -> bool {
        if self.planted(PlantedBug::AppendCutsOff)
            && let Some(last) = entries.last().map(|entry| entry.index.max(self.log.commit()))
            && last < self.log.last_index()
        {
            self.truncate_from(last.next());
        }
        let known = entries.iter().take_while(|entry| self.log.term_at(entry.index) == Some(entry.term)).count();
        let Some(first) = entries.get(known).map(|entry| entry.index) else { return true };
        if first <= self.log.commit() {
            return false;
        }
        if first <= self.log.last_index() {
            self.truncate_from(first);
        }
        entries.into_iter().skip(known).for_each(|entry| self.append_entry(entry));
        true
    }

    pub(crate) fn append_entry(&mut self, entry: LogEntry) {
        self.configurations.append(&entry);
        self.log.append(entry);
    }

    fn truncate_from(&mut self, index: LogIndex) {
        self.log.truncate_from(index);
        self.disk.truncated_from(index);
        self.configurations.truncate_from(index);
    }
}
