//! Anti-entropy: the catalogue learns what is on this agent. One function compares, on every change and from time to time.

use super::Local;
use crate::Engine;
use crate::door::{Notice, Output};
use crate::leader::SERVER_SERVICE;
use crate::source::{Job, Own, Source, SyncStep};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{
    Answer, Ask, Check, Deregistration, Node, NodeServices, Outcome, Read, ReadRequest, Registration, Reply, Request,
    Row, Service, Time, Write,
};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What is on this agent.
#[derive(Debug, Clone)]
pub struct LocalState<'a> {
    /// Its row in the catalogue.
    pub node: &'a Node,
    /// Its services by id.
    pub services: &'a BTreeMap<String, Service>,
    /// Its checks by id, as rows.
    pub checks: BTreeMap<String, Check>,
}

/// What the catalogue says is on this agent.
#[derive(Debug, Clone, Default)]
pub struct Remote {
    /// Its row and services, if there is one.
    pub node: Option<NodeServices>,
    /// Its checks.
    pub checks: Vec<Arc<Row<Check>>>,
}

impl Remote {
    fn service(&self, id: &str) -> Option<&Row<Service>> {
        self.node.iter().flat_map(|node| &node.services).find(|service| service.id == *id).map(|row| &**row)
    }
}

/// The writes that bring the catalogue to what is on this agent; none where they agree.
///
/// The agent is the truth for its node, but for what the leader keeps there itself: the service of a server and the check of gossip.
pub fn difference(local: &LocalState<'_>, remote: &Remote) -> Vec<Write> {
    let check_there = |id: &str| remote.checks.iter().find(|check| check.id == *id);
    let services: BTreeMap<&String, Service> =
        local.services.iter().map(|(id, service)| (id, with_overridden_tags(service, remote))).collect();
    let same_service = |service: &Service| remote.service(&service.id).is_some_and(|row| row.value == *service);
    let same_check = |check: &Check| {
        check_there(&check.id).is_some_and(|row| {
            row.value == Check { service_tags: row.service_tags.clone(), node: row.node.clone(), ..check.clone() }
        })
    };
    let register = |service: Option<Service>, checks: Vec<Check>| {
        let node = local.node.clone();
        Write::Register(Box::new(Registration { node, skip_node_update: true, service, checks }))
    };

    if belongs_to_another(local, remote) {
        // Nothing that is there is ours to touch. The store decides who has the name; if it is us, the next round brings the rest.
        let node = Registration { node: local.node.clone(), ..Registration::default() };
        return vec![Write::Register(Box::new(node))];
    }

    let mut writes = Vec::new();
    if remote.node.as_ref().is_none_or(|there| there.node.value != *local.node) {
        let node = Registration { node: local.node.clone(), ..Registration::default() };
        writes.push(Write::Register(Box::new(node)));
    }
    for service in services.values().filter(|service| !same_service(service)) {
        let checks = local.checks.values().filter(|check| check.service_id == service.id).cloned().collect();
        writes.push(register(Some(service.clone()), checks));
    }
    let written_with_service = |check: &Check| services.get(&check.service_id).is_some_and(|s| !same_service(s));
    let changed = local.checks.values().filter(|check| !same_check(check) && !written_with_service(check));
    writes.extend(changed.map(|check| register(None, vec![check.clone()])));

    let node = || local.node.name.clone();
    for service in remote.node.iter().flat_map(|node| &node.services) {
        if !local.services.contains_key(&service.id) && service.id != SERVER_SERVICE {
            let service_id = service.id.clone();
            writes.push(Write::Deregister(Deregistration::Service { node: node(), service_id }));
        }
    }
    for check in &remote.checks {
        // A check of a service that goes, goes with it.
        let kept = check.service_id.is_empty() || local.services.contains_key(&check.service_id);
        if kept && !local.checks.contains_key(&check.id) && check.id != SERF_HEALTH {
            let check_id = check.id.clone();
            writes.push(Write::Deregister(Deregistration::Check { node: node(), check_id }));
        }
    }
    writes
}

/// The service with the tags that it is to have: where they may be overridden, the catalogue's win.
fn with_overridden_tags(service: &Service, remote: &Remote) -> Service {
    let row = remote.service(&service.id).filter(|_| service.enable_tag_override);
    row.map_or_else(|| service.clone(), |row| Service { tags: row.tags.clone(), ..service.clone() })
}

/// Whether the catalogue knows another agent by this one's name.
fn belongs_to_another(local: &LocalState<'_>, remote: &Remote) -> bool {
    let id = remote.node.as_ref().and_then(|there| there.node.id);
    id.zip(local.node.id).is_some_and(|(there, here)| there != here)
}

/// Where bringing local state to the catalogue stands.
#[derive(Debug)]
pub struct Syncing {
    round: u64,
    phase: Phase,
    /// Something changed since the last round began.
    wanted: bool,
    /// When the next round begins by itself.
    next: Time,
    /// Rounds in a row that the catalogue refused.
    refused: u32,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Asking { node: Option<Option<NodeServices>>, checks: Option<Vec<Arc<Row<Check>>>> },
    Writing { outstanding: usize, writes: usize, failure: Option<Failure>, again: bool },
}

/// Why a round failed.
#[derive(Debug)]
enum Failure {
    /// The catalogue refused a write: the same one will be refused again, and each try is an entry in the log.
    Refused(String),
    /// Nobody served it.
    Unserved(String),
}

impl Syncing {
    pub fn new(now: Time) -> Syncing {
        Syncing { round: 0, phase: Phase::Idle, wanted: true, next: now, refused: 0 }
    }

    pub fn deadline(&self) -> Time {
        match self.phase {
            Phase::Idle => self.next,
            Phase::Asking { .. } | Phase::Writing { .. } => Time::NEVER,
        }
    }
}

impl Local {
    /// Something changed, here or among the servers: compare soon.
    pub(crate) fn want_sync(&mut self, now: Time) {
        self.syncing.wanted = true;
        self.syncing.next = self.syncing.next.min(now);
    }
}

impl Engine {
    pub(super) fn time_out_sync(&mut self, now: Time) {
        if self.local.syncing.deadline() <= now {
            self.local.syncing.wanted = true;
        }
    }

    /// Begins a round if something changed and none is under way.
    pub(crate) fn sync_if_wanted(&mut self, now: Time) -> bool {
        if !self.local.syncing.wanted || !matches!(self.local.syncing.phase, Phase::Idle) {
            return false;
        }
        self.local.syncing.wanted = false;
        // Who leaves has nothing to bring any more. A round left overdue instead would keep the shell's crank spinning.
        if self.ending.leaving {
            self.local.syncing.next = Time::NEVER;
            return false;
        }
        // Without any server there is no catalogue; the first server to appear begins a round.
        if self.server.is_none() && self.live_servers().next().is_none() {
            self.local.syncing.next = now + self.config.patience.sync;
            return false;
        }
        self.local.syncing.next = Time::NEVER;
        self.local.syncing.round += 1;
        self.local.syncing.phase = Phase::Asking { node: None, checks: None };
        let (round, node) = (self.local.syncing.round, self.config.name.clone());
        self.ask_own(now, SyncStep::Services { round }, Read::NodeServices { node: node.clone() });
        self.ask_own(now, SyncStep::Checks { round }, Read::NodeChecks { node });
        true
    }

    /// Takes the reply to a step of the round under way; those of older rounds are of no interest.
    pub(crate) fn handle_sync_reply(&mut self, now: Time, step: SyncStep, reply: Reply) {
        let (SyncStep::Services { round } | SyncStep::Checks { round } | SyncStep::Write { round }) = step;
        if round != self.local.syncing.round {
            return;
        }
        match (&mut self.local.syncing.phase, reply) {
            (Phase::Asking { node, .. }, Reply::Read { answer: Answer::NodeServices(there), .. }) => {
                *node = Some(there);
                self.write_difference(now);
            }
            (Phase::Asking { checks, .. }, Reply::Read { answer: Answer::Checks(there), .. }) => {
                *checks = Some(there);
                self.write_difference(now);
            }
            (Phase::Writing { .. }, reply) => self.handle_written(now, reply),
            (Phase::Asking { .. }, Reply::Refused(refusal)) => {
                self.end_round(now, Err(Failure::Unserved(refusal.to_string())))
            }
            (Phase::Asking { .. }, _) => {
                let why = "an answer to another question came".to_owned();
                self.end_round(now, Err(Failure::Unserved(why)));
            }
            (Phase::Idle, _) => {}
        }
    }

    fn write_difference(&mut self, now: Time) {
        let Phase::Asking { node: Some(node), checks: Some(checks) } = &mut self.local.syncing.phase else { return };
        let remote = Remote { node: node.take(), checks: std::mem::take(checks) };
        self.adopt_tags(&remote);
        let (node, services, checks) = (&self.local.node, &self.local.services, self.local.checks_as_rows());
        let local = LocalState { node, services, checks };
        let (writes, again) = (difference(&local, &remote), belongs_to_another(&local, &remote));
        if writes.is_empty() {
            return self.end_round(now, Ok(0));
        }
        let (round, count) = (self.local.syncing.round, writes.len());
        self.local.syncing.phase = Phase::Writing { outstanding: count, writes: count, failure: None, again };
        for write in writes {
            self.dispatch(now, own_job(now, SyncStep::Write { round }, Ask::Write(write)));
        }
    }

    /// Takes over tags that were set through the catalogue, where that is allowed: this agent shows what the others see.
    fn adopt_tags(&mut self, remote: &Remote) {
        let services = self.local.services.values();
        let adopted: Vec<Service> = services
            .filter(|service| service.enable_tag_override)
            .map(|service| with_overridden_tags(service, remote))
            .filter(|service| self.local.services.get(&service.id) != Some(service))
            .collect();
        if !adopted.is_empty() {
            self.local.services.extend(adopted.into_iter().map(|service| (service.id.clone(), service)));
            self.save_local();
            self.tell_followers();
        }
    }

    fn handle_written(&mut self, now: Time, reply: Reply) {
        let Phase::Writing { outstanding, writes, failure, again } = &mut self.local.syncing.phase else { return };
        *outstanding -= 1;
        match reply {
            Reply::Written { outcome: Outcome::Refused(why), .. } => *failure = Some(Failure::Refused(why)),
            Reply::Refused(refusal) => *failure = Some(Failure::Unserved(refusal.to_string())),
            _ => {}
        }
        if *outstanding == 0 {
            let (end, again) = (failure.take().map_or(Ok(*writes), Err), *again);
            let taken_over = again && end.is_ok();
            self.end_round(now, end);
            if taken_over {
                self.local.want_sync(now);
            }
        }
    }

    fn end_round(&mut self, now: Time, end: Result<usize, Failure>) {
        self.local.syncing.phase = Phase::Idle;
        let (sync, retry) = (self.config.patience.sync, self.config.patience.sync_retry);
        let refused = match &end {
            Err(Failure::Refused(_)) => self.local.syncing.refused.saturating_add(1),
            Ok(_) | Err(Failure::Unserved(_)) => 0,
        };
        self.local.syncing.refused = refused;
        let pause = match &end {
            Ok(_) => sync,
            Err(Failure::Unserved(_)) => retry,
            // Ever more rarely.
            Err(Failure::Refused(_)) => retry.saturating_mul(1 << (refused - 1).min(16)).min(sync),
        };
        // Twice the pause at most, so that agents started together drift apart.
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.local.syncing.next = now + pause + Duration::from_nanos(self.rng.random_range(0..=nanos));
        match end {
            Ok(0) => {}
            Ok(writes) => self.outputs.push_back(Output::Noticed(Notice::Synced { writes })),
            Err(Failure::Refused(why) | Failure::Unserved(why)) => {
                self.outputs.push_back(Output::Noticed(Notice::SyncFailed { why }))
            }
        }
    }

    fn ask_own(&mut self, now: Time, step: SyncStep, read: Read) {
        self.dispatch(now, own_job(now, step, Ask::Read(ReadRequest::now(read))));
    }
}

fn own_job(now: Time, step: SyncStep, ask: Ask) -> Job {
    Job { source: Source::Own(Own::Sync(step)), request: Request::here(ask), hops: 0, arrived: now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{LogIndex, NodeId, Status};
    use quorate_store::Store;

    struct Agent {
        node: Node,
        services: BTreeMap<String, Service>,
        checks: BTreeMap<String, Check>,
    }

    impl Agent {
        fn new() -> Agent {
            let node =
                Node { id: Some(NodeId([1; 16])), name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
            Agent { node, services: BTreeMap::new(), checks: BTreeMap::new() }
        }

        fn with_service(mut self, id: &str, port: u16) -> Agent {
            let service = Service { id: id.into(), name: "web".into(), port, ..Service::default() };
            self.services.insert(id.into(), service);
            self
        }

        fn with_check(mut self, id: &str, service_id: &str, status: Status) -> Agent {
            let service_name = if service_id.is_empty() { "" } else { "web" };
            let check = Check {
                node: "n1".into(),
                id: id.into(),
                status,
                service_id: service_id.into(),
                service_name: service_name.into(),
                ..Check::default()
            };
            self.checks.insert(id.into(), check);
            self
        }

        fn difference(&self, store: &Store) -> Vec<Write> {
            let view = store.view();
            let remote = match (
                view.read(&Read::NodeServices { node: "n1".into() }).0,
                view.read(&Read::NodeChecks { node: "n1".into() }).0,
            ) {
                (Answer::NodeServices(node), Answer::Checks(checks)) => Remote { node, checks },
                other => panic!("{other:?}"),
            };
            let local = LocalState { node: &self.node, services: &self.services, checks: self.checks.clone() };
            difference(&local, &remote)
        }

        /// Writes the difference; afterwards there must be none. Tells how many writes it took.
        fn sync(&self, store: &mut Store) -> usize {
            let writes = self.difference(store);
            for write in &writes {
                let (outcome, _) = store.apply(store.applied_index().next(), write);
                assert_eq!(outcome, Outcome::Done, "{write:?}");
            }
            assert_eq!(self.difference(store), [], "one round is enough");
            writes.len()
        }
    }

    #[test]
    fn the_catalogue_comes_to_what_is_on_the_agent() {
        let mut store = Store::new();
        let empty = Agent::new();
        assert_eq!(empty.sync(&mut store), 1, "the node");
        assert_eq!(empty.sync(&mut store), 0);

        let web = Agent::new().with_service("web1", 80).with_check("c1", "web1", Status::Passing);
        assert_eq!(web.sync(&mut store), 1, "the service and its check in one write");
        let flipped = Agent::new().with_service("web1", 80).with_check("c1", "web1", Status::Critical);
        assert_eq!(flipped.sync(&mut store), 1, "the check alone");
        let moved = Agent::new().with_service("web1", 81).with_check("c1", "web1", Status::Critical);
        assert_eq!(moved.sync(&mut store), 1);
        let with_node_check = Agent::new().with_service("web1", 81).with_check("disk", "", Status::Passing);
        assert_eq!(with_node_check.sync(&mut store), 2, "one check comes, one goes");
        assert_eq!(empty.sync(&mut store), 2, "the service and the node's check go");
    }

    #[test]
    fn what_the_leader_keeps_stays() {
        let mut store = Store::new();
        let agent = Agent::new();
        agent.sync(&mut store);
        let service = Service { id: SERVER_SERVICE.into(), name: SERVER_SERVICE.into(), ..Service::default() };
        let check = Check { node: "n1".into(), id: SERF_HEALTH.into(), ..Check::default() };
        let write = Registration {
            node: agent.node.clone(),
            service: Some(service),
            checks: vec![check],
            ..Registration::default()
        };
        store.apply(LogIndex(100), &Write::Register(Box::new(write)));
        assert_eq!(agent.sync(&mut store), 0);
    }

    #[test]
    fn tags_set_through_the_catalogue_stay_where_that_is_allowed() {
        let mut store = Store::new();
        let mut agent = Agent::new().with_service("web1", 80);
        agent.services.values_mut().for_each(|service| service.enable_tag_override = true);
        agent.sync(&mut store);
        let service = Service { tags: vec!["blue".into()], ..agent.services["web1"].clone() };
        let write = Registration { node: agent.node.clone(), service: Some(service), ..Registration::default() };
        store.apply(LogIndex(100), &Write::Register(Box::new(write)));
        assert_eq!(agent.sync(&mut store), 0);
        agent.services.values_mut().for_each(|service| service.port = 81);
        assert_eq!(agent.sync(&mut store), 1, "its port");
        let row = store.view().services_of("n1").next().map(|row| (row.port, row.tags.clone()));
        assert_eq!(row, Some((81, vec!["blue".to_owned()])), "what else changes takes no tags away");
    }
}
