//! What one agent decides.
//!
//! ```text
//!                 Input                                        Output
//!   datagrams, messages, requests,              datagrams, messages, replies, what must be
//!   disk's answers, check results                persisted, checks to run, notices
//!           │                                                ▲
//!           ▼                                                │
//!   ┌───────────────────────────── Engine ──────────────────────────────────┐
//!   │ route ─▶ forward (elsewhere) · hold (no leader yet) · serve (here)    │
//!   │ membership ◀─ gossip        server: raft ─▶ apply ─▶ wait             │
//!   │ leader: reconcile, autopilot   local: services, checks ─▶ sync        │
//!   └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Three verbs: [`Engine::handle`] takes an [`Input`], [`Engine::handle_timeout`] does what is due at
//! [`Engine::deadline`], and [`Engine::poll`] hands out one [`Output`] after another. It never waits, opens or rolls an
//! unseeded die, so a datacenter of engines runs in one thread of one test.
//!
//! A client agent is an engine whose server part is none: there is no second implementation.
//!
//! Where to go next: a request's road is [`route`](self) → `serve.rs` → `server.rs` → `wait.rs`; what the leader does besides is in
//! `leader/`; the agent's own services are in `local/`.

#![deny(clippy::disallowed_methods)]

mod bootstrap;
mod cluster;
mod config;
mod coordinates;
mod describe;
mod door;
mod events;
mod expression;
mod followers;
mod forward;
mod hashes;
mod hold;
mod keyring;
mod leader;
pub mod local;
mod lock;
mod membership;
mod operator;
mod queries;
mod remember;
mod route;
mod serve;
mod server;
mod session;
mod snapshots;
mod source;
mod stop;
mod tags;
mod timers;
mod wait;

#[cfg(feature = "planted-bugs")]
pub use config::Planted;
pub use config::{Config, Patience, ServerConfig, SnapshotPolicy};
pub use door::{Input, Notice, Output, Ticket};
pub use leader::{SERVER_SERVICE, desired};
pub use local::{LocalState, Remote, SavedLocal, difference};
pub use quorate_raft::{Snapshot, StartError};

use coordinates::Told;
use events::Happenings;
use forward::Forwards;
use hold::Holding;
use keyring::Orders;
use local::Local;
use lock::Locks;
use membership::Joins;
use queries::Queries;
use quorate_gossip::Gossip;
use quorate_protocol::wire::stream::Message;
use quorate_protocol::{Ask, Check, Member, Refusal, Reply, Service, Time};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use remember::Remembering;
use server::Server;
use source::{Job, Own, Source};
use std::collections::{BTreeMap, VecDeque};
use stop::Ending;
use wait::Waiting;

/// One agent's decisions. See the [crate] for its verbs.
pub struct Engine {
    config: Config,
    gossip: Gossip,
    /// None on a client.
    server: Option<Server>,
    local: Local,
    /// Requests that another server is working on.
    forwards: Forwards,
    /// Requests for which there is no leader or server yet.
    holding: Holding,
    /// Blocking questions that this server answers when something changes.
    waiting: Waiting,
    /// Those who wait for locks, while this server leads.
    locks: Locks,
    /// Joins that a person is waiting for.
    joins: Joins,
    /// What happened lately, for those who follow it.
    happenings: Happenings,
    /// Queries that are open.
    queries: Queries,
    /// What was ordered of the keys and is under way.
    orders: Orders,
    /// Where nodes without an agent are.
    told: Told,
    remembering: Remembering,
    /// The server that a client asks first.
    preferred_server: Option<quorate_protocol::NodeId>,
    ending: Ending,
    rng: ChaCha8Rng,
    /// Replies to questions that the engine asked itself, not yet looked at.
    own_replies: VecDeque<(Own, Reply)>,
    outputs: VecDeque<Output>,
    counters: BTreeMap<&'static str, u64>,
}

impl Engine {
    /// An engine at the start of its process: it has announced itself to nobody yet, and joins as soon as it is driven.
    ///
    /// # Errors
    /// [`StartError`] where what the disk gave back cannot be a log, or the timings make no sense.
    pub fn new(mut config: Config, now: Time) -> Result<Engine, StartError> {
        let server_config = config.server.take();
        let definitions = std::mem::take(&mut config.definitions);
        let gossip = Gossip::new(membership::gossip_config(&config, server_config.as_ref()), now);
        let server = server_config.map(|server| Server::new(&config, server, now)).transpose()?;
        let mut engine = Engine {
            gossip,
            server,
            local: Local::new(&mut config, now),
            forwards: Forwards::new(config.generation),
            holding: Holding::default(),
            waiting: Waiting::default(),
            locks: Locks::default(),
            joins: Joins::default(),
            happenings: Happenings::new(config.generation),
            queries: Queries::default(),
            orders: Orders::default(),
            told: Told::default(),
            remembering: Remembering::default(),
            preferred_server: None,
            ending: Ending::default(),
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            own_replies: VecDeque::new(),
            outputs: VecDeque::new(),
            counters: BTreeMap::new(),
            config,
        };
        if !engine.config.join.is_empty() {
            engine.gossip.join(now, engine.config.join.clone());
        }
        engine.join_remembered(now);
        engine.start_local_checks(now);
        engine.define(now, definitions);
        engine.settle(now);
        Ok(engine)
    }

    /// Takes what came in.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Datagram { from, bytes } => self.gossip.handle_datagram(now, from, &bytes),
            Input::Message { from, message } => match message {
                Message::Gossip(message) => self.gossip.handle_message(now, from, message),
                Message::Raft(message) => self.handle_raft(now, from, message),
                Message::Forward { id, hops, request } => {
                    let source = Source::Agent { origin: from, id };
                    // What belongs to one agent is asked at its own front doors, where the caller's rights are known.
                    if matches!(request.ask, Ask::Local(_)) {
                        let why = "a request about one agent itself cannot be passed on: ask that agent".to_owned();
                        return self.reply(source, Reply::Refused(Refusal::Invalid(why)));
                    }
                    self.dispatch(now, Job { source, request: *request, hops, arrived: now });
                }
                Message::ForwardReply { id, reply } => self.handle_forward_reply(now, from, id, *reply),
                Message::StateHash { index, hash } => self.handle_state_hash(from, index, hash),
                Message::Abandon { id } => self.abandon(Source::Agent { origin: from, id }),
            },
            Input::Request { ticket, request } => {
                let source = Source::Front(ticket);
                let request = self.complete(request);
                self.dispatch(now, Job { source, request, hops: 0, arrived: now });
            }
            Input::Abandon { ticket } => self.abandon(Source::Front(ticket)),
            Input::Persisted { up_to } => self.handle_persisted(now, up_to),
            Input::SnapshotSaved { index } => self.handle_snapshot_saved(now, index),
            Input::DiskSpace { low } => self.handle_disk_space(now, low),
            Input::CheckReport { check_id, status, output } => self.handle_check_report(now, &check_id, status, output),
            Input::KeysSaved { failed } => self.handle_keys_saved(now, failed),
            Input::Leave => self.leave(now),
            Input::Stop => self.stop(now),
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if due(self.gossip.deadline(), now) {
            self.gossip.handle_timeout(now);
        }
        self.time_out_server(now);
        self.time_out_forwards(now);
        self.time_out_holding(now);
        self.time_out_waiting(now);
        self.time_out_locks(now);
        self.time_out_timers(now);
        self.time_out_joins(now);
        self.time_out_happenings(now);
        self.time_out_queries(now);
        self.time_out_key_orders(now);
        self.time_out_remembering(now);
        self.time_out_local(now);
        self.time_out_leader(now);
        self.settle(now);
    }

    /// When [`Engine::handle_timeout`] wants to be called next; it may be called earlier or later.
    pub fn deadline(&self) -> Option<Time> {
        [
            self.gossip.deadline(),
            self.server.as_ref().and_then(Server::deadline),
            self.forwards.deadline(),
            self.holding.deadline(),
            self.waiting.deadline(),
            self.locks.deadline(),
            self.joins.deadline(),
            self.happenings.deadline(),
            self.queries.deadline(),
            self.orders.deadline(),
            self.remembering.deadline(),
            self.local.deadline(),
            self.ending.stop_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Hands out the next thing that should leave.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The members as gossip sees them, this agent among them.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.gossip.members()
    }

    /// The Raft part of a server.
    pub fn raft(&self) -> Option<&quorate_raft::Raft> {
        self.server.as_ref().map(|server| &server.raft)
    }

    /// The store of a server.
    pub fn store(&self) -> Option<&quorate_store::Store> {
        self.server.as_ref().map(|server| &server.store)
    }

    /// The agent's own services.
    pub fn local_services(&self) -> &BTreeMap<String, Service> {
        self.local.services()
    }

    /// The agent's own checks as the catalogue should see them.
    pub fn local_checks(&self) -> BTreeMap<String, Check> {
        self.local.checks_as_rows()
    }

    /// Moves what the sub-machines put out to where it belongs, until nothing moves.
    fn settle(&mut self, now: Time) {
        self.follow_aliases(now);
        loop {
            let moved = self.settle_gossip(now) | self.settle_raft(now) | self.settle_own_replies(now);
            if !moved && !self.sync_if_wanted(now) {
                break;
            }
        }
        self.end_if_done(now);
    }

    fn settle_own_replies(&mut self, now: Time) -> bool {
        let moved = !self.own_replies.is_empty();
        while let Some((own, reply)) = self.own_replies.pop_front() {
            match own {
                Own::Sync(step) => self.handle_sync_reply(now, step, reply),
                Own::Reconcile(id) => self.handle_reconcile_reply(now, id, reply),
                Own::Lock(number) => self.handle_lock_reply(now, number, reply),
                Own::Alias(number) => self.handle_alias_reply(now, number, reply),
                // What is not seen to be applied is due again; a lock that cannot be given up ends with its session.
                Own::Expire | Own::GiveUpLock => {}
            }
        }
        moved
    }

    /// Hands a reply to whoever asked.
    fn reply(&mut self, source: Source, reply: Reply) {
        match source {
            Source::Front(ticket) => self.outputs.push_back(Output::Reply { ticket, reply }),
            Source::Agent { origin, id } => self.outputs.push_back(Output::Message {
                to: origin.into(),
                message: Message::ForwardReply { id, reply: Box::new(reply) },
            }),
            Source::Own(own) => self.own_replies.push_back((own, reply)),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }
}

/// Whether a deadline has come.
fn due(deadline: Option<Time>, now: Time) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}
