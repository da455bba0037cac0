//! Alias checks: as healthy as another service or node.
//!
//! One on this agent is looked at whenever something here changed; one elsewhere is asked about, by a question that waits for a change. Either
//! shows the gravest of the checks of the service and of its node, as whoever asks for the service sees it.

use super::Local;
use super::countdowns::Countdowns;
use crate::Engine;
use crate::source::{Job, Own, Source};
use quorate_protocol::check::Alias;
use quorate_protocol::{
    Answer, Ask, Check, CheckKind, Consistency, LogIndex, NodeServices, Read, ReadRequest, Reply, Request, Row, Status,
    Time, Wait,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a question waits for a change (Consul: a minute).
const PATIENCE: Duration = Duration::from_secs(60);
/// An answer that is older is no answer to how something is.
const MAX_STALE: Duration = Duration::from_secs(15);
/// Questions about one alias are not closer together: what flaps elsewhere must not become a load here.
const PAUSE: Duration = Duration::from_secs(1);
/// After a question that nobody answered.
const RETRY: Duration = Duration::from_secs(5);

/// What is known of alias checks.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// Something changed that one on this agent may show.
    look_again: bool,
    /// Those of other nodes, by the ids of their checks.
    remote: BTreeMap<String, Remote>,
    /// When which of them is asked about next.
    pauses: Countdowns,
    last_number: u64,
}

/// What is known of a node elsewhere.
#[derive(Debug, Default)]
struct Remote {
    /// Of the last question; answers to others are too late.
    number: u64,
    asked: Time,
    /// Where the checks were when they were last seen.
    index: LogIndex,
    /// The node's checks, while it is asked whether the service is there at all.
    checks: Option<Vec<Arc<Row<Check>>>>,
}

impl Aliases {
    /// Something changed: those on this agent are looked at again.
    pub(super) fn look_again(&mut self) {
        self.look_again = true;
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.pauses.deadline()
    }
}

/// A check, as an alias sees it.
struct Seen<'a> {
    name: &'a str,
    status: Status,
    output: &'a str,
}

/// The gravest of what is seen, in words; none where nothing is.
fn gravest<'a>(seen: impl Iterator<Item = Seen<'a>>) -> Option<(Status, String)> {
    // The first of the gravest, so that the words do not change while the checks do not.
    let worst = seen.reduce(|worst, one| if one.status > worst.status { one } else { worst })?;
    Some(match worst.status {
        Status::Passing => (Status::Passing, "All checks passing.".to_owned()),
        status => (status, format!("Aliased check {:?} failing: {}", worst.name, worst.output)),
    })
}

fn without_checks() -> (Status, String) {
    (Status::Passing, "No checks found.".to_owned())
}

fn not_found(alias: &Alias, node: &str) -> (Status, String) {
    let what = match alias.service_id.as_str() {
        "" => format!("Node {node} could not be found"),
        id => format!("Service {id} could not be found on node {node}"),
    };
    (Status::Critical, what)
}

impl Local {
    fn alias_of(&self, check_id: &str) -> Option<Alias> {
        match &self.checks.get(check_id)?.definition.kind {
            CheckKind::Alias(alias) => Some(alias.clone()),
            _ => None,
        }
    }

    fn aliases_of_all(&self) -> Vec<(String, Alias)> {
        self.checks.keys().filter_map(|id| Some((id.clone(), self.alias_of(id)?))).collect()
    }

    fn is_here(&self, alias: &Alias) -> bool {
        alias.node.is_empty() || alias.node.eq_ignore_ascii_case(&self.node.name)
    }

    /// How what an alias shows is, on this agent.
    fn judge_alias(&self, check_id: &str, alias: &Alias) -> (Status, String) {
        if !alias.service_id.is_empty() && !self.services.contains_key(&alias.service_id) {
            return not_found(alias, &self.node.name);
        }
        let mut seen = Vec::new();
        self.look_through(alias, &mut BTreeSet::from([check_id]), &mut seen);
        gravest(seen.into_iter()).unwrap_or_else(without_checks)
    }

    /// The checks that an alias shows. One that is an alias itself is looked through, for two that show each other would hold each other
    /// down for ever.
    fn look_through<'a>(&'a self, alias: &'a Alias, passed: &mut BTreeSet<&'a str>, seen: &mut Vec<Seen<'a>>) {
        for (id, check) in &self.checks {
            let of = &check.definition.service_id;
            if !of.is_empty() && *of != alias.service_id {
                continue;
            }
            match &check.definition.kind {
                CheckKind::Alias(further) if self.is_here(further) => {
                    if passed.insert(id) {
                        self.look_through(further, passed, seen);
                    }
                }
                _ => seen.push(Seen { name: &check.definition.name, status: check.status(), output: check.output() }),
            }
        }
    }
}

impl Engine {
    /// Looks at the aliases again, if something changed.
    pub(crate) fn follow_aliases(&mut self, now: Time) {
        // Once more where an alias changed: another one may look through it at a node elsewhere.
        while std::mem::take(&mut self.local.aliases.look_again) {
            for (check_id, alias) in self.local.aliases_of_all() {
                if self.local.is_here(&alias) {
                    let (status, output) = self.local.judge_alias(&check_id, &alias);
                    self.set_check(now, &check_id, status, &output);
                } else if !self.local.aliases.remote.contains_key(&check_id) {
                    self.local.aliases.remote.insert(check_id.clone(), Remote::default());
                    self.ask_about_node(now, &check_id, alias);
                }
            }
        }
    }

    /// Asks for nothing any more where a check goes, or shows something else.
    pub(super) fn forget_alias(&mut self, check_id: &str) {
        self.local.aliases.pauses.clear(check_id);
        if let Some(remote) = self.local.aliases.remote.remove(check_id) {
            self.abandon(Source::Own(Own::Alias(remote.number)));
        }
    }

    pub(super) fn time_out_aliases(&mut self, now: Time) {
        while let Some(check_id) = self.local.aliases.pauses.take_due(now) {
            if let Some(alias) = self.local.alias_of(&check_id) {
                self.ask_about_node(now, &check_id, alias);
            }
        }
    }

    /// Takes the answer to a question about another node.
    pub(crate) fn handle_alias_reply(&mut self, now: Time, number: u64, reply: Reply) {
        let found = self.local.aliases.remote.iter().find(|(_, remote)| remote.number == number);
        let Some(check_id) = found.map(|(check_id, _)| check_id.clone()) else { return };
        let Some(alias) = self.local.alias_of(&check_id) else { return };
        let Some(remote) = self.local.aliases.remote.get_mut(&check_id) else { return };
        let is_there = match reply {
            Reply::Read { answer: Answer::Checks(checks), index, .. } => {
                // An index that goes back is that of another life of the servers.
                remote.index = if index < remote.index { LogIndex::ZERO } else { index };
                remote.checks = Some(checks);
                // A check of its own shows that it is there.
                let is_own = |row: &Arc<Row<Check>>| alias.service_id.is_empty() || row.service_id == alias.service_id;
                if !remote.checks.iter().flatten().any(is_own) {
                    let node = alias.node.clone();
                    return self.ask_own_alias(now, &check_id, Read::NodeServices { node }, None);
                }
                true
            }
            Reply::Read { answer: Answer::NodeServices(node), .. } => {
                let has_it = |node: &NodeServices| node.services.iter().any(|service| service.id == alias.service_id);
                node.is_some_and(|node| alias.service_id.is_empty() || has_it(&node))
            }
            _ => {
                self.local.aliases.pauses.set(&check_id, now + RETRY);
                return;
            }
        };
        let checks = remote.checks.take().unwrap_or_default();
        let next = now.max(remote.asked + PAUSE);
        let (status, output) = if is_there {
            let of_it = checks.iter().filter(|row| row.service_id.is_empty() || row.service_id == alias.service_id);
            gravest(of_it.map(|row| Seen { name: &row.name, status: row.status, output: &row.output }))
                .unwrap_or_else(without_checks)
        } else {
            not_found(&alias, &alias.node)
        };
        self.local.aliases.pauses.set(&check_id, next);
        self.set_check(now, &check_id, status, &output);
    }

    fn ask_about_node(&mut self, now: Time, check_id: &str, alias: Alias) {
        let Some(remote) = self.local.aliases.remote.get_mut(check_id) else { return };
        remote.asked = now;
        let wait = Some(Wait { index: remote.index, timeout: PATIENCE }).filter(|wait| wait.index != LogIndex::ZERO);
        self.ask_own_alias(now, check_id, Read::NodeChecks { node: alias.node }, wait);
    }

    fn ask_own_alias(&mut self, now: Time, check_id: &str, read: Read, wait: Option<Wait>) {
        let aliases = &mut self.local.aliases;
        let Some(remote) = aliases.remote.get_mut(check_id) else { return };
        aliases.last_number += 1;
        remote.number = aliases.last_number;
        let source = Source::Own(Own::Alias(remote.number));
        let stale =
            ReadRequest { wait, consistency: Consistency::Stale, max_stale: Some(MAX_STALE), ..ReadRequest::now(read) };
        self.dispatch(now, Job { source, request: Request::here(Ask::Read(stale)), hops: 0, arrived: now });
    }
}
