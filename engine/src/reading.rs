//! Questions that wait until this server has asked a majority whether it still leads.

use crate::Engine;
use crate::source::{Job, Source};
use quorate_protocol::{LogIndex, Refusal, Reply, Time};
use std::collections::VecDeque;

/// More questions than this that wait for one round are answered "busy".
const MAX_READS: usize = 65_536;

/// Read-index rounds: at most one is under way, and whatever arrives meanwhile shares the next. A round's context is never
/// used again (etcd#20418).
#[derive(Debug, Default)]
pub struct ReadRounds {
    last_context: u64,
    under_way: Option<u64>,
    /// When those who wait for the round under way are told that it takes too long.
    pub until: Option<Time>,
    /// Answered by the round under way.
    asking: Vec<Job>,
    /// For the next round.
    next: Vec<Job>,
    /// Confirmed; answered once the store has applied this index.
    confirmed: VecDeque<(LogIndex, Vec<Job>)>,
}

impl ReadRounds {
    pub fn forget(&mut self, source: Source) {
        self.asking.retain(|job| job.source != source);
        self.next.retain(|job| job.source != source);
        for (_, jobs) in &mut self.confirmed {
            jobs.retain(|job| job.source != source);
        }
    }

    fn end_round(&mut self) {
        self.under_way = None;
        self.until = None;
    }

    pub fn take_all(&mut self) -> Vec<Job> {
        self.end_round();
        let confirmed = std::mem::take(&mut self.confirmed).into_iter().flat_map(|(_, jobs)| jobs);
        confirmed.chain(std::mem::take(&mut self.asking)).chain(std::mem::take(&mut self.next)).collect()
    }
}

impl Engine {
    /// Asks a majority whether this server still leads, before it answers.
    pub(crate) fn confirm_leadership(&mut self, now: Time, job: Job) {
        let Some(server) = &mut self.server else { return };
        if server.reading.next.len() >= MAX_READS {
            self.count("reads_overflow");
            return self.reply(job.source, Reply::Refused(Refusal::Busy));
        }
        server.reading.next.push(job);
        self.start_read_round(now);
    }

    fn start_read_round(&mut self, now: Time) {
        let Some(server) = &mut self.server else { return };
        let rounds = &mut server.reading;
        if rounds.under_way.is_some() || rounds.next.is_empty() {
            return;
        }
        rounds.last_context += 1;
        if server.raft.read_index(now, rounds.last_context).is_ok() {
            rounds.under_way = Some(rounds.last_context);
            rounds.until = Some(now + self.config.patience.reply);
            rounds.asking = std::mem::take(&mut rounds.next);
        } else {
            let jobs = rounds.take_all();
            jobs.into_iter().for_each(|job| self.hold(now, job, Refusal::NoLeader));
        }
    }

    /// Refuses questions whose round has found no majority in time, and begins the next.
    pub(crate) fn time_out_read_round(&mut self, now: Time) {
        let Some(server) = self.server.as_mut().filter(|server| crate::due(server.reading.until, now)) else { return };
        server.reading.end_round();
        let jobs = std::mem::take(&mut server.reading.asking);
        self.count("read_rounds_timed_out");
        jobs.into_iter().for_each(|job| self.reply(job.source, Reply::Refused(Refusal::TimedOut)));
        self.start_read_round(now);
    }

    pub(crate) fn handle_read_ready(&mut self, now: Time, context: u64, index: LogIndex) {
        let Some(server) = &mut self.server else { return };
        let rounds = &mut server.reading;
        if rounds.under_way == Some(context) {
            rounds.end_round();
            let jobs = std::mem::take(&mut rounds.asking);
            rounds.confirmed.push_back((index, jobs));
            self.answer_confirmed(now);
            self.start_read_round(now);
        }
    }

    pub(crate) fn handle_read_lost(&mut self, now: Time, context: u64) {
        let Some(server) = &mut self.server else { return };
        let rounds = &mut server.reading;
        if rounds.under_way == Some(context) {
            rounds.end_round();
            let jobs = std::mem::take(&mut rounds.asking);
            jobs.into_iter().for_each(|job| self.dispatch(now, job));
            self.start_read_round(now);
        }
    }

    pub(crate) fn answer_confirmed(&mut self, now: Time) {
        while let Some(server) = &mut self.server {
            let applied = server.store.applied_index();
            let ready = server.reading.confirmed.front().is_some_and(|(index, _)| *index <= applied);
            let Some((_, jobs)) = server.reading.confirmed.pop_front_if(|_| ready) else { return };
            jobs.into_iter().for_each(|job| self.answer_job(now, job));
        }
    }
}
