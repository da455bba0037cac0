//! Questions of clients that have seen a later state than this server has: they wait for it, or go to the leader, and never get an older answer.

use crate::Engine;
use crate::source::{Job, Source};
use quorate_protocol::{Ask, Consistency, LogIndex, Refusal, Reply, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a server that is behind waits before it asks the leader instead: what a healthy one misses arrives within a heartbeat or two.
const PATIENCE: Duration = Duration::from_millis(250);

/// More than this many are answered "busy".
const MAX_WAITING: usize = 16_384;

/// Questions by the log index that must be applied before they are answered.
#[derive(Debug, Default)]
pub struct CatchingUp {
    jobs: BTreeMap<(LogIndex, u64), (Job, Time)>,
    deadlines: BTreeSet<(Time, LogIndex, u64)>,
    last: u64,
}

impl CatchingUp {
    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(until, ..)| *until)
    }

    pub fn forget(&mut self, source: Source) {
        let its: Vec<(LogIndex, u64)> =
            self.jobs.iter().filter(|(_, (job, _))| job.source == source).map(|(place, _)| *place).collect();
        its.into_iter().for_each(|place| {
            self.remove(place);
        });
    }

    fn remove(&mut self, place: (LogIndex, u64)) -> Option<Job> {
        let (job, until) = self.jobs.remove(&place)?;
        self.deadlines.remove(&(until, place.0, place.1));
        Some(job)
    }
}

impl Engine {
    /// Keeps a question until this server has applied an index.
    pub(crate) fn catch_up(&mut self, now: Time, job: Job, index: LogIndex) {
        let Some(server) = &mut self.server else { return };
        if server.catching_up.jobs.len() >= MAX_WAITING {
            self.count("catching_up_overflow");
            return self.reply(job.source, Reply::Refused(Refusal::Busy));
        }
        // A leader has nobody else to ask; what it does not have within the patience was never committed here.
        let until = if server.leader.is_some() { job.arrived + self.config.patience.leader } else { now + PATIENCE };
        server.catching_up.last += 1;
        let place = (index, server.catching_up.last);
        server.catching_up.deadlines.insert((until, place.0, place.1));
        server.catching_up.jobs.insert(place, (job, until));
    }

    /// Answers those whose index is applied now.
    pub(crate) fn answer_caught_up(&mut self, now: Time) {
        while let Some(server) = &mut self.server {
            let applied = server.store.applied_index();
            let first = server.catching_up.jobs.first_key_value().map(|(place, _)| *place);
            let Some(place) = first.filter(|(index, _)| *index <= applied) else { return };
            if let Some(job) = server.catching_up.remove(place) {
                self.answer_job(now, job);
            }
        }
    }

    pub(crate) fn time_out_catching_up(&mut self, now: Time) {
        while let Some(server) = &mut self.server {
            let overdue = server.catching_up.deadlines.first().filter(|(until, ..)| *until <= now).copied();
            let Some((_, index, number)) = overdue else { return };
            let leads = server.leader.is_some();
            let Some(mut job) = server.catching_up.remove((index, number)) else { return };
            if leads {
                self.reply(job.source, Reply::Refused(Refusal::TimedOut));
            } else if let Ask::Read(request) = &mut job.request.ask {
                request.consistency = request.consistency.max(Consistency::Default);
                self.dispatch(now, job);
            }
        }
    }
}
