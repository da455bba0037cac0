//! Requests for which there is nobody yet: held for a moment, since most elections end within it.

use crate::Engine;
use crate::source::{Job, Source};
use quorate_protocol::{Refusal, Reply, Time};
use std::collections::BTreeMap;

/// More than this many are answered "busy": an agent that cannot find a leader must not fill its memory with waiting requests.
const MAX_HELD: usize = 16_384;

/// Requests that wait for a leader or a server, by when they are given up.
#[derive(Debug, Default)]
pub struct Holding {
    jobs: BTreeMap<(Time, u64), (Job, Refusal)>,
    next: u64,
}

impl Holding {
    pub fn deadline(&self) -> Option<Time> {
        self.jobs.first_key_value().map(|((until, _), _)| *until)
    }

    pub fn forget(&mut self, source: Source) {
        self.jobs.retain(|_, (job, _)| job.source != source);
    }
}

impl Engine {
    /// Keeps a request until somebody can serve it, or refuses it when it has waited long enough.
    pub(crate) fn hold(&mut self, now: Time, job: Job, refusal: Refusal) {
        let until = job.arrived + self.config.patience.leader;
        if until <= now {
            self.reply(job.source, Reply::Refused(refusal));
        } else if self.holding.jobs.len() >= MAX_HELD {
            self.count("requests_held_overflow");
            self.reply(job.source, Reply::Refused(Refusal::Busy));
        } else {
            self.holding.next += 1;
            self.holding.jobs.insert((until, self.holding.next), (job, refusal));
        }
    }

    /// Tries the held requests again: a leader or a server has appeared.
    pub(crate) fn release_held(&mut self, now: Time) {
        for (_, (job, _)) in std::mem::take(&mut self.holding.jobs) {
            self.dispatch(now, job);
        }
    }

    pub(crate) fn time_out_holding(&mut self, now: Time) {
        while self.holding.deadline().is_some_and(|until| until <= now) {
            if let Some((_, (job, refusal))) = self.holding.jobs.pop_first() {
                self.reply(job.source, Reply::Refused(refusal));
            }
        }
    }
}
