//! What the tests of several nouns share: a store to write to line by line, and short questions.

use crate::{Store, Touched};
use bytes::Bytes;
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{
    Answer, Check, Deregistration, Entry, HealthFilter, Instance, KvWrite, LogIndex, Node, NodeId, Outcome, Pair, Read,
    Registration, Row, Service, Session, SessionId, SessionWrite, Status, Timer, Write,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A store, written to entry by entry from log index 2 on.
pub(crate) struct Scene {
    pub store: Store,
    pub touched: Touched,
}

impl Scene {
    pub fn new() -> Scene {
        let mut store = Store::new();
        store.skip(LogIndex(1));
        Scene { store, touched: Touched::default() }
    }

    pub fn write(&mut self, write: &Write) -> Outcome {
        let (outcome, touched) = self.store.apply(self.store.applied_index().next(), write);
        self.touched = touched;
        outcome
    }

    pub fn register(&mut self, registration: Registration) -> Outcome {
        self.write(&Write::Register(Box::new(registration)))
    }

    /// Registers what must be accepted, and tells its index.
    pub fn done(&mut self, registration: Registration) -> u64 {
        assert_eq!(self.register(registration), Outcome::Done);
        self.store.applied_index().0
    }

    /// The sentence of a refusal.
    pub fn refused(&mut self, registration: Registration) -> String {
        let before = self.store.view();
        match self.register(registration) {
            Outcome::Refused(why) => {
                assert!(self.touched.is_empty());
                let everything = Read::Nodes { node_meta: BTreeMap::new() };
                assert_eq!(self.store.view().read(&everything), before.read(&everything));
                why
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn deregister(&mut self, what: Deregistration) -> bool {
        assert_eq!(self.write(&Write::Deregister(what)), Outcome::Done);
        !self.touched.is_empty()
    }

    pub fn kv(&mut self, write: KvWrite) -> Outcome {
        self.write(&Write::Kv(write))
    }

    pub fn put(&mut self, key: &str, value: &str) -> Outcome {
        self.kv(KvWrite::Put { pair: pair(key, value), cas: None })
    }

    pub fn acquire(&mut self, key: &str, session: u8) -> Outcome {
        self.kv(KvWrite::Acquire { pair: pair(key, "v"), session: session_id(session) })
    }

    pub fn release(&mut self, key: &str, session: u8) -> Outcome {
        self.kv(KvWrite::Release { pair: pair(key, "v"), session: session_id(session) })
    }

    pub fn delete(&mut self, key: &str) -> Outcome {
        self.kv(KvWrite::Delete { key: key.to_owned(), cas: None })
    }

    /// The entry of a key with its indexes.
    pub fn entry(&self, key: &str) -> Option<Arc<Row<Entry>>> {
        self.store.view().entry(key).cloned()
    }

    /// Makes a session that must be accepted.
    pub fn session(&mut self, session: Session) -> Arc<Row<Session>> {
        match self.write(&Write::Session(SessionWrite::Create(Box::new(session)))) {
            Outcome::Session(Some(row)) => row,
            other => panic!("{other:?}"),
        }
    }

    pub fn destroy(&mut self, session: u8) {
        assert_eq!(self.write(&Write::Session(SessionWrite::Destroy { id: session_id(session) })), Outcome::Done);
    }

    pub fn renew(&mut self, session: u8) -> bool {
        match self.write(&Write::Session(SessionWrite::Renew { id: session_id(session) })) {
            Outcome::Session(row) => row.is_some(),
            other => panic!("{other:?}"),
        }
    }

    /// Whether there is a session.
    pub fn lives(&self, session: u8) -> bool {
        self.store.view().session(session_id(session)).is_some()
    }

    /// The log index that a timer counts from, and how many seconds; none if it is not armed.
    pub fn armed(&self, timer: &Timer) -> Option<(u64, u64)> {
        let armed = self.store.view().timers().into_iter().find(|(one, _)| one == timer)?.1;
        Some((armed.since.0, armed.after.as_secs()))
    }

    /// The leader's clock rings for a timer that counted from `since`.
    pub fn expire(&mut self, timer: &Timer, since: u64) {
        let write = Write::Expire { timer: timer.clone(), since: LogIndex(since) };
        assert_eq!(self.write(&write), Outcome::Done);
    }

    pub fn read(&self, read: &Read) -> (Answer, u64) {
        let (answer, index) = self.store.view().read(read);
        (answer, index.0)
    }

    pub fn index(&self, read: &Read) -> u64 {
        self.read(read).1
    }

    pub fn instances(&self, service: &str) -> Vec<Instance> {
        match self.read(&health(service)).0 {
            Answer::Instances(instances) => instances,
            other => panic!("{other:?}"),
        }
    }

    pub fn checks(&self, read: &Read) -> Vec<String> {
        match self.read(read).0 {
            Answer::Checks(checks) => checks.iter().map(|check| format!("{}/{}", check.node, check.id)).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub fn services(&self) -> Vec<(String, Vec<String>)> {
        match self.read(&Read::Services { node_meta: BTreeMap::new() }).0 {
            Answer::Services(services) => services.into_iter().collect(),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn pair(key: &str, value: &str) -> Pair {
    Pair { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), ..Pair::default() }
}

pub(crate) fn session_id(id: u8) -> SessionId {
    SessionId([id; 16])
}

/// A session on a node, bound to no check, without a TTL and a lock delay.
pub(crate) fn session(id: u8, node: &str) -> Session {
    Session { id: session_id(id), node: node.to_owned(), ..Session::default() }
}

pub(crate) fn id(id: u8) -> NodeId {
    NodeId([id; 16])
}

/// A node with an address and maybe an identity.
pub(crate) fn on(name: &str, identity: Option<u8>) -> Registration {
    let node = Node { id: identity.map(id), name: name.into(), address: "10.0.0.1".into(), ..Node::default() };
    Registration { node, ..Registration::default() }
}

/// What a registration is made of, piece by piece.
pub(crate) trait With: Sized {
    fn service(self, id: &str, name: &str, tags: &[&str]) -> Registration;
    fn check(self, id: &str, service_id: &str, status: Status) -> Registration;
    fn serf(self, status: Status) -> Registration;
    fn skip(self) -> Registration;
}

impl With for Registration {
    fn service(self, id: &str, name: &str, tags: &[&str]) -> Registration {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let service = Service { id: id.into(), name: name.into(), tags, ..Service::default() };
        Registration { service: Some(service), ..self }
    }

    fn check(mut self, id: &str, service_id: &str, status: Status) -> Registration {
        self.checks.push(Check { id: id.into(), service_id: service_id.into(), status, ..Check::default() });
        self
    }

    fn serf(self, status: Status) -> Registration {
        self.check(SERF_HEALTH, "", status)
    }

    fn skip(self) -> Registration {
        Registration { skip_node_update: true, ..self }
    }
}

pub(crate) fn health(service: &str) -> Read {
    let (tags, node_meta) = (vec![], BTreeMap::new());
    Read::ServiceHealth { service: service.into(), tags, node_meta, health: HealthFilter::Any }
}

pub(crate) fn node_checks(node: &str) -> Read {
    Read::NodeChecks { node: node.into() }
}

pub(crate) fn service_checks(service: &str) -> Read {
    Read::ServiceChecks { service: service.into(), node_meta: BTreeMap::new() }
}
