//! Requests that another agent is working on.

use crate::Engine;
use crate::door::Output;
use crate::source::{Job, Source};
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{Ask, NodeId, ReadRequest, Refusal, Reply, Time, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// More than this many in flight are answered "busy".
const MAX_IN_FLIGHT: usize = 65_536;

/// Generations are milliseconds; a thousand requests in each of one start's do not reach the numbers of the next.
const NUMBER_BITS: u32 = 20;

/// Requests that another agent is working on, by the number they were sent under.
#[derive(Debug)]
pub struct Forwards {
    in_flight: BTreeMap<u64, InFlight>,
    deadlines: BTreeSet<(Time, u64)>,
    last: u64,
}

#[derive(Debug)]
struct InFlight {
    job: Job,
    to: Destination,
    /// The start of the other agent's process: another one knows nothing of this request.
    generation: u64,
    until: Time,
}

impl Forwards {
    /// Numbers grow over restarts as well, as generations do: otherwise a question that an earlier life of this agent left waiting
    /// somewhere would have the number of one of this life, and its answer would be taken for the answer to that.
    pub fn new(generation: u64) -> Forwards {
        let last = generation.wrapping_shl(NUMBER_BITS);
        Forwards { in_flight: BTreeMap::new(), deadlines: BTreeSet::new(), last }
    }

    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    fn insert(&mut self, one: InFlight) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.deadlines.insert((one.until, self.last));
        self.in_flight.insert(self.last, one);
        self.last
    }

    fn remove(&mut self, id: u64) -> Option<InFlight> {
        let found = self.in_flight.remove(&id)?;
        self.deadlines.remove(&(found.until, id));
        Some(found)
    }

    fn sent_to(&self, id: NodeId, except: Option<u64>) -> Vec<u64> {
        let lost = |one: &InFlight| one.to.id == Some(id) && except != Some(one.generation);
        self.in_flight.iter().filter(|(_, one)| lost(one)).map(|(number, _)| *number).collect()
    }

    fn asked_by(&self, source: Source) -> Option<u64> {
        self.in_flight.iter().find(|(_, one)| one.job.source == source).map(|(number, _)| *number)
    }
}

impl Engine {
    /// Passes a request on to another agent.
    pub(crate) fn forward(&mut self, now: Time, id: NodeId, job: Job) {
        let Some(address) = self.address_of(id) else {
            return self.hold(now, job, Refusal::NoServers);
        };
        if self.forwards.in_flight.len() >= MAX_IN_FLIGHT {
            self.count("requests_forwarded_overflow");
            return self.reply(job.source, Reply::Refused(Refusal::Busy));
        }
        let patience = self.config.patience;
        let mut request = Box::new(job.request.clone());
        let wait = wait_of(&mut request.ask).map_or(Duration::ZERO, |wait| {
            *wait = wait.saturating_sub(now.since(job.arrived));
            *wait
        });
        // However often it is asked anew, whoever asked is not kept longer than one wait for a leader and one for a reply.
        let until = (now + patience.reply).min(job.arrived + patience.leader + patience.reply) + wait;
        let to = Destination { id: Some(id), address };
        let hops = job.hops.saturating_add(1);
        let generation = self.gossip.member(id).map(|member| member.generation).unwrap_or_default();
        let number = self.forwards.insert(InFlight { job, to, generation, until });
        self.outputs.push_back(Output::Message { to, message: Message::Forward { id: number, hops, request } });
    }

    /// Takes the reply to a request that was passed on.
    pub(crate) fn handle_forward_reply(&mut self, now: Time, from: Origin, number: u64, reply: Reply) {
        let expected = self.forwards.in_flight.get(&number).is_some_and(|one| one.to.id == Some(from.id));
        if !expected {
            return self.count("replies_unexpected");
        }
        let Some(InFlight { job, .. }) = self.forwards.remove(number) else { return };
        match reply {
            // Refused before anything was appended: trying again is safe, and by now there may be a leader.
            Reply::Refused(Refusal::NoLeader) => {
                self.prefer_another_server(from.id);
                self.hold(now, job, Refusal::NoLeader);
            }
            reply => self.reply(job.source, reply),
        }
    }

    /// Another agent no longer answers, or answers only as the process of this generation: what it was working on is asked
    /// again elsewhere if that is safe.
    pub(crate) fn give_up_on(&mut self, now: Time, id: NodeId, except: Option<u64>) {
        for number in self.forwards.sent_to(id, except) {
            if let Some(one) = self.forwards.remove(number) {
                self.unanswered(now, one, Refusal::TimedOut);
            }
        }
    }

    /// What may be asked twice and an earlier leader has is asked anew: it may be dead, and gossip finds that out much later than Raft.
    /// Writes wait for its answer, since it may have done them.
    pub(crate) fn ask_new_leader(&mut self, now: Time, leader: NodeId) {
        let repeatable = |job: &Job| matches!(job.request.ask, Ask::Read(_) | Ask::Lock(_));
        let elsewhere = |one: &InFlight| one.to.id != Some(leader) && repeatable(&one.job);
        let moving: Vec<u64> =
            self.forwards.in_flight.iter().filter(|(_, one)| elsewhere(one)).map(|(number, _)| *number).collect();
        for number in moving {
            if let Some(one) = self.forwards.remove(number) {
                self.outputs.push_back(Output::Message { to: one.to, message: Message::Abandon { id: number } });
                self.ask_anew(now, one.job);
            }
        }
    }

    pub(crate) fn time_out_forwards(&mut self, now: Time) {
        while let Some((_, number)) = self.forwards.deadlines.first().copied().filter(|(until, _)| *until <= now) {
            let Some(one) = self.forwards.remove(number) else { break };
            // A server that lets a request expire is not the one to ask next.
            one.to.id.into_iter().for_each(|id| self.prefer_another_server(id));
            self.count("requests_forwarded_timed_out");
            let reply = match &one.job.request.ask {
                Ask::Write(_) | Ask::Lock(_) | Ask::Operator(_) => Refusal::Unknown,
                Ask::Read(_) | Ask::Status(_) | Ask::Snapshot(_) | Ask::Local(_) => Refusal::TimedOut,
            };
            self.reply(one.job.source, Reply::Refused(reply));
        }
    }

    /// Forgets a request whose asker has gone, wherever it is.
    pub(crate) fn abandon(&mut self, source: Source) {
        self.holding.forget(source);
        self.waiting.forget(source);
        self.locks.forget(source);
        self.happenings.forget(source);
        self.queries.forget(source);
        self.local.followers.forget(source);
        self.orders.forget(source);
        if let Some(server) = &mut self.server {
            server.reading.forget(source);
        }
        let found = self.forwards.asked_by(source).and_then(|number| Some((number, self.forwards.remove(number)?)));
        if let Some((id, one)) = found {
            self.outputs.push_back(Output::Message { to: one.to, message: Message::Abandon { id } });
        }
    }

    /// A write may have happened, so it is never sent twice; a question is simply asked again.
    fn unanswered(&mut self, now: Time, one: InFlight, refusal: Refusal) {
        match &one.job.request.ask {
            Ask::Write(_) | Ask::Operator(_) => {
                self.reply(one.job.source, Reply::Refused(Refusal::Unknown));
            }
            // To wait for a key that the session holds already changes nothing.
            Ask::Read(_) | Ask::Lock(_) => self.ask_anew(now, one.job),
            Ask::Status(_) | Ask::Snapshot(_) | Ask::Local(_) => self.reply(one.job.source, Reply::Refused(refusal)),
        }
    }

    /// Asks a question again, with what is left of its wait.
    pub(crate) fn ask_anew(&mut self, now: Time, mut job: Job) {
        if let Some(wait) = wait_of(&mut job.request.ask) {
            *wait = wait.saturating_sub(now.since(job.arrived));
            job.arrived = now;
        }
        self.dispatch(now, job);
    }
}

/// How long whoever asks is ready to wait for a change.
fn wait_of(ask: &mut Ask) -> Option<&mut Duration> {
    match ask {
        Ask::Read(ReadRequest { wait: Some(Wait { timeout, .. }), .. }) => Some(timeout),
        Ask::Lock(lock) => Some(&mut lock.wait),
        Ask::Read(_) | Ask::Write(_) | Ask::Status(_) | Ask::Operator(_) | Ask::Snapshot(_) | Ask::Local(_) => None,
    }
}
