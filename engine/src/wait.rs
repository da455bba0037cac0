//! Questions that wait: for a change of what they ask about, or for this server to be as far as whoever asks already saw. All kinds of
//! questions wait here and nowhere else.

use crate::Engine;
use crate::source::{Job, Source};
use quorate_protocol::{Ask, Consistency, LogIndex, Read, ReadRequest, Refusal, Reply, Request, Time, Wait};
use quorate_store::{Touched, View, Watched};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// More than this many waiters are answered "busy" (a waiter costs a few hundred bytes).
const MAX_WAITERS: usize = 65_536;

/// Blocking questions that this server answers when something changes.
#[derive(Debug, Default)]
pub struct Waiting {
    waiters: BTreeMap<u64, Waiter>,
    /// All waiters on one question share one evaluation.
    by_read: BTreeMap<Arc<Read>, BTreeSet<u64>>,
    /// The same questions by what they are about: a write costs nothing to those who wait for something else.
    watched: Watched,
    by_source: BTreeMap<Source, u64>,
    deadlines: BTreeSet<(Time, u64)>,
    /// Questions about a state that this server has not reached, by its index.
    behind: BTreeMap<(LogIndex, u64), Behind>,
    /// The same by when they are given up.
    behind_until: BTreeSet<(Time, LogIndex, u64)>,
    last: u64,
}

#[derive(Debug)]
struct Behind {
    job: Job,
    until: Time,
}

#[derive(Debug)]
struct Waiter {
    source: Source,
    hops: u8,
    request: ReadRequest,
    wait: Wait,
    until: Time,
}

impl Waiting {
    pub fn deadline(&self) -> Option<Time> {
        let change = self.deadlines.first().map(|(until, _)| *until);
        let index = self.behind_until.first().map(|(until, ..)| *until);
        change.into_iter().chain(index).min()
    }

    pub fn forget(&mut self, source: Source) {
        if let Some(number) = self.by_source.get(&source).copied() {
            self.remove(number);
        }
        self.take_behind(|one| one.source == source);
    }

    fn len(&self) -> usize {
        self.waiters.len() + self.behind.len()
    }

    /// Takes out questions about a state that is not reached.
    fn take_behind(&mut self, wanted: impl Fn(&Job) -> bool) -> Vec<Job> {
        let taken: Vec<_> = self.behind.extract_if(.., |_, one| wanted(&one.job)).collect();
        taken.into_iter().map(|((index, number), one)| self.unlist(index, number, one)).collect()
    }

    fn unlist(&mut self, index: LogIndex, number: u64, one: Behind) -> Job {
        self.behind_until.remove(&(one.until, index, number));
        one.job
    }

    fn insert(&mut self, waiter: Waiter) {
        self.last += 1;
        let number = self.last;
        self.deadlines.insert((waiter.until, number));
        self.by_source.insert(waiter.source, number);
        if let Some(same) = self.by_read.get_mut(&waiter.request.read) {
            same.insert(number);
        } else {
            let read = Arc::new(waiter.request.read.clone());
            self.watched.insert(&read);
            self.by_read.insert(read, BTreeSet::from([number]));
        }
        self.waiters.insert(number, waiter);
    }

    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        self.deadlines.remove(&(waiter.until, number));
        self.by_source.remove(&waiter.source);
        if let Some(same) = self.by_read.get_mut(&waiter.request.read) {
            same.remove(&number);
            if same.is_empty() {
                self.by_read.remove(&waiter.request.read);
                self.watched.remove(&waiter.request.read);
            }
        }
        Some(waiter)
    }
}

impl Engine {
    /// Answers a question from the view as it is now, or parks it when it waits for a change that has not come.
    pub(crate) fn answer_or_wait(&mut self, now: Time, source: Source, hops: u8, request: ReadRequest) {
        let Some(server) = &self.server else { return };
        let (answer, index) = server.store.view().read(&request.read);
        match request.wait.filter(|wait| wait.index.0 > 0 && index <= wait.index) {
            Some(_) if self.waiting.len() >= MAX_WAITERS => {
                self.count("waiters_overflow");
                self.reply(source, Reply::Refused(Refusal::Busy));
            }
            Some(wait) => {
                let until = now + wait.timeout;
                self.waiting.insert(Waiter { source, hops, request, wait, until });
            }
            None => {
                let reply = self.read_reply(now, answer, index);
                self.reply(source, reply);
            }
        }
    }

    /// Parks a question about a state that this server has not reached yet.
    pub(crate) fn wait_for_index(&mut self, now: Time, index: LogIndex, job: Job) {
        let until = job.arrived + self.config.patience.reply;
        if until <= now {
            self.reply(job.source, Reply::Refused(Refusal::TimedOut));
        } else if self.waiting.len() >= MAX_WAITERS {
            self.count("waiters_overflow");
            self.reply(job.source, Reply::Refused(Refusal::Busy));
        } else {
            let waiting = &mut self.waiting;
            waiting.last += 1;
            waiting.behind_until.insert((until, index, waiting.last));
            waiting.behind.insert((index, waiting.last), Behind { job, until });
        }
    }

    /// Asks anew what this server is now far enough for.
    pub(crate) fn answer_behind(&mut self, now: Time) {
        let Some(applied) = self.store().map(|store| store.applied_index()) else { return };
        while let Some(first) = self.waiting.behind.first_entry().filter(|first| first.key().0 <= applied) {
            let ((index, number), one) = first.remove_entry();
            let job = self.waiting.unlist(index, number, one);
            self.ask_anew(now, job);
        }
    }

    /// Looks again at every question that a write may concern. One look too many costs a look; one too few is a bug.
    pub(crate) fn wake(&mut self, now: Time, touched: &Touched) {
        if touched.is_empty() || self.waiting.by_read.is_empty() {
            return;
        }
        let Some(view) = self.server.as_ref().map(|server| server.store.view()) else { return };
        let concerned = self.waiting.watched.concerned_by(touched);
        self.look_again(now, &view, concerned);
    }

    /// Looks again at every question: the whole state was replaced.
    pub(crate) fn wake_all(&mut self, now: Time) {
        let Some(view) = self.server.as_ref().map(|server| server.store.view()) else { return };
        self.look_again(now, &view, self.waiting.by_read.keys().cloned().collect());
        self.answer_behind(now);
    }

    fn look_again(&mut self, now: Time, view: &View, reads: BTreeSet<Arc<Read>>) {
        for read in reads {
            let (answer, index) = view.read(&read);
            let changed: Vec<u64> = self.waiting.by_read.get(&read).into_iter().flatten().copied().collect();
            for number in changed {
                if self.waiting.waiters.get(&number).is_none_or(|waiter| index <= waiter.wait.index) {
                    continue;
                }
                if let Some(waiter) = self.waiting.remove(number) {
                    let reply = self.read_reply(now, answer.clone(), index);
                    self.reply(waiter.source, reply);
                }
            }
        }
    }

    /// Time is up: the answer as it is, changed or not.
    pub(crate) fn time_out_waiting(&mut self, now: Time) {
        while let Some((_, number)) = self.waiting.deadlines.first().copied().filter(|(until, _)| *until <= now) {
            let Some(waiter) = self.waiting.remove(number) else { break };
            self.ask_again(now, waiter, None);
        }
        while let Some((_, index, number)) =
            self.waiting.behind_until.first().copied().filter(|(until, ..)| *until <= now)
        {
            let Some(one) = self.waiting.behind.remove(&(index, number)) else { break };
            let job = self.waiting.unlist(index, number, one);
            self.count("questions_ahead_timed_out");
            self.reply(job.source, Reply::Refused(Refusal::TimedOut));
        }
    }

    /// Leadership is gone: questions that wanted a leader's answer wait on at the new one.
    pub(crate) fn move_waiters_to_leader(&mut self, now: Time) {
        let moving: Vec<u64> = self
            .waiting
            .waiters
            .iter()
            .filter(|(_, waiter)| waiter.request.consistency != Consistency::Stale)
            .map(|(number, _)| *number)
            .collect();
        for number in moving {
            if let Some(waiter) = self.waiting.remove(number) {
                let rest = Wait { index: waiter.wait.index, timeout: waiter.until.since(now) };
                self.ask_again(now, waiter, Some(rest));
            }
        }
        for job in self.waiting.take_behind(|_| true) {
            self.ask_anew(now, job);
        }
    }

    /// Forgets the questions of an agent that is gone.
    pub(crate) fn forget_waiters_of(&mut self, agent: quorate_protocol::NodeId) {
        let gone: Vec<u64> = self
            .waiting
            .waiters
            .iter()
            .filter(|(_, waiter)| waiter.source.is_agent(agent))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.waiting.remove(number);
        }
        self.waiting.take_behind(|job| job.source.is_agent(agent));
    }

    fn ask_again(&mut self, now: Time, waiter: Waiter, wait: Option<Wait>) {
        let request = Request { dc: None, ask: Ask::Read(ReadRequest { wait, ..waiter.request }) };
        self.dispatch(now, Job { source: waiter.source, request, hops: waiter.hops, arrived: now });
    }
}
