//! The agent's own services and checks, and how the catalogue learns of them.

mod checks;
mod countdowns;
mod services;
mod sync;

pub use quorate_protocol::wire::local::{SavedCheck, SavedLocal};
pub use sync::{LocalState, Remote, difference};

use crate::{Config, Engine};
use checks::LocalCheck;
use countdowns::Countdowns;
use quorate_protocol::{Check, CheckDefinition, Node, Service, Time};
use std::collections::{BTreeMap, BTreeSet};
use sync::Syncing;

/// The agent's own services and checks. The agent is the truth for what is on its node.
pub struct Local {
    /// The agent's row in the catalogue.
    node: Node,
    services: BTreeMap<String, Service>,
    checks: BTreeMap<String, LocalCheck>,
    /// What somebody told the agent to say of itself.
    tags: BTreeMap<String, String>,
    /// What came from the configuration and is therefore not saved.
    configured: BTreeSet<Key>,
    /// When which TTL check falls silent.
    silences: Countdowns,
    /// When which check has been critical for so long that its service goes.
    reaps: Countdowns,
    syncing: Syncing,
}

/// A service or a check by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Service(String),
    Check(String),
}

impl Local {
    /// What was saved and, over it, what the configuration says.
    pub fn new(config: &mut Config, now: Time) -> Local {
        let mut local = Local {
            node: Node {
                id: Some(config.id),
                name: config.name.clone(),
                address: config.address.ip().to_string(),
                tagged_addresses: crate::leader::tagged_addresses(config.address.ip()),
                meta: config.node_meta.clone(),
            },
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            tags: BTreeMap::new(),
            configured: BTreeSet::new(),
            silences: Countdowns::default(),
            reaps: Countdowns::default(),
            syncing: Syncing::new(now),
        };
        let saved = std::mem::take(&mut config.saved);
        local.tags = saved.tags;
        for service in saved.services {
            local.services.insert(service.id.clone(), service);
        }
        for check in saved.checks {
            local.restore_check(now, check);
        }
        for (mut service, checks) in std::mem::take(&mut config.definitions) {
            services::fill_in_id(&mut service);
            local.configured.insert(Key::Service(service.id.clone()));
            for check in services::with_ids(&service.id, checks) {
                local.configured.insert(Key::Check(check.id.clone()));
                local.put_check(now, check);
            }
            local.services.insert(service.id.clone(), service);
        }
        for check in std::mem::take(&mut config.node_checks) {
            let check = checks::with_id(check);
            local.configured.insert(Key::Check(check.id.clone()));
            local.put_check(now, check);
        }
        local.drop_orphans();
        local
    }

    /// Forgets checks of services that are no more: a service may have gone from the configuration while the agent was down. The
    /// catalogue would refuse them for ever.
    fn drop_orphans(&mut self) {
        let orphan = |check: &LocalCheck| {
            let service = &check.definition.service_id;
            !service.is_empty() && !self.services.contains_key(service)
        };
        let orphans: Vec<String> =
            self.checks.iter().filter(|(_, check)| orphan(check)).map(|(id, _)| id.clone()).collect();
        for id in orphans {
            self.take_check(&id);
            self.configured.remove(&Key::Check(id));
        }
    }

    /// Its services by id.
    pub fn services(&self) -> &BTreeMap<String, Service> {
        &self.services
    }

    /// The checks as rows of the catalogue.
    pub fn checks_as_rows(&self) -> BTreeMap<String, Check> {
        self.checks.iter().map(|(id, check)| (id.clone(), self.row_of(check))).collect()
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Time> {
        let deadlines = [self.silences.deadline(), self.reaps.deadline(), Some(self.syncing.deadline())];
        deadlines.into_iter().flatten().min()
    }

    /// What must survive a restart.
    fn to_save(&self) -> SavedLocal {
        let saved_service = |id: &String| !self.configured.contains(&Key::Service(id.clone()));
        let saved_check = |id: &String| !self.configured.contains(&Key::Check(id.clone()));
        SavedLocal {
            services: self.services.iter().filter(|(id, _)| saved_service(id)).map(|(_, one)| one.clone()).collect(),
            checks: self.checks.iter().filter(|(id, _)| saved_check(id)).map(|(_, one)| one.to_save()).collect(),
            tags: self.tags.clone(),
        }
    }
}

impl Engine {
    /// Starts the probes of what was there from the beginning.
    pub(crate) fn start_local_checks(&mut self) {
        let all: Vec<CheckDefinition> = self.local.checks.values().map(|check| check.definition.clone()).collect();
        all.into_iter().for_each(|definition| self.start_check(definition));
    }

    /// Keeps the tags that somebody set.
    pub(crate) fn save_tags(&mut self, tags: BTreeMap<String, String>) {
        self.local.tags = tags;
        self.outputs.push_back(crate::Output::SaveLocal(self.local.to_save().encode()));
    }

    /// After a change of what is registered: saved, and brought to the catalogue at once.
    fn local_changed(&mut self, now: Time) {
        self.outputs.push_back(crate::Output::SaveLocal(self.local.to_save().encode()));
        self.local.want_sync(now);
    }
}
