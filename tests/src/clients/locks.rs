//! Clients that make sessions and hold keys with them. Some forget to renew, some never let go.

use super::keys::{LOCKS, Place, content, lock_key};
use super::{Clients, Purpose, Wish, get};
use crate::checks::lock_has_one_owner::{Ending, Grant};
use crate::happened::Happening;
use crate::history::{Call, Op, Told};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{
    Ask, Behavior, Consistency, KvWrite, LockRequest, Outcome, Pair, ReadRequest, Reply, Session, SessionId,
    SessionWrite, Time, TxnOperation, TxnRead, Write,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// A client with its session, if it has one.
#[derive(Debug, Default)]
pub(super) struct Locker {
    mine: Option<Mine>,
}

#[derive(Debug)]
struct Mine {
    id: SessionId,
    lifetime: Duration,
    /// When the last renewal that is known to have happened was asked for.
    renewed: Time,
    /// Whether it goes on renewing.
    renews: bool,
    /// Whether it ends only by its own doing.
    is_its_own: bool,
    /// Which locks it holds, with their fencing tokens.
    holds: BTreeMap<usize, quorate_protocol::LogIndex>,
}

/// What a request about sessions and locks is for.
#[derive(Debug)]
pub(super) enum Step {
    Create {
        is_its_own: bool,
    },
    Renew(SessionId),
    Destroy(SessionId),
    Acquire {
        session: SessionId,
        lock: usize,
        in_turn: bool,
    },
    Release {
        session: SessionId,
        lock: usize,
    },
    /// A question, or a write that asks for nothing that the client remembers.
    Look,
}

/// What clients know of who holds locks.
#[derive(Debug)]
pub enum LockNews {
    /// A key was granted.
    Granted(Grant),
    /// A session certainly lives until then.
    Lives(SessionId, Time),
}

impl Clients {
    pub(super) fn wish_about_locks(&mut self, now: Time, client: usize) -> Wish {
        let lock = self.dice.below(LOCKS);
        let key = lock_key(lock);
        let read = match self.dice.below(3) {
            0 => Consistency::Consistent,
            _ => Consistency::Default,
        };
        let locker = self.lockers.entry(client).or_default();
        // Whoever does not renew learns of its end only by being refused, or by its own clock.
        if locker.mine.as_ref().is_some_and(|mine| !mine.renews && now.since(mine.renewed) > mine.lifetime * 2) {
            locker.mine = None;
        }
        let Some(mine) = locker.mine.as_mut().filter(|_| !self.quiet) else {
            return if self.quiet || self.dice.chance(0.3) {
                self.wish_to_look_at_lock(now, client, key, read)
            } else {
                self.wish_for_a_session()
            };
        };
        let id = mine.id;
        if mine.renews && now.since(mine.renewed) > mine.lifetime / 4 {
            mine.renews = !self.dice.chance(0.12);
            let renew = Write::Session(SessionWrite::Renew { id });
            return Wish::new(Ask::Write(renew), Purpose::Lock(Step::Renew(id), Vec::new()));
        }
        let held = mine.holds.keys().next().copied();
        let token = mine.holds.get(&lock).copied();
        match (self.dice.below(20), held) {
            (0..5, _) => self.wish_to_acquire(now, client, lock, id),
            (5..10, _) => self.wish_to_wait_for_lock(now, client, lock, id),
            (10..13, Some(held)) => self.wish_to_release(now, client, held, id),
            (13, None) => self.wish_to_release(now, client, lock, id),
            (14, _) if self.dice.chance(0.5) => {
                let destroy = Write::Session(SessionWrite::Destroy { id });
                let ending = Some(Ending { session: Some(id), key: None });
                Wish { ending, ..Wish::new(Ask::Write(destroy), Purpose::Lock(Step::Destroy(id), Vec::new())) }
            }
            (15, _) if self.dice.chance(0.2) => {
                let ending = Some(Ending { session: None, key: Some(self.keys[key].name.clone()) });
                Wish { ending, ..self.wish_to_write(now, client, key, Call::Delete) }
            }
            (16, _) => {
                let value = self.next_value();
                self.wish_to_write(now, client, key, Call::Put { value })
            }
            (17 | 18, _) => match token {
                Some(token) => self.wish_to_write_as_owner(now, client, key, token),
                None => self.wish_to_look_at_lock(now, client, key, read),
            },
            _ => self.wish_to_look_at_lock(now, client, key, read),
        }
    }

    fn wish_for_a_session(&mut self) -> Wish {
        let is_checked = self.dice.chance(0.25);
        let session = Session {
            name: "simulated".into(),
            node_checks: if is_checked { vec![SERF_HEALTH.to_owned()] } else { Vec::new() },
            lock_delay: if self.dice.chance(0.5) {
                Duration::ZERO
            } else {
                self.dice.between(Duration::from_millis(200), Duration::from_secs(3))
            },
            behavior: if self.dice.chance(0.3) { Behavior::Delete } else { Behavior::Release },
            ttl: Some(self.dice.between(Duration::from_secs(1), Duration::from_secs(4))),
            exact_ttl: self.dice.chance(0.5),
            ..Session::default()
        };
        let create = Write::Session(SessionWrite::Create(Box::new(session)));
        Wish::new(Ask::Write(create), Purpose::Lock(Step::Create { is_its_own: !is_checked }, Vec::new()))
    }

    fn wish_to_acquire(&mut self, now: Time, client: usize, lock: usize, session: SessionId) -> Wish {
        let value = self.next_value();
        let Wish { ask, .. } = self.wish_to_write(now, client, lock_key(lock), Call::Acquire { session, value });
        let place = self.last_place(lock_key(lock));
        Wish::new(ask, Purpose::Lock(Step::Acquire { session, lock, in_turn: false }, vec![place]))
    }

    fn wish_to_wait_for_lock(&mut self, now: Time, client: usize, lock: usize, session: SessionId) -> Wish {
        let value = self.next_value();
        let key = lock_key(lock);
        let pair = Pair { key: self.keys[key].name.clone(), value: content(value), flags: value, ttl: None };
        let place = self.begin(now, client, key, Call::AcquireOnce { session, value });
        let wait = self.dice.between(Duration::from_millis(100), Duration::from_secs(4));
        let ask = Ask::Lock(LockRequest { pair, session, wait });
        Wish::new(ask, Purpose::Lock(Step::Acquire { session, lock, in_turn: true }, vec![place]))
    }

    fn wish_to_release(&mut self, now: Time, client: usize, lock: usize, session: SessionId) -> Wish {
        let value = self.next_value();
        let key = lock_key(lock);
        let Wish { ask, .. } = self.wish_to_write(now, client, key, Call::Release { session, value });
        let place = self.last_place(key);
        let ending = Some(Ending { session: Some(session), key: Some(self.keys[key].name.clone()) });
        Wish { ending, ..Wish::new(ask, Purpose::Lock(Step::Release { session, lock }, vec![place])) }
    }

    /// A write that carries a fencing token, as a resource that is guarded by the lock would see it.
    fn wish_to_write_as_owner(
        &mut self,
        now: Time,
        client: usize,
        key: usize,
        token: quorate_protocol::LogIndex,
    ) -> Wish {
        let value = self.next_value();
        let name = self.keys[key].name.clone();
        let pair = Pair { key: name.clone(), value: content(value), flags: value, ttl: None };
        let check = TxnRead::CheckToken { key: name, token };
        let operations = vec![check.into(), TxnOperation::Kv(KvWrite::Put { pair, cas: None })];
        let place = self.begin(now, client, key, Call::Put { value });
        Wish::new(Ask::Write(Write::Txn(operations)), Purpose::Keys(vec![place]))
    }

    fn wish_to_look_at_lock(&mut self, now: Time, client: usize, key: usize, consistency: Consistency) -> Wish {
        let request = ReadRequest { consistency, ..ReadRequest::now(get(&self.keys[key].name)) };
        let place = Place { read: Some(consistency), ..self.begin(now, client, key, Call::Get) };
        Wish::new(Ask::Read(request), Purpose::Lock(Step::Look, vec![place]))
    }

    /// The operation of a request to wait for a lock, as it was asked.
    pub(super) fn wait_of(&self, step: &Step, places: &[Place]) -> Option<(Place, Op)> {
        let Step::Acquire { in_turn: true, .. } = step else { return None };
        let place = *places.first()?;
        Some((place, self.keys[place.key].history[place.op].clone()))
    }

    /// A request to wait for a lock has ended. What it may have done without telling: the leader writes acquires for it, gives up what it gets for
    /// somebody who has gone, and an agent that loses sight of it asks again, so that there may be `untold` acquires beside the one that was told.
    pub(super) fn wait_ended(&mut self, place: Place, asked: Op, untold: usize) {
        let Call::AcquireOnce { session, value } = asked.call else { return };
        let give_up = Op { call: Call::GiveUp { session, value }, ..asked.clone() };
        let history = &mut self.keys[place.key].history;
        let op = &mut history[place.op];
        if matches!(op.result, Some((_, Told::Held { .. }))) {
            // Time was up. Who held it then is what the server had heard last, which is no more than a stale read.
            *op = Op { call: Call::Get, result: None, ..op.clone() };
        }
        let is_open = op.call == asked.call && op.result.is_none();
        history.extend(is_open.then(|| give_up.clone()));
        history.extend(std::iter::repeat_n(asked, untold));
        history.extend((untold > 0).then_some(give_up));
    }

    fn last_place(&self, key: usize) -> Place {
        Place { key, op: self.keys[key].history.len() - 1, read: None }
    }

    /// What a client learns from an answer about its session or a lock.
    pub(super) fn lock_answered(
        &mut self,
        now: Time,
        asked: Time,
        client: usize,
        step: Step,
        reply: &Reply,
    ) -> Vec<LockNews> {
        let Reply::Written { outcome, .. } = reply else { return Vec::new() };
        let mine = &mut self.lockers.entry(client).or_default().mine;
        match (step, outcome) {
            (Step::Create { is_its_own }, Outcome::Session(Some(row))) => {
                self.happened.once(Happening::Session);
                let lifetime = row.lifetime().unwrap_or_default();
                *mine = Some(Mine {
                    id: row.id,
                    lifetime,
                    renewed: asked,
                    renews: true,
                    is_its_own,
                    holds: BTreeMap::new(),
                });
                let deletes = row.behavior == Behavior::Delete;
                for lock in 0..LOCKS {
                    self.begin(asked, client, lock_key(lock), Call::Free { session: row.id, deletes });
                }
                certain_life(row.id, lifetime, asked, is_its_own)
            }
            (Step::Renew(id), Outcome::Session(Some(_))) => match mine.as_mut().filter(|mine| mine.id == id) {
                Some(mine) => {
                    mine.renewed = asked;
                    certain_life(id, mine.lifetime, asked, mine.is_its_own)
                }
                None => Vec::new(),
            },
            (Step::Renew(id), Outcome::Session(None)) | (Step::Destroy(id), Outcome::Done) => {
                mine.take_if(|mine| mine.id == id);
                Vec::new()
            }
            (Step::Acquire { session, lock, in_turn }, Outcome::Acquired { token } | Outcome::Holds { token }) => {
                self.happened.once(Happening::LockGranted);
                if in_turn && now.since(asked) > Duration::from_millis(200) {
                    self.happened.once(Happening::LockGrantedInTurn);
                }
                if let Some(mine) = mine.as_mut().filter(|mine| mine.id == session) {
                    mine.holds.insert(lock, *token);
                }
                let key = self.keys[lock_key(lock)].name.clone();
                vec![LockNews::Granted(Grant { key, session, token: *token, asked })]
            }
            (Step::Acquire { session, .. }, Outcome::Refused(_)) => {
                mine.take_if(|mine| mine.id == session);
                Vec::new()
            }
            (Step::Release { session, lock }, _) => {
                if let Some(mine) = mine.as_mut().filter(|mine| mine.id == session) {
                    mine.holds.remove(&lock);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

/// The leader's clock may run fast by a hundredth.
fn certain_life(id: SessionId, lifetime: Duration, asked: Time, is_its_own: bool) -> Vec<LockNews> {
    if is_its_own { vec![LockNews::Lives(id, asked + lifetime - lifetime / 100)] } else { Vec::new() }
}
