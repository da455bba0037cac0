//! What the configuration says of services and checks: taken over at the start, and again whenever the operator changed it.

use super::checks::{self, LocalCheck};
use super::{Key, services};
use crate::Engine;
use crate::door::{Notice, Output};
use quorate_protocol::{CheckDefinition, CheckKind, Definitions, Refusal, Reply, Scripts, Time};
use std::collections::BTreeSet;

impl Engine {
    /// Takes over what the configuration says now, all of it or nothing.
    pub(crate) fn reload(&mut self, now: Time, definitions: Option<Box<Definitions>>) -> Reply {
        let Some(definitions) = definitions.map(|definitions| with_ids(*definitions)) else {
            let why = "this agent has no configuration to read again".to_owned();
            return Reply::Refused(Refusal::Invalid(why));
        };
        if let Some(refusal) = self.refuse_definitions(&definitions) {
            return Reply::Refused(refusal);
        }
        let services = definitions.services.len();
        let gone = self.define(now, definitions);
        self.outputs.push_back(Output::Noticed(Notice::Reloaded { services, gone }));
        self.local_changed(now);
        Reply::Done
    }

    /// Brings what came from the configuration to what it says: adds, changes, removes. What is unchanged is not touched: its probes keep
    /// their moments, and what was reported of it holds. Tells how many went.
    pub(crate) fn define(&mut self, now: Time, definitions: Definitions) -> usize {
        let definitions = with_ids(definitions);
        let may_run_before = std::mem::replace(&mut self.local.scripts, definitions.scripts);
        self.local.output_max_size = definitions.output_max_size;
        let configured = keys(&definitions);
        let before = std::mem::replace(&mut self.local.configured, configured.clone());
        for definition in definitions.services {
            self.put_service(definition.service, definition.token);
            definition.checks.into_iter().for_each(|check| self.define_check(now, check));
        }
        definitions.checks.into_iter().for_each(|check| self.define_check(now, check));
        let gone: Vec<&Key> = before.difference(&configured).collect();
        for key in &gone {
            match key {
                Key::Service(id) => self.remove_service(id),
                Key::Check(id) => self.remove_check(id),
            }
        }
        self.drop_orphans();
        if may_run_before != definitions.scripts {
            self.restart_programs(now);
        }
        gone.len()
    }

    fn define_check(&mut self, now: Time, check: CheckDefinition) {
        let id = check.id.clone();
        self.put_check(now, check);
        // What a client said before the restart holds: it cannot report while the agent is down, so its silence is counted from now.
        let said = self.local.results.remove(&id);
        if let (Some(said), Some(there)) = (said, self.local.checks.get_mut(&id))
            && matches!(there.definition.kind, CheckKind::Ttl { .. })
        {
            there.restore(said);
            self.local.count_down(now, &id);
        }
    }

    /// Forgets checks of services that are no more: a service may have gone from the configuration while the agent was down. The
    /// catalogue would refuse them for ever.
    fn drop_orphans(&mut self) {
        let is_orphan = |check: &LocalCheck| {
            let service = &check.definition.service_id;
            !service.is_empty() && !self.local.services.contains_key(service)
        };
        let checks = self.local.checks.iter();
        let orphans: Vec<String> = checks.filter(|(_, check)| is_orphan(check)).map(|(id, _)| id.clone()).collect();
        orphans.iter().for_each(|id| self.remove_check(id));
    }

    /// Starts and stops the checks that run programs, by what is allowed now.
    fn restart_programs(&mut self, now: Time) {
        let programs = self.local.checks.values().filter(|check| check.definition.kind.runs_a_program());
        for definition in programs.map(|check| check.definition.clone()).collect::<Vec<_>>() {
            self.outputs.push_back(Output::StopCheck { check_id: definition.id.clone() });
            self.start_check(now, definition);
        }
    }

    /// Why definitions cannot be taken over, if they cannot.
    fn refuse_definitions(&self, definitions: &Definitions) -> Option<Refusal> {
        let of_services = definitions.services.iter().flat_map(|one| &one.checks);
        let all: Vec<&CheckDefinition> = of_services.chain(&definitions.checks).collect();
        if all.len() > checks::MAX_CHECKS {
            return Some(checks::too_many_checks());
        }
        let mut ids = BTreeSet::new();
        let of_check = |check: &CheckDefinition| {
            if !ids.insert(check.id.clone()) {
                return Some(Refusal::Invalid(format!("the check id '{}' is there twice: choose another", check.id)));
            }
            if check.kind.runs_a_program() && definitions.scripts == Scripts::Off {
                return Some(Refusal::Disabled(checks::SCRIPTS_ARE_OFF.to_owned()));
            }
            checks::refuse_check_id(&check.id)
        };
        let refused = definitions.services.iter().find_map(|one| self.refuse_service(&one.service));
        refused.or_else(|| all.into_iter().find_map(of_check))
    }
}

/// What definitions define.
fn keys(definitions: &Definitions) -> BTreeSet<Key> {
    let services = definitions.services.iter().map(|one| Key::Service(one.service.id.clone()));
    let of_services = definitions.services.iter().flat_map(|one| &one.checks);
    let checks = of_services.chain(&definitions.checks).map(|check| Key::Check(check.id.clone()));
    services.chain(checks).collect()
}

/// Services and checks with their ids filled in.
fn with_ids(mut definitions: Definitions) -> Definitions {
    for definition in &mut definitions.services {
        services::fill_in_ids(definition);
    }
    definitions.checks = definitions.checks.into_iter().map(checks::with_id).collect();
    definitions
}
