//! What ends by itself, on this server's clock.
//!
//! Every server notes when it applied the entry from which something counts, so a new leader knows the deadlines too: they can only be
//! later than the old leader's, never earlier. Only a leader with a valid lease writes an end into the log, and the store obeys only
//! if nothing began anew meanwhile.

use crate::Engine;
use crate::source::{Own, Source};
use quorate_protocol::{Armed, LogIndex, Time, Timer, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An end that was written and not applied after this long is written again: its entry was lost with a leader.
const RETRY: Duration = Duration::from_secs(1);
/// A leader without a lease looks again after this: either it gets it back or another leads.
const LEASE_RETRY: Duration = Duration::from_millis(20);
/// Ends written at a time: a thousand sessions that end together do not fill the queue of proposals.
const MAX_AT_ONCE: usize = 1024;

/// Deadlines on this server's clock.
#[derive(Debug, Default)]
pub struct Timers {
    noted: BTreeMap<Timer, Noted>,
    /// The same by when they are due.
    due: BTreeSet<(Time, Timer)>,
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    since: LogIndex,
    due: Time,
}

impl Timers {
    /// Forgets all and notes these, as if they were armed just now: late perhaps, early never.
    pub fn restart(&mut self, now: Time, armed: Vec<(Timer, Armed)>) {
        *self = Timers::default();
        armed.into_iter().for_each(|(timer, armed)| self.note(now, timer, Some(armed)));
    }

    /// Takes note of what an entry that was applied just now has armed or disarmed.
    pub fn note(&mut self, now: Time, timer: Timer, armed: Option<Armed>) {
        if let Some(Noted { due, .. }) = self.noted.remove(&timer) {
            self.due.remove(&(due, timer.clone()));
        }
        if let Some(Armed { since, after }) = armed {
            self.insert(timer, Noted { since, due: now + after });
        }
    }

    /// When the first is due.
    pub fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    fn insert(&mut self, timer: Timer, noted: Noted) {
        self.due.insert((noted.due, timer.clone()));
        self.noted.insert(timer, noted);
    }

    /// Those that are due, which are due again after [`RETRY`].
    fn take_due(&mut self, now: Time) -> Vec<(Timer, LogIndex)> {
        let mut taken = Vec::new();
        while taken.len() < MAX_AT_ONCE
            && self.due.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, timer)) = self.due.pop_first()
        {
            if let Some(noted) = self.noted.remove(&timer) {
                self.insert(timer.clone(), Noted { due: now + RETRY, ..noted });
                taken.push((timer, noted.since));
            }
        }
        taken
    }
}

impl Engine {
    /// Writes the ends that are due into the log, while this server surely leads.
    pub(crate) fn time_out_timers(&mut self, now: Time) {
        let Some(server) = self.server.as_mut().filter(|server| server.leads()) else { return };
        if server.lease_awaited.is_some_and(|awaited| awaited > now) {
            return;
        }
        // What was due may be gone by now, and then nothing is awaited.
        server.lease_awaited = None;
        if !crate::due(server.timers.deadline(), now) {
            return;
        }
        if !server.raft.holds_lease(now) {
            return server.lease_awaited = Some(now + LEASE_RETRY);
        }
        for (timer, since) in server.timers.take_due(now) {
            self.propose(now, Source::Own(Own::Expire), Write::Expire { timer, since });
        }
    }
}
