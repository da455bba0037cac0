//! What the log means for keys, locks and sessions: a second, simpler reading of it than the store's, kept by the world.
//!
//! It reads each committed entry once, when the first server applies it, and knows from then on what every server must hold at that index, what
//! whoever wrote the entry must be told, and what a change stream must show. Where a write depends on what it does not follow (a node that is
//! taken over by another identity, a restore), it says so with [`Model::is_unsure`] and takes the state over from a server instead
//! of guessing.

mod catalog;
mod keys;
mod txn;

pub use keys::{KeyState, Version};

use catalog::Catalog;
use quorate_protocol::session::MAX_LOCK_DELAY;
use quorate_protocol::{Answer, Armed, KvRead, KvWrite, Page, Read, SessionRead};
use quorate_protocol::{
    LogIndex, Outcome, RestoreWrite, Session, SessionId, SessionWrite, Time, Timer, TxnOutcome, TxnRow, Write,
};
use quorate_store::View;
use std::collections::{BTreeMap, BTreeSet};

/// What the log means, up to an index.
#[derive(Debug, Default)]
pub struct Model {
    index: LogIndex,
    state: State,
    catalog: Catalog,
    /// What became of every key, oldest first.
    history: BTreeMap<String, Vec<Version>>,
    expectations: BTreeMap<LogIndex, Expectation>,
    /// Stretches of the log, each from after the first index up to the second, whose changes are not known one by one.
    blind: Vec<(LogIndex, LogIndex)>,
    /// When the first server applied each index: nothing that counts from it may end earlier than its time after that.
    applied_at: Vec<Time>,
    unsure: bool,
}

/// Keys, sessions and what ends by itself.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By name.
    pub keys: BTreeMap<String, KeyState>,
    /// By identity.
    pub sessions: BTreeMap<SessionId, Session>,
    /// What ends by itself, and when.
    pub timers: BTreeMap<Timer, Armed>,
    /// Keys that the last write changed.
    touched: BTreeSet<String>,
}

/// What whoever wrote an entry must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// It is done.
    Done,
    /// The key has another modify index.
    Unmatched(LogIndex),
    /// The key is held, with this token.
    Acquired(LogIndex),
    /// The key was held already, with this token.
    Holds(LogIndex),
    /// The key is not held by whoever asked.
    Held(Option<SessionId>),
    /// It cannot be done.
    Refused,
    /// Whether the session that was made or renewed is there.
    Session(bool),
    /// The rows that a transaction gives, each with its operation's number; none if it failed.
    Txn(Option<Vec<(u32, KeyState)>>),
}

/// What an entry did beyond the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Something ended by itself: it had counted from that index, for so long.
    pub expired: Option<(Timer, Armed)>,
    /// Sessions that ended.
    pub ended: Vec<SessionId>,
}

impl Expectation {
    /// Whether this outcome is the expected one.
    pub fn is(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Expectation::Done, Outcome::Done) | (Expectation::Refused, Outcome::Refused(_)) => true,
            (Expectation::Unmatched(index), Outcome::Unmatched { found }) => index == found,
            (Expectation::Acquired(expected), Outcome::Acquired { token }) => expected == token,
            (Expectation::Holds(expected), Outcome::Holds { token }) => expected == token,
            (Expectation::Held(holder), Outcome::Held { by }) => holder == by,
            (Expectation::Session(is_there), Outcome::Session(row)) => *is_there == row.is_some(),
            (Expectation::Txn(rows), Outcome::Txn(outcome)) => *rows == rows_of(outcome),
            _ => false,
        }
    }
}

fn rows_of(outcome: &TxnOutcome) -> Option<Vec<(u32, KeyState)>> {
    let results = outcome.as_ref().ok()?;
    let rows = results.iter().filter_map(|result| match &result.row {
        TxnRow::Entry(row) => Some((result.operation, KeyState::of(row))),
        TxnRow::Node(_) | TxnRow::Service(..) | TxnRow::Check(_) => None,
    });
    Some(rows.collect())
}

impl Model {
    /// The last entry that it has read.
    pub fn index(&self) -> LogIndex {
        self.index
    }

    /// Keys, sessions and timers as they are there.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether it has to take over the state of a server, see [`Model::take_over`].
    pub fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// What whoever wrote the entry at an index must be told, if the model knows.
    pub fn expectation(&self, index: LogIndex) -> Option<&Expectation> {
        self.expectations.get(&index)
    }

    /// When the first server applied an index; none if none has, as far as the model was told.
    pub fn applied_at(&self, index: LogIndex) -> Option<Time> {
        self.applied_at.get(index.0.checked_sub(1)? as usize).copied()
    }

    /// The versions of a key, oldest first.
    pub fn versions(&self, key: &str) -> &[Version] {
        self.history.get(key).map_or(&[], Vec::as_slice)
    }

    /// The keys as they were at an index, by name.
    pub fn keys_at(&self, covers: impl Fn(&str) -> bool, index: LogIndex) -> impl Iterator<Item = (&str, &KeyState)> {
        self.history.iter().filter(move |(key, _)| covers(key)).filter_map(move |(key, versions)| {
            let version = versions.get(versions.partition_point(|version| version.index <= index).checked_sub(1)?)?;
            Some((key.as_str(), version.state.as_ref()?))
        })
    }

    /// What happened to the keys after one index and up to another, in order; none if it is not known one by one.
    pub fn changes(
        &self,
        covers: impl Fn(&str) -> bool,
        after: LogIndex,
        up_to: LogIndex,
    ) -> Option<Vec<(&str, &Version)>> {
        if up_to > self.index || self.blind.iter().any(|(from, to)| *from < up_to && after < *to) {
            return None;
        }
        let followed = self.history.iter().filter(|(key, _)| covers(key));
        let mut changes: Vec<_> = followed.flat_map(|(key, versions)| recent(key, versions, after, up_to)).collect();
        changes.sort_by_key(|(key, version)| (version.index, *key));
        Some(changes)
    }

    /// Reads the next entry, which a server has applied now; none for one without a write.
    pub fn read(&mut self, now: Time, write: Option<&Write>) -> Effects {
        let index = self.index.next();
        self.index = index;
        self.applied_at.push(now);
        let mut effects = Effects::default();
        let Some(write) = write else { return effects };
        let expectation = match write {
            Write::Kv(write) => Some(self.state.apply_kv(index, write)),
            Write::Session(write) => Some(self.session(index, write, &mut effects)),
            Write::Txn(operations) => Some(self.state.apply_txn(index, operations)),
            Write::Expire { timer, since } => {
                self.expire(index, timer, *since, &mut effects);
                None
            }
            Write::Register(registration) => {
                self.unsure |= self.catalog.register(registration);
                self.end_the_unwell(index, &mut effects);
                None
            }
            Write::Deregister(deregistration) => {
                self.catalog.deregister(deregistration);
                self.end_the_unwell(index, &mut effects);
                None
            }
            Write::Restore(RestoreWrite::Commit { .. }) => {
                self.unsure = true;
                None
            }
            Write::Restore(_) | Write::Autopilot { .. } => None,
        };
        if let Some(expectation) = expectation.filter(|_| !self.unsure) {
            self.expectations.insert(index, expectation);
        }
        self.remember();
        effects
    }

    /// Takes over the state of a server that has applied the same index, after something that the model does not follow happened
    /// after an index.
    pub fn take_over(&mut self, after: LogIndex, view: &View) {
        let before = std::mem::replace(&mut self.state, State::of(view)).keys;
        let keys = before.keys().chain(self.state.keys.keys());
        self.state.touched = keys.filter(|key| before.get(*key) != self.state.keys.get(*key)).cloned().collect();
        self.catalog = Catalog::of(view);
        self.remember();
        self.blind.push((after, self.index));
        self.expectations.retain(|index, _| *index <= after);
        self.unsure = false;
    }

    fn session(&mut self, index: LogIndex, write: &SessionWrite, effects: &mut Effects) -> Expectation {
        match write {
            SessionWrite::Create(session) => {
                if self.state.sessions.contains_key(&session.id) || !self.catalog.carries(session) {
                    return Expectation::Refused;
                }
                let lock_delay = session.lock_delay.min(MAX_LOCK_DELAY);
                self.state.sessions.insert(session.id, Session { lock_delay, ..(**session).clone() });
                self.state.arm_session(index, session.id);
                Expectation::Session(true)
            }
            SessionWrite::Destroy { id } => {
                self.end(index, *id, effects);
                Expectation::Done
            }
            SessionWrite::Renew { id } => {
                self.state.arm_session(index, *id);
                Expectation::Session(self.state.sessions.contains_key(id))
            }
        }
    }

    fn expire(&mut self, index: LogIndex, timer: &Timer, since: LogIndex, effects: &mut Effects) {
        let Some(armed) = self.state.timers.get(timer).copied().filter(|armed| armed.since == since) else { return };
        effects.expired = Some((timer.clone(), armed));
        self.state.timers.remove(timer);
        match timer {
            Timer::Session(id) => self.end(index, *id, effects),
            Timer::Key(key) => {
                self.state.apply_kv(index, &KvWrite::Delete { key: key.clone(), cas: None });
            }
            Timer::LockDelay(_) => {}
        }
    }

    fn end_the_unwell(&mut self, index: LogIndex, effects: &mut Effects) {
        let unwell = |session: &&Session| !self.catalog.carries(session);
        let ending: Vec<SessionId> = self.state.sessions.values().filter(unwell).map(|session| session.id).collect();
        for id in ending {
            self.end(index, id, effects);
        }
    }

    fn end(&mut self, index: LogIndex, id: SessionId, effects: &mut Effects) {
        if self.state.end_session(index, id) {
            effects.ended.push(id);
        }
    }

    /// Adds what the last write changed to the history.
    fn remember(&mut self) {
        for key in std::mem::take(&mut self.state.touched) {
            let version = Version { index: self.index, state: self.state.keys.get(&key).cloned() };
            self.history.entry(key).or_default().push(version);
        }
    }
}

fn recent<'a>(
    key: &'a str,
    versions: &'a [Version],
    after: LogIndex,
    up_to: LogIndex,
) -> impl Iterator<Item = (&'a str, &'a Version)> + use<'a> {
    let from = versions.partition_point(|version| version.index <= after);
    versions.iter().skip(from).take_while(move |version| version.index <= up_to).map(move |version| (key, version))
}

impl State {
    /// What a server's view shows.
    pub fn of(view: &View) -> State {
        let list = Read::Kv(KvRead::List { prefix: String::new(), page: Page::default() });
        let keys = match view.read(&list).0 {
            Answer::Entries(rows) => rows.iter().map(|row| (row.key.clone(), KeyState::of(row))).collect(),
            _ => BTreeMap::new(),
        };
        let sessions = match view.read(&Read::Session(SessionRead::List)).0 {
            Answer::Sessions(rows) => rows.iter().map(|row| (row.id, row.value.clone())).collect(),
            _ => BTreeMap::new(),
        };
        State { keys, sessions, timers: view.timers().into_iter().collect(), touched: BTreeSet::new() }
    }

    /// Whether a server's view shows just this. The same as comparing with [`State::of`], at a fraction of the cost: it is asked at every step.
    pub fn is_shown_by(&self, view: &View) -> bool {
        let list = Read::Kv(KvRead::List { prefix: String::new(), page: Page::default() });
        let keys = match view.read(&list).0 {
            Answer::Entries(rows) => {
                rows.len() == self.keys.len()
                    && rows
                        .iter()
                        .zip(&self.keys)
                        .all(|(row, (key, state))| row.key == *key && KeyState::of(row) == *state)
            }
            _ => false,
        };
        let sessions = match view.read(&Read::Session(SessionRead::List)).0 {
            Answer::Sessions(rows) => rows.iter().map(|row| &row.value).eq(self.sessions.values()),
            _ => false,
        };
        let timers = view.timers();
        let same_timers = timers.len() == self.timers.len()
            && timers.iter().all(|(timer, armed)| self.timers.get(timer) == Some(armed));
        keys && sessions && same_timers
    }

    fn arm_session(&mut self, index: LogIndex, id: SessionId) {
        if let Some(after) = self.sessions.get(&id).and_then(Session::lifetime) {
            self.timers.insert(Timer::Session(id), Armed { since: index, after });
        }
    }
}

#[cfg(test)]
mod tests;
