//! What the tests of several nouns share: a store to write to line by line, and short questions.

use crate::{Store, Touched};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{
    Answer, Check, Deregistration, HealthFilter, Instance, LogIndex, Node, NodeId, Outcome, Read, Registration,
    Service, Status, Write,
};
use std::collections::BTreeMap;

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
