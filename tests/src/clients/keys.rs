//! Clients that read and write a few keys.

use super::{Clients, Purpose, Wish, get};
use crate::happened::Happening;
use crate::history::{Call, Op, Told};
use bytes::Bytes;
use quorate_protocol::{
    Answer, Ask, Consistency, KvRead, KvWrite, LogIndex, Outcome, Page, Pair, Read, ReadRequest, Refusal, Reply, Time,
    TxnOperation, TxnRead, Write,
};
use std::time::Duration;

/// Few keys, so that clients get in each other's way.
const KEYS: usize = 5;
/// Keys that are locked.
pub(super) const LOCKS: usize = 3;

/// A key with what happened to it.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// What was asked about it, stale reads left out.
    pub history: Vec<Op>,
    /// The modify index that some client saw last.
    pub(super) known: LogIndex,
}

/// Where an operation is in the history of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub key: usize,
    pub op: usize,
    /// How it was asked, if it is a read.
    pub read: Option<Consistency>,
}

/// All keys of the world.
pub(super) fn all() -> Vec<Key> {
    let names =
        (0..KEYS).map(|number| format!("key/{number}")).chain((0..LOCKS).map(|number| format!("lock/{number}")));
    names.map(|name| Key { name, history: Vec::new(), known: LogIndex::ZERO }).collect()
}

/// The number of a key that is locked.
pub(super) const fn lock_key(number: usize) -> usize {
    KEYS + number
}

impl Clients {
    pub(super) fn wish_about_keys(&mut self, now: Time, client: usize) -> Wish {
        // One key gets half of everything: what goes wrong between two writers is seen where they meet.
        let key = if self.dice.chance(0.5) { 0 } else { self.dice.below(KEYS) };
        let known = self.keys[key].known;
        let value = self.next_value();
        let expected = if self.dice.chance(0.2) { LogIndex::ZERO } else { known };
        match self.dice.below(22) {
            _ if self.quiet => self.wish_to_read(now, client, key),
            0..8 => self.wish_to_read(now, client, key),
            8..13 => self.wish_to_write(now, client, key, Call::Put { value }),
            13 => self.wish_to_put_for_a_while(now, client, key, value),
            14..17 => self.wish_to_write(now, client, key, Call::Cas { expected, value }),
            17 => self.wish_to_write(now, client, key, Call::Delete),
            18 => self.wish_to_write(now, client, key, Call::DeleteCas { expected }),
            _ => self.wish_for_a_transaction(now, client, key, expected, value),
        }
    }

    fn wish_to_read(&mut self, now: Time, client: usize, key: usize) -> Wish {
        let name = self.keys[key].name.clone();
        let consistency = match self.dice.below(5) {
            0 if !self.quiet => Consistency::Stale,
            1 | 2 => Consistency::Consistent,
            _ => Consistency::Default,
        };
        // Whoever says what it has seen reads nothing older, wherever it asks.
        let is_stale = consistency == Consistency::Stale;
        let at_least = if is_stale && self.dice.chance(0.6) { self.seen[client] } else { LogIndex::ZERO };
        let max_stale = (is_stale && self.dice.chance(0.2))
            .then(|| self.dice.between(Duration::from_millis(30), Duration::from_millis(800)));
        let several = match self.dice.below(8) {
            0 => Some(Read::Kv(KvRead::List { prefix: "key/".into(), page: Page::default() })),
            1 => Some(Read::Txn(vec![
                TxnRead::GetOrEmpty { key: name.clone() },
                TxnRead::GetOrEmpty { key: self.keys[1].name.clone() },
            ])),
            _ => None,
        };
        let is_several = several.is_some();
        let request =
            ReadRequest { consistency, at_least, max_stale, ..ReadRequest::now(several.unwrap_or_else(|| get(&name))) };
        let ask = Ask::Read(request.clone());
        if is_several || is_stale {
            return Wish::new(ask, Purpose::Look(request));
        }
        let place = Place { read: Some(consistency), ..self.begin(now, client, key, Call::Get) };
        Wish::new(ask, Purpose::Keys(vec![place]))
    }

    /// A write of one key, in its history.
    pub(super) fn wish_to_write(&mut self, now: Time, client: usize, key: usize, call: Call) -> Wish {
        let name = self.keys[key].name.clone();
        let pair = |value: u64| pair(&name, value);
        let write = match call {
            Call::Put { value } => KvWrite::Put { pair: pair(value), cas: None },
            Call::Cas { expected, value } => KvWrite::Put { pair: pair(value), cas: Some(expected) },
            Call::Acquire { session, value } => KvWrite::Acquire { pair: pair(value), session },
            Call::AcquireOnce { session, value } => KvWrite::AcquireOnce { pair: pair(value), session },
            Call::Release { session, value } => KvWrite::Release { pair: pair(value), session },
            Call::DeleteCas { expected } => KvWrite::Delete { key: name.clone(), cas: Some(expected) },
            Call::Delete | Call::Get | Call::Free { .. } | Call::GiveUp { .. } | Call::Lapse { .. } => {
                KvWrite::Delete { key: name.clone(), cas: None }
            }
        };
        let place = self.begin(now, client, key, call);
        Wish::new(Ask::Write(Write::Kv(write)), Purpose::Keys(vec![place]))
    }

    fn wish_to_put_for_a_while(&mut self, now: Time, client: usize, key: usize, value: u64) -> Wish {
        let ttl = self.dice.between(Duration::from_millis(500), Duration::from_secs(5));
        let pair = Pair { ttl: Some(ttl), ..pair(&self.keys[key].name, value) };
        let place = self.begin(now, client, key, Call::Put { value });
        self.begin(now, client, key, Call::Lapse { value });
        Wish::new(Ask::Write(Write::Kv(KvWrite::Put { pair, cas: None })), Purpose::Keys(vec![place]))
    }

    /// Sets two keys if the first has not changed: both or none.
    fn wish_for_a_transaction(&mut self, now: Time, client: usize, key: usize, expected: LogIndex, value: u64) -> Wish {
        let name = self.keys[key].name.clone();
        let other = (key + 1) % KEYS;
        let other_value = self.next_value();
        let check = if expected == LogIndex::ZERO {
            TxnRead::CheckNotExists { key: name.clone() }
        } else {
            TxnRead::CheckIndex { key: name.clone(), index: expected }
        };
        let put = |pair| TxnOperation::Kv(KvWrite::Put { pair, cas: None });
        let operations = vec![check.into(), put(pair(&name, value)), put(pair(&self.keys[other].name, other_value))];
        let places = vec![
            self.begin(now, client, key, Call::Cas { expected, value }),
            self.begin(now, client, other, Call::Put { value: other_value }),
        ];
        Wish::new(Ask::Write(Write::Txn(operations)), Purpose::Keys(places))
    }

    /// Adds an operation to the history of a key.
    pub(super) fn begin(&mut self, now: Time, client: usize, key: usize, call: Call) -> Place {
        let history = &mut self.keys[key].history;
        history.push(Op { client, call, invoked: now, result: None });
        Place { key, op: history.len() - 1, read: None }
    }

    /// Operations were answered; if it is one read, which.
    pub(super) fn key_answered(&mut self, now: Time, places: &[Place], reply: &Reply) -> Option<ReadRequest> {
        if let Reply::Written { outcome: Outcome::Txn(Ok(_)), .. } = reply {
            self.happened.once(Happening::Transaction);
        }
        let mut read = None;
        for place in places {
            let key = &mut self.keys[place.key];
            let op = &mut key.history[place.op];
            let told = told(op.call, reply);
            if let Some(
                Told::Found { modified: index, .. } | Told::Unmatched { found: index, .. } | Told::Done { index },
            ) = told
            {
                key.known = index;
            }
            match told {
                Some(told) => op.result = Some((now, told)),
                // Nothing happened, which is as good as never asked.
                None if did_nothing(reply) => op.call = Call::Get,
                None => {}
            }
            if let (Some(consistency), Reply::Read { .. }) = (place.read, reply) {
                read = Some(ReadRequest { consistency, ..ReadRequest::now(get(&key.name)) });
            }
        }
        read
    }
}

fn pair(key: &str, value: u64) -> Pair {
    Pair { key: key.to_owned(), value: content(value), flags: value, ttl: None }
}

/// The bytes of the value of this number, which is also its flags. Now and then they are so many that Raft sends them in an append of their own.
pub(super) fn content(value: u64) -> Bytes {
    let mut bytes = value.to_le_bytes().to_vec();
    if value.is_multiple_of(127) {
        bytes.resize(150_000 + (value % 7) as usize * 20_000, b'.');
    }
    bytes.into()
}

/// What a reply says about an operation on a key; none if it leaves the outcome open.
fn told(call: Call, reply: &Reply) -> Option<Told> {
    let (outcome, index) = match reply {
        Reply::Written { outcome, index } => (outcome, *index),
        Reply::Read { answer: Answer::Entries(rows), .. } => {
            return Some(rows.first().map_or(Told::Missing, |row| {
                // A value that is not what its number says was put together from two, or damaged.
                let value = if row.value.value == content(row.flags) { row.flags } else { u64::MAX };
                Told::Found { value, modified: row.modify_index, holder: row.lock.session }
            }));
        }
        _ => return None,
    };
    match outcome {
        Outcome::Done | Outcome::Txn(Ok(_)) => Some(Told::Done { index }),
        Outcome::Unmatched { found } => Some(Told::Unmatched { found: *found, index }),
        Outcome::Acquired { token } => Some(Told::Acquired { token: *token, index }),
        Outcome::Holds { token } => Some(Told::Holds { token: *token, index }),
        Outcome::Held { by } => Some(Told::Held { by: *by, index }),
        // The check of a transaction failed, or there is no such session: of the other keys nothing is known.
        Outcome::Txn(Err(_)) | Outcome::Refused(_)
            if matches!(call, Call::Cas { .. } | Call::Acquire { .. } | Call::AcquireOnce { .. }) =>
        {
            Some(Told::Failed { index })
        }
        Outcome::Txn(Err(_)) | Outcome::Refused(_) | Outcome::Session(_) => None,
    }
}

/// Whether a reply says that nothing happened.
fn did_nothing(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Refused(
            Refusal::NoLeader | Refusal::NoServers | Refusal::Busy | Refusal::Invalid(_) | Refusal::NoPathToDatacenter
        ) | Reply::Written { outcome: Outcome::Txn(Err(_)) | Outcome::Refused(_), .. }
    )
}
