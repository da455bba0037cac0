//! The server part of an agent: Raft, the store that it feeds, and who waits for which entry.

use crate::catch_up::CatchingUp;
use crate::door::{Notice, Output};
use crate::hashes::Hashes;
use crate::leader::Leader;
use crate::lock::Locks;
use crate::proposals::Proposals;
use crate::reading::ReadRounds;
use crate::timers::Timers;
use crate::{Config, Engine, ServerConfig};
use quorate_protocol::raft::RaftMessage;
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{LogIndex, NodeId, Refusal, Reply, Term, Time};
use quorate_raft::{Raft, StartError};
use quorate_store::Store;

/// The server part of an agent.
pub struct Server {
    pub raft: Raft,
    pub store: Store,
    pub bootstrap_expect: usize,
    /// Duties of the leader, while this server is it.
    pub leader: Option<Leader>,
    /// Who waits for the entry at an index, if it is committed with that term.
    pub proposals: Proposals,
    /// Questions that wait until this server has asked whether it still leads.
    pub reading: ReadRounds,
    /// Questions that wait until this server is as far as their askers have seen.
    pub catching_up: CatchingUp,
    /// What ends by itself, on this server's clock.
    pub timers: Timers,
    /// Who waits for locks, while this server leads.
    pub locks: Locks,
    /// Whether the replicas are equal.
    pub hashes: Hashes,
    /// Whether only what frees space is written.
    pub disk_is_low: bool,
}

impl Server {
    pub fn new(config: &Config, server: ServerConfig, now: Time) -> Result<Server, StartError> {
        let raft = quorate_raft::Config {
            election_timeout: server.election_timeout,
            heartbeat_interval: server.heartbeat_interval,
            // Another stream of dice than the engine's own.
            ..quorate_raft::Config::lan(config.id, config.seed ^ 0x7261_6674)
        };
        Ok(Server {
            raft: Raft::new(raft, server.hard_state, server.entries, now)?,
            store: Store::new(),
            bootstrap_expect: server.bootstrap_expect,
            leader: None,
            proposals: Proposals::default(),
            reading: ReadRounds::default(),
            catching_up: CatchingUp::default(),
            timers: Timers::default(),
            locks: Locks::default(),
            hashes: Hashes::default(),
            disk_is_low: false,
        })
    }

    pub fn deadline(&self) -> Option<Time> {
        let leader = self.leader.as_ref().map(|leader| leader.deadline());
        let timer = self.leader.as_ref().and_then(|_| self.timers.deadline());
        let (proposal, round) = (self.proposals.deadline(), self.reading.until);
        let waiters = [self.catching_up.deadline(), self.locks.deadline()];
        [self.raft.deadline(), leader, timer, proposal, round].into_iter().chain(waiters).flatten().min()
    }

    /// Whether nothing was ever written to this server's log.
    pub fn is_pristine(&self) -> bool {
        self.raft.last_index() == LogIndex::ZERO && self.raft.term() == Term::ZERO
    }
}

impl Engine {
    /// Takes a message between servers. Only a server may speak Raft: one that gossip or the configuration knows as such.
    pub(crate) fn handle_raft(&mut self, now: Time, from: Origin, message: RaftMessage) {
        if self.is_foreign(from.id) {
            return self.count("raft_messages_from_another_cluster");
        }
        let known_as_server = self.gossip.member(from.id).is_some_and(quorate_protocol::Member::is_server);
        let Some(server) = &mut self.server else { return self.count("raft_messages_to_client") };
        // A pristine server knows nobody yet; the others in its first configuration do know it.
        if known_as_server || server.is_pristine() || server.raft.configuration().peers.contains_key(&from.id) {
            server.raft.handle_message(now, from.id, message);
        } else {
            self.count("raft_messages_from_strangers");
        }
    }

    pub(crate) fn note_disk_space(&mut self, low: bool) {
        if let Some(server) = &mut self.server {
            server.disk_is_low = low;
        }
    }

    pub(crate) fn handle_persisted(&mut self, now: Time, up_to: u64) {
        if let Some(server) = &mut self.server {
            server.raft.handle_persisted(now, up_to);
        }
    }

    pub(crate) fn time_out_server(&mut self, now: Time) {
        if let Some(server) = self.server.as_mut().filter(|server| crate::due(server.raft.deadline(), now)) {
            server.raft.handle_timeout(now);
        }
        self.time_out_proposals(now);
        self.time_out_read_round(now);
        self.time_out_catching_up(now);
        self.time_out_locks(now);
        self.expire_due(now);
    }

    /// Moves what Raft put out to where it belongs.
    pub(crate) fn settle_raft(&mut self, now: Time) -> bool {
        let mut moved = false;
        while let Some(output) = self.server.as_mut().and_then(|server| server.raft.poll()) {
            moved = true;
            match output {
                quorate_raft::Output::Send { to, message } => self.send_raft(to, message),
                quorate_raft::Output::Persist(persist) => self.outputs.push_back(Output::Persist(persist)),
                quorate_raft::Output::Committed(entries) => self.apply(now, &entries),
                quorate_raft::Output::ReadReady { context, index } => self.handle_read_ready(now, context, index),
                quorate_raft::Output::ReadLost { context } => self.handle_read_lost(now, context),
                quorate_raft::Output::BecameLeader { term } => self.become_leader(now, term),
                quorate_raft::Output::LostLeadership { term } => self.lose_leadership(now, term),
                quorate_raft::Output::LeaderChanged { leader, term } => {
                    self.outputs.push_back(Output::Noticed(Notice::LeaderChanged { leader, term }));
                    if let Some(leader) = leader {
                        self.ask_new_leader(now, leader);
                        self.release_held(now);
                    }
                }
            }
        }
        moved
    }

    fn send_raft(&mut self, to: NodeId, message: RaftMessage) {
        match self.address_of(to) {
            Some(address) => self.outputs.push_back(Output::Message {
                to: Destination { id: Some(to), address },
                message: Message::Raft(message),
            }),
            None => self.count("raft_messages_without_address"),
        }
    }

    fn lose_leadership(&mut self, now: Time, term: Term) {
        self.outputs.push_back(Output::Noticed(Notice::LostLeadership { term }));
        let Some(server) = &mut self.server else { return };
        server.leader = None;
        server.timers.stop_expiring();
        let proposals = server.proposals.take_all();
        let reads = server.reading.take_all();
        for proposal in proposals {
            // It may still be committed by the next leader; nobody here will know.
            self.reply(proposal.source, Reply::Refused(Refusal::Unknown));
        }
        reads.into_iter().for_each(|job| self.dispatch(now, job));
        self.move_waiters_to_leader(now);
        self.move_locks_to_leader(now);
    }
}
