//! The agent's own checks: their results, thresholds and silences.

use super::{Key, Local, SavedCheck, SavedResult};
use crate::Engine;
use crate::door::{Notice, Output};
use quorate_protocol::check::{SERF_HEALTH, is_maintenance};
use quorate_protocol::{Check, CheckDefinition, CheckKind, Refusal, Reply, Scripts, Status, Time};

/// More checks than this on one agent are a mistake, or an attack.
pub(super) const MAX_CHECKS: usize = 32_768;
/// Why a program does not run, in Consul's words.
pub(super) const SCRIPTS_ARE_OFF: &str = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
                                          'enable_local_script_checks' to true";
/// The same of one that came over the API.
const SCRIPTS_ARE_LOCAL: &str =
    "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";

/// A check with what is known of it.
#[derive(Debug, Clone)]
pub struct LocalCheck {
    pub definition: CheckDefinition,
    status: Status,
    output: String,
    /// Consecutive results towards a threshold. They start full, so the first result counts at once.
    successes: u32,
    failures: u32,
}

impl LocalCheck {
    fn new(definition: CheckDefinition) -> LocalCheck {
        LocalCheck {
            status: definition.initial_status,
            output: String::new(),
            successes: definition.success_before_passing,
            failures: definition.failures_before_critical.max(definition.failures_before_warning),
            definition,
        }
    }

    pub fn id(&self) -> &str {
        &self.definition.id
    }

    pub fn to_save(&self) -> SavedCheck {
        SavedCheck { definition: self.definition.clone(), status: self.status, output: self.output.clone() }
    }

    pub fn result(&self) -> SavedResult {
        SavedResult { status: self.status, output: self.output.clone() }
    }

    pub fn restore(&mut self, said: SavedResult) {
        (self.status, self.output) = (said.status, said.output);
    }

    /// What an [alias](super::alias) sees of it.
    pub(super) fn status(&self) -> Status {
        self.status
    }

    pub(super) fn output(&self) -> &str {
        &self.output
    }

    /// The status that a new result leads to, by the thresholds; none while they are not reached.
    fn weigh(&mut self, result: Status) -> Option<Status> {
        let definition = &self.definition;
        match result {
            Status::Passing | Status::Warning => {
                self.failures = 0;
                let reached = self.successes >= definition.success_before_passing;
                self.successes = self.successes.saturating_add(1);
                reached.then_some(result)
            }
            Status::Critical => {
                self.successes = 0;
                let (failures, warning) = (self.failures, definition.failures_before_warning);
                self.failures = self.failures.saturating_add(1);
                if failures >= definition.failures_before_critical {
                    Some(Status::Critical)
                } else if warning > 0 && failures >= warning {
                    Some(Status::Warning)
                } else {
                    None
                }
            }
        }
    }
}

/// Whether a result of the one holds for the other. A client that reports does so whatever silence it is allowed.
fn does_the_same(one: &CheckKind, other: &CheckKind) -> bool {
    matches!((one, other), (CheckKind::Ttl { .. }, CheckKind::Ttl { .. })) || one == other
}

/// A check without an id goes by its name.
pub(super) fn with_id(mut check: CheckDefinition) -> CheckDefinition {
    if check.id.is_empty() {
        check.id.clone_from(&check.name);
    }
    if check.name.is_empty() {
        check.name.clone_from(&check.id);
    }
    check
}

/// The end of a text, at most `size` bytes of it: the newest output says most.
fn tail(text: &str, size: usize) -> &str {
    let start = text.len().saturating_sub(size);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

impl Local {
    /// The ids of a service's checks.
    pub(super) fn checks_of<'a>(&'a self, service_id: &'a str) -> impl Iterator<Item = &'a str> {
        self.checks.iter().filter(move |(_, one)| one.definition.service_id == service_id).map(|(id, _)| id.as_str())
    }

    /// The check as a row of the catalogue.
    pub(super) fn row_of(&self, check: &LocalCheck) -> Check {
        let definition = &check.definition;
        let service = self.services.get(&definition.service_id);
        Check {
            node: self.node.name.clone(),
            id: definition.id.clone(),
            name: definition.name.clone(),
            status: check.status,
            notes: definition.notes.clone(),
            output: check.output.clone(),
            service_id: definition.service_id.clone(),
            service_name: service.map(|service| service.name.clone()).unwrap_or_default(),
            service_tags: service.map(|service| service.tags.clone()).unwrap_or_default(),
            kind: definition.kind.word().to_owned(),
            interval: definition.kind.interval(),
            timeout: definition.kind.timeout(),
        }
    }

    /// Bytes of output that a check keeps.
    pub(super) fn output_size(&self, definition: &CheckDefinition) -> usize {
        match definition.output_max_size {
            0 => self.output_max_size,
            size => size.min(self.output_max_size),
        }
    }

    /// Adds a check or replaces it; one that does the same as before keeps its result.
    pub(super) fn put_check(&mut self, now: Time, definition: CheckDefinition) {
        let id = definition.id.clone();
        let before = self.take_check(&id).filter(|before| does_the_same(&before.definition.kind, &definition.kind));
        let check = match before {
            Some(before) => LocalCheck { definition, ..before },
            None => LocalCheck::new(definition),
        };
        self.checks.insert(id.clone(), check);
        self.hear(now, &id);
        self.count_down(now, &id);
    }

    pub(super) fn restore_check(&mut self, now: Time, saved: SavedCheck) {
        let id = saved.definition.id.clone();
        self.put_check(now, saved.definition);
        if let Some(check) = self.checks.get_mut(&id) {
            (check.status, check.output) = (saved.status, saved.output);
        }
        self.count_down(now, &id);
    }

    pub(super) fn take_check(&mut self, id: &str) -> Option<LocalCheck> {
        let check = self.checks.remove(id)?;
        self.silences.clear(id);
        self.reaps.clear(id);
        Some(check)
    }

    /// A check of a service that is critical counts down to the end of its service, if it was registered to; any other does not.
    pub(super) fn count_down(&mut self, now: Time, id: &str) {
        let Some(check) = self.checks.get(id) else { return };
        let patience = check.definition.deregister_critical_service_after;
        if check.status == Status::Critical && !patience.is_zero() && !check.definition.service_id.is_empty() {
            self.reaps.set(id, now + patience);
        } else {
            self.reaps.clear(id);
        }
    }

    /// Somebody spoke for a TTL check: its silence is counted from now.
    fn hear(&mut self, now: Time, id: &str) {
        let kind = self.checks.get(id).map(|check| &check.definition.kind);
        if let Some(CheckKind::Ttl { ttl }) = kind {
            self.silences.set(id, now + *ttl);
        }
    }
}

impl Engine {
    /// Takes the result of a probe.
    pub(crate) fn handle_check_report(&mut self, now: Time, check_id: &str, result: Status, output: String) {
        let Some(check) = self.local.checks.get_mut(check_id) else { return };
        // A last report may come after the check was registered anew as one that nobody probes.
        if !check.definition.kind.is_probed() {
            return;
        }
        if let Some(status) = check.weigh(result) {
            self.set_check(now, check_id, status, &output);
        }
    }

    /// Takes what a client reports to a TTL check.
    pub(crate) fn update_ttl_check(&mut self, now: Time, check_id: &str, status: Status, output: String) -> Reply {
        let ttl = self.local.checks.get(check_id).map(|check| &check.definition.kind);
        if !matches!(ttl, Some(CheckKind::Ttl { .. })) {
            let why = format!("CheckID \"{check_id}\" does not have associated TTL");
            return Reply::Refused(Refusal::NotFound(why));
        }
        self.local.hear(now, check_id);
        if self.set_check(now, check_id, status, &output) {
            self.save_local();
        }
        Reply::Done
    }

    /// Silence for longer than the TTL is critical; what was said last stays to be read.
    pub(crate) fn time_out_local(&mut self, now: Time) {
        while let Some(id) = self.local.silences.take_due(now) {
            let Some(check) = self.local.checks.get(&id) else { continue };
            let output = match check.output.as_str() {
                "" => "TTL expired".to_owned(),
                said if said.starts_with("TTL expired") => said.to_owned(),
                said => format!("TTL expired (last output before timeout follows): {said}"),
            };
            if self.set_check(now, &id, Status::Critical, &output) {
                self.save_local();
            }
        }
        while let Some(check_id) = self.local.reaps.take_due(now) {
            let Some(check) = self.local.checks.get(&check_id) else { continue };
            let service_id = check.definition.service_id.clone();
            self.outputs.push_back(Output::Noticed(Notice::ServiceReaped { service_id: service_id.clone(), check_id }));
            self.deregister_service(now, &service_id);
        }
        self.time_out_aliases(now);
        self.time_out_followers(now);
        self.time_out_sync(now);
    }

    /// Starts to probe, if there is something to be probed; one that runs a program only where that is allowed.
    pub(crate) fn start_check(&mut self, now: Time, definition: CheckDefinition) {
        if definition.kind.runs_a_program()
            && let Err(why) = self.may_run(&definition.id)
        {
            self.set_check(now, &definition.id, Status::Critical, why);
        } else if definition.kind.is_probed() {
            let output_max_size = self.local.output_size(&definition);
            self.outputs.push_back(Output::StartCheck(CheckDefinition { output_max_size, ..definition }));
        }
    }

    /// Whether a check of this agent may run a program, by where it came from; else why not.
    fn may_run(&self, check_id: &str) -> Result<(), &'static str> {
        let from_files = self.local.configured.contains(&Key::Check(check_id.to_owned()));
        match self.local.scripts {
            Scripts::FromAnywhere => Ok(()),
            Scripts::FromFiles if from_files => Ok(()),
            Scripts::FromFiles => Err(SCRIPTS_ARE_LOCAL),
            Scripts::Off => Err(SCRIPTS_ARE_OFF),
        }
    }

    /// Adds a check or replaces it. One that is probed goes on at its moments unless it is to do something else: who registers it again
    /// and again must not keep it from ever running.
    pub(super) fn put_check(&mut self, now: Time, definition: CheckDefinition) {
        let goes_on = self.local.checks.get(&definition.id).is_some_and(|there| {
            let (there, here) = (&there.definition, &definition);
            there.kind.is_probed() && there.kind == here.kind && there.output_max_size == here.output_max_size
        });
        self.local.put_check(now, definition.clone());
        self.local.aliases.look_again();
        if !goes_on {
            self.forget_alias(&definition.id);
            self.outputs.push_back(Output::StopCheck { check_id: definition.id.clone() });
            self.start_check(now, definition);
        }
    }

    pub(super) fn remove_check(&mut self, id: &str) {
        if self.local.take_check(id).is_some() {
            self.local.configured.remove(&Key::Check(id.to_owned()));
            self.forget_alias(id);
            self.outputs.push_back(Output::StopCheck { check_id: id.to_owned() });
        }
    }

    /// Why a check cannot be registered over the API, if it cannot.
    pub(super) fn refuse_check(&self, check: &CheckDefinition) -> Option<Refusal> {
        if check.kind.runs_a_program() && self.local.scripts < Scripts::FromAnywhere {
            let why = if self.local.scripts == Scripts::Off { SCRIPTS_ARE_OFF } else { SCRIPTS_ARE_LOCAL };
            return Some(Refusal::Disabled(why.to_owned()));
        }
        let foreign = self.local.checks.get(&check.id).filter(|there| there.definition.service_id != check.service_id);
        if let Some(there) = foreign {
            let owner = &there.definition.service_id;
            let why = format!("check id '{}' is already used by service '{owner}': choose another", check.id);
            return Some(Refusal::Invalid(why));
        }
        refuse_check_id(&check.id).or_else(|| {
            let is_new = !self.local.checks.contains_key(&check.id);
            (is_new && self.local.checks.len() >= MAX_CHECKS).then(too_many_checks)
        })
    }

    /// Sets a result; true if the status changed. New output alone goes to the catalogue with the next full comparison only, so that a
    /// chatty check does not become log entries.
    pub(super) fn set_check(&mut self, now: Time, id: &str, status: Status, output: &str) -> bool {
        let Some(size) = self.local.checks.get(id).map(|check| self.local.output_size(&check.definition)) else {
            return false;
        };
        let Some(check) = self.local.checks.get_mut(id) else { return false };
        check.output.clear();
        check.output.push_str(tail(output, size));
        if check.status == status {
            return false;
        }
        check.status = status;
        self.local.count_down(now, id);
        self.outputs.push_back(Output::Noticed(Notice::CheckChanged { check_id: id.to_owned(), status }));
        self.local.aliases.look_again();
        self.local.want_sync(now);
        true
    }
}

/// Why no check may go by an id, if none may.
pub(super) fn refuse_check_id(id: &str) -> Option<Refusal> {
    let why = match id {
        SERF_HEALTH => "the check id serfHealth belongs to the leader: choose another".to_owned(),
        id if is_maintenance(id) => format!("the check id {id} belongs to maintenance mode: choose another"),
        _ => return None,
    };
    Some(Refusal::Invalid(why))
}

pub(super) fn too_many_checks() -> Refusal {
    Refusal::Invalid(format!("this agent carries {MAX_CHECKS} checks already: deregister some first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(definition: CheckDefinition, script: &str) -> String {
        let mut check = LocalCheck::new(definition);
        let mut status = check.status;
        let word = |status| match status {
            Status::Passing => 'p',
            Status::Warning => 'w',
            Status::Critical => 'c',
        };
        script
            .chars()
            .map(|c| {
                let result = match c {
                    'p' => Status::Passing,
                    'w' => Status::Warning,
                    _ => Status::Critical,
                };
                status = check.weigh(result).unwrap_or(status);
                word(status)
            })
            .collect()
    }

    #[test]
    fn thresholds_count_results_in_a_row() {
        let plain = CheckDefinition::default();
        assert_eq!(results(plain.clone(), "pcpwc"), "pcpwc");
        let success = CheckDefinition { success_before_passing: 2, ..plain.clone() };
        assert_eq!(results(success, "pcpppp"), "pcccpp", "the first result counts at once");
        let critical = CheckDefinition { failures_before_critical: 2, ..plain.clone() };
        assert_eq!(results(critical.clone(), "pcccpc"), "pppcpp");
        let both = CheckDefinition { failures_before_warning: 1, ..critical };
        assert_eq!(results(both, "pcccp"), "ppwcp");
    }

    #[test]
    fn output_is_cut_from_the_front_at_a_letter() {
        assert_eq!(tail("abc", 2), "bc");
        assert_eq!(tail("aé", 1), "");
        assert_eq!(tail("", 4), "");
    }
}
