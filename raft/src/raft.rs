//! The server: its doors, and the transitions that more than one journey needs.

use crate::config::Config;
use crate::disk::Disk;
use crate::election::Campaign;
use crate::log::{self, Log};
use crate::membership::History;
use crate::output::{AlreadyBootstrapped, Counters, NotLeader, Output, Role, StartError};
use crate::planted::PlantedBug;
use crate::replication::Leader;
use crate::snapshot::{self, Receiving};
use quorate_protocol::raft::{Configuration, HardState, LogEntry, Payload, RaftBody, RaftMessage, SnapshotMeta};
use quorate_protocol::{LogIndex, NodeId, Term, Time};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// A term this much above ours is a broken sender, not a later election: one a second would take a century.
const MAX_TERM_JUMP: u64 = 1 << 32;

/// One server of a Raft cluster. See the [crate] for what goes in and comes out.
///
/// * In one term at most one server leads.
/// * If two logs hold an entry of the same index and term, they are equal up to there.
/// * A committed entry is in the log of every later leader, and never leaves a log.
/// * Nothing that was promised to another server is only in memory.
///
/// What a broken peer could bring about is dropped and [counted](Raft::counters); what only a defect in here or a
/// caller that breaks the contract could bring about panics, because going on could lose what was acknowledged.
#[derive(Debug)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) dice: ChaCha8Rng,
    /// The moment of the latest call.
    pub(crate) now: Time,
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    pub(crate) configurations: History,
    pub(crate) disk: Disk,
    pub(crate) state: State,
    /// Of the present term.
    pub(crate) leader: Option<NodeId>,
    /// When a leader, of whatever term, was last heard.
    pub(crate) heard_leader: Option<Time>,
    /// No vote is given before this: what was promised before a restart is forgotten.
    pub(crate) votes_from: Time,
    /// When to stand for election, if no leader is heard before.
    pub(crate) election_at: Time,
    /// A snapshot of which some parts have come.
    pub(crate) receiving: Option<Receiving>,
    /// The last heartbeat round this server started, in whatever term.
    pub(crate) round: u64,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counters: Counters,
}

/// What a server is, with what only such a server has.
#[derive(Debug)]
pub(crate) enum State {
    Follower,
    PreCandidate(Campaign),
    Candidate(Campaign),
    Leader(Leader),
}

impl Raft {
    /// A server that starts, or starts again, with what its disk holds: the hard state, the latest snapshot if there is
    /// one, and the entries behind it. The entries may begin before the snapshot ends, and end before it, but nothing
    /// may be missing between the two.
    ///
    /// What the snapshot covers is committed and taken to be applied. Of what follows it, nothing is known to be
    /// committed until a leader, perhaps itself, tells. A server that is the only voter of every configuration it has
    /// stands for election at once.
    ///
    /// # Errors
    /// If the entries are not a log that this hard state and snapshot may have, or the settings make no sense.
    pub fn new(
        config: Config,
        hard_state: HardState,
        snapshot: Option<SnapshotMeta>,
        entries: Vec<LogEntry>,
        now: Time,
    ) -> Result<Raft, StartError> {
        config.check()?;
        let snapshot = snapshot.as_ref();
        if snapshot.is_some_and(|meta| !snapshot::is_well_formed(meta, meta.term)) {
            return Err(StartError::Log("the snapshot's index, term or configuration is impossible"));
        }
        let (log, counts) = Log::recovered(snapshot, entries, hard_state.term).map_err(StartError::Log)?;
        let mut disk = Disk::new(hard_state, log.last_index());
        let base = log.base();
        if !counts {
            disk.compacted_to(base);
        }
        let mut raft = Raft {
            dice: ChaCha8Rng::seed_from_u64(config.seed),
            now,
            // A snapshot is on disk a moment before the term that came with it. No vote was given in that one.
            hard_state: match snapshot {
                Some(meta) if meta.term > hard_state.term => HardState { term: meta.term, vote: None },
                _ => hard_state,
            },
            disk,
            configurations: History::of(snapshot, log.from(log.commit().next())),
            log,
            state: State::Follower,
            leader: None,
            heard_leader: None,
            votes_from: now + config.election_timeout,
            election_at: now,
            receiving: None,
            round: 0,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            config,
        };
        raft.reset_election_timer();
        raft.campaign_if_alone();
        Ok(raft)
    }

    /// Founds a cluster: writes this configuration as entry 1 of term 1. Every founding server has to be given the same
    /// configuration, or their logs differ where Raft takes them to be equal.
    ///
    /// # Errors
    /// If this server has a log or knows a term: it belongs to a cluster already.
    ///
    /// # Panics
    /// If nobody votes in the configuration: such a cluster could never do anything.
    pub fn bootstrap(&mut self, now: Time, configuration: Configuration) -> Result<(), AlreadyBootstrapped> {
        self.advance_clock(now);
        assert!(configuration.voters().next().is_some(), "a cluster is founded by at least one voter");
        if self.log.last_index() > LogIndex::ZERO || self.hard_state.term > Term::ZERO {
            return Err(AlreadyBootstrapped);
        }
        self.hard_state = HardState { term: Term(1), vote: None };
        self.append_entry(LogEntry {
            term: Term(1),
            index: LogIndex(1),
            payload: Payload::Configuration(configuration),
        });
        self.reset_election_timer();
        self.campaign_if_alone();
        Ok(())
    }

    /// A message arrived. `from` must be authenticated: Raft believes its peers.
    pub fn handle_message(&mut self, now: Time, from: NodeId, message: RaftMessage) {
        self.advance_clock(now);
        if from == self.config.id || !self.is_well_formed(&message) {
            self.counters.malformed += 1;
            return;
        }
        let RaftMessage { term, body } = message;
        match body {
            // Pre-votes are about a term that does not exist yet, and change nobody's.
            RaftBody::PreVoteRequest { last_index, last_term } => {
                return self.handle_pre_vote_request(from, term, last_index, last_term);
            }
            RaftBody::PreVoteReply { granted } if granted || term <= self.hard_state.term => {
                return self.handle_pre_vote_reply(from, term, granted);
            }
            RaftBody::VoteRequest { transfer: false, .. } if term >= self.hard_state.term && self.hears_leader() => {
                self.counters.votes_ignored += 1;
                return;
            }
            _ => {}
        }
        if term < self.hard_state.term {
            return self.refuse_stale(from, body);
        }
        if term > self.hard_state.term {
            self.hard_state = HardState { term, vote: None };
            self.become_follower();
            self.set_leader(None);
            self.receiving = None;
        }
        match body {
            RaftBody::VoteRequest { last_index, last_term, .. } => {
                self.handle_vote_request(from, last_index, last_term)
            }
            RaftBody::VoteReply { granted } => self.handle_vote_reply(from, granted),
            RaftBody::Append { previous_index, previous_term, entries, commit_index } => {
                self.handle_append(from, previous_index, previous_term, entries, commit_index);
            }
            RaftBody::AppendAccepted { match_index } => self.handle_append_accepted(from, match_index),
            RaftBody::AppendRejected { previous_index, hint_index, hint_term } => {
                self.handle_append_rejected(from, previous_index, hint_index, hint_term);
            }
            RaftBody::Heartbeat { round, commit_index } => self.handle_heartbeat(from, round, commit_index),
            RaftBody::HeartbeatReply { round } => self.handle_heartbeat_reply(from, round),
            // A refusal that told of a later term: it did its work above.
            RaftBody::PreVoteRequest { .. } | RaftBody::PreVoteReply { .. } => {}
            RaftBody::TimeoutNow => self.handle_timeout_now(from),
            RaftBody::SnapshotChunk { meta, number, bytes, last } => {
                self.handle_snapshot_chunk(from, meta, number, bytes, last);
            }
            RaftBody::SnapshotChunkReply { index, next } => self.handle_snapshot_chunk_reply(from, index, next),
        }
    }

    /// Every [`Output::Persist`] up to this number is on disk.
    ///
    /// # Panics
    /// If such a number was never handed out.
    pub fn handle_persisted(&mut self, now: Time, up_to: u64) {
        self.advance_clock(now);
        for (to, message) in self.disk.persisted(up_to) {
            self.send_message(to, message);
        }
        self.count_votes();
        self.advance_commit();
    }

    /// The time is [`Raft::deadline`], or later. Does nothing if it is not.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance_clock(now);
        match self.state {
            State::Leader(_) => self.handle_leader_timeout(),
            State::Follower | State::PreCandidate(_) | State::Candidate(_) => self.handle_election_timeout(),
        }
    }

    /// When [`Raft::handle_timeout`] has something to do; may change with every other call.
    pub fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Leader(leader) if leader.peers.is_empty() => None,
            State::Leader(leader) => {
                let transfer_ends = leader.transfer.as_ref().map_or(Time::NEVER, |transfer| transfer.ends);
                Some(
                    self.quorum_deadline()
                        .unwrap_or(Time::NEVER)
                        .min(leader.heartbeat_at)
                        .min(leader.tell_commit_at)
                        .min(transfer_ends),
                )
            }
            State::Follower => self.may_campaign().then_some(self.election_at),
            State::PreCandidate(campaign) | State::Candidate(campaign) => {
                let asking = campaign.ask_again_at;
                Some(if self.may_campaign() { asking.min(self.election_at) } else { asking })
            }
        }
    }

    /// The next thing to do. Call it after every other call until it returns `None`: what was proposed and asked in
    /// between is joined into as few messages and writes as possible.
    pub fn poll(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            // Appends leave before the write: the followers' disks work while ours does.
            self.flush_reads();
            self.flush_appends();
            self.flush_snapshots();
            let mut write = self.disk.next_write(self.hard_state, &self.log);
            if let Some(write) = write.as_mut().filter(|_| self.planted(PlantedBug::VoteNotWritten)) {
                write.hard_state.vote = None;
            }
            self.outputs.extend(write.map(Output::Persist));
            self.outputs.extend(self.log.next_committed().map(Output::Committed));
        }
        self.outputs.pop_front()
    }

    // ---- what it is ----

    /// What this server is.
    pub fn role(&self) -> Role {
        match self.state {
            State::Leader(_) => Role::Leader,
            State::Candidate(_) => Role::Candidate,
            State::PreCandidate(_) => Role::PreCandidate,
            State::Follower if self.configurations.latest().is_voter(self.config.id) => Role::Follower,
            State::Follower => Role::Learner,
        }
    }

    /// The latest term seen.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Who leads in this term, as far as is known.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The last entry known to be committed.
    pub fn commit_index(&self) -> LogIndex {
        self.log.commit()
    }

    /// The last entry of the log, durable or not.
    pub fn last_index(&self) -> LogIndex {
        self.log.last_index()
    }

    /// The last entry that was handed out as committed, or that a snapshot brought: what the application's state is.
    pub fn handed_index(&self) -> LogIndex {
        self.log.handed()
    }

    /// The configuration in force, committed or not; empty before there is any.
    pub fn configuration(&self) -> &Configuration {
        self.configurations.latest()
    }

    /// How long ago a leader was heard: nothing on the leader itself, `None` if never since the start.
    pub fn last_contact(&self, now: Time) -> Option<Duration> {
        match self.state {
            State::Leader(_) => Some(Duration::ZERO),
            _ => self.heard_leader.map(|heard| now.since(heard)),
        }
    }

    /// The log in memory, behind what was compacted away: for checkers.
    pub fn entries(&self) -> &[LogEntry] {
        self.log.entries()
    }

    /// How often what happened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    // ---- transitions ----

    pub(crate) fn advance_clock(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// Gives up whatever this server was in its term. Who leads is a separate matter.
    pub(crate) fn become_follower(&mut self) {
        match std::mem::replace(&mut self.state, State::Follower) {
            State::Follower => {}
            State::PreCandidate(_) | State::Candidate(_) => self.reset_election_timer(),
            State::Leader(leader) => {
                self.reset_election_timer();
                let lost = |context| Output::ReadLost { context };
                self.outputs.extend(leader.reads.into_contexts().map(lost));
                self.outputs.extend(leader.snapshots.into_iter().map(|index| Output::SnapshotDone { index }));
                self.outputs.push_back(Output::LostLeadership { term: leader.term });
            }
        }
    }

    pub(crate) fn set_leader(&mut self, leader: Option<NodeId>) {
        if self.leader != leader {
            self.leader = leader;
            self.outputs.push_back(Output::LeaderChanged { leader, term: self.hard_state.term });
        }
    }

    pub(crate) fn not_leader(&self) -> NotLeader {
        NotLeader { leader: self.leader }
    }

    fn is_well_formed(&self, message: &RaftMessage) -> bool {
        let term = message.term;
        if term == Term::ZERO || term.0.saturating_sub(self.hard_state.term.0) > MAX_TERM_JUMP {
            return false;
        }
        match &message.body {
            RaftBody::Append { previous_index, previous_term, entries, .. } => {
                (*previous_index == LogIndex::ZERO) == (*previous_term == Term::ZERO)
                    && *previous_term <= term
                    && log::check((*previous_index, *previous_term), entries, term).is_none()
            }
            RaftBody::SnapshotChunk { meta, .. } => snapshot::is_well_formed(meta, term),
            _ => true,
        }
    }

    /// Answers a message of an earlier term, so that its sender learns of the later one.
    fn refuse_stale(&mut self, from: NodeId, body: RaftBody) {
        self.counters.stale += 1;
        match body {
            RaftBody::VoteRequest { .. } => self.send(from, RaftBody::VoteReply { granted: false }),
            // One that stood and lost in a partition is otherwise deaf to the leader, whose term is lower, for ever.
            RaftBody::Append { .. } | RaftBody::Heartbeat { .. } | RaftBody::SnapshotChunk { .. } => {
                self.send(from, RaftBody::HeartbeatReply { round: 0 });
            }
            _ => {}
        }
    }

    // ---- sending ----

    /// Sends what promises nothing.
    pub(crate) fn send(&mut self, to: NodeId, body: RaftBody) {
        self.send_message(to, RaftMessage { term: self.hard_state.term, body });
    }

    pub(crate) fn send_message(&mut self, to: NodeId, message: RaftMessage) {
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Sends what is a promise: as soon as the state it speaks of is durable.
    pub(crate) fn send_durable(&mut self, to: NodeId, body: RaftBody) {
        let message = RaftMessage { term: self.hard_state.term, body };
        let number = self.disk.number_of(self.hard_state, &self.log);
        let early = matches!(message.body, RaftBody::AppendAccepted { .. })
            && self.planted(PlantedBug::AcknowledgedBeforeWritten);
        if early || self.disk.holds(number) {
            self.send_message(to, message);
        } else {
            self.counters.withheld_dropped += self.disk.withhold(number, to, message);
        }
    }
}
