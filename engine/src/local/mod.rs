//! The agent's own services and checks, and how the catalogue learns of them.

mod alias;
mod checks;
mod countdowns;
mod maintenance;
mod reload;
mod services;
mod sync;

pub use quorate_protocol::wire::local::{SavedCheck, SavedLocal, SavedResult};
pub use sync::{LocalState, Remote, difference};

use crate::followers::Followers;
use crate::{Config, Engine};
use alias::Aliases;
use checks::LocalCheck;
use countdowns::Countdowns;
use quorate_protocol::{Check, CheckDefinition, CheckKind, Node, Scripts, Service, Time, Token};
use services::Unchanged;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use sync::Syncing;

/// The agent's own services and checks. The agent is the truth for what is on its node.
pub struct Local {
    /// The agent's row in the catalogue.
    node: Node,
    services: BTreeMap<String, Service>,
    /// With whose rights services are registered, by their ids; not in the catalogue.
    tokens: BTreeMap<String, Token>,
    checks: BTreeMap<String, LocalCheck>,
    /// What somebody told the agent to say of itself.
    tags: BTreeMap<String, String>,
    /// Where other members were when that was last saved.
    members: BTreeSet<SocketAddr>,
    /// What came from the configuration and is therefore not saved.
    configured: BTreeSet<Key>,
    /// What clients said of checks of the configuration before the restart, until those are there.
    results: BTreeMap<String, SavedResult>,
    /// Whose checks may run programs.
    scripts: Scripts,
    /// Bytes of output that any check keeps, at most.
    output_max_size: usize,
    /// When which TTL check falls silent.
    silences: Countdowns,
    /// When which check has been critical for so long that its service goes.
    reaps: Countdowns,
    aliases: Aliases,
    /// Those who wait for a change of a service.
    pub followers: Followers<Unchanged>,
    syncing: Syncing,
}

/// A service or a check by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Service(String),
    Check(String),
}

impl Local {
    /// What was saved; the configuration comes [over it](Engine::define).
    pub fn new(config: &mut Config, now: Time) -> Local {
        let SavedLocal { services, checks, tags, tokens, results, members } = std::mem::take(&mut config.saved);
        let mut local = Local {
            node: Node {
                id: Some(config.id),
                name: config.name.clone(),
                address: config.address.ip().to_string(),
                tagged_addresses: crate::leader::tagged_addresses(config.address.ip()),
                meta: config.node_meta.clone(),
            },
            services: services.into_iter().map(|service| (service.id.clone(), service)).collect(),
            tokens,
            checks: BTreeMap::new(),
            tags,
            members,
            configured: BTreeSet::new(),
            results,
            scripts: config.definitions.scripts,
            output_max_size: config.definitions.output_max_size,
            silences: Countdowns::default(),
            reaps: Countdowns::default(),
            aliases: Aliases::default(),
            followers: Followers::default(),
            syncing: Syncing::new(now),
        };
        for check in checks {
            local.restore_check(now, check);
        }
        local
    }

    /// Its services by id.
    pub fn services(&self) -> &BTreeMap<String, Service> {
        &self.services
    }

    /// Where other members were before the restart, or are.
    pub fn members(&self) -> &BTreeSet<SocketAddr> {
        &self.members
    }

    /// The checks as rows of the catalogue.
    pub fn checks_as_rows(&self) -> BTreeMap<String, Check> {
        self.checks.iter().map(|(id, check)| (id.clone(), self.row_of(check))).collect()
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Time> {
        let countdowns = [self.silences.deadline(), self.reaps.deadline(), self.aliases.deadline()];
        let others = [self.followers.deadline(), Some(self.syncing.deadline())];
        countdowns.into_iter().chain(others).flatten().min()
    }

    /// What must survive a restart: what the configuration does not bring back.
    fn to_save(&self) -> SavedLocal {
        let is_configured = |id: &str| self.configured.contains(&Key::Service(id.to_owned()));
        let (configured, registered): (Vec<&LocalCheck>, Vec<&LocalCheck>) =
            self.checks.values().partition(|check| self.configured.contains(&Key::Check(check.id().to_owned())));
        let reported = configured.into_iter().filter(|check| matches!(check.definition.kind, CheckKind::Ttl { .. }));
        SavedLocal {
            services: self.services.values().filter(|service| !is_configured(&service.id)).cloned().collect(),
            checks: registered.into_iter().map(LocalCheck::to_save).collect(),
            tags: self.tags.clone(),
            members: self.members.clone(),
            tokens: self
                .tokens
                .iter()
                .filter(|(id, _)| !is_configured(id))
                .map(|(id, t)| (id.clone(), t.clone()))
                .collect(),
            results: reported.map(|check| (check.id().to_owned(), check.result())).collect(),
        }
    }
}

impl Engine {
    /// Starts the probes of what was there from the beginning.
    pub(crate) fn start_local_checks(&mut self, now: Time) {
        let all: Vec<CheckDefinition> = self.local.checks.values().map(|check| check.definition.clone()).collect();
        all.into_iter().for_each(|definition| self.start_check(now, definition));
    }

    /// Keeps the tags that somebody set.
    pub(crate) fn save_tags(&mut self, tags: BTreeMap<String, String>) {
        self.local.tags = tags;
        self.save_local();
    }

    fn save_local(&mut self) {
        self.outputs.push_back(crate::Output::SaveLocal(self.local.to_save().encode()));
    }

    /// Keeps where other members are, if that is news.
    pub(crate) fn save_members(&mut self, members: BTreeSet<SocketAddr>) {
        if members != self.local.members {
            self.local.members = members;
            self.outputs.push_back(crate::Output::SaveLocal(self.local.to_save().encode()));
        }
    }

    /// After a change of what is registered: saved, brought to the catalogue at once, and told to those who wait for it.
    fn local_changed(&mut self, now: Time) {
        self.save_local();
        self.local.want_sync(now);
        self.local.aliases.look_again();
        self.tell_followers();
    }
}
