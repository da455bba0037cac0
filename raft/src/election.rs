//! Becoming the leader: pre-vote, vote, and whom to give one.
//!
//! ```text
//!              timeout                 a majority would             a majority did
//!  Follower ────────────▶ PreCandidate ───────────────▶ Candidate ────────────────▶ Leader
//!     ▲                        │         a term is spent     │                          │
//!     └────────────────────────┴─────────────────────────────┴──────────────────────────┘
//!         refused by a majority, a leader or a later term seen, too few others heard
//! ```
//!
//! * A term is spent only by one whom a majority would elect, so a server that comes back from a partition disturbs
//!   nobody (dissertation, 9.6).
//! * Whoever heard a leader within the election timeout, or started that recently, gives no vote at all: neither real
//!   nor pre- (dissertation, 4.2.3). The leader's lease rests on this, too. Only an election that the leader itself
//!   asked for, after it gave up its lease, is not held up ([`crate::transfer`]).
//! * Nobody hears of a candidacy or gets a vote before it is on the disk of the one who gives it.

use crate::planted::PlantedBug;
use crate::quorum::{self, Tally};
use crate::raft::{Raft, State};
use crate::replication::Leader;
use quorate_protocol::raft::{HardState, Payload, RaftBody, RaftMessage};
use quorate_protocol::{LogIndex, NodeId, Term, Time};
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// An election, or the question about one.
#[derive(Debug)]
pub(crate) struct Campaign {
    /// Of voters, this server among them.
    answers: BTreeMap<NodeId, bool>,
    /// When those who have not answered are asked again.
    pub(crate) ask_again_at: Time,
    /// The write that holds this server's vote for itself.
    own_vote: u64,
    /// The leader asked for it: see [`crate::transfer`].
    transfer: bool,
}

impl Raft {
    /// What is due without a leader.
    pub(crate) fn handle_election_timeout(&mut self) {
        if self.now >= self.election_at && self.may_campaign() {
            self.start_pre_vote();
            return;
        }
        let ask_again_at = self.now + self.config.heartbeat_interval;
        if let State::PreCandidate(campaign) | State::Candidate(campaign) = &mut self.state
            && self.now >= campaign.ask_again_at
        {
            campaign.ask_again_at = ask_again_at;
            self.ask_voters();
        }
    }

    pub(crate) fn may_campaign(&self) -> bool {
        self.configurations.may_campaign(self.config.id, self.log.commit())
    }

    /// Waits anew for a leader.
    pub(crate) fn reset_election_timer(&mut self) {
        let base = self.config.election_timeout;
        self.election_at = self.now + base + self.jitter(base);
    }

    /// A moment more, drawn from nothing to `range`.
    fn jitter(&mut self, range: Duration) -> Duration {
        let nanos = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.dice.random_range(0..nanos))
    }

    /// A server that was always the only voter has nobody to wait for. If there were others, one of them may hold a
    /// lease that rests on this server's promise, which a restart forgot: then it waits as all do.
    pub(crate) fn campaign_if_alone(&mut self) {
        if self.configurations.only_ever_voter(self.config.id) {
            self.start_pre_vote();
        }
    }

    fn start_pre_vote(&mut self) {
        self.set_leader(None);
        self.reset_election_timer();
        self.state = State::PreCandidate(self.new_campaign(0, false));
        self.answer_self();
        self.ask_voters();
        self.count_pre_votes();
    }

    /// Stands for election in a new term; with `transfer` because the leader asked for it.
    pub(crate) fn start_election(&mut self, transfer: bool) {
        let term = self.hard_state.term.next();
        if term == self.hard_state.term {
            // Terms are used up. No cluster lives to see it, and a term must not be used twice.
            return;
        }
        self.counters.elections += 1;
        self.hard_state = HardState { term, vote: Some(self.config.id) };
        self.set_leader(None);
        self.reset_election_timer();
        let own_vote = self.disk.number_of(self.hard_state, &self.log);
        self.state = State::Candidate(self.new_campaign(own_vote, transfer));
        self.ask_voters();
        self.count_votes();
    }

    fn new_campaign(&self, own_vote: u64, transfer: bool) -> Campaign {
        let ask_again_at = self.now + self.config.heartbeat_interval;
        Campaign { answers: BTreeMap::new(), ask_again_at, own_vote, transfer }
    }

    fn answer_self(&mut self) {
        let id = self.config.id;
        self.note_answer(id, true);
    }

    fn note_answer(&mut self, from: NodeId, granted: bool) {
        if let State::PreCandidate(campaign) | State::Candidate(campaign) = &mut self.state
            && self.configurations.latest().is_voter(from)
        {
            campaign.answers.insert(from, granted);
        }
    }

    /// Asks everybody who votes and has not answered.
    fn ask_voters(&mut self) {
        let (last_index, last_term) = (self.log.last_index(), self.log.last_term());
        let (State::PreCandidate(campaign) | State::Candidate(campaign)) = &self.state else { return };
        let (real, transfer) = (matches!(self.state, State::Candidate(_)), campaign.transfer);
        let me = self.config.id;
        let unanswered: Vec<NodeId> = self
            .configurations
            .latest()
            .voters()
            .filter(|id| *id != me && !campaign.answers.contains_key(id))
            .collect();
        for to in unanswered {
            if real {
                // Sent before the term and the vote are durable, a crash could make this server stand twice in one
                // term, the second time with a shorter log and the votes for the first.
                self.send_durable(to, RaftBody::VoteRequest { last_index, last_term, transfer });
            } else {
                let term = self.hard_state.term.next();
                self.send_message(to, RaftMessage { term, body: RaftBody::PreVoteRequest { last_index, last_term } });
            }
        }
    }

    fn count_pre_votes(&mut self) {
        let State::PreCandidate(campaign) = &self.state else { return };
        match quorum::tally(self.configurations.latest().voters(), &campaign.answers) {
            Tally::Won => self.start_election(false),
            Tally::Lost => self.state = State::Follower,
            Tally::Open => {}
        }
    }

    /// Looks whether the election is decided; it is open until this server's own vote is on disk.
    pub(crate) fn count_votes(&mut self) {
        let State::Candidate(campaign) = &self.state else { return };
        if !self.disk.holds(campaign.own_vote) {
            return;
        }
        self.answer_self();
        let State::Candidate(campaign) = &self.state else { return };
        match quorum::tally(self.configurations.latest().voters(), &campaign.answers) {
            Tally::Won => self.become_leader(),
            Tally::Lost => self.state = State::Follower,
            Tally::Open => {}
        }
    }

    fn become_leader(&mut self) {
        assert_eq!(self.hard_state.vote, Some(self.config.id), "a leader voted for itself");
        let term_start = self.log.last_index().next();
        self.state = State::Leader(Leader::new(self.hard_state.term, term_start));
        self.outputs.push_back(crate::Output::BecameLeader { term: self.hard_state.term });
        self.set_leader(Some(self.config.id));
        self.update_peers();
        // Without an entry of its own term a leader can commit nothing, nor know what is committed (dissertation,
        // 3.6.2, 6.4).
        self.append_as_leader(Payload::Empty);
        self.start_round();
    }

    // ---- answers to others ----

    pub(crate) fn handle_pre_vote_request(&mut self, from: NodeId, asked: Term, last_index: LogIndex, last_term: Term) {
        let own = self.hard_state.term;
        if asked < own {
            return self.send(from, RaftBody::PreVoteReply { granted: false });
        }
        if self.hears_leader() {
            return self.counters.votes_ignored += 1;
        }
        let granted = (asked > own || self.may_still_vote_for(from)) && self.is_up_to_date(last_index, last_term);
        let term = if granted { asked } else { own };
        self.send_message(from, RaftMessage { term, body: RaftBody::PreVoteReply { granted } });
    }

    pub(crate) fn handle_pre_vote_reply(&mut self, from: NodeId, term: Term, granted: bool) {
        if !matches!(self.state, State::PreCandidate(_)) || granted && term != self.hard_state.term.next() {
            return self.counters.stale += 1;
        }
        self.note_answer(from, granted);
        self.count_pre_votes();
    }

    /// A request of the present term; earlier ones and those to ignore are dealt with.
    pub(crate) fn handle_vote_request(&mut self, from: NodeId, last_index: LogIndex, last_term: Term) {
        if !self.may_still_vote_for(from) || !self.is_up_to_date(last_index, last_term) {
            return self.send(from, RaftBody::VoteReply { granted: false });
        }
        self.hard_state.vote = Some(from);
        self.become_follower();
        self.reset_election_timer();
        self.send_durable(from, RaftBody::VoteReply { granted: true });
    }

    pub(crate) fn handle_vote_reply(&mut self, from: NodeId, granted: bool) {
        if !matches!(self.state, State::Candidate(_)) {
            return self.counters.stale += 1;
        }
        self.note_answer(from, granted);
        self.count_votes();
    }

    /// Whether the vote of the present term is free, or given to this candidate already.
    fn may_still_vote_for(&self, candidate: NodeId) -> bool {
        match self.hard_state.vote {
            Some(vote) => vote == candidate,
            None => self.leader.is_none(),
        }
    }

    /// Whether this server promised not to elect anybody yet: see [`Raft::holds_lease`].
    pub(crate) fn hears_leader(&self) -> bool {
        matches!(self.state, State::Leader(_))
            || (self.now < self.votes_from && !self.planted(PlantedBug::PromiseForgotten))
            || self.heard_leader.is_some_and(|heard| self.now.since(heard) < self.config.election_timeout)
    }

    /// Whether a log that ends so holds all that may be committed, as far as this server can tell (dissertation,
    /// 3.6.1).
    fn is_up_to_date(&self, last_index: LogIndex, last_term: Term) -> bool {
        (last_term, last_index) >= (self.log.last_term(), self.log.last_index())
    }
}
