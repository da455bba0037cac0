//! The store alone against the second reading of its log: random writes, without servers between them, so that every kind meets every other
//! many thousand times in a second.

use bytes::Bytes;
use quorate_protocol::{
    Answer, Behavior, Check, Deregistration, KvRead, KvWrite, LogIndex, Node, Outcome, Page, Pair, Read, Registration,
    RestoreWrite, Selection, Session, SessionId, SessionWrite, Status, Time, Timer, TxnOperation, TxnRead, Write,
};
use quorate_store::{SnapshotChunks, Store};
use quorate_tests::checks::changes_complete::{self, Asked};
use quorate_tests::checks::index_never_goes_back::IndexNeverGoesBack;
use quorate_tests::checks::{Checked, Violation, monotonic_reads, state_follows_log};
use quorate_tests::clients::questions;
use quorate_tests::dice::{Dice, Stream};
use quorate_tests::model::{KeyState, Model, State};
use std::time::Duration;

/// Writes of one run.
const WRITES: u64 = 2000;

/// A store, its log read a second time, and what was seen of both.
struct Pairing {
    store: Store,
    model: Model,
    indexes: IndexNeverGoesBack,
    dice: Dice,
    last_value: u64,
    /// A snapshot that was taken, with what it must hold.
    saved: Option<(Vec<Bytes>, State)>,
    restores: u64,
    /// What is done to a store before it is used.
    prepare: fn(&mut Store, usize),
    bug: usize,
}

impl Pairing {
    fn new(seed: u64, bug: usize, prepare: fn(&mut Store, usize)) -> Pairing {
        let mut store = Store::new();
        prepare(&mut store, bug);
        Pairing {
            store,
            bug,
            prepare,
            model: Model::default(),
            indexes: IndexNeverGoesBack::default(),
            dice: Dice::new(seed, Stream::Clients, 0),
            last_value: 0,
            saved: None,
            restores: 0,
        }
    }

    fn run(&mut self) -> Checked {
        for number in 0..WRITES {
            let write = self.draw();
            self.apply(&write)?;
            self.follow()?;
            match number % 128 {
                63 => self.go_through_a_snapshot()?,
                127 => self.restore()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, write: &Write) -> Result<Outcome, Violation> {
        let index = self.model.index().next();
        let before: Vec<_> = questions().into_iter().map(|read| (self.store.view().read(&read), read)).collect();
        let (outcome, touched) = self.store.apply(index, write);
        self.model.read(Time::ZERO, Some(write));
        let view = self.store.view();
        if self.model.is_unsure() {
            self.model.take_over(index.previous(), &view);
        }
        if let Some(expected) = self.model.expectation(index) {
            state_follows_log::told(index, &outcome, expected)?;
        }
        state_follows_log::check(0, index, &State::of(&view), self.model.state())?;
        for ((answer, _), read) in before {
            let (after, at) = view.read(&read);
            if after != answer && !touched.concerns(&read) {
                return Err(Violation::new(
                    "no_wakeup_lost",
                    format!("{read:?} changed by {write:?}, and nobody is woken"),
                ));
            }
            monotonic_reads::check(&read, &after, index, &self.model)?;
            self.indexes.viewed(0, index, &read, after, at)?;
        }
        Ok(outcome)
    }

    /// Asks for changes from somewhere in the last of them.
    fn follow(&mut self) -> Checked {
        let selections =
            [Selection::Key("key/0".into()), Selection::Prefix("key/".into()), Selection::Prefix(String::new())];
        let of = selections[self.dice.below(selections.len())].clone();
        let after = LogIndex(self.model.index().0.saturating_sub(self.dice.below(60) as u64).max(1));
        let limit = 1 + self.dice.below(9) as u32;
        let read = Read::Kv(KvRead::Changes { of: of.clone(), after, limit });
        match self.store.view().read(&read).0 {
            Answer::Changes(changes) => changes_complete::check(&Asked { of, after, limit }, &changes, &self.model),
            other => Violation::seen("changes_complete", format!("{read:?} was answered {other:?}")),
        }
    }

    /// The store goes on as another server would, which has it from a snapshot.
    fn go_through_a_snapshot(&mut self) -> Checked {
        let chunks = self.take_snapshot();
        let mut taken = Store::from_chunks(chunks.iter().map(|chunk| &chunk[..]))
            .map_err(|error| Violation::new("applied_states_equal", format!("a snapshot is refused: {error}")))?;
        let (one, other) = (self.store.view(), taken.view());
        let same = taken.hash() == self.store.hash() && taken.applied_index() == self.store.applied_index();
        let differs = questions().into_iter().find(|read| one.read(read) != other.read(read));
        if !same || differs.is_some() {
            return Violation::seen(
                "applied_states_equal",
                format!("a snapshot is not what it was taken of: {differs:?}"),
            );
        }
        self.saved = Some((chunks, State::of(&one)));
        (self.prepare)(&mut taken, self.bug);
        self.store = taken;
        Ok(())
    }

    fn take_snapshot(&self) -> Vec<Bytes> {
        let mut drawn = SnapshotChunks::new(self.store.view());
        let mut chunks = Vec::new();
        while let Some(chunk) = drawn.chunk(chunks.len() as u64) {
            chunks.push(chunk.bytes);
            if chunk.last {
                break;
            }
        }
        chunks
    }

    /// What was saved comes back: as if all of it had just been written, so that no index goes back.
    fn restore(&mut self) -> Checked {
        let Some((chunks, expected)) = self.saved.take() else { return Ok(()) };
        self.restores += 1;
        let id = self.restores;
        self.apply(&Write::Restore(RestoreWrite::Begin { id }))?;
        for (number, bytes) in chunks.into_iter().enumerate() {
            self.apply(&Write::Restore(RestoreWrite::Chunk { id, number: number as u64, bytes }))?;
        }
        let before = self.model.state().keys.len();
        let outcome = self.apply(&Write::Restore(RestoreWrite::Commit { id }))?;
        let at = self.model.index();
        let of = |state: &State| -> Vec<_> {
            state.keys.iter().map(|(key, state)| (key.clone(), state.value, state.count, state.holder)).collect()
        };
        let restored = State::of(&self.store.view());
        let is_new = |state: &KeyState| state.modified == at && state.holder.is_none_or(|_| state.token == at);
        if outcome == Outcome::Done && of(&restored) == of(&expected) && restored.keys.values().all(is_new) {
            return Ok(());
        }
        let seen = format!("a restore over {before} keys at {at} ({outcome:?}) gave {restored:?} of {expected:?}");
        Violation::seen("state_follows_log", seen)
    }

    fn draw(&mut self) -> Write {
        let key = format!("{}/{}", ["key", "lock"][self.dice.below(2)], self.dice.below(3));
        let session = SessionId([1 + self.dice.below(4) as u8; 16]);
        match self.dice.below(30) {
            0..9 => Write::Kv(self.draw_kv(&key, session)),
            9 => Write::Kv(KvWrite::AcquireOnce { pair: self.pair(&key), session }),
            10..12 => Write::Kv(KvWrite::Acquire { pair: self.pair(&key), session }),
            12 => Write::Kv(KvWrite::Release { pair: self.pair(&key), session }),
            13..16 => Write::Session(SessionWrite::Create(Box::new(self.draw_session(session)))),
            16 => Write::Session(SessionWrite::Destroy { id: session }),
            17 | 18 => Write::Session(SessionWrite::Renew { id: session }),
            19..22 => self.draw_expiry(&key),
            22..25 => self.draw_txn(&key, session),
            25 => {
                let node = format!("agent-{}", self.dice.below(2));
                Write::Deregister(match self.dice.below(3) {
                    0 => Deregistration::Node { node },
                    1 => Deregistration::Check { node, check_id: "alive".into() },
                    _ => Deregistration::Service { node, service_id: "web".into() },
                })
            }
            _ => {
                let name = format!("agent-{}", self.dice.below(2));
                let status = [Status::Passing, Status::Passing, Status::Warning, Status::Critical][self.dice.below(4)];
                let check = Check { node: name.clone(), id: "alive".into(), status, ..Check::default() };
                let node = Node { name, address: "10.0.0.1".into(), ..Node::default() };
                Write::Register(Box::new(Registration { node, checks: vec![check], ..Registration::default() }))
            }
        }
    }

    fn pair(&mut self, key: &str) -> Pair {
        self.last_value += 1;
        let ttl = self.dice.chance(0.2).then_some(Duration::from_secs(3));
        Pair { key: key.to_owned(), value: self.last_value.to_le_bytes().to_vec().into(), flags: self.last_value, ttl }
    }

    fn cas(&mut self, key: &str) -> Option<LogIndex> {
        let known = self.model.state().keys.get(key).map(|state| state.modified).unwrap_or_default();
        [None, Some(known), Some(known), Some(known.previous()), Some(LogIndex::ZERO)][self.dice.below(5)]
    }

    fn draw_kv(&mut self, key: &str, session: SessionId) -> KvWrite {
        match self.dice.below(9) {
            0 => KvWrite::Delete { key: key.to_owned(), cas: self.cas(key) },
            1 if self.dice.chance(0.3) => KvWrite::DeletePrefix { prefix: key[..key.len() - 1].to_owned() },
            2 => KvWrite::Acquire { pair: self.pair(key), session },
            3 => KvWrite::Release { pair: self.pair(key), session },
            _ => KvWrite::Put { cas: self.cas(key), pair: self.pair(key) },
        }
    }

    fn draw_session(&mut self, id: SessionId) -> Session {
        Session {
            id,
            node: format!("agent-{}", self.dice.below(3)),
            node_checks: if self.dice.chance(0.4) { vec!["alive".into()] } else { Vec::new() },
            lock_delay: Duration::from_secs(self.dice.below(3) as u64 * 40),
            behavior: if self.dice.chance(0.5) { Behavior::Delete } else { Behavior::Release },
            ttl: self.dice.chance(0.7).then_some(Duration::from_secs(10)),
            exact_ttl: self.dice.chance(0.5),
            ..Session::default()
        }
    }

    /// Something ends by itself; now and then too late, since it was armed anew.
    fn draw_expiry(&mut self, key: &str) -> Write {
        let timers: Vec<_> =
            self.model.state().timers.iter().map(|(timer, armed)| (timer.clone(), armed.since)).collect();
        let (timer, since) = match timers.len() {
            0 => (Timer::Key(key.to_owned()), self.model.index()),
            some => timers[self.dice.below(some)].clone(),
        };
        Write::Expire { timer, since: if self.dice.chance(0.8) { since } else { since.previous() } }
    }

    fn draw_txn(&mut self, key: &str, session: SessionId) -> Write {
        let count = 1 + self.dice.below(4);
        let operations = (0..count).map(|_| {
            let key = if self.dice.chance(0.6) { key.to_owned() } else { "key/1".to_owned() };
            let state = self.model.state().keys.get(&key).cloned();
            let index = state.as_ref().map(|state| state.modified).unwrap_or_default();
            let token = state.map(|state| state.token).unwrap_or_default();
            match self.dice.below(12) {
                0 => TxnRead::Get { key }.into(),
                1 => TxnRead::GetOrEmpty { key }.into(),
                2 => TxnRead::GetTree { prefix: "key/".into() }.into(),
                3 => TxnRead::CheckIndex { key, index }.into(),
                4 => TxnRead::CheckSession { key, session }.into(),
                5 => TxnRead::CheckNotExists { key }.into(),
                6 => TxnRead::CheckToken { key, token }.into(),
                7 if self.dice.chance(0.2) => TxnRead::Node { node: "nobody".into() }.into(),
                _ => TxnOperation::Kv(self.draw_kv(&key, session)),
            }
        });
        Write::Txn(operations.collect())
    }
}

#[test]
fn the_store_does_what_its_log_says() {
    for seed in 0..100 {
        let mut pairing = Pairing::new(seed, 0, |_, _| {});
        if let Err(violation) = pairing.run() {
            panic!("seed {seed} at index {}: {violation}", pairing.model.index());
        }
    }
}

#[test]
fn pages_are_parts_of_the_whole() {
    let mut pairing = Pairing::new(1, 0, |_, _| {});
    for _ in 0..300 {
        let write = pairing.draw();
        pairing.apply(&write).expect("the store does what its log says");
    }
    let view = pairing.store.view();
    let list = |page| match view.read(&Read::Kv(KvRead::List { prefix: String::new(), page })).0 {
        Answer::Entries(rows) => rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let mut pages = Vec::new();
    loop {
        let after = pages.last().cloned();
        let page = list(Page { after, limit: Some(2) });
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }
    assert_eq!(pages, list(Page::default()));
}

/// Each defect that can be switched on in the store is seen at once.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_the_store_are_caught() {
    for (number, bug) in quorate_store::Bug::ALL.into_iter().enumerate() {
        let caught = (0..20).find_map(|seed| {
            let plant = |store: &mut Store, number: usize| store.plant(Some(quorate_store::Bug::ALL[number]));
            let mut pairing = Pairing::new(seed, number, plant);
            let violation = pairing.run().err()?;
            Some((seed, pairing.model.index(), violation))
        });
        match caught {
            Some((seed, index, violation)) => println!("{bug:?}: seed {seed}, index {index}: {violation}"),
            None => panic!("{bug:?} is not caught"),
        }
    }
}
