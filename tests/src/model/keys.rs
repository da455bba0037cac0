//! Keys, and who holds them.

use super::{Expectation, State};
use quorate_protocol::{Armed, Behavior, Entry, KvWrite, LogIndex, Pair, Row, SessionId, Timer};
use std::time::Duration;

/// A key. The world's values are numbers, which their flags say, so that no value has to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyState {
    /// The number of its value.
    pub value: u64,
    /// When it was made.
    pub created: LogIndex,
    /// When it last changed.
    pub modified: LogIndex,
    /// How often it was acquired.
    pub count: u64,
    /// Who holds it.
    pub holder: Option<SessionId>,
    /// The fencing token of the present or last hold.
    pub token: LogIndex,
    /// How long it lives unless it is set again.
    pub ttl: Option<Duration>,
}

/// What a key was from an index on, until the next version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// From this index on.
    pub index: LogIndex,
    /// What it was; none where it was not there.
    pub state: Option<KeyState>,
}

impl KeyState {
    /// What a row shows.
    pub fn of(row: &Row<Entry>) -> KeyState {
        KeyState {
            value: row.flags,
            created: row.create_index,
            modified: row.modify_index,
            count: row.lock.count,
            holder: row.lock.session,
            token: row.lock.token,
            ttl: row.ttl,
        }
    }
}

impl State {
    pub(super) fn apply_kv(&mut self, index: LogIndex, write: &KvWrite) -> Expectation {
        match write {
            KvWrite::Put { pair, cas } => match self.unmatched(&pair.key, *cas) {
                Some(found) => Expectation::Unmatched(found),
                None => {
                    self.set(index, pair, |_| {});
                    Expectation::Done
                }
            },
            KvWrite::Acquire { pair, session } => self.acquire(index, pair, *session),
            KvWrite::AcquireOnce { pair, session } => match self.keys.get(&pair.key) {
                Some(KeyState { holder: Some(holder), token, .. }) if holder == session => Expectation::Holds(*token),
                _ => self.acquire(index, pair, *session),
            },
            KvWrite::Release { pair, session } => match self.holder(&pair.key) {
                Some(holder) if holder == *session => {
                    self.set(index, pair, |key| key.holder = None);
                    Expectation::Done
                }
                holder => Expectation::Held(holder),
            },
            // What is not there is removed whatever was expected.
            KvWrite::Delete { key, cas } => match self.unmatched(key, *cas).filter(|found| *found > LogIndex::ZERO) {
                Some(found) => Expectation::Unmatched(found),
                None => {
                    self.remove(key);
                    Expectation::Done
                }
            },
            KvWrite::DeletePrefix { prefix } => {
                let keys: Vec<String> = self.keys.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
                keys.iter().for_each(|key| self.remove(key));
                Expectation::Done
            }
        }
    }

    /// Ends a session, and lets go of what it held; false where there is none.
    pub(super) fn end_session(&mut self, index: LogIndex, id: SessionId) -> bool {
        let Some(session) = self.sessions.remove(&id) else { return false };
        self.timers.remove(&Timer::Session(id));
        let held = |key: &KeyState| key.holder == Some(id);
        let keys: Vec<String> = self.keys.iter().filter(|(_, state)| held(state)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            match session.behavior {
                Behavior::Delete => self.remove(&key),
                Behavior::Release => {
                    if let Some(state) = self.keys.get_mut(&key) {
                        state.holder = None;
                        state.modified = index;
                        self.touched.insert(key.clone());
                    }
                }
            }
            if !session.lock_delay.is_zero() {
                let armed = Armed { since: index, after: session.lock_delay };
                self.timers.insert(Timer::LockDelay(key), armed);
            }
        }
        true
    }

    fn acquire(&mut self, index: LogIndex, pair: &Pair, session: SessionId) -> Expectation {
        if !self.sessions.contains_key(&session) {
            return Expectation::Refused;
        }
        match self.holder(&pair.key) {
            Some(holder) if holder == session => self.set(index, pair, |_| {}),
            None if !self.timers.contains_key(&Timer::LockDelay(pair.key.clone())) => {
                self.set(index, pair, |key| {
                    key.holder = Some(session);
                    key.count += 1;
                    key.token = index;
                });
            }
            holder => return Expectation::Held(holder),
        }
        Expectation::Acquired(self.keys.get(&pair.key).map(|key| key.token).unwrap_or_default())
    }

    /// The modify index that a compare-and-set finds instead of the one that it expected.
    fn unmatched(&self, key: &str, expected: Option<LogIndex>) -> Option<LogIndex> {
        let found = self.keys.get(key).map(|key| key.modified).unwrap_or_default();
        expected.is_some_and(|expected| expected != found).then_some(found)
    }

    fn holder(&self, key: &str) -> Option<SessionId> {
        self.keys.get(key)?.holder
    }

    /// Sets a key. The same again (a lock that is asked for twice, since its leader changed) changes nothing, unless it has a TTL, which begins anew.
    fn set(&mut self, index: LogIndex, pair: &Pair, change: impl FnOnce(&mut KeyState)) {
        let before = self.keys.get(&pair.key).cloned();
        let mut key = before.clone().unwrap_or_else(|| KeyState { created: index, ..KeyState::default() });
        (key.value, key.ttl) = (pair.flags, pair.ttl);
        change(&mut key);
        if pair.ttl.is_none() && before.as_ref() == Some(&key) {
            return;
        }
        key.modified = index;
        self.keys.insert(pair.key.clone(), key);
        self.touched.insert(pair.key.clone());
        let timer = Timer::Key(pair.key.clone());
        match pair.ttl {
            Some(after) => self.timers.insert(timer, Armed { since: index, after }),
            None => self.timers.remove(&timer),
        };
    }

    fn remove(&mut self, key: &str) {
        if self.keys.remove(key).is_some() {
            self.touched.insert(key.to_owned());
        }
        self.timers.remove(&Timer::Key(key.to_owned()));
    }
}
