//! Serving a request on this agent.

use crate::Engine;
use crate::source::Job;
use quorate_protocol::{Answer, Ask, Consistency, LocalRequest, LogIndex, Reply, StatusRequest, Time};
use std::time::Duration;

impl Engine {
    /// Serves a request here, as [`Engine::route`] decided.
    pub(crate) fn serve(&mut self, now: Time, job: Job) {
        match &job.request.ask {
            Ask::Write(_) => self.write(now, job),
            Ask::Read(read) => match read.consistency {
                Consistency::Stale => self.answer_job(now, job),
                Consistency::Default if self.holds_lease(now) => self.answer_job(now, job),
                Consistency::Default | Consistency::Consistent => self.confirm_leadership(now, job),
            },
            Ask::Status(StatusRequest::Leader) => self.reply(job.source, Reply::Leader(self.leader_address())),
            Ask::Status(StatusRequest::Peers) => self.reply(job.source, Reply::Peers(self.peer_addresses())),
            Ask::Status(StatusRequest::Datacenters) => {
                self.reply(job.source, Reply::Datacenters(vec![self.config.datacenter.clone()]));
            }
            Ask::Lock(_) => self.wait_for_lock(now, job),
            Ask::Operator(request) => self.operate(now, job.source, request.clone()),
            Ask::Snapshot(request) => {
                let reply = self.serve_snapshot(now, &request.clone());
                self.reply(job.source, reply);
            }
            Ask::Local(_) => self.serve_local(now, job),
        }
    }

    fn write(&mut self, now: Time, job: Job) {
        if let Ask::Write(write) = job.request.ask {
            self.propose(now, job.source, write);
        }
    }

    /// Answers a question whose consistency is settled: at once, or when what it waits for has changed.
    pub(crate) fn answer_job(&mut self, now: Time, job: Job) {
        let applied = self.store().map(|store| store.applied_index()).unwrap_or_default();
        if let Ask::Read(request) = &job.request.ask
            && request.at_least > applied
        {
            return self.wait_for_index(now, request.at_least, job);
        }
        if let Ask::Read(request) = job.request.ask {
            self.answer_or_wait(now, job.source, job.hops, request);
        }
    }

    /// A stale answer is no longer one that may be given here, if this server has not heard its leader for longer than whoever asks
    /// allows: then it is the leader's to give.
    pub(crate) fn respect_max_stale(&self, now: Time, job: &mut Job) {
        if let (Some(raft), Ask::Read(read)) = (self.raft(), &mut job.request.ask)
            && read.consistency == Consistency::Stale
            && let Some(max_stale) = read.max_stale
            && raft.last_contact(now).is_none_or(|contact| contact > max_stale)
        {
            read.consistency = Consistency::Default;
        }
    }

    /// An answer with what this server knows of its own freshness.
    pub(crate) fn read_reply(&self, now: Time, answer: Answer, index: LogIndex) -> Reply {
        let raft = self.raft();
        Reply::Read {
            answer,
            index,
            known_leader: raft.is_some_and(|raft| raft.leader().is_some()),
            last_contact: raft.and_then(|raft| raft.last_contact(now)).unwrap_or(Duration::MAX),
        }
    }

    fn holds_lease(&self, now: Time) -> bool {
        self.raft().is_some_and(|raft| raft.holds_lease(now))
    }

    fn serve_local(&mut self, now: Time, job: Job) {
        let Ask::Local(request) = job.request.ask else { return };
        let reply = match request {
            LocalRequest::Members => Reply::Members(self.gossip.members().cloned().collect()),
            LocalRequest::Why { node } => self.why(now, &node),
            LocalRequest::Describe => Reply::Agent(Box::new(self.describe())),
            LocalRequest::Services => Reply::LocalServices(self.local.services().clone()),
            LocalRequest::Checks => Reply::LocalChecks(self.local.checks_as_rows()),
            LocalRequest::Service { service_id, wait } => return self.local_service(now, job.source, service_id, wait),
            LocalRequest::RegisterService { definition, replace_existing_checks } => {
                self.register_service(now, *definition, replace_existing_checks)
            }
            LocalRequest::DeregisterService { service_id } => self.deregister_service(now, &service_id),
            LocalRequest::RegisterCheck { check } => self.register_check(now, check),
            LocalRequest::DeregisterCheck { check_id } => self.deregister_check(now, &check_id),
            LocalRequest::UpdateCheck { check_id, status, output } => {
                self.update_ttl_check(now, &check_id, status, output)
            }
            LocalRequest::Maintain { service_id, reason } => self.maintain(now, service_id, reason),
            LocalRequest::Reload { definitions } => self.reload(now, definitions),
            LocalRequest::Join { addresses } => return self.join(now, job.source, &addresses),
            LocalRequest::FireEvent { name, payload, filter } => self.fire_event(now, name, payload, filter),
            LocalRequest::UserEvents { name, wait } => return self.user_events(now, job.source, name, wait),
            LocalRequest::Happened { after, timeout } => {
                return self.happened_after(now, job.source, after, timeout);
            }
            LocalRequest::Query { question } => self.ask_members(now, question),
            LocalRequest::Responses { query, after, timeout } => {
                return self.responses(now, job.source, query, after, timeout);
            }
            LocalRequest::Coordinates => self.coordinates(),
            LocalRequest::SetCoordinate { node, coordinate } => self.set_coordinate(node, coordinate),
            LocalRequest::Keyring { request, relays, local } => {
                return self.order_keys(now, job.source, &request, relays, local);
            }
            LocalRequest::AnswerQuery { query, answer } => self.answer_query(now, query, answer),
            LocalRequest::ChangeTags { set, delete } => self.change_tags(now, set, &delete),
            LocalRequest::ForceLeave { name, prune } => self.force_leave(now, &name, prune),
            LocalRequest::RecoverQuorum => self.recover_quorum(now),
            LocalRequest::Leave => {
                self.leave(now);
                Reply::Done
            }
        };
        self.reply(job.source, reply);
    }
}
