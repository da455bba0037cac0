//! What ends by itself: this server's clock beside the store's timers, and the leader who says when they are over.
//!
//! ```text
//!   apply ── Touched::timers ──▶ due = now + after      on every server, so that a new leader knows the deadlines
//!                                       │
//!                     due, and this server leads by lease
//!                                       ▼
//!                              Write::Expire {timer, since} ──▶ log ──▶ the store obeys if it still counts from there
//! ```
//!
//! A deadline is never early: it counts from when **this** server applied the write that armed the timer, which is never before that write
//! was committed, and a restart or a snapshot begins to count anew.

use crate::Engine;
use crate::source::{Own, Source};
use quorate_protocol::{Armed, LogIndex, Reply, Time, Timer, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Ends that are on their way through the log at a time. A burst (a thousand clients died together) leaves room for clients' writes.
const MAX_EXPIRING: usize = 1024;

/// When an end that could not be written is tried again: a fortieth of the shortest life of a session.
const RETRY: Duration = Duration::from_millis(50);

/// The deadlines of the timers that are armed, on this server's clock.
#[derive(Debug, Default)]
pub struct Timers {
    running: BTreeMap<Timer, Running>,
    /// Those not on their way through the log.
    by_due: BTreeSet<(Time, Timer)>,
    /// Those that are, by the number of the write.
    expiring: BTreeMap<u64, (Timer, LogIndex)>,
    last: u64,
    /// Nothing is written before this: it could not be a moment ago.
    pause: Time,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    since: LogIndex,
    due: Time,
}

impl Timers {
    /// Counts from now on what is armed: after a restart or a snapshot nobody knows since when it is.
    pub fn rebuild(&mut self, now: Time, armed: Vec<(Timer, Armed)>) {
        // Answers to what is under way still come, and are of no interest then.
        *self = Timers { last: self.last, ..Timers::default() };
        for (timer, armed) in armed {
            self.start(now, timer, armed);
        }
    }

    /// Takes note of what a write armed and disarmed.
    pub fn note(&mut self, now: Time, changes: &[(Timer, Option<Armed>)]) {
        for (timer, armed) in changes {
            self.stop(timer);
            if let Some(armed) = armed {
                self.start(now, timer.clone(), *armed);
            }
        }
    }

    pub fn is_running(&self, timer: &Timer) -> bool {
        self.running.contains_key(timer)
    }

    /// When the next end is to be written, by a leader.
    pub fn deadline(&self) -> Option<Time> {
        let room = self.expiring.len() < MAX_EXPIRING;
        self.by_due.first().filter(|_| room).map(|(due, _)| (*due).max(self.pause))
    }

    /// Forgets what is on its way: whoever leads next writes it again, this server too if it is the one.
    pub fn stop_expiring(&mut self) {
        for (_, (timer, since)) in std::mem::take(&mut self.expiring) {
            self.await_again(timer, since, Time::ZERO);
        }
        self.pause = Time::ZERO;
    }

    fn start(&mut self, now: Time, timer: Timer, armed: Armed) {
        let running = Running { since: armed.since, due: now + armed.after };
        self.by_due.insert((running.due, timer.clone()));
        self.running.insert(timer, running);
    }

    fn stop(&mut self, timer: &Timer) {
        if let Some(running) = self.running.remove(timer) {
            self.by_due.remove(&(running.due, timer.clone()));
        }
    }

    /// The next one that is due, which is on its way from now on.
    fn take_due(&mut self, now: Time) -> Option<(u64, Write)> {
        self.deadline().filter(|due| *due <= now)?;
        let (_, timer) = self.by_due.pop_first()?;
        let since = self.running.get(&timer)?.since;
        self.last += 1;
        self.expiring.insert(self.last, (timer.clone(), since));
        Some((self.last, Write::Expire { timer, since }))
    }

    /// The write was lost. Unless the timer was armed anew or disarmed meanwhile, it is due again, at `earliest`.
    fn await_again(&mut self, timer: Timer, since: LogIndex, earliest: Time) {
        if let Some(running) = self.running.get_mut(&timer).filter(|running| running.since == since) {
            running.due = running.due.max(earliest);
            self.by_due.insert((running.due, timer));
        }
    }
}

impl Engine {
    /// Writes the ends that are due, if this server leads for certain: one that was deposed and does not know yet proposes nothing.
    pub(crate) fn expire_due(&mut self, now: Time) {
        let leads = self.leads_for_certain(now);
        let Some(server) = self.server.as_mut().filter(|server| crate::due(server.timers.deadline(), now)) else {
            return;
        };
        if !leads {
            server.timers.pause = now + RETRY;
            return;
        }
        while let Some((number, write)) = self.server.as_mut().and_then(|server| server.timers.take_due(now)) {
            self.propose(now, Source::Own(Own::Expire(number)), write);
        }
    }

    pub(crate) fn handle_expire_reply(&mut self, now: Time, number: u64, reply: &Reply) {
        let Some(server) = &mut self.server else { return };
        let Some((timer, since)) = server.timers.expiring.remove(&number) else { return };
        if let Reply::Refused(_) = reply {
            server.timers.await_again(timer, since, now + RETRY);
        }
    }

    fn leads_for_certain(&self, now: Time) -> bool {
        self.server.as_ref().is_some_and(|server| server.leader.is_some() && server.raft.holds_lease(now))
    }
}
