//! Waiting for a lock: one queue for each key, on the leader.
//!
//! ```text
//!   Ask::Lock ──▶ queue of its key ── head, when the key may be free ──▶ KvWrite::Acquire ──▶ Acquired: told, and gone
//!                     ▲   │                                                     │
//!                     │   └── time is up: told who holds it                     └ Held: waits on
//!                     └────── the key changed (News): the head tries again
//! ```
//!
//! * Of one key at most one acquire is on its way, that of the head: whoever waits gets the lock in the order in which it came, and a
//!   release wakes one, not all.
//! * The queues are in memory: a leader that loses its office sends the waiters on to the next one, oldest first. Acquiring twice
//!   for one session is acquiring once, so that is safe even where the first one may have been done.

use crate::Engine;
use crate::news::News;
use crate::source::{Job, Own, Source};
use quorate_protocol::{
    Ask, KvRead, KvWrite, LockRequest, LogIndex, NodeId, Outcome, Read, Refusal, Reply, SessionId, Time, Timer,
    TxnOperation, TxnRead, Write,
};
use std::collections::{BTreeMap, BTreeSet};

/// More than this many waiters are answered "busy".
const MAX_WAITERS: usize = 16_384;

/// Those who wait for locks.
#[derive(Debug, Default)]
pub struct Locks {
    /// By number, in the order in which they came.
    waiters: BTreeMap<u64, Waiter>,
    by_key: BTreeMap<String, Queue>,
    by_source: BTreeMap<Source, u64>,
    deadlines: BTreeSet<(Time, u64)>,
    last: u64,
}

#[derive(Debug)]
struct Waiter {
    job: Job,
    request: LockRequest,
    until: Time,
    /// Whoever asked no longer wants the answer; the acquire that is on its way may still succeed.
    gone: bool,
}

/// Who waits for one key.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeSet<u64>,
    /// The one whose acquire is on its way.
    trying: Option<u64>,
    /// Whether the key changed since that left: what it finds may not be so any more.
    changed: bool,
}

impl Locks {
    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Lets go of one whose asker has gone. If its acquire is on its way, it stays until that is back.
    pub fn forget(&mut self, source: Source) {
        if let Some(number) = self.by_source.remove(&source) {
            let trying =
                self.waiters.get(&number).is_some_and(|waiter| self.is_trying(number, &waiter.request.pair.key));
            if let Some(waiter) = self.waiters.get_mut(&number).filter(|_| trying) {
                waiter.gone = true;
                self.deadlines.remove(&(waiter.until, number));
            } else {
                self.remove(number);
            }
        }
    }

    /// Those asked for by another agent.
    fn sources_at(&self, agent: NodeId) -> Vec<Source> {
        let its = |source: &Source| matches!(source, Source::Agent { origin, .. } if origin.id == agent);
        self.by_source.keys().copied().filter(its).collect()
    }

    fn is_trying(&self, number: u64, key: &str) -> bool {
        self.by_key.get(key).is_some_and(|queue| queue.trying == Some(number))
    }

    fn insert(&mut self, waiter: Waiter) {
        self.last += 1;
        self.by_key.entry(waiter.request.pair.key.clone()).or_default().waiting.insert(self.last);
        self.by_source.insert(waiter.job.source, self.last);
        self.deadlines.insert((waiter.until, self.last));
        self.waiters.insert(self.last, waiter);
    }

    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        self.deadlines.remove(&(waiter.until, number));
        if self.by_source.get(&waiter.job.source) == Some(&number) {
            self.by_source.remove(&waiter.job.source);
        }
        let key = &waiter.request.pair.key;
        if let Some(queue) = self.by_key.get_mut(key) {
            queue.waiting.remove(&number);
            if queue.waiting.is_empty() {
                self.by_key.remove(key);
            }
        }
        Some(waiter)
    }

    fn take_all(&mut self) -> Vec<Waiter> {
        self.by_key.clear();
        self.by_source.clear();
        self.deadlines.clear();
        std::mem::take(&mut self.waiters).into_values().filter(|waiter| !waiter.gone).collect()
    }
}

impl Engine {
    /// Acquires a key now or as soon as it is free.
    pub(crate) fn lock(&mut self, now: Time, job: Job) {
        let Ask::Lock(request) = &job.request.ask else { return };
        let Some(server) = &mut self.server else { return };
        let key = request.pair.key.clone();
        let holds = server.holder_of(&key) == Some(request.session);
        if holds || request.wait.is_zero() {
            // Nothing to wait for: whoever holds it already does not queue behind those who wait for its end.
            let write = Write::Kv(KvWrite::Acquire { pair: request.pair.clone(), session: request.session });
            return self.propose(now, job.source, write);
        }
        if server.locks.waiters.len() >= MAX_WAITERS {
            self.count("lock_waiters_overflow");
            return self.reply(job.source, Reply::Refused(Refusal::Busy));
        }
        let (request, until) = (request.clone(), job.arrived + request.wait);
        server.locks.insert(Waiter { job, request, until, gone: false });
        self.try_head(now, &key);
    }

    /// Tries again for keys that a batch of writes may have freed.
    pub(crate) fn try_freed_locks(&mut self, now: Time, news: &News) {
        let Some(server) = &self.server else { return };
        let queues = &server.locks.by_key;
        if queues.is_empty() {
            return;
        }
        let named = news.keys().chain(news.freed()).filter(|key| queues.contains_key(*key)).cloned();
        let mut keys: BTreeSet<String> = named.collect();
        if news.is_wide() {
            let changed = |key: &String| news.widely_concerns(&Read::Kv(KvRead::Get { key: key.clone() }));
            keys.extend(queues.keys().filter(|key| changed(key)).cloned());
        }
        for key in keys {
            if let Some(queue) = self.server.as_mut().and_then(|server| server.locks.by_key.get_mut(&key)) {
                queue.changed = true;
            }
            self.try_head(now, &key);
        }
    }

    /// The state was replaced: any lock may be free.
    pub(crate) fn try_all_locks(&mut self, now: Time) {
        let keys: Vec<String> = self.server.iter().flat_map(|server| server.locks.by_key.keys().cloned()).collect();
        keys.iter().for_each(|key| self.try_head(now, key));
    }

    /// Sends the acquire of the first in the queue of a key, unless one is on its way or the key is known to be held.
    fn try_head(&mut self, now: Time, key: &str) {
        let Some(server) = &mut self.server else { return };
        let held = server.holder_of(key).is_some() || server.timers.is_running(&Timer::LockDelay(key.to_owned()));
        let Some(queue) = server.locks.by_key.get_mut(key).filter(|queue| queue.trying.is_none()) else { return };
        let Some(number) = queue.waiting.first().copied() else { return };
        let Some(waiter) = server.locks.waiters.get(&number) else { return };
        let LockRequest { pair, session, .. } = &waiter.request;
        // One whose session is not there is told so at once.
        if held && server.store.view().session(*session).is_some() {
            return;
        }
        let write = Write::Kv(KvWrite::Acquire { pair: pair.clone(), session: *session });
        (queue.trying, queue.changed) = (Some(number), false);
        self.propose(now, Source::Own(Own::Lock(number)), write);
    }

    /// Takes what became of the acquire of a waiter.
    pub(crate) fn handle_lock_reply(&mut self, now: Time, number: u64, reply: Reply) {
        let Some(server) = &mut self.server else { return };
        let Some(waiter) = server.locks.waiters.get(&number) else { return };
        let (key, gone, until) = (waiter.request.pair.key.clone(), waiter.gone, waiter.until);
        let changed = server.locks.by_key.get_mut(&key).is_some_and(|queue| {
            queue.trying = None;
            std::mem::take(&mut queue.changed)
        });
        let waits_on = matches!(reply, Reply::Written { outcome: Outcome::Held { .. }, .. }) && !gone && now < until;
        if waits_on {
            if changed {
                self.try_head(now, &key);
            }
            return;
        }
        let Some(Waiter { job, request, .. }) = server.locks.remove(number) else { return };
        match reply {
            Reply::Written { outcome: Outcome::Acquired { token }, index } if gone => {
                self.release_for_nobody(now, request, token, index);
            }
            // Nobody is told; the session's own end frees what it may hold.
            _ if gone => {}
            Reply::Refused(Refusal::NoLeader | Refusal::Unknown) => self.ask_anew(now, job),
            reply => self.reply(job.source, reply),
        }
        self.try_head(now, &key);
    }

    /// Whoever asked has gone, and can never be told that it holds the key. A hold that began earlier is its own, and one that somebody has
    /// written to since is known to somebody.
    fn release_for_nobody(&mut self, now: Time, request: LockRequest, token: LogIndex, index: LogIndex) {
        if token != index {
            return;
        }
        let LockRequest { pair, session, .. } = request;
        let unchanged = TxnRead::CheckIndex { key: pair.key.clone(), index };
        let release = TxnOperation::Kv(KvWrite::Release { pair, session });
        self.count("locks_released_for_nobody");
        self.propose(now, Source::Own(Own::Unlock), Write::Txn(vec![unchanged.into(), release]));
    }

    /// Time is up: told who holds it.
    pub(crate) fn time_out_locks(&mut self, now: Time) {
        while let Some(server) = &mut self.server {
            let Some((until, number)) = server.locks.deadlines.first().copied().filter(|(until, _)| *until <= now)
            else {
                return;
            };
            let key =
                server.locks.waiters.get(&number).map(|waiter| waiter.request.pair.key.clone()).unwrap_or_default();
            if server.locks.is_trying(number, &key) {
                // What comes back is the answer.
                server.locks.deadlines.remove(&(until, number));
                continue;
            }
            let (by, index) = (server.holder_of(&key), server.store.applied_index());
            if let Some(waiter) = server.locks.remove(number) {
                self.reply(waiter.job.source, Reply::Written { outcome: Outcome::Held { by }, index });
            }
        }
    }

    /// Leadership is gone: those who wait go on to wait at the next leader, oldest first.
    pub(crate) fn move_locks_to_leader(&mut self, now: Time) {
        let waiters = self.server.as_mut().map(|server| server.locks.take_all()).unwrap_or_default();
        waiters.into_iter().for_each(|waiter| self.ask_anew(now, waiter.job));
    }

    /// Forgets the waiters of an agent that is gone.
    pub(crate) fn forget_locks_of(&mut self, agent: NodeId) {
        if let Some(server) = &mut self.server {
            server.locks.sources_at(agent).into_iter().for_each(|source| server.locks.forget(source));
        }
    }
}

impl crate::server::Server {
    fn holder_of(&self, key: &str) -> Option<SessionId> {
        self.store.view().entry(key).and_then(|row| row.lock.session)
    }
}
