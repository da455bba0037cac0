//! Programs that use the cluster: they read and write keys, lock them, follow changes, watch, register services and operate the servers; and
//! what they were told.
//!
//! | file | who |
//! |---|---|
//! | `keys` | reads and writes a few keys that all get in each other's way |
//! | `locks` | makes sessions, renews them or forgets to, and holds keys with them |
//! | `streams` | follows the changes of keys from where it was |
//! | `watches` | asks blocking questions |
//! | `services` | registers services and reports their health |
//! | `operators` | hands leadership over, saves snapshots and puts them back |

mod keys;
mod locks;
mod operators;
mod services;
mod streams;
mod watches;

pub use keys::Key;
pub use locks::LockNews;
pub use watches::questions;

use crate::checks::changes_complete;
use crate::checks::lock_has_one_owner::Ending;
use crate::checks::nothing_acknowledged_is_lost::Registered;
use crate::dice::Dice;
use crate::happened::Happened;
use keys::Place;
use locks::{Locker, Step};
use operators::{Operator, Task};
use quorate_engine::Ticket;
use quorate_protocol::{
    Ask, KvRead, KvWrite, LogIndex, NodeId, Outcome, Read, ReadRequest, Refusal, Reply, Request, SessionWrite, Time,
    Write,
};
use services::Registrar;
use std::collections::BTreeMap;
use std::time::Duration;
use streams::Stream;
use watches::Watch;

/// All clients of the world, numbered from 0.
#[derive(Debug)]
pub struct Clients {
    kinds: Vec<Kind>,
    agents: usize,
    open: BTreeMap<Ticket, Open>,
    last_ticket: u64,
    last_value: u64,
    /// The histories of the keys; those that are locked come last.
    pub keys: Vec<Key>,
    watches: BTreeMap<usize, Watch>,
    lockers: BTreeMap<usize, Locker>,
    streams: BTreeMap<usize, Stream>,
    registrar: Registrar,
    operator: Operator,
    /// The highest index that each client has seen.
    seen: Vec<LogIndex>,
    healing: bool,
    quiet: bool,
    dice: Dice,
    /// What became of all requests.
    pub counts: Counts,
    /// What happened to them.
    pub happened: Happened,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    KeyValue,
    Locker,
    Follower,
    Watcher,
    Registrar,
    Operator,
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
    /// What is to be written.
    write: Option<Write>,
    purpose: Purpose,
    /// Something changed since among the servers, so that agents may have asked anew for it.
    asked_anew: bool,
}

#[derive(Debug)]
enum Purpose {
    /// Operations of the histories of keys.
    Keys(Vec<Place>),
    /// A question about keys that is in no history.
    Look(ReadRequest),
    /// Something about sessions or locks.
    Lock(Step, Vec<Place>),
    Watch(ReadRequest),
    Follow(ReadRequest),
    Register {
        service_id: String,
        port: u16,
    },
    Deregister {
        service_id: String,
    },
    Report,
    Operate(Task),
}

/// What a client wants next.
struct Wish {
    ask: Ask,
    purpose: Purpose,
    /// Through which agent, if that matters.
    through: Option<usize>,
    /// What it takes from those who hold locks.
    ending: Option<Ending>,
}

impl Wish {
    fn new(ask: Ask, purpose: Purpose) -> Wish {
        Wish { ask, purpose, through: None, ending: None }
    }
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
    /// What it takes from those who hold locks.
    pub ending: Option<Ending>,
}

/// A question that was answered.
#[derive(Debug)]
pub struct Question {
    /// Through this agent.
    pub agent: usize,
    /// What was asked.
    pub request: ReadRequest,
    /// When.
    pub asked: Time,
}

/// What follows from an answer.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Who asked, and how long it waits before it asks again.
    pub next: Option<(usize, Duration)>,
    /// A write was acknowledged at an index.
    pub written: Option<(Write, LogIndex)>,
    /// A question was answered.
    pub read: Option<Question>,
    /// A stream was answered.
    pub stream: Option<changes_complete::Asked>,
    /// What is known of a service of an agent.
    pub service: Option<(usize, String, Registered)>,
    /// What is known of who holds locks.
    pub news: Vec<LockNews>,
}

impl Clients {
    /// Clients for this many agents: some of each kind, most for keys and locks.
    pub fn new(agents: usize, restores: bool, dice: Dice) -> Clients {
        use Kind::{Follower, KeyValue, Locker, Operator as Operates, Registrar as Registers, Watcher};
        let kinds = vec![
            KeyValue, KeyValue, KeyValue, KeyValue, Watcher, Watcher, Registers, Locker, Locker, Locker, Locker,
            Follower, Follower, Operates,
        ];
        Clients {
            seen: vec![LogIndex::ZERO; kinds.len()],
            kinds,
            agents,
            open: BTreeMap::new(),
            last_ticket: 0,
            last_value: 0,
            keys: keys::all(),
            watches: BTreeMap::new(),
            lockers: BTreeMap::new(),
            streams: BTreeMap::new(),
            registrar: Registrar::default(),
            operator: Operator::new(restores),
            healing: false,
            quiet: false,
            dice,
            counts: Counts::default(),
            happened: Happened::default(),
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

    /// From now on nobody disturbs the servers on purpose: some repairs are a matter of leaders that stay for a while.
    pub fn heal(&mut self) {
        self.healing = true;
    }

    /// From now on nothing is changed any more: only reads, so that everything can come to rest.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
    }

    /// A server has lost its disk: whoever operates takes it out of Raft.
    pub fn server_is_gone(&mut self, id: NodeId) {
        self.operator.server_is_gone(id);
    }

    /// How long a client waits before it asks again.
    pub fn pause(&mut self, client: usize) -> Duration {
        let mean = match self.kinds[client] {
            Kind::KeyValue => 120,
            Kind::Locker => 160,
            Kind::Watcher | Kind::Follower => 50,
            Kind::Registrar => 700,
            Kind::Operator => self.operator.pause(),
        };
        self.dice.around(Duration::from_millis(mean))
    }

    /// Lets a client ask something.
    pub fn ask(&mut self, now: Time, client: usize) -> Option<Asked> {
        let agent = self.dice.below(self.agents);
        let Wish { ask, purpose, through, ending } = match self.kinds[client] {
            Kind::KeyValue => self.wish_about_keys(now, client),
            Kind::Locker => self.wish_about_locks(now, client),
            Kind::Follower => self.wish_to_follow(client),
            Kind::Watcher => self.wish_to_watch(client),
            Kind::Registrar if self.quiet => return None,
            Kind::Registrar => self.wish_about_services(),
            Kind::Operator if self.quiet => return None,
            Kind::Operator => self.wish_to_operate(),
        };
        let agent = through.unwrap_or(agent);
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let (wait, watch) = match &ask {
            Ask::Read(ReadRequest { read, wait: Some(wait), .. }) => (wait.timeout, Some((read.clone(), wait.index))),
            Ask::Lock(request) => (request.wait, None),
            _ => (Duration::ZERO, None),
        };
        let write = match &ask {
            Ask::Write(write) => Some(write.clone()),
            Ask::Lock(lock) => Some(Write::Kv(KvWrite::AcquireOnce { pair: lock.pair.clone(), session: lock.session })),
            _ => None,
        };
        let patience = self.dice.chance(0.05).then(|| self.dice.around(Duration::from_millis(800)));
        self.open.insert(ticket, Open { client, agent, asked: now, write, purpose, asked_anew: false });
        Some(Asked { agent, ticket, request: Request::here(ask), wait, watch, patience, ending })
    }

    /// An answer has come; nothing is learnt from one that nobody waits for.
    pub fn answered(&mut self, now: Time, ticket: Ticket, reply: &Reply) -> Learnt {
        let Some(open) = self.open.remove(&ticket) else { return Learnt::default() };
        let Open { client, agent, asked, write, purpose, asked_anew } = open;
        let mut pause = self.pause(client);
        if matches!(reply, Reply::Refused(_)) {
            self.counts.refused += 1;
            pause += Duration::from_millis(100);
        } else {
            self.counts.answered += 1;
        }
        let mut learnt = Learnt { next: Some((client, pause)), ..Learnt::default() };
        if let Reply::Written { outcome, index } = reply {
            self.saw(client, *index);
            learnt.written = write.and_then(|write| Some((as_logged(write, outcome)?, *index)));
        }
        let question = |request| Question { agent, request, asked };
        match purpose {
            Purpose::Keys(places) => {
                learnt.read = self.key_answered(now, &places, reply).map(question);
            }
            Purpose::Lock(step, places) => {
                let waited = self.wait_of(&step, &places);
                learnt.read = self.key_answered(now, &places, reply).map(question);
                if let Some((place, op)) = waited {
                    // It may have got the key by an earlier try.
                    let holds = matches!(reply, Reply::Written { outcome: Outcome::Holds { .. }, .. });
                    // And where it was asked twice, the other way may still come to it, even after this answer.
                    let untold = usize::from(asked_anew || holds) + usize::from(asked_anew && holds);
                    self.wait_ended(place, op, untold);
                }
                learnt.news = self.lock_answered(now, asked, client, step, reply);
            }
            Purpose::Look(request) => {
                learnt.read = matches!(reply, Reply::Read { .. }).then_some(question(request));
            }
            Purpose::Watch(request) => {
                let Reply::Read { index, .. } = reply else { return learnt };
                self.watch_answered(client, &request, *index);
                learnt.read = Some(question(request));
            }
            Purpose::Follow(request) => {
                let Reply::Read { answer, index, .. } = reply else { return learnt };
                learnt.stream = self.follow_answered(client, &request, answer, *index);
                learnt.read = Some(question(request));
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
            Purpose::Operate(task) => self.operation_answered(agent, task, reply),
        }
        learnt
    }

    /// Something changed among the servers: agents may ask anew for what they have not heard of, where they think that safe.
    pub fn may_be_asked_anew(&mut self) {
        self.open.values_mut().for_each(|open| open.asked_anew = true);
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

    fn forget(&mut self, open: Open) -> Learnt {
        self.counts.unanswered += 1;
        let service = match open.purpose {
            Purpose::Register { service_id, .. } | Purpose::Deregister { service_id } => {
                Some((open.agent, service_id, Registered::Unknown))
            }
            Purpose::Operate(task) => {
                self.operation_forgotten(task);
                None
            }
            Purpose::Lock(step, places) => {
                if let Some((place, op)) = self.wait_of(&step, &places) {
                    self.wait_ended(place, op, usize::from(open.asked_anew));
                }
                None
            }
            _ => None,
        };
        Learnt { next: Some((open.client, self.pause(open.client))), service, ..Learnt::default() }
    }

    /// A number that no other write carries.
    fn next_value(&mut self) -> u64 {
        self.last_value += 1;
        self.last_value
    }

    fn saw(&mut self, client: usize, index: LogIndex) {
        self.seen[client] = self.seen[client].max(index);
    }
}

/// A write as it stands in the log: agents fill in what only they know. None where it is not in the log.
fn as_logged(write: Write, outcome: &Outcome) -> Option<Write> {
    match (write, outcome) {
        (Write::Session(SessionWrite::Create(_)), Outcome::Session(Some(row))) => {
            Some(Write::Session(SessionWrite::Create(Box::new(row.value.clone()))))
        }
        // Who was made is not told, so it cannot be found.
        (Write::Session(SessionWrite::Create(_)), _) => None,
        // Whoever waited for a lock in vain has perhaps never written.
        (Write::Kv(KvWrite::AcquireOnce { .. }), Outcome::Held { .. }) => None,
        (write, _) => Some(write),
    }
}

fn get(key: &str) -> Read {
    Read::Kv(KvRead::Get { key: key.to_owned() })
}
