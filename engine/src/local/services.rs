//! Registering and deregistering on this agent.

use super::{Key, checks};
use crate::Engine;
use quorate_protocol::{CheckDefinition, Refusal, Reply, Service, Time};

/// More services than this on one agent are a mistake, or an attack.
const MAX_SERVICES: usize = 16_384;

/// A service without an id goes by its name.
pub(super) fn fill_in_id(service: &mut Service) {
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
}

/// Checks of a service with their ids filled in as Consul does: `service:<id>`, or `service:<id>:<n>` where there are several.
pub(super) fn with_ids(service_id: &str, checks: Vec<CheckDefinition>) -> Vec<CheckDefinition> {
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
        mut service: Service,
        checks: Vec<CheckDefinition>,
        replace_existing_checks: bool,
    ) -> Reply {
        fill_in_id(&mut service);
        if service.name.is_empty() {
            return Reply::Refused(Refusal::Invalid("Missing service name".to_owned()));
        }
        if service.id == crate::leader::SERVER_SERVICE {
            let why = format!("the service id {} belongs to the servers: choose another", service.id);
            return Reply::Refused(Refusal::Invalid(why));
        }
        let is_new = !self.local.services.contains_key(&service.id);
        if is_new && self.local.services.len() >= MAX_SERVICES {
            let why = format!("this agent carries {MAX_SERVICES} services already: deregister some first");
            return Reply::Refused(Refusal::Invalid(why));
        }
        let checks = with_ids(&service.id, checks);
        if let Some(refusal) = checks.iter().find_map(|check| self.refuse_check(check)) {
            return Reply::Refused(refusal);
        }
        if replace_existing_checks {
            let gone: Vec<String> = self
                .local
                .checks_of(&service.id)
                .filter(|id| checks.iter().all(|check| check.id != *id))
                .map(str::to_owned)
                .collect();
            gone.iter().for_each(|id| self.remove_check(id));
        }
        self.local.configured.remove(&Key::Service(service.id.clone()));
        self.local.services.insert(service.id.clone(), service);
        for check in checks {
            self.put_check(now, check);
        }
        self.local_changed(now);
        Reply::Done
    }

    pub(crate) fn deregister_service(&mut self, now: Time, service_id: &str) -> Reply {
        if self.local.services.remove(service_id).is_none() {
            return Reply::Refused(Refusal::NotFound(format!("unknown service ID: {service_id}")));
        }
        self.local.configured.remove(&Key::Service(service_id.to_owned()));
        let gone: Vec<String> = self.local.checks_of(service_id).map(str::to_owned).collect();
        gone.iter().for_each(|id| self.remove_check(id));
        self.local_changed(now);
        Reply::Done
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
