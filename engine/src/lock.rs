//! Waiting for locks: a queue per key on the leader.
//!
//! The head of a queue tries when it comes and whenever its key changed, one at a time: nobody is woken in vain, and whoever came first
//! gets the key first. (A plain acquire that arrives while the key is free does not queue.) The queue is the leader's alone; after a change of
//! leader those who wait are passed on in their order. Trying twice is safe: a session that holds the key already holds it on, and what it
//! wrote since stays.

use crate::Engine;
use crate::source::{Job, Own, Source};
use quorate_protocol::{
    Ask, KvWrite, LockRequest, LogIndex, NodeId, Outcome, Refusal, Reply, Request, SessionId, Time, Timer,
    TxnOperation, TxnRead, Write,
};
use quorate_store::Touched;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// More than this many that wait for locks are answered "busy".
const MAX_WAITERS: usize = 16_384;

/// Those who wait for locks.
#[derive(Debug, Default)]
pub struct Locks {
    waiters: BTreeMap<u64, Waiter>,
    queues: BTreeMap<String, Queue>,
    by_source: BTreeMap<Source, u64>,
    deadlines: BTreeSet<(Time, u64)>,
    last: u64,
}

#[derive(Debug)]
struct Waiter {
    source: Source,
    hops: u8,
    lock: LockRequest,
    until: Time,
    /// Whoever asked has gone while its acquire was on its way.
    gone: bool,
    /// While its acquire was on its way, its session was about to acquire the key in another way as well.
    shared: bool,
}

impl Waiter {
    /// What is to be asked anew, with what is left of its wait; nothing where the asker has gone.
    fn into_job(self, now: Time) -> Option<Job> {
        let Waiter { source, hops, lock, until, gone, .. } = self;
        let request = Request::here(Ask::Lock(LockRequest { wait: until.since(now), ..lock }));
        (!gone).then_some(Job { source, request, hops, arrived: now })
    }

    fn key(&self) -> &str {
        &self.lock.pair.key
    }
}

/// Those who wait for one key.
#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they came.
    waiting: VecDeque<u64>,
    /// Whose acquire is on its way.
    trying: Option<u64>,
    /// The key changed since that one was written: its outcome may be out of date.
    changed: bool,
}

impl Locks {
    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    fn enqueue(&mut self, waiter: Waiter) {
        self.last += 1;
        self.by_source.insert(waiter.source, self.last);
        self.deadlines.insert((waiter.until, self.last));
        self.queues.entry(waiter.key().to_owned()).or_default().waiting.push_back(self.last);
        self.waiters.insert(self.last, waiter);
    }

    /// Takes a waiter out.
    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        self.deadlines.remove(&(waiter.until, number));
        self.by_source.remove(&waiter.source);
        if let Some(queue) = self.queues.get_mut(waiter.key()) {
            queue.waiting.retain(|one| *one != number);
            if queue.trying == Some(number) {
                queue.trying = None;
            }
            if queue.waiting.is_empty() {
                self.queues.remove(waiter.key());
            }
        }
        Some(waiter)
    }

    /// Whose turn it is to try for this key; its acquire is on its way from now on.
    fn next_try(&mut self, key: &str) -> Option<(u64, KvWrite)> {
        let queue = self.queues.get_mut(key).filter(|queue| queue.trying.is_none())?;
        let number = *queue.waiting.front()?;
        let waiter = self.waiters.get(&number)?;
        queue.trying = Some(number);
        queue.changed = false;
        Some((number, KvWrite::AcquireOnce { pair: waiter.lock.pair.clone(), session: waiter.lock.session }))
    }

    /// A write goes into the log beside those of the waiters: it may acquire what one of them is about to acquire for the same session.
    pub fn note_acquires(&mut self, write: &Write) {
        match write {
            Write::Kv(write) => self.note_acquire(write),
            Write::Txn(operations) => operations.iter().for_each(|operation| {
                if let TxnOperation::Kv(write) = operation {
                    self.note_acquire(write);
                }
            }),
            _ => {}
        }
    }

    fn note_acquire(&mut self, write: &KvWrite) {
        let (KvWrite::Acquire { pair, session } | KvWrite::AcquireOnce { pair, session }) = write else { return };
        let trying = self.queues.get(&pair.key).and_then(|queue| queue.trying);
        if let Some(waiter) = trying.and_then(|number| self.waiters.get_mut(&number)) {
            waiter.shared |= waiter.lock.session == *session;
        }
    }

    fn move_to_front(&mut self, number: u64) {
        let Some(queue) = self.waiters.get(&number).and_then(|waiter| self.queues.get_mut(waiter.key())) else {
            return;
        };
        queue.waiting.retain(|one| *one != number);
        queue.waiting.push_front(number);
    }

    /// All, in the order in which they came.
    fn take_all(&mut self) -> Vec<Waiter> {
        std::mem::take(self).waiters.into_values().collect()
    }

    /// Whoever asked has gone. Its acquire, if it is on its way, cannot be called back; its lock will be given up.
    pub fn forget(&mut self, source: Source) {
        let Some(number) = self.by_source.remove(&source) else { return };
        let Some(waiter) = self.waiters.get_mut(&number) else { return };
        if self.queues.get(waiter.key()).is_some_and(|queue| queue.trying == Some(number)) {
            waiter.gone = true;
        } else {
            self.remove(number);
        }
    }

    fn of_agent(&self, agent: NodeId) -> Vec<Source> {
        let asked = |source: &Source| matches!(source, Source::Agent { origin, .. } if origin.id == agent);
        self.by_source.keys().filter(|source| asked(source)).copied().collect()
    }
}

impl Engine {
    /// Puts a request for a lock into its queue.
    pub(crate) fn wait_for_lock(&mut self, now: Time, job: Job) {
        let Job { source, hops, arrived, request: Request { ask: Ask::Lock(lock), .. } } = job else { return };
        if self.locks.waiters.len() >= MAX_WAITERS {
            self.count("lock_waiters_overflow");
            return self.reply(source, Reply::Refused(Refusal::Busy));
        }
        if self.holder_of(&lock.pair.key).is_some_and(|(holder, _)| holder == Some(lock.session)) {
            // Whoever holds the key waits for nobody: it is told so, with its token.
            let LockRequest { pair, session, .. } = lock;
            return self.propose(now, source, Write::Kv(KvWrite::AcquireOnce { pair, session }));
        }
        let (key, until) = (lock.pair.key.clone(), arrived + lock.wait);
        self.locks.enqueue(Waiter { source, hops, lock, until, gone: false, shared: false });
        self.try_lock(now, &key);
    }

    fn try_lock(&mut self, now: Time, key: &str) {
        if let Some((number, acquire)) = self.locks.next_try(key) {
            self.propose(now, Source::Own(Own::Lock(number)), Write::Kv(acquire));
        }
    }

    /// What became of an acquire that was written for a waiter.
    pub(crate) fn handle_lock_reply(&mut self, now: Time, number: u64, reply: Reply) {
        let Some(key) = self.locks.waiters.get(&number).map(|waiter| waiter.key().to_owned()) else { return };
        match reply {
            Reply::Written { outcome: Outcome::Held { by }, index } => {
                let changed = self.locks.queues.get_mut(&key).is_some_and(|queue| {
                    queue.trying = None;
                    std::mem::take(&mut queue.changed)
                });
                let is_over = |waiter: &Waiter| waiter.gone || waiter.until <= now;
                let ends = self.locks.waiters.get(&number).is_some_and(is_over);
                if ends {
                    self.end_lock_wait(number, Reply::Written { outcome: Outcome::Held { by }, index });
                }
                if changed || ends {
                    self.try_lock(now, &key);
                }
            }
            Reply::Written { outcome: outcome @ (Outcome::Acquired { .. } | Outcome::Holds { .. }), index } => {
                let session = self.locks.waiters.get(&number).map(|waiter| waiter.lock.session);
                self.hand_over_lock(now, number, outcome, index);
                // It may be free again by now: a write that was applied together with this one woke nobody.
                if self.holder_of(&key).is_some_and(|(holder, _)| holder != session) {
                    self.try_lock(now, &key);
                }
            }
            // Whether it happened or not: asked again, the same session gets the same answer.
            Reply::Refused(Refusal::Unknown) => {
                let waiter = self.locks.remove(number);
                waiter.into_iter().for_each(|waiter| self.dispatch_waiter(now, waiter));
                self.try_lock(now, &key);
            }
            // Whoever refused may still be the leader that is known: asked again in the same breath it would refuse for ever.
            Reply::Refused(refusal @ Refusal::NoLeader) => {
                if let Some(job) = self.locks.remove(number).and_then(|waiter| waiter.into_job(now)) {
                    self.hold(now, job, refusal);
                }
                self.try_lock(now, &key);
            }
            other => {
                self.end_lock_wait(number, other);
                self.try_lock(now, &key);
            }
        }
    }

    /// Tells whoever asked that the lock is theirs; where nobody is left to be told, gives it up again.
    ///
    /// A hold that began before this acquire, that was acquired otherwise meanwhile, or whose key was written to since, is known to somebody
    /// and stays.
    fn hand_over_lock(&mut self, now: Time, number: u64, outcome: Outcome, index: LogIndex) {
        let Some(Waiter { source, lock, gone, shared, .. }) = self.locks.remove(number) else { return };
        if !gone {
            return self.reply(source, Reply::Written { outcome, index });
        }
        if matches!(outcome, Outcome::Acquired { .. }) && !shared {
            self.count("locks_given_up");
            let LockRequest { pair, session, .. } = lock;
            let unchanged = TxnRead::CheckIndex { key: pair.key.clone(), index };
            let release = TxnOperation::Kv(KvWrite::Release { pair, session });
            self.propose(now, Source::Own(Own::GiveUpLock), Write::Txn(vec![unchanged.into(), release]));
        }
    }

    fn end_lock_wait(&mut self, number: u64, reply: Reply) {
        if let Some(Waiter { source, gone: false, .. }) = self.locks.remove(number) {
            self.reply(source, reply);
        }
    }

    /// Lets the heads of the queues try whose keys a write has changed, or whose lock delay it has ended.
    pub(crate) fn wake_locks(&mut self, now: Time, touched: &Touched) {
        if self.locks.queues.is_empty() {
            return;
        }
        let delays = touched.timers().iter().filter_map(|(timer, armed)| match timer {
            Timer::LockDelay(key) if armed.is_none() => Some(key.as_str()),
            _ => None,
        });
        let waited_for = |key: &&str| self.locks.queues.contains_key(*key);
        let keys: BTreeSet<String> = touched.keys().chain(delays).filter(waited_for).map(str::to_owned).collect();
        for key in keys {
            if let Some(queue) = self.locks.queues.get_mut(&key) {
                queue.changed = true;
            }
            self.try_lock(now, &key);
        }
    }

    /// Time is up: the key is held by another.
    pub(crate) fn time_out_locks(&mut self, now: Time) {
        while self.locks.deadline().is_some_and(|until| until <= now) {
            let Some((_, number)) = self.locks.deadlines.pop_first() else { return };
            let Some(waiter) = self.locks.waiters.get(&number) else { continue };
            // One whose acquire is on its way is answered by its outcome.
            if self.locks.queues.get(waiter.key()).is_some_and(|queue| queue.trying == Some(number)) {
                continue;
            }
            let (key, session) = (waiter.key().to_owned(), waiter.lock.session);
            let (by, index) = self.holder_of(&key).unwrap_or_default();
            if by == Some(session) {
                // It got the key by an earlier acquire, of which nobody was told: its last try tells.
                self.locks.move_to_front(number);
            } else {
                self.end_lock_wait(number, Reply::Written { outcome: Outcome::Held { by }, index });
            }
            self.try_lock(now, &key);
        }
    }

    fn holder_of(&self, key: &str) -> Option<(Option<SessionId>, LogIndex)> {
        let store = self.store()?;
        Some((store.view().entry(key).and_then(|row| row.lock.session), store.applied_index()))
    }

    /// Leadership is gone: those who wait go on at the new leader, the first first.
    pub(crate) fn move_lock_waiters(&mut self, now: Time) {
        self.locks.take_all().into_iter().for_each(|waiter| self.dispatch_waiter(now, waiter));
    }

    fn dispatch_waiter(&mut self, now: Time, waiter: Waiter) {
        if let Some(job) = waiter.into_job(now) {
            self.dispatch(now, job);
        }
    }

    /// Forgets those of an agent that is gone.
    pub(crate) fn forget_locks_of(&mut self, agent: NodeId) {
        self.locks.of_agent(agent).into_iter().for_each(|source| self.locks.forget(source));
    }
}
