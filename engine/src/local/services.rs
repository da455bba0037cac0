//! Registering and deregistering on this agent, and waiting for one of its services to change.

use super::{Key, Local, checks};
use crate::Engine;
use crate::door::{Notice, Output};
use crate::followers::Full;
use crate::source::Source;
use quorate_protocol::check::is_maintenance;
use quorate_protocol::{CheckDefinition, Refusal, Reply, Service, ServiceDefinition, Time, Token};
use std::time::Duration;

/// More services than this on one agent are a mistake, or an attack.
const MAX_SERVICES: usize = 16_384;

/// A service that has not changed, for those who wait for it to.
#[derive(Debug)]
pub struct Unchanged {
    service_id: String,
    /// Its [`Service::content_hash`].
    hash: u64,
}

/// A service without an id goes by its name; its checks follow.
pub(super) fn fill_in_ids(definition: &mut ServiceDefinition) {
    let service = &mut definition.service;
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
    definition.checks = with_ids(&service.id, std::mem::take(&mut definition.checks));
}

/// Checks of a service with their ids filled in as Consul does: `service:<id>`, or `service:<id>:<n>` where there are several.
fn with_ids(service_id: &str, checks: Vec<CheckDefinition>) -> Vec<CheckDefinition> {
    let several = checks.len() > 1;
    checks
        .into_iter()
        .zip(1..)
        .map(|(mut check, number)| {
            check.service_id = service_id.to_owned();
            if check.id.is_empty() {
                check.id =
                    if several { format!("service:{service_id}:{number}") } else { format!("service:{service_id}") };
            }
            if check.name.is_empty() {
                check.name = format!("Service '{service_id}' check");
            }
            check
        })
        .collect()
}

impl Engine {
    pub(crate) fn register_service(
        &mut self,
        now: Time,
        mut definition: ServiceDefinition,
        replace_existing_checks: bool,
    ) -> Reply {
        fill_in_ids(&mut definition);
        let ServiceDefinition { service, checks, token } = definition;
        let refusal = self.refuse_service(&service);
        if let Some(refusal) = refusal.or_else(|| checks.iter().find_map(|check| self.refuse_check(check))) {
            return Reply::Refused(refusal);
        }
        if replace_existing_checks {
            let gone: Vec<String> = self
                .local
                .checks_of(&service.id)
                .filter(|id| !is_maintenance(id) && checks.iter().all(|check| check.id != *id))
                .map(str::to_owned)
                .collect();
            gone.iter().for_each(|id| self.remove_check(id));
        }
        self.local.configured.remove(&Key::Service(service.id.clone()));
        self.put_service(service, token);
        for check in checks {
            self.local.configured.remove(&Key::Check(check.id.clone()));
            self.put_check(now, check);
        }
        self.local_changed(now);
        Reply::Done
    }

    /// Why a service cannot be registered, if it cannot.
    pub(super) fn refuse_service(&self, service: &Service) -> Option<Refusal> {
        if service.name.is_empty() {
            return Some(Refusal::Invalid("Missing service name".to_owned()));
        }
        if service.id == crate::leader::SERVER_SERVICE {
            let why = format!("the service id {} belongs to the servers: choose another", service.id);
            return Some(Refusal::Invalid(why));
        }
        let is_new = !self.local.services.contains_key(&service.id);
        (is_new && self.local.services.len() >= MAX_SERVICES).then(|| {
            Refusal::Invalid(format!("this agent carries {MAX_SERVICES} services already: deregister some first"))
        })
    }

    /// Adds a service or replaces it.
    pub(super) fn put_service(&mut self, service: Service, token: Token) {
        let service_id = service.id.clone();
        let before = self.local.services.get(&service_id);
        if before.is_none_or(|before| before.name != service.name || before.tags != service.tags)
            && let Some(problem) = service.dns_problem()
        {
            let service_id = service_id.clone();
            self.outputs.push_back(Output::Noticed(Notice::NotInDns { service_id, problem }));
        }
        if token.is_none() {
            self.local.tokens.remove(&service_id);
        } else {
            self.local.tokens.insert(service_id.clone(), token);
        }
        self.local.services.insert(service_id, service);
    }

    pub(crate) fn deregister_service(&mut self, now: Time, service_id: &str) -> Reply {
        if !self.local.services.contains_key(service_id) {
            return Reply::Refused(Refusal::NotFound(format!("unknown service ID: {service_id}")));
        }
        self.remove_service(service_id);
        self.local_changed(now);
        Reply::Done
    }

    /// Removes a service with its checks.
    pub(super) fn remove_service(&mut self, service_id: &str) {
        self.local.services.remove(service_id);
        self.local.tokens.remove(service_id);
        self.local.configured.remove(&Key::Service(service_id.to_owned()));
        let gone: Vec<String> = self.local.checks_of(service_id).map(str::to_owned).collect();
        gone.iter().for_each(|id| self.remove_check(id));
    }

    /// One service: at once, or as soon as it is another than the one with the hash.
    pub(crate) fn local_service(
        &mut self,
        now: Time,
        source: Source,
        service_id: String,
        wait: Option<(u64, Duration)>,
    ) {
        let waits = |service: &Service| wait.filter(|(hash, _)| *hash == service.content_hash());
        match self.local.services.get(&service_id).and_then(waits) {
            None => self.reply(source, self.local.service_reply(&service_id)),
            Some((hash, timeout)) => {
                let unchanged = Unchanged { service_id, hash };
                if let Err(Full) = self.local.followers.add(now + timeout, source, unchanged) {
                    self.count("followers_overflow");
                    self.reply(source, Reply::Refused(Refusal::Busy));
                }
            }
        }
    }

    /// Answers those who wait for a service that has changed, or is gone.
    pub(super) fn tell_followers(&mut self) {
        let services = &self.local.services;
        let is_other = |one: &Unchanged| services.get(&one.service_id).is_none_or(|now| now.content_hash() != one.hash);
        for (source, Unchanged { service_id, .. }) in self.local.followers.take_answered(is_other) {
            self.reply(source, self.local.service_reply(&service_id));
        }
    }

    pub(super) fn time_out_followers(&mut self, now: Time) {
        while let Some((source, Unchanged { service_id, .. })) = self.local.followers.take_due(now) {
            self.reply(source, self.local.service_reply(&service_id));
        }
    }

    pub(crate) fn register_check(&mut self, now: Time, check: CheckDefinition) -> Reply {
        let check = checks::with_id(check);
        if check.id.is_empty() {
            return Reply::Refused(Refusal::Invalid("Missing check name or ID".to_owned()));
        }
        if !check.service_id.is_empty() && !self.local.services.contains_key(&check.service_id) {
            let why = format!("ServiceID \"{}\" does not exist", check.service_id);
            return Reply::Refused(Refusal::NotFound(why));
        }
        if let Some(refusal) = self.refuse_check(&check) {
            return Reply::Refused(refusal);
        }
        self.local.configured.remove(&Key::Check(check.id.clone()));
        self.put_check(now, check);
        self.local_changed(now);
        Reply::Done
    }

    pub(crate) fn deregister_check(&mut self, now: Time, check_id: &str) -> Reply {
        if !self.local.checks.contains_key(check_id) {
            return Reply::Refused(Refusal::NotFound(format!("unknown check ID: {check_id}")));
        }
        self.remove_check(check_id);
        self.local_changed(now);
        Reply::Done
    }
}

impl Local {
    fn service_reply(&self, service_id: &str) -> Reply {
        match self.services.get(service_id) {
            Some(service) => Reply::LocalService(Box::new(service.clone())),
            None => Reply::Refused(Refusal::NotFound(format!("unknown service ID: {service_id}"))),
        }
    }
}
