//! The server part of an agent: Raft, the store that it feeds, and who waits for which entry.

use crate::door::{Notice, Output};
use crate::hashes::Hashes;
use crate::leader::Leader;
use crate::snapshots::Snapshots;
use crate::source::{Job, Own, Source};
use crate::timers::Timers;
use crate::{Config, Engine, ServerConfig};
use quorate_protocol::raft::{LogEntry, Payload, RaftMessage};
use quorate_protocol::wire::log::{decode_write, encode_write};
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{
    CatalogOperation, KvWrite, LogIndex, NodeId, Outcome, Refusal, Reply, RestoreWrite, SessionWrite, Term, Time,
    TxnOperation, Write,
};
use quorate_raft::{Raft, Snapshot, StartError};
use quorate_store::Store;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The largest encoded write, in bytes: a value of the largest size with its key and framing fits, and a batch of entries still
/// fits one frame.
const MAX_WRITE: usize = 2 * 1024 * 1024;
/// More than this many uncommitted writes are answered "busy".
const MAX_PROPOSALS: usize = 16_384;

/// More questions than this that wait for one round are answered "busy".
const MAX_READS: usize = 65_536;

/// What is said while the leader's disk is nearly full.
const DISK_IS_LOW: &str = "the disk of the leading server is nearly full: only deletions are taken; make room on it";

/// The server part of an agent.
pub struct Server {
    pub raft: Raft,
    pub store: Store,
    pub bootstrap_expect: usize,
    pub election_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// Duties of the leader, while this server is it.
    pub leader: Option<Leader>,
    /// Another server is about to lead; until then at the latest.
    pub hands_over_until: Option<Time>,
    /// Who waits for the entry at an index, if it is committed with that term.
    proposals: BTreeMap<LogIndex, Proposal>,
    /// Snapshots that are saved, sent and shown to people.
    pub snapshots: Snapshots,
    /// What ends by itself.
    pub timers: Timers,
    /// A leader without a lease looks again then at what is due.
    pub lease_awaited: Option<Time>,
    /// The disk has too little space to take anything new.
    pub disk_is_low: bool,
    #[cfg(feature = "planted-bugs")]
    pub planted: Option<quorate_store::Bug>,
    /// Whether the replicas are still equal.
    pub hashes: Hashes,
    /// Questions that wait until this server has asked whether it still leads.
    pub reading: ReadRounds,
}

/// A write that is not committed yet.
#[derive(Debug)]
struct Proposal {
    term: Term,
    source: Source,
    /// What was encoded into the entry, so that it need not be decoded again.
    write: Write,
    /// When whoever asked is told that nobody knows: disks hang for longer than people wait.
    until: Time,
}

/// Read-index rounds: at most one is under way, and whatever arrives meanwhile shares the next. A round's context is never
/// used again (etcd#20418).
#[derive(Debug, Default)]
pub struct ReadRounds {
    last_context: u64,
    under_way: Option<u64>,
    /// When those who wait for the round under way are told that it takes too long.
    until: Option<Time>,
    /// Answered by the round under way.
    asking: Vec<Job>,
    /// For the next round.
    next: Vec<Job>,
    /// Confirmed; answered once the store has applied this index.
    confirmed: VecDeque<(LogIndex, Vec<Job>)>,
}

impl ReadRounds {
    pub fn forget(&mut self, source: Source) {
        self.asking.retain(|job| job.source != source);
        self.next.retain(|job| job.source != source);
        for (_, jobs) in &mut self.confirmed {
            jobs.retain(|job| job.source != source);
        }
    }

    fn end_round(&mut self) {
        self.under_way = None;
        self.until = None;
    }

    fn take_all(&mut self) -> Vec<Job> {
        self.end_round();
        let confirmed = std::mem::take(&mut self.confirmed).into_iter().flat_map(|(_, jobs)| jobs);
        confirmed.chain(std::mem::take(&mut self.asking)).chain(std::mem::take(&mut self.next)).collect()
    }
}

impl Server {
    pub fn new(config: &Config, server: ServerConfig, now: Time) -> Result<Server, StartError> {
        let raft = quorate_raft::Config {
            election_timeout: server.election_timeout,
            heartbeat_interval: server.heartbeat_interval,
            trailing_entries: server.snapshots.trailing,
            #[cfg(feature = "planted-bugs")]
            planted: server.planted.raft,
            // Another stream of dice than the engine's own.
            ..quorate_raft::Config::lan(config.id, config.seed ^ 0x7261_6674)
        };
        let (meta, store) = match server.snapshot {
            Some(Snapshot { meta, chunks }) => {
                let store = Store::from_chunks(chunks.iter().map(AsRef::as_ref));
                let same = |store: &Store| store.applied_index() == meta.index;
                let store = store.ok().filter(same).ok_or(StartError::Log("the snapshot is damaged"))?;
                (Some(meta), store)
            }
            None => (None, Store::new()),
        };
        #[cfg(feature = "planted-bugs")]
        let store = {
            let mut store = store;
            store.plant(server.planted.store);
            store
        };
        let saved = meta.as_ref().map(|meta| meta.index).unwrap_or_default();
        let mut timers = Timers::default();
        timers.restart(now, store.view().timers());
        Ok(Server {
            raft: Raft::new(raft, server.hard_state, meta, server.entries, now)?,
            store,
            bootstrap_expect: if server.rejoin { 0 } else { server.bootstrap_expect },
            election_timeout: server.election_timeout,
            heartbeat_interval: server.heartbeat_interval,
            leader: None,
            hands_over_until: None,
            proposals: BTreeMap::new(),
            snapshots: Snapshots::new(server.snapshots, saved),
            timers,
            lease_awaited: None,
            disk_is_low: false,
            #[cfg(feature = "planted-bugs")]
            planted: server.planted.store,
            hashes: Hashes::default(),
            reading: ReadRounds::default(),
        })
    }

    pub fn deadline(&self) -> Option<Time> {
        let leader = self.leader.as_ref().map(|leader| leader.deadline());
        // The log is in the order of time.
        let proposal = self.proposals.first_key_value().map(|(_, proposal)| proposal.until);
        let handles = self.snapshots.deadline();
        let timers = match self.lease_awaited {
            _ if !self.leads() => None,
            Some(awaited) => Some(awaited),
            None => self.timers.deadline(),
        };
        let waiting = [self.reading.until, self.hands_over_until];
        [self.raft.deadline(), leader, proposal, timers, handles].into_iter().chain(waiting).flatten().min()
    }

    /// Whether this server leads and its store is complete.
    pub fn leads(&self) -> bool {
        self.leader.as_ref().is_some_and(Leader::is_established)
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
        self.time_out_snapshots(now);
        self.time_out_hand_over(now);
    }

    /// Refuses writes that a majority's disks have not taken in time. They may still be committed.
    fn time_out_proposals(&mut self, now: Time) {
        while let Some(server) = &mut self.server {
            let overdue = |first: &Proposal| first.until <= now;
            let Some(first) = server.proposals.first_entry().filter(|first| overdue(first.get())) else { return };
            let Proposal { source, .. } = first.remove();
            self.count("writes_timed_out");
            self.reply(source, Reply::Refused(Refusal::Unknown));
        }
    }

    /// Refuses questions whose round has found no majority in time, and begins the next.
    fn time_out_read_round(&mut self, now: Time) {
        let Some(server) = self.server.as_mut().filter(|server| crate::due(server.reading.until, now)) else { return };
        server.reading.end_round();
        let jobs = std::mem::take(&mut server.reading.asking);
        self.count("read_rounds_timed_out");
        jobs.into_iter().for_each(|job| self.reply(job.source, Reply::Refused(Refusal::TimedOut)));
        self.start_read_round(now);
    }

    /// Appends a write to the log; the reply comes when it is applied.
    pub(crate) fn propose(&mut self, now: Time, source: Source, write: Write) {
        let Some(server) = &mut self.server else { return };
        let bytes = encode_write(&write);
        // Whoever waits for a lock asked for this write, even if the engine words it.
        let is_own = matches!(source, Source::Own(own) if !matches!(own, Own::Lock(_)));
        let refusal = if server.disk_is_low && !is_own && !frees_space(&write) {
            Refusal::Invalid(DISK_IS_LOW.to_owned())
        } else if bytes.len() > MAX_WRITE {
            Refusal::Invalid(format!(
                "the write has {} bytes, more than the {MAX_WRITE} that one log entry may have",
                bytes.len()
            ))
        } else if server.proposals.len() >= MAX_PROPOSALS {
            Refusal::Busy
        } else {
            match server.raft.propose(now, bytes) {
                Ok((term, index)) => {
                    if !matches!(source, Source::Own(Own::Lock(_))) {
                        self.locks.note_acquires(&write);
                    }
                    // What was proposed at this index in an earlier term can no longer be committed.
                    let until = now + self.config.patience.reply;
                    let replaced = server.proposals.insert(index, Proposal { term, source, write, until });
                    if let Some(earlier) = replaced {
                        self.reply(earlier.source, Reply::Refused(Refusal::Unknown));
                    }
                    return;
                }
                Err(_) => Refusal::NoLeader,
            }
        };
        self.reply(source, Reply::Refused(refusal));
    }

    /// Asks a majority whether this server still leads, before it answers.
    pub(crate) fn confirm_leadership(&mut self, now: Time, job: Job) {
        let Some(server) = &mut self.server else { return };
        if server.reading.next.len() >= MAX_READS {
            self.count("reads_overflow");
            return self.reply(job.source, Reply::Refused(Refusal::Busy));
        }
        server.reading.next.push(job);
        self.start_read_round(now);
    }

    fn start_read_round(&mut self, now: Time) {
        let Some(server) = &mut self.server else { return };
        let rounds = &mut server.reading;
        if rounds.under_way.is_some() || rounds.next.is_empty() {
            return;
        }
        rounds.last_context += 1;
        if server.raft.read_index(now, rounds.last_context).is_ok() {
            rounds.under_way = Some(rounds.last_context);
            rounds.until = Some(now + self.config.patience.reply);
            rounds.asking = std::mem::take(&mut rounds.next);
        } else {
            let jobs = rounds.take_all();
            jobs.into_iter().for_each(|job| self.hold(now, job, Refusal::NoLeader));
        }
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
                quorate_raft::Output::SnapshotNeeded { to } => self.offer_snapshot(now, to),
                quorate_raft::Output::SendSnapshotChunk { to, meta, number } => {
                    self.send_snapshot_chunk(now, to, meta, number);
                }
                quorate_raft::Output::SnapshotDone { index } => self.drop_pinned_snapshot(index),
                quorate_raft::Output::SnapshotReceived { meta, chunks } => self.take_snapshot(now, &meta, &chunks),
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

    pub(crate) fn send_raft(&mut self, to: NodeId, message: RaftMessage) {
        match self.address_of(to) {
            Some(address) => self.outputs.push_back(Output::Message {
                to: Destination { id: Some(to), address },
                message: Message::Raft(message),
            }),
            None => self.count("raft_messages_without_address"),
        }
    }

    /// Applies committed entries, answers those who wrote them and wakes those who wait for what they changed.
    fn apply(&mut self, now: Time, entries: &[LogEntry]) {
        let mut restored = false;
        for entry in entries {
            let Some(server) = &mut self.server else { return };
            // What this server proposed in another term is not what stands here.
            let (own, replaced) = match server.proposals.remove(&entry.index) {
                Some(proposal) if proposal.term == entry.term => (Some((proposal.source, proposal.write)), None),
                other => (None, other.map(|proposal| proposal.source)),
            };
            let (asker, write) = own.unzip();
            let outcome = match &entry.payload {
                Payload::Command(bytes) => match write.map_or_else(|| decode_write(bytes), Ok) {
                    Ok(write) => {
                        server.snapshots.note_entry(bytes.len());
                        let (outcome, touched) = server.store.apply_encoded(entry.index, bytes, &write);
                        for (timer, armed) in touched.timers() {
                            server.timers.note(now, timer.clone(), *armed);
                        }
                        let is_restore = matches!(write, Write::Restore(RestoreWrite::Commit { .. }));
                        restored |= is_restore && outcome == Outcome::Done;
                        self.wake(now, &touched);
                        self.wake_locks(now, &touched);
                        Some(outcome)
                    }
                    Err(error) => {
                        let index = entry.index;
                        self.outputs.push_back(Output::Fatal(format!(
                            "log entry {index} cannot be applied ({error}); every server must run a version that knows it"
                        )));
                        return;
                    }
                },
                Payload::Empty | Payload::Configuration(_) => {
                    server.store.skip(entry.index);
                    None
                }
            };
            match (asker, outcome) {
                (Some(asker), Some(outcome)) => self.reply(asker, Reply::Written { outcome, index: entry.index }),
                (asker, _) => {
                    let unknown = asker.into_iter().chain(replaced);
                    unknown.for_each(|asker| self.reply(asker, Reply::Refused(Refusal::Unknown)));
                }
            }
            self.tell_hash();
            self.notice_own_term(now, entry.term);
        }
        if restored {
            // It brought the nodes as they were once, and undid what was written a moment before.
            self.reconcile_anew(now);
        }
        self.announce_cluster(now);
        self.end_orders();
        self.answer_behind(now);
        self.answer_confirmed(now);
        self.save_snapshot_if_due();
    }

    fn handle_read_ready(&mut self, now: Time, context: u64, index: LogIndex) {
        let Some(server) = &mut self.server else { return };
        let rounds = &mut server.reading;
        if rounds.under_way == Some(context) {
            rounds.end_round();
            let jobs = std::mem::take(&mut rounds.asking);
            rounds.confirmed.push_back((index, jobs));
            self.answer_confirmed(now);
            self.start_read_round(now);
        }
    }

    fn handle_read_lost(&mut self, now: Time, context: u64) {
        let Some(server) = &mut self.server else { return };
        let rounds = &mut server.reading;
        if rounds.under_way == Some(context) {
            rounds.end_round();
            let jobs = std::mem::take(&mut rounds.asking);
            jobs.into_iter().for_each(|job| self.dispatch(now, job));
            self.start_read_round(now);
        }
    }

    pub(crate) fn answer_confirmed(&mut self, now: Time) {
        while let Some(server) = &mut self.server {
            let applied = server.store.applied_index();
            let ready = server.reading.confirmed.front().is_some_and(|(index, _)| *index <= applied);
            let Some((_, jobs)) = server.reading.confirmed.pop_front_if(|_| ready) else { return };
            jobs.into_iter().for_each(|job| self.answer_job(now, job));
        }
    }

    fn lose_leadership(&mut self, now: Time, term: Term) {
        self.outputs.push_back(Output::Noticed(Notice::LostLeadership { term }));
        let Some(server) = &mut self.server else { return };
        let orders = server.leader.take().map(|leader| leader.orders).unwrap_or_default();
        server.lease_awaited = None;
        server.hands_over_until = None;
        let proposals = std::mem::take(&mut server.proposals);
        let reads = server.reading.take_all();
        for Proposal { source, .. } in proposals.into_values() {
            // It may still be committed by the next leader; nobody here will know.
            self.reply(source, Reply::Refused(Refusal::Unknown));
        }
        reads.into_iter().for_each(|job| self.dispatch(now, job));
        self.lose_orders(orders);
        self.move_waiters_to_leader(now);
        self.move_lock_waiters(now);
    }
}

/// Whether a write makes the state smaller, and so is taken even where space is short.
fn frees_space(write: &Write) -> bool {
    match write {
        Write::Kv(write) => deletes_keys(write),
        Write::Deregister(_) | Write::Session(SessionWrite::Destroy { .. } | SessionWrite::Renew { .. }) => true,
        Write::Txn(operations) => operations.iter().all(|operation| match operation {
            TxnOperation::Read(_) => true,
            TxnOperation::Kv(write) => deletes_keys(write),
            TxnOperation::Catalog(change) => match change {
                CatalogOperation::DeleteNode { .. }
                | CatalogOperation::DeleteService { .. }
                | CatalogOperation::DeleteCheck { .. } => true,
                CatalogOperation::SetNode { .. }
                | CatalogOperation::SetService { .. }
                | CatalogOperation::SetCheck { .. } => false,
            },
        }),
        Write::Register(_)
        | Write::Session(SessionWrite::Create(_))
        | Write::Expire { .. }
        | Write::Autopilot { .. }
        | Write::Restore(_) => false,
    }
}

fn deletes_keys(write: &KvWrite) -> bool {
    matches!(write, KvWrite::Delete { .. } | KvWrite::DeletePrefix { .. })
}
