//! Several engines that hear each other, on one clock: what the stories in this folder share.

// A test's helpers may stop it like the test itself, and not every story needs all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

pub mod alone;

use quorate_engine::{Config, Engine, Input, Notice, Output, Patience, SavedLocal, ServerConfig, Ticket};
use quorate_gossip::{Keyring, Timing};
use quorate_protocol::keyring::KeyringState;
use quorate_protocol::raft::Peer;
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{
    Answer, Ask, CheckDefinition, Definitions, KvRead, KvWrite, LocalRequest, LogIndex, NodeId, Outcome, Pair, Read,
    Reply, Request, Service, ServiceDefinition, Session, SessionId, SessionWrite, Time, Write,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Engines by number, and what travels between them; it takes no time.
#[derive(Default)]
pub struct Agents {
    pub now: Time,
    pub engines: BTreeMap<u8, Engine>,
    pub travelling: VecDeque<(u8, Input)>,
    pub last_ticket: u64,
    pub replies: BTreeMap<u64, Reply>,
    /// Who each one is.
    pub ids: BTreeMap<u8, NodeId>,
    /// Those that nothing reaches and nothing leaves.
    pub cut_off: BTreeSet<u8>,
    /// Those whose gossip alone gets lost.
    pub gossip_is_lost: BTreeSet<u8>,
    /// Messages between servers get lost.
    pub raft_is_lost: bool,
    /// Disks that acknowledge nothing.
    pub hung: BTreeSet<u8>,
    /// What they were to acknowledge last.
    pub unflushed: BTreeMap<u8, u64>,
    pub bootstrapped: Vec<Vec<NodeId>>,
    pub failed_syncs: usize,
    /// What each one wanted to find again after a restart.
    pub saved: BTreeMap<u8, SavedLocal>,
    /// Who told whom the hash of its state.
    pub hashes_told: BTreeSet<(u8, u8)>,
    /// The keys that each one wanted to find again after a restart.
    pub keys: BTreeMap<u8, KeyringState>,
    /// Those that cannot keep keys.
    pub keeps_no_keys: BTreeSet<u8>,
}

pub fn id(number: u8) -> NodeId {
    NodeId([number; 16])
}

pub fn address(number: u8) -> SocketAddr {
    ([127, 0, 0, number], 8301).into()
}

pub fn config(number: u8, expect: Option<usize>) -> Config {
    Config {
        id: id(number),
        name: format!("n{number}"),
        address: address(number),
        datacenter: "dc1".into(),
        generation: 1,
        version: "test".into(),
        node_meta: BTreeMap::new(),
        keyring: Keyring::new([7; 32]),
        timing: Timing::lan(),
        join: vec![address(1), address(2)].into_iter().filter(|seed| *seed != address(number)).collect(),
        server: expect.map(ServerConfig::lan),
        definitions: Definitions::default(),
        saved: SavedLocal::default(),
        patience: Patience::default(),
        seed: u64::from(number),
    }
}

/// A registration that leaves other checks of the service alone.
pub fn register(service: Service, checks: Vec<CheckDefinition>) -> LocalRequest {
    let definition = Box::new(ServiceDefinition { service, checks, ..ServiceDefinition::default() });
    LocalRequest::RegisterService { definition, replace_existing_checks: false }
}

/// A configuration with these services, without checks.
pub fn services(services: Vec<Service>) -> Definitions {
    let definition = |service| ServiceDefinition { service, ..ServiceDefinition::default() };
    Definitions { services: services.into_iter().map(definition).collect(), ..Definitions::default() }
}

impl Agents {
    /// Clients, and no server anywhere.
    pub fn clients(count: u8) -> Agents {
        let mut agents = Agents::default();
        (1..=count).for_each(|number| agents.start(config(number, None)));
        agents.pass(5 * SECOND);
        agents
    }

    pub fn start(&mut self, config: Config) {
        let number = place(config.address);
        self.ids.insert(number, config.id);
        self.engines.insert(number, Engine::new(config, self.now).unwrap());
        self.travel();
    }

    pub fn take_outputs(&mut self, number: u8) {
        while let Some(output) = self.engines.get_mut(&number).and_then(Engine::poll) {
            match output {
                Output::Persist(persist) if !self.hung.contains(&number) => {
                    self.travelling.push_back((number, Input::Persisted { up_to: persist.number }));
                }
                Output::Persist(persist) => {
                    self.unflushed.insert(number, persist.number);
                }
                Output::Datagram { to, .. } if self.loses_gossip(number, place(to)) => {}
                Output::Message { to, message: Message::Gossip(_) } if self.loses_gossip(number, place(to.address)) => {
                }
                Output::Message { to, .. } if self.loses(number, place(to.address)) => {}
                // A connection is to an identity: another one at that address is not it.
                Output::Message { to, .. } if self.is_another(to) => {}
                Output::Datagram { to, bytes } => {
                    self.travelling.push_back((place(to), Input::Datagram { from: address(number), bytes }));
                }
                Output::Message { message: Message::Raft(_), .. } if self.raft_is_lost => {}
                Output::Message { to, message } => {
                    if matches!(message, Message::StateHash { .. }) {
                        self.hashes_told.insert((number, place(to.address)));
                    }
                    let from = Origin { id: self.ids[&number], address: address(number) };
                    self.travelling.push_back((place(to.address), Input::Message { from, message }));
                }
                Output::Reply { ticket, reply } => {
                    assert!(self.replies.insert(ticket.0, reply).is_none(), "one reply each");
                }
                Output::Noticed(Notice::Bootstrapped { servers }) => self.bootstrapped.push(servers),
                Output::Noticed(Notice::SyncFailed { .. }) => self.failed_syncs += 1,
                Output::SaveSnapshot { meta, .. } => {
                    self.travelling.push_back((number, Input::SnapshotSaved { index: meta.index }));
                }
                Output::KeysChanged { state } => {
                    let failed = self.keeps_no_keys.contains(&number).then(|| "the disk is full".to_owned());
                    self.keys.insert(number, state);
                    self.travelling.push_back((number, Input::KeysSaved { failed }));
                }
                Output::SaveLocal(bytes) => {
                    self.saved.insert(number, SavedLocal::decode(&bytes).unwrap());
                }
                Output::Fatal(why) | Output::Quarantine(why) => panic!("{why}"),
                _ => {}
            }
        }
    }

    /// A disk hangs no more, and has everything.
    pub fn flush(&mut self, number: u8) {
        self.hung.remove(&number);
        let flushed = self.unflushed.remove(&number).map(|up_to| (number, Input::Persisted { up_to }));
        self.travelling.extend(flushed);
        self.travel();
    }

    fn loses(&self, from: u8, to: u8) -> bool {
        self.cut_off.contains(&from) || self.cut_off.contains(&to)
    }

    fn is_another(&self, to: Destination) -> bool {
        self.ids.get(&place(to.address)).zip(to.id).is_some_and(|(there, meant)| *there != meant)
    }

    fn loses_gossip(&self, from: u8, to: u8) -> bool {
        self.loses(from, to) || self.gossip_is_lost.contains(&from) || self.gossip_is_lost.contains(&to)
    }

    pub fn travel(&mut self) {
        self.engines.keys().copied().collect::<Vec<_>>().into_iter().for_each(|number| self.take_outputs(number));
        while let Some((to, input)) = self.travelling.pop_front() {
            if let Some(engine) = self.engines.get_mut(&to) {
                engine.handle(self.now, input);
                self.take_outputs(to);
            }
        }
    }

    pub fn pass(&mut self, length: Duration) {
        let until = self.now + length;
        loop {
            let next = self.engines.values().filter_map(Engine::deadline).min();
            let Some(deadline) = next.filter(|deadline| *deadline <= until) else { break };
            self.now = self.now.max(deadline);
            let now = self.now;
            self.engines
                .values_mut()
                .filter(|engine| engine.deadline().is_some_and(|deadline| deadline <= now))
                .for_each(|engine| engine.handle_timeout(now));
            self.travel();
        }
        self.now = until;
    }

    pub fn send(&mut self, number: u8, ask: Ask) -> u64 {
        self.last_ticket += 1;
        let input = Input::Request { ticket: Ticket(self.last_ticket), request: Request::here(ask) };
        self.engines.get_mut(&number).unwrap().handle(self.now, input);
        self.travel();
        self.last_ticket
    }

    pub fn ask(&mut self, number: u8, ask: Ask) -> Reply {
        let ticket = self.send(number, ask);
        self.replies.remove(&ticket).expect("an answer at once")
    }

    pub fn register(&mut self, number: u8, name: &str) {
        let service = Service { name: name.into(), ..Service::default() };
        assert_eq!(self.ask(number, Ask::Local(register(service, Vec::new()))), Reply::Done);
    }

    pub fn services_of(&self, server: u8, node: &str) -> Vec<String> {
        self.engines[&server].store().unwrap().view().services_of(node).map(|row| row.id.clone()).collect()
    }

    pub fn configuration(&self, server: u8) -> &BTreeMap<NodeId, Peer> {
        &self.engines[&server].raft().unwrap().configuration().peers
    }

    pub fn leader(&self) -> Option<u8> {
        let leads = |engine: &Engine| engine.raft().is_some_and(|raft| raft.role() == quorate_raft::Role::Leader);
        self.engines.iter().find(|(number, engine)| !self.cut_off.contains(number) && leads(engine)).map(|(n, _)| *n)
    }

    /// A session on the node of the agent that is asked.
    pub fn session(&mut self, number: u8, session: Session) -> SessionId {
        match self.ask(number, Ask::Write(Write::Session(SessionWrite::Create(Box::new(session))))) {
            Reply::Written { outcome: Outcome::Session(Some(row)), .. } => row.id,
            other => panic!("{other:?}"),
        }
    }

    pub fn has_session(&self, server: u8, session: SessionId) -> bool {
        self.engines[&server].store().unwrap().view().session(session).is_some()
    }

    pub fn holder(&self, server: u8, key: &str) -> Option<SessionId> {
        self.engines[&server].store().unwrap().view().entry(key).and_then(|row| row.lock.session)
    }

    pub fn last_index(&self, server: u8) -> u64 {
        self.engines[&server].raft().unwrap().last_index().0
    }
}

pub fn place(address: SocketAddr) -> u8 {
    match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    }
}

pub fn put(key: &str, value: &str) -> Ask {
    Ask::Write(Write::Kv(KvWrite::Put { pair: pair(key, value), cas: None }))
}

pub fn get(key: &str) -> Read {
    Read::Kv(KvRead::Get { key: key.into() })
}

pub fn keys(reply: Option<Reply>) -> Vec<String> {
    match reply {
        Some(Reply::Read { answer: Answer::Entries(entries), .. }) => entries.iter().map(|e| e.key.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

pub const SECOND: Duration = Duration::from_secs(1);

pub fn server_and_client() -> Agents {
    let mut agents = Agents::default();
    agents.start(config(1, Some(1)));
    agents.start(config(2, None));
    agents.pass(5 * SECOND);
    agents
}

/// Three servers with a leader; its number, and that of another.
pub fn three_servers() -> (Agents, u8, u8) {
    let mut agents = Agents::default();
    (1..=3).for_each(|number| agents.start(config(number, Some(3))));
    agents.pass(10 * SECOND);
    let leads = |number: &u8| agents.engines[number].raft().unwrap().role() == quorate_raft::Role::Leader;
    let leader = (1..=3).find(leads).unwrap();
    let other = if leader == 1 { 2 } else { 1 };
    (agents, leader, other)
}

pub fn pair(key: &str, value: &str) -> Pair {
    Pair { key: key.into(), value: value.to_owned().into(), ..Pair::default() }
}

pub fn acquire(key: &str, session: SessionId) -> Ask {
    Ask::Write(Write::Kv(KvWrite::Acquire { pair: pair(key, "held"), session }))
}

pub fn release(key: &str, session: SessionId) -> Ask {
    Ask::Write(Write::Kv(KvWrite::Release { pair: pair(key, "free"), session }))
}

/// The fencing token of a lock that was got, and where the acquire stands in the log.
pub fn acquired(reply: Option<Reply>) -> (LogIndex, LogIndex) {
    match reply {
        Some(Reply::Written { outcome: Outcome::Acquired { token }, index }) => (token, index),
        other => panic!("{other:?}"),
    }
}
