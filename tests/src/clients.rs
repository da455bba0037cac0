//! Programs that use the cluster: they read and write keys, watch, and register services; and what they were told.

use crate::checks::nothing_acknowledged_is_lost::Registered;
use crate::dice::Dice;
use crate::history::{Call, Op, Told};
use bytes::Bytes;
use quorate_engine::Ticket;
use quorate_protocol::{
    Answer, Ask, CheckDefinition, CheckKind, Consistency, HealthFilter, KvRead, KvWrite, LocalRequest, LogIndex,
    Outcome, Page, Pair, Read, ReadRequest, Refusal, Reply, Request, Service, Status, Time, Wait, Write,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Few keys, so that clients get in each other's way.
const KEYS: usize = 5;
/// Services that may be on each agent.
const SERVICES: usize = 3;

/// All clients of the world, numbered from 0.
#[derive(Debug)]
pub struct Clients {
    kinds: Vec<Kind>,
    agents: usize,
    open: BTreeMap<Ticket, Open>,
    last_ticket: u64,
    last_value: u64,
    last_port: u16,
    watches: BTreeMap<usize, Watch>,
    /// The histories of the keys.
    pub keys: Vec<Key>,
    quiet: bool,
    dice: Dice,
    /// What became of all requests.
    pub counts: Counts,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    KeyValue,
    Watcher,
    Registrar,
}

/// A key with what happened to it.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// What was asked about it, stale reads left out.
    pub history: Vec<Op>,
    /// Stale reads.
    pub stale_reads: Vec<Op>,
    /// The modify index that some client saw last.
    known: LogIndex,
}

/// What became of all requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered.
    pub answered: u64,
    /// Refused.
    pub refused: u64,
    /// Never answered: the client gave up or the agent's process ended.
    pub unanswered: u64,
    /// Blocking questions that came back with a change.
    pub woken: u64,
}

/// A request without an answer yet.
#[derive(Debug)]
struct Open {
    client: usize,
    agent: usize,
    asked: Time,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// The operation at this place of a key's history; of its stale reads for a stale one.
    Key {
        key: usize,
        place: usize,
        stale: bool,
        write: Option<Write>,
    },
    Watch {
        request: ReadRequest,
    },
    Register {
        service_id: String,
        port: u16,
    },
    Deregister {
        service_id: String,
    },
    Report,
}

/// What a watcher follows.
#[derive(Debug, Clone)]
struct Watch {
    read: Read,
    seen: LogIndex,
    consistency: Consistency,
}

/// A request that a client makes.
#[derive(Debug)]
pub struct Asked {
    /// Through which agent.
    pub agent: usize,
    /// Under which number.
    pub ticket: Ticket,
    /// What.
    pub request: Request,
    /// How long it asks to wait.
    pub wait: Duration,
    /// The blocking question in it.
    pub watch: Option<(Read, LogIndex)>,
    /// After how long the client gives up, if it is impatient.
    pub patience: Option<Duration>,
}

/// What follows from an answer.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Who asked, and how long it waits before it asks again.
    pub next: Option<(usize, Duration)>,
    /// A write was acknowledged at an index.
    pub written: Option<(Write, LogIndex)>,
    /// A read that is not stale was answered through this agent with an index: the question and when it was asked.
    pub read: Option<(usize, Read, Time, LogIndex)>,
    /// What is known of a service of an agent.
    pub service: Option<(usize, String, Registered)>,
}

impl Clients {
    /// Clients for this many agents: half of them for keys, and some of each kind.
    pub fn new(agents: usize, dice: Dice) -> Clients {
        use Kind::{KeyValue, Registrar, Watcher};
        let key = |number| Key {
            name: format!("key/{number}"),
            history: Vec::new(),
            stale_reads: Vec::new(),
            known: LogIndex::ZERO,
        };
        Clients {
            kinds: vec![KeyValue, KeyValue, KeyValue, KeyValue, Watcher, Watcher, Registrar],
            agents,
            open: BTreeMap::new(),
            last_ticket: 0,
            last_value: 0,
            last_port: 1000,
            watches: BTreeMap::new(),
            keys: (0..KEYS).map(key).collect(),
            quiet: false,
            dice,
            counts: Counts::default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// From now on nothing is changed any more: only reads, so that everything can come to rest.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
    }

    /// How long a client waits before it asks again.
    pub fn pause(&mut self, client: usize) -> Duration {
        match self.kinds[client] {
            Kind::KeyValue => self.dice.around(Duration::from_millis(120)),
            Kind::Watcher => self.dice.around(Duration::from_millis(50)),
            Kind::Registrar => self.dice.around(Duration::from_millis(700)),
        }
    }

    /// Lets a client ask something.
    pub fn ask(&mut self, now: Time, client: usize) -> Option<Asked> {
        let agent = self.dice.below(self.agents);
        let (ask, purpose) = match self.kinds[client] {
            Kind::KeyValue => self.ask_about_key(now, client),
            Kind::Watcher => self.ask_to_watch(client),
            Kind::Registrar if self.quiet => return None,
            Kind::Registrar => self.ask_about_service(),
        };
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let (wait, watch) = match &ask {
            Ask::Read(ReadRequest { read, wait: Some(wait), .. }) => (wait.timeout, Some((read.clone(), wait.index))),
            _ => (Duration::ZERO, None),
        };
        let patience = self.dice.chance(0.05).then(|| self.dice.around(Duration::from_millis(800)));
        self.open.insert(ticket, Open { client, agent, asked: now, purpose });
        Some(Asked { agent, ticket, request: Request::here(ask), wait, watch, patience })
    }

    /// An answer has come; nothing is learnt from one that nobody waits for.
    pub fn answered(&mut self, now: Time, ticket: Ticket, reply: &Reply) -> Learnt {
        let Some(open) = self.open.remove(&ticket) else { return Learnt::default() };
        let mut pause = self.pause(open.client);
        if matches!(reply, Reply::Refused(_)) {
            self.counts.refused += 1;
            pause += Duration::from_millis(100);
        } else {
            self.counts.answered += 1;
        }
        let Open { client, agent, asked, purpose } = open;
        let mut learnt = Learnt { next: Some((client, pause)), ..Learnt::default() };
        match purpose {
            Purpose::Key { key, place, stale, write } => {
                let told = told(reply);
                let entry = &mut self.keys[key];
                if let Some(Told::Found { modified, .. } | Told::Unmatched { found: modified, .. }) = told {
                    entry.known = modified;
                }
                let list = if stale { &mut entry.stale_reads } else { &mut entry.history };
                match told {
                    Some(told) => list[place].result = Some((now, told)),
                    // Nothing happened, which is as good as never asked.
                    None if refused_for_certain(reply) => list[place].call = Call::Get,
                    None => {}
                }
                learnt.written = write.zip(match reply {
                    Reply::Written { index, .. } => Some(*index),
                    _ => None,
                });
                if let (Reply::Read { index, .. }, false) = (reply, stale) {
                    learnt.read = Some((agent, get(&self.keys[key].name), asked, *index));
                }
            }
            Purpose::Watch { request } => {
                let Reply::Read { index, .. } = reply else { return learnt };
                self.counts.woken += u64::from(request.wait.is_some_and(|wait| *index > wait.index));
                if let Some(watch) = self.watches.get_mut(&client) {
                    watch.seen = *index;
                }
                if request.consistency != Consistency::Stale {
                    learnt.read = Some((agent, request.read, asked, *index));
                }
            }
            Purpose::Register { service_id, port } => {
                learnt.service = (*reply == Reply::Done).then_some((agent, service_id, Registered::With(port)));
            }
            Purpose::Deregister { service_id } => {
                // One that is not found is not there either.
                let gone = matches!(reply, Reply::Done | Reply::Refused(Refusal::NotFound(_)));
                learnt.service = gone.then_some((agent, service_id, Registered::Not));
            }
            Purpose::Report => {}
        }
        learnt
    }

    /// A client gives up; none if the answer has come already.
    pub fn gives_up(&mut self, ticket: Ticket) -> Option<(usize, Learnt)> {
        let open = self.open.remove(&ticket)?;
        Some((open.agent, self.forget(open)))
    }

    /// An agent's process has ended: its clients never learn what became of their requests.
    pub fn agent_ended(&mut self, agent: usize) -> Vec<Learnt> {
        let (ended, open) = std::mem::take(&mut self.open).into_iter().partition(|(_, open)| open.agent == agent);
        self.open = open;
        let ended: BTreeMap<Ticket, Open> = ended;
        ended.into_values().map(|open| self.forget(open)).collect()
    }

    /// The questions of watchers, for checkers that look at views.
    pub fn questions() -> Vec<Read> {
        let health = |service: &str, health| Read::ServiceHealth {
            service: service.to_owned(),
            tags: Vec::new(),
            node_meta: BTreeMap::new(),
            health,
        };
        vec![
            get("key/0"),
            get("key/1"),
            Read::Kv(KvRead::List { prefix: "key/".into(), page: Page::default() }),
            Read::Kv(KvRead::Keys { prefix: String::new(), separator: "/".into(), page: Page::default() }),
            health("web", HealthFilter::Passing),
            health("db", HealthFilter::NotCritical),
            Read::Nodes { node_meta: BTreeMap::new() },
            Read::Services { node_meta: BTreeMap::new() },
            Read::ChecksInState { status: Some(Status::Critical), node_meta: BTreeMap::new() },
            Read::NodeServices { node: "agent-0".into() },
        ]
    }

    fn forget(&mut self, open: Open) -> Learnt {
        self.counts.unanswered += 1;
        let service = match open.purpose {
            Purpose::Register { service_id, .. } | Purpose::Deregister { service_id } => {
                Some((open.agent, service_id, Registered::Unknown))
            }
            Purpose::Key { .. } | Purpose::Watch { .. } | Purpose::Report => None,
        };
        Learnt { next: Some((open.client, self.pause(open.client))), service, ..Learnt::default() }
    }

    fn ask_about_key(&mut self, now: Time, client: usize) -> (Ask, Purpose) {
        // One key gets half of everything: what goes wrong between two writers is seen where they meet.
        let key = if self.dice.chance(0.5) { 0 } else { self.dice.below(self.keys.len()) };
        let name = self.keys[key].name.clone();
        let known = self.keys[key].known;
        self.last_value += 1;
        let value = self.last_value;
        let expected = if self.dice.chance(0.2) { LogIndex::ZERO } else { known };
        let call = match self.dice.below(10) {
            _ if self.quiet => Call::Get,
            0..4 => Call::Get,
            4..7 => Call::Put { value },
            7 | 8 => Call::Cas { expected, value },
            _ if self.dice.chance(0.5) => Call::Delete,
            _ => Call::DeleteCas { expected },
        };
        let pair = |value: u64| Pair { key: name.clone(), value: content(value), flags: value, ttl: None };
        let write = match call {
            Call::Get => None,
            Call::Put { value } => Some(KvWrite::Put { pair: pair(value), cas: None }),
            Call::Cas { expected, value } => Some(KvWrite::Put { pair: pair(value), cas: Some(expected) }),
            Call::Delete => Some(KvWrite::Delete { key: name.clone(), cas: None }),
            Call::DeleteCas { expected } => Some(KvWrite::Delete { key: name.clone(), cas: Some(expected) }),
        };
        let write = write.map(Write::Kv);
        let consistency = match self.dice.below(5) {
            0 if !self.quiet => Consistency::Stale,
            1 | 2 => Consistency::Consistent,
            _ => Consistency::Default,
        };
        let stale = write.is_none() && consistency == Consistency::Stale;
        let ask = match &write {
            Some(write) => Ask::Write(write.clone()),
            None => Ask::Read(ReadRequest { consistency, ..ReadRequest::now(get(&name)) }),
        };
        let entry = &mut self.keys[key];
        let list = if stale { &mut entry.stale_reads } else { &mut entry.history };
        list.push(Op { client, call, invoked: now, result: None });
        (ask, Purpose::Key { key, place: list.len() - 1, stale, write })
    }

    fn ask_to_watch(&mut self, client: usize) -> (Ask, Purpose) {
        if !self.watches.contains_key(&client) || self.dice.chance(0.05) {
            let questions = Clients::questions();
            let read = questions[self.dice.below(questions.len())].clone();
            let consistency = [Consistency::Stale, Consistency::Default, Consistency::Consistent][self.dice.below(3)];
            self.watches.insert(client, Watch { read, seen: LogIndex::ZERO, consistency });
        }
        let timeout = self.dice.between(Duration::from_secs(1), Duration::from_secs(12));
        let Watch { read, seen, consistency } = self.watches[&client].clone();
        let wait = (seen > LogIndex::ZERO).then_some(Wait { index: seen, timeout });
        let request = ReadRequest { consistency, wait, ..ReadRequest::now(read) };
        (Ask::Read(request.clone()), Purpose::Watch { request })
    }

    fn ask_about_service(&mut self) -> (Ask, Purpose) {
        let name = ["web", "db"][self.dice.below(2)];
        let service_id = format!("{name}-{}", self.dice.below(SERVICES));
        let (request, purpose) = match self.dice.below(10) {
            0..4 => {
                self.last_port = self.last_port.wrapping_add(1).max(1);
                let port = self.last_port;
                let service = Service {
                    id: service_id.clone(),
                    name: name.to_owned(),
                    port,
                    tags: vec![["blue", "green"][self.dice.below(2)].to_owned()],
                    ..Service::default()
                };
                let checks = vec![self.check()];
                let request = LocalRequest::RegisterService { service, checks, replace_existing_checks: true };
                (request, Purpose::Register { service_id, port })
            }
            4 => {
                let request = LocalRequest::DeregisterService { service_id: service_id.clone() };
                (request, Purpose::Deregister { service_id })
            }
            _ => {
                let status = [Status::Passing, Status::Warning, Status::Critical][self.dice.below(3)];
                let check_id = format!("service:{service_id}");
                let output = format!("value {}", self.last_value);
                (LocalRequest::UpdateCheck { check_id, status, output }, Purpose::Report)
            }
        };
        (Ask::Local(request), purpose)
    }

    fn check(&mut self) -> CheckDefinition {
        let kind = if self.dice.chance(0.5) {
            CheckKind::Ttl { ttl: self.dice.between(Duration::from_secs(2), Duration::from_secs(10)) }
        } else {
            CheckKind::Tcp {
                address: "127.0.0.1:1".into(),
                interval: self.dice.between(Duration::from_secs(1), Duration::from_secs(5)),
                timeout: Duration::ZERO,
            }
        };
        CheckDefinition { name: "is it well".into(), kind, ..CheckDefinition::default() }
    }
}

fn get(key: &str) -> Read {
    Read::Kv(KvRead::Get { key: key.to_owned() })
}

/// The bytes of the value of this number, which is also its flags. Now and then they are so many that Raft sends them in an append of their own.
fn content(value: u64) -> Bytes {
    let mut bytes = value.to_le_bytes().to_vec();
    if value.is_multiple_of(61) {
        bytes.resize(150_000 + (value % 7) as usize * 20_000, b'.');
    }
    bytes.into()
}

/// What a reply says about a key; none if it leaves the outcome open.
fn told(reply: &Reply) -> Option<Told> {
    match reply {
        Reply::Written { outcome: Outcome::Done, index } => Some(Told::Done { index: *index }),
        Reply::Written { outcome: Outcome::Unmatched { found }, index } => {
            Some(Told::Unmatched { found: *found, index: *index })
        }
        Reply::Read { answer: Answer::Entries(rows), .. } => match rows.first() {
            None => Some(Told::Missing),
            Some(row) => {
                // A value that is not what its number says was put together from two, or damaged.
                let value = if row.value.value == content(row.flags) { row.flags } else { u64::MAX };
                Some(Told::Found { value, modified: row.modify_index })
            }
        },
        _ => None,
    }
}

/// Whether a refusal says that nothing happened.
fn refused_for_certain(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Refused(
            Refusal::NoLeader | Refusal::NoServers | Refusal::Busy | Refusal::Invalid(_) | Refusal::NoPathToDatacenter
        )
    )
}
