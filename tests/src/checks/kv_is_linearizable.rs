//! Linearizability: every write, and every read that is not stale, happens at one moment between its question and its answer, and
//! in the order of these moments each sees what the one before left.
//!
//! The search is Wing and Gong's with Lowe's memory of visited states ("Testing for linearizability", 2016), one key at a
//! time, since linearizability composes. Every write tells its place in the log and every read the modify index of what it saw,
//! so the model also knows that indexes grow; that prunes nearly every wrong guess at once. A write whose client never learnt its
//! outcome may happen at any time after its question, or never; so may the end of a session that holds a key, and of a key with a TTL.
//!
//! A request to wait for a lock is a series of acquires that the leader writes, and an agent may ask anew for what it has not heard of: so beside the
//! one whose answer was told there may be another that nobody was told of, and where nobody waits any more the leader gives its grant up. It never
//! gives up what somebody was told.

use super::Violation;
use crate::history::{Call, Op, Told};
use quorate_protocol::{LogIndex, SessionId, Time};
use std::collections::{BTreeSet, HashSet};

const PROPERTY: &str = "kv_is_linearizable";

/// More steps than this and the search gives up: nearly all histories of this world take some ten thousand, and the few others take no end.
const MAX_STEPS: u64 = 1_000_000;

/// What the search has come to, where it has found nothing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searched {
    /// An order of all operations explains the history.
    Explained,
    /// None that it found in so many steps, and it could not exclude that there is one: too much is of unknown outcome.
    Undecided,
}

/// Checks the history of one key, stale reads left out.
///
/// # Errors
/// When no order of its operations explains it, with the operations around the first that cannot be explained.
pub fn check(key: &str, history: &[Op]) -> Result<Searched, Violation> {
    let ops = relevant(history);
    match Search::new(&ops).run() {
        Verdict::Linearizable => Ok(Searched::Explained),
        Verdict::Undecided => Ok(Searched::Undecided),
        Verdict::Not { longest, stuck } => Err(Violation::new(PROPERTY, explain(key, &ops, longest, stuck))),
    }
}

/// Leaves out what cannot matter: reads without an answer, and plain writes of unknown outcome whose value nobody saw.
fn relevant(history: &[Op]) -> Vec<&Op> {
    let mut values = BTreeSet::new();
    let mut indexes = BTreeSet::new();
    let mut explained = BTreeSet::from([LogIndex::ZERO]);
    for op in history {
        match op.result {
            Some((_, Told::Found { value, modified, .. })) => {
                values.insert(value);
                indexes.insert(modified);
            }
            Some((_, Told::Unmatched { found, .. })) => {
                indexes.insert(found);
            }
            Some((_, Told::Done { index } | Told::Acquired { index, .. })) => {
                explained.insert(index);
            }
            Some((_, Told::Missing | Told::Holds { .. } | Told::Held { .. } | Told::Failed { .. })) | None => {}
        }
        match (op.call, op.result) {
            (Call::Cas { expected, .. } | Call::DeleteCas { expected }, Some(_)) => {
                indexes.insert(expected);
            }
            // That the key is gone may show that the value had been there.
            (Call::Lapse { value }, _) => {
                values.insert(value);
            }
            _ => {}
        }
    }
    // Somebody saw an index that no known write explains, or was refused for one without being told which: then it may be any of the unknown ones.
    let refused = |op: &Op| matches!((op.call, op.result), (Call::Cas { .. }, Some((_, Told::Failed { .. }))));
    let mystery = indexes.iter().any(|index| !explained.contains(index)) || history.iter().any(refused);
    let matters = |op: &&Op| match (op.call, op.result) {
        (Call::Get, None) => false,
        (Call::Put { value } | Call::Cas { value, .. }, None) => mystery || values.contains(&value),
        // What is answered, and what shows otherwise than by its value.
        _ => true,
    };
    history.iter().filter(matters).collect()
}

/// A key in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Key {
    value: Option<u64>,
    modified: Index,
    holder: Option<SessionId>,
    /// The fencing token of the hold, if it is known.
    token: Option<LogIndex>,
    /// No later write has a lower place in the log than this.
    last: u64,
    /// What has happened since the key was last seen, held by nobody, is all of unknown outcome. What overwrites it unseen makes it as good as
    /// never done, so that guess need not be followed; without this rule the guesses would multiply.
    unseen: bool,
}

/// A modify index, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Index {
    Exactly(u64),
    /// Written by a write of unknown outcome.
    AtLeast(u64),
}

impl Default for Index {
    fn default() -> Index {
        Index::Exactly(0)
    }
}

impl Index {
    fn may_be(self, index: LogIndex) -> bool {
        match self {
            Index::Exactly(exactly) => exactly == index.0,
            Index::AtLeast(least) => least <= index.0,
        }
    }
}

impl Key {
    /// The key after an operation, if the operation could have been answered so.
    fn step(self, op: &Op) -> Option<Key> {
        // A holder outlives a plain write.
        if self.unseen && self.holder.is_none() && overwrites(op) {
            return None;
        }
        let unseen = match op.call {
            _ if op.result.is_some() => false,
            // These only take away what was there.
            Call::Release { .. } | Call::Free { .. } | Call::GiveUp { .. } | Call::Lapse { .. } => self.unseen,
            _ => self.unseen || self.holder.is_none(),
        };
        Some(Key { unseen, ..self.answered_so(op)? })
    }

    fn answered_so(self, op: &Op) -> Option<Key> {
        match (op.call, op.result.map(|(_, told)| told)) {
            (Call::Get, Some(Told::Missing)) => self.value.is_none().then_some(self),
            (Call::Get, Some(Told::Found { value, modified, holder })) => {
                (self.value == Some(value) && self.holder == holder).then_some(self)?.known(modified)
            }
            (Call::Put { value }, Some(Told::Done { index })) => self.at(index)?.set(value, Index::Exactly(index.0)),
            (Call::Put { value }, None) => self.later().set(value, Index::AtLeast(self.last + 1)),
            (Call::Cas { expected, value }, Some(Told::Done { index })) => {
                self.known(expected)?.at(index)?.set(value, Index::Exactly(index.0))
            }
            (Call::Cas { expected, value }, None) => {
                self.known(expected)?.later().set(value, Index::AtLeast(self.last + 1))
            }
            (Call::Delete, Some(Told::Done { index })) => Some(self.at(index)?.removed()),
            // Removing nothing is as good as not done.
            (Call::Delete, None) => self.value.map(|_| self.later().removed()),
            (Call::DeleteCas { expected: LogIndex::ZERO }, None) => None,
            (Call::DeleteCas { expected }, Some(Told::Done { index })) => {
                // Removing what is not there succeeds, whatever index was expected.
                let removed = if self.value.is_none() { self } else { self.known(expected)? };
                Some(removed.at(index)?.removed())
            }
            (Call::DeleteCas { expected }, None) => Some(self.known(expected)?.later().removed()),
            (Call::Cas { expected, .. } | Call::DeleteCas { expected }, Some(Told::Unmatched { found, index })) => {
                if found == expected {
                    None
                } else {
                    self.known(found)?.at(index)
                }
            }
            (Call::Cas { expected, .. }, Some(Told::Failed { index })) => {
                // It does not exist, or it has another index.
                let matches = self.modified == Index::Exactly(expected.0);
                if matches { None } else { self.at(index) }
            }
            (Call::AcquireOnce { session, .. }, Some(Told::Holds { token, index })) => {
                let is_same = self.of(session)?.token.is_none_or(|known| known == token);
                is_same.then_some(Key { token: Some(token), ..self })?.at(index)
            }
            (Call::AcquireOnce { session, .. }, _) if self.holder == Some(session) => None,
            (Call::Acquire { session, value } | Call::AcquireOnce { session, value }, told) => {
                self.acquire(session, value, told)
            }
            (Call::Release { session, value }, Some(Told::Done { index })) => {
                self.of(session)?.at(index)?.set(value, Index::Exactly(index.0)).map(Key::released)
            }
            (Call::Release { session, value }, None) => {
                self.of(session)?.later().set(value, Index::AtLeast(self.last + 1)).map(Key::released)
            }
            (Call::Release { session, .. }, Some(Told::Held { by, index })) => {
                (self.holder == by && by != Some(session)).then_some(self)?.at(index)
            }
            (Call::Free { session, deletes: true }, None) => Some(self.of(session)?.later().removed()),
            (Call::Free { session, deletes: false }, None) => {
                let modified = Index::AtLeast(self.last + 1);
                Some(Key { modified, ..self.of(session)?.later().released() })
            }
            (Call::GiveUp { session, value }, None) => {
                // Without a token nobody has been told of the hold.
                let untold = self.of(session)?.token.is_none() && self.value == Some(value);
                let modified = Index::AtLeast(self.last + 1);
                untold.then(|| Key { modified, ..self.later().released() })
            }
            (Call::Lapse { value }, None) => (self.value == Some(value)).then(|| self.later().removed()),
            (_, _) => None,
        }
    }

    fn acquire(self, session: SessionId, value: u64, told: Option<Told>) -> Option<Key> {
        let held = Key { holder: Some(session), ..self };
        match (told, self.holder) {
            (Some(Told::Acquired { token, index }), None) if token == index => {
                Key { token: Some(token), ..held }.at(index)?.set(value, Index::Exactly(index.0))
            }
            (Some(Told::Acquired { token, index }), Some(holder)) if holder == session => {
                let is_same = self.token.is_none_or(|known| known == token);
                is_same.then_some(Key { token: Some(token), ..self })?.at(index)?.set(value, Index::Exactly(index.0))
            }
            (Some(Told::Held { by, index }), holder) if by == holder && holder != Some(session) => self.at(index),
            // There is no such session.
            (Some(Told::Failed { index }), _) => self.at(index),
            (None, None) => Key { token: None, ..held }.later().set(value, Index::AtLeast(self.last + 1)),
            (None, Some(holder)) if holder == session => self.later().set(value, Index::AtLeast(self.last + 1)),
            _ => None,
        }
    }

    /// The key, if this session holds it.
    fn of(self, session: SessionId) -> Option<Key> {
        (self.holder == Some(session)).then_some(self)
    }

    fn released(self) -> Key {
        Key { holder: None, token: None, ..self }
    }

    /// The key, now that its modify index (0: it does not exist) is known.
    fn known(self, index: LogIndex) -> Option<Key> {
        if index == LogIndex::ZERO {
            return self.value.is_none().then_some(self);
        }
        if self.value.is_none() || !self.modified.may_be(index) {
            return None;
        }
        Some(Key { modified: Index::Exactly(index.0), last: self.last.max(index.0), ..self })
    }

    /// The key after the log has reached this index, if it has not been there before.
    fn at(self, index: LogIndex) -> Option<Key> {
        (index.0 > self.last).then_some(Key { last: index.0, ..self })
    }

    /// The key after the log has reached an unknown later index.
    fn later(self) -> Key {
        Key { last: self.last + 1, ..self }
    }

    fn set(self, value: u64, modified: Index) -> Option<Key> {
        // Writing the value that is there changes nothing, not even the modify index.
        if self.value == Some(value) { Some(self) } else { Some(Key { value: Some(value), modified, ..self }) }
    }

    fn removed(self) -> Key {
        Key { value: None, modified: Index::default(), holder: None, token: None, ..self }
    }
}

/// Whether nothing shows after an operation of what was in a key that nobody holds.
fn overwrites(op: &Op) -> bool {
    match (op.call, op.result.map(|(_, told)| told)) {
        (Call::Put { .. } | Call::Delete, _) | (Call::Acquire { .. } | Call::AcquireOnce { .. }, None) => true,
        (Call::Acquire { .. } | Call::AcquireOnce { .. }, Some(Told::Acquired { token, index })) => token == index,
        _ => false,
    }
}

enum Verdict {
    Linearizable,
    /// The most operations that could be put in order, and the one that could not.
    Not {
        longest: usize,
        stuck: usize,
    },
    Undecided,
}

/// Which operations have been put in order, as one number: each toggles its own bits of it, so that the set need not be kept. Two sets with
/// one number are as unlikely as a broken disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Ordered(u128);

impl Ordered {
    fn toggle(self, op: usize) -> Ordered {
        // The mixer of splitmix64, twice with different beginnings.
        let mix = |seed: u64| {
            let mut bits = seed.wrapping_add((op as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
        };
        Ordered(self.0 ^ (u128::from(mix(0)) << 64 | u128::from(mix(0x5eed))))
    }
}

/// A place in the list of questions and answers: `next` and `previous` skip what has been put in order.
#[derive(Debug, Clone, Copy)]
struct Place {
    op: usize,
    is_call: bool,
    next: usize,
    previous: usize,
}

/// The search. The list's first place is a head without an operation; it holds what was answered. What never was is only guessed where nothing else
/// explains an answer: most of it has never happened.
struct Search<'a> {
    ops: &'a [&'a Op],
    places: Vec<Place>,
    /// Where the answer of each operation is; none where it never came.
    answers: Vec<Option<usize>>,
    /// Operations without an answer, the last asked first.
    guesses: Vec<usize>,
    /// Those that are taken to have happened.
    taken: BTreeSet<usize>,
}

/// What is put in order next.
enum Chosen {
    /// The operation asked at this place.
    Asked(usize),
    /// An operation whose answer nobody heard, guessed before the answer at a place; and the number of the next guess there.
    Guessed { op: usize, answer: usize, next: usize },
}

const END: usize = usize::MAX;
const HEAD: usize = 0;

impl<'a> Search<'a> {
    fn new(ops: &'a [&'a Op]) -> Search<'a> {
        let mut moments: Vec<(Time, bool, usize)> = Vec::new();
        let mut guesses = Vec::new();
        for (number, op) in ops.iter().enumerate() {
            // At one moment, questions come before answers: then the two overlap, and the check is never too strict.
            match op.result {
                Some((answered, _)) => moments.extend([(op.invoked, false, number), (answered, true, number)]),
                None => guesses.push(number),
            }
        }
        moments.sort_unstable();
        guesses.sort_by_key(|op| std::cmp::Reverse(ops[*op].invoked));
        let mut places =
            vec![Place { op: END, is_call: false, next: if moments.is_empty() { END } else { 1 }, previous: END }];
        let mut answers = vec![None; ops.len()];
        for (at, (_, is_answer, op)) in moments.iter().enumerate() {
            let place = at + 1;
            let next = if place == moments.len() { END } else { place + 1 };
            places.push(Place { op: *op, is_call: !is_answer, next, previous: at });
            if *is_answer {
                answers[*op] = Some(place);
            }
        }
        Search { ops, places, answers, guesses, taken: BTreeSet::new() }
    }

    fn run(mut self) -> Verdict {
        let mut key = Key::default();
        let mut ordered = Ordered::default();
        let mut visited: HashSet<(Ordered, Key)> = HashSet::new();
        let mut stack: Vec<(Chosen, Key)> = Vec::new();
        let (mut longest, mut stuck) = (0, 0);
        // Where the search is in the list, and which guess is next if that is an answer.
        let (mut at, mut guess) = (self.places[HEAD].next, 0);
        for _ in 0..MAX_STEPS {
            if at == END {
                return Verdict::Linearizable;
            }
            let place = self.places[at];
            let next = if place.is_call { Some(place.op) } else { self.guess_before(place.op, &mut guess) };
            if let Some(op) = next {
                let with = ordered.toggle(op);
                let after = key.step(self.ops[op]).filter(|after| visited.insert((with, *after)));
                if let Some(after) = after {
                    let chosen = if place.is_call {
                        self.lift(at);
                        Chosen::Asked(at)
                    } else {
                        self.taken.insert(op);
                        Chosen::Guessed { op, answer: at, next: guess }
                    };
                    stack.push((chosen, key));
                    (key, ordered) = (after, with);
                    (at, guess) = (self.places[HEAD].next, 0);
                } else if place.is_call {
                    at = place.next;
                }
                continue;
            }
            // This operation has been answered and fits nowhere before its answer: an earlier choice was wrong.
            if stack.len() >= longest {
                (longest, stuck) = (stack.len(), place.op);
            }
            let Some((chosen, before)) = stack.pop() else { return Verdict::Not { longest, stuck } };
            key = before;
            match chosen {
                Chosen::Asked(call) => {
                    ordered = ordered.toggle(self.places[call].op);
                    self.unlift(call);
                    (at, guess) = (self.places[call].next, 0);
                }
                Chosen::Guessed { op, answer, next } => {
                    ordered = ordered.toggle(op);
                    self.taken.remove(&op);
                    (at, guess) = (answer, next);
                }
            }
        }
        Verdict::Undecided
    }

    /// The next operation that may have happened before the answer of another one.
    fn guess_before(&self, answered: usize, next: &mut usize) -> Option<usize> {
        let answer = self.ops[answered].result.map(|(answer, _)| answer)?;
        let rest = self.guesses.get(*next..)?.iter().enumerate();
        let free = |(_, op): &(usize, &usize)| self.ops[**op].invoked <= answer && !self.taken.contains(op);
        let (skipped, op) = rest.into_iter().find(free)?;
        *next += skipped + 1;
        Some(*op)
    }

    fn lift(&mut self, call: usize) {
        self.take_out(call);
        if let Some(answer) = self.answers[self.places[call].op] {
            self.take_out(answer);
        }
    }

    fn unlift(&mut self, call: usize) {
        if let Some(answer) = self.answers[self.places[call].op] {
            self.put_back(answer);
        }
        self.put_back(call);
    }

    fn take_out(&mut self, at: usize) {
        let Place { next, previous, .. } = self.places[at];
        self.places[previous].next = next;
        if next != END {
            self.places[next].previous = previous;
        }
    }

    fn put_back(&mut self, at: usize) {
        let Place { next, previous, .. } = self.places[at];
        self.places[previous].next = at;
        if next != END {
            self.places[next].previous = at;
        }
    }
}

/// The operations around the one that fits nowhere.
fn explain(key: &str, ops: &[&Op], longest: usize, stuck: usize) -> String {
    use std::fmt::Write;
    let mut text =
        format!("{key}: {longest} of {} operations can be put in order, this one fits nowhere:\n", ops.len());
    let mut around: Vec<usize> = (0..ops.len()).collect();
    around.sort_by_key(|op| ops[*op].invoked);
    let middle = around.iter().position(|op| *op == stuck).unwrap_or_default();
    for op in &around[middle.saturating_sub(12)..ops.len().min(middle + 6)] {
        let mark = if *op == stuck { "▶" } else { " " };
        let Op { client, call, invoked, result } = ops[*op];
        let told = result.map_or_else(|| "never learnt".to_owned(), |(at, told)| format!("{at:?} {told:?}"));
        // Writing to memory cannot fail.
        let _ = writeln!(text, "  {mark} client {client}: {invoked:?} {call:?} → {told}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(invoked: u64, answered: u64, call: Call, told: Told) -> Op {
        Op { client: 0, call, invoked: Time::from_nanos(invoked), result: Some((Time::from_nanos(answered), told)) }
    }

    fn unknown(invoked: u64, call: Call) -> Op {
        Op { client: 0, call, invoked: Time::from_nanos(invoked), result: None }
    }

    fn put(invoked: u64, answered: u64, value: u64, index: u64) -> Op {
        op(invoked, answered, Call::Put { value }, Told::Done { index: LogIndex(index) })
    }

    fn got(invoked: u64, answered: u64, value: u64, modified: u64) -> Op {
        op(invoked, answered, Call::Get, Told::Found { value, modified: LogIndex(modified), holder: None })
    }

    fn got_held(invoked: u64, answered: u64, value: u64, modified: u64, holder: u8) -> Op {
        let holder = Some(SessionId([holder; 16]));
        op(invoked, answered, Call::Get, Told::Found { value, modified: LogIndex(modified), holder })
    }

    fn acquire(invoked: u64, answered: u64, session: u8, value: u64, told: Told) -> Op {
        op(invoked, answered, Call::Acquire { session: SessionId([session; 16]), value }, told)
    }

    fn acquire_once(invoked: u64, answered: u64, session: u8, value: u64, told: Told) -> Op {
        op(invoked, answered, Call::AcquireOnce { session: SessionId([session; 16]), value }, told)
    }

    fn holds(token: u64, index: u64) -> Told {
        Told::Holds { token: LogIndex(token), index: LogIndex(index) }
    }

    fn acquired(token: u64, index: u64) -> Told {
        Told::Acquired { token: LogIndex(token), index: LogIndex(index) }
    }

    fn held(by: u8, index: u64) -> Told {
        Told::Held { by: (by > 0).then_some(SessionId([by; 16])), index: LogIndex(index) }
    }

    fn release(invoked: u64, answered: u64, session: u8, value: u64, told: Told) -> Op {
        op(invoked, answered, Call::Release { session: SessionId([session; 16]), value }, told)
    }

    fn free(invoked: u64, session: u8, deletes: bool) -> Op {
        unknown(invoked, Call::Free { session: SessionId([session; 16]), deletes })
    }

    fn give_up(invoked: u64, session: u8, value: u64) -> Op {
        unknown(invoked, Call::GiveUp { session: SessionId([session; 16]), value })
    }

    fn untold(invoked: u64, session: u8, value: u64) -> Op {
        unknown(invoked, Call::AcquireOnce { session: SessionId([session; 16]), value })
    }

    fn missing(invoked: u64, answered: u64) -> Op {
        op(invoked, answered, Call::Get, Told::Missing)
    }

    fn cas(invoked: u64, answered: u64, expected: u64, value: u64, told: Told) -> Op {
        op(invoked, answered, Call::Cas { expected: LogIndex(expected), value }, told)
    }

    fn done(index: u64) -> Told {
        Told::Done { index: LogIndex(index) }
    }

    fn unmatched(found: u64, index: u64) -> Told {
        Told::Unmatched { found: LogIndex(found), index: LogIndex(index) }
    }

    #[test]
    fn good_histories() {
        let delete = |from, to, index| op(from, to, Call::Delete, done(index));
        let delete_cas =
            |from, to, expected, told| op(from, to, Call::DeleteCas { expected: LogIndex(expected) }, told);
        let good: Vec<(&str, Vec<Op>)> = vec![
            ("nothing", vec![]),
            (
                "one after the other",
                vec![missing(1, 2), put(3, 4, 7, 10), got(5, 6, 7, 10), delete(7, 8, 11), missing(9, 10)],
            ),
            (
                "a read beside a write sees either",
                vec![put(1, 2, 1, 1), put(3, 9, 2, 2), got(4, 5, 1, 1), got(6, 7, 2, 2)],
            ),
            ("writes side by side in the order of the log", vec![put(1, 9, 1, 6), put(1, 9, 2, 5), got(10, 11, 1, 6)]),
            (
                "compare and set",
                vec![put(1, 2, 1, 5), cas(3, 4, 5, 2, done(6)), cas(5, 6, 5, 3, unmatched(6, 7)), got(8, 9, 2, 6)],
            ),
            ("create by compare and set", vec![cas(1, 2, 0, 4, done(3)), cas(3, 4, 0, 5, unmatched(3, 4))]),
            (
                "an unknown write that happened",
                vec![unknown(1, Call::Put { value: 9 }), missing(2, 3), got(4, 5, 9, 8), put(6, 7, 1, 9)],
            ),
            (
                "an unknown write that did not",
                vec![unknown(1, Call::Put { value: 9 }), missing(2, 3), put(6, 7, 1, 9), got(8, 9, 1, 9)],
            ),
            ("an unknown delete", vec![put(1, 2, 1, 1), unknown(3, Call::Delete), got(4, 5, 1, 1), missing(6, 7)]),
            (
                "an unknown write that a refusal shows",
                vec![unknown(1, Call::Put { value: 9 }), cas(2, 3, 0, 4, unmatched(2, 3)), got(4, 5, 9, 2)],
            ),
            ("the same value again changes nothing", vec![put(1, 2, 1, 1), put(3, 4, 1, 2), got(5, 6, 1, 1)]),
            (
                "delete by compare and set",
                vec![
                    put(1, 2, 1, 1),
                    delete_cas(3, 4, 9, unmatched(1, 2)),
                    delete_cas(5, 6, 0, unmatched(1, 3)),
                    got(7, 8, 1, 1),
                    delete_cas(9, 10, 1, done(4)),
                    missing(11, 12),
                    delete_cas(13, 14, 0, done(5)),
                    delete_cas(15, 16, 7, done(6)),
                ],
            ),
            (
                "a lock that changes hands",
                vec![
                    acquire(1, 2, 1, 7, acquired(5, 5)),
                    acquire(3, 4, 2, 8, held(1, 6)),
                    acquire(5, 6, 1, 9, acquired(5, 7)),
                    got_held(7, 8, 9, 7, 1),
                    put(9, 10, 10, 8),
                    got_held(11, 12, 10, 8, 1),
                    release(13, 14, 2, 11, held(1, 9)),
                    release(15, 16, 1, 12, done(10)),
                    got(17, 18, 12, 10),
                    acquire(19, 20, 2, 13, acquired(11, 11)),
                ],
            ),
            (
                "a session that ends",
                vec![
                    free(0, 1, false),
                    acquire(1, 2, 1, 7, acquired(5, 5)),
                    got(3, 4, 7, 6),
                    acquire(5, 6, 2, 8, held(0, 7)),
                    acquire(7, 8, 2, 8, acquired(8, 8)),
                ],
            ),
            (
                "a session that ends and takes its key along",
                vec![free(0, 1, true), acquire(1, 2, 1, 7, acquired(5, 5)), missing(3, 4)],
            ),
            (
                "a lock whose grant was never told",
                vec![
                    unknown(1, Call::Acquire { session: SessionId([1; 16]), value: 7 }),
                    acquire(2, 3, 2, 8, held(1, 6)),
                    acquire(4, 5, 1, 9, acquired(5, 7)),
                ],
            ),
            (
                "a lock that is given up for one who has gone",
                vec![
                    untold(1, 1, 7),
                    give_up(1, 1, 7),
                    acquire(2, 3, 2, 8, held(1, 6)),
                    got(4, 5, 7, 8),
                    acquire(6, 7, 2, 9, acquired(9, 9)),
                ],
            ),
            (
                "a waiter that was granted twice, the first time untold, and deleted in between",
                vec![
                    untold(1, 1, 7),
                    give_up(1, 1, 7),
                    acquire_once(1, 9, 1, 7, acquired(8, 8)),
                    got_held(2, 3, 7, 5, 1),
                    op(4, 5, Call::Delete, done(6)),
                    got_held(10, 11, 7, 8, 1),
                ],
            ),
            (
                "a waiter that is told late what it holds, and has been written over since",
                vec![
                    untold(1, 1, 7),
                    acquire_once(1, 6, 1, 7, holds(2, 5)),
                    got_held(2, 3, 7, 2, 1),
                    put(4, 5, 8, 4),
                    got_held(7, 8, 8, 4, 1),
                ],
            ),
            (
                "an unknown write that only its end by itself shows",
                vec![
                    put(1, 2, 1, 1),
                    unknown(3, Call::Put { value: 9 }),
                    unknown(3, Call::Lapse { value: 9 }),
                    missing(4, 5),
                ],
            ),
            (
                "a key that ends by itself",
                vec![unknown(1, Call::Lapse { value: 7 }), put(1, 2, 7, 3), got(3, 4, 7, 3), missing(5, 6)],
            ),
            (
                "a transaction whose check fails because of an unknown write",
                vec![
                    put(1, 2, 1, 1),
                    unknown(3, Call::Put { value: 9 }),
                    cas(4, 5, 1, 2, Told::Failed { index: LogIndex(3) }),
                ],
            ),
            (
                "a transaction whose check fails",
                vec![put(1, 2, 1, 1), cas(3, 4, 9, 2, Told::Failed { index: LogIndex(2) }), got(5, 6, 1, 1)],
            ),
        ];
        for (why, history) in good {
            assert_eq!(check("key", &history), Ok(Searched::Explained), "{why}");
        }
    }

    #[test]
    fn bad_histories() {
        let bad: Vec<(&str, Vec<Op>)> = vec![
            ("a stale read", vec![put(1, 2, 1, 1), put(3, 4, 2, 2), got(5, 6, 1, 1)]),
            ("a lost write", vec![put(1, 2, 1, 1), missing(3, 4)]),
            ("a value from nowhere", vec![got(1, 2, 5, 1)]),
            ("a read that goes back", vec![put(1, 2, 1, 1), put(3, 20, 2, 2), got(4, 5, 2, 2), got(6, 7, 1, 1)]),
            (
                "two winners of one compare and set",
                vec![put(1, 2, 1, 1), cas(3, 9, 1, 2, done(2)), cas(3, 9, 1, 3, done(3))],
            ),
            (
                "an acknowledged write that a second copy of a wait undoes",
                vec![
                    untold(1, 1, 7),
                    acquire_once(1, 6, 1, 7, holds(2, 5)),
                    got_held(2, 3, 7, 2, 1),
                    put(4, 5, 8, 4),
                    got_held(7, 8, 7, 5, 1),
                ],
            ),
            (
                "a hold with another token",
                vec![acquire(1, 2, 1, 7, acquired(5, 5)), acquire_once(3, 4, 1, 8, holds(4, 6))],
            ),
            ("a refusal without a reason", vec![put(1, 2, 1, 1), cas(3, 4, 1, 2, unmatched(1, 2))]),
            ("a refusal that names another index", vec![put(1, 2, 1, 1), cas(3, 4, 7, 2, unmatched(9, 2))]),
            ("a log index that goes back in real time", vec![put(1, 2, 1, 5), put(3, 4, 2, 4)]),
            ("a write seen before it was asked for", vec![got(1, 2, 9, 8), unknown(3, Call::Put { value: 9 })]),
            (
                "a refused compare and set that happened",
                vec![put(1, 2, 1, 1), cas(3, 4, 7, 2, unmatched(1, 2)), got(5, 6, 2, 2)],
            ),
            (
                "an unknown write that happens twice",
                vec![unknown(1, Call::Put { value: 9 }), got(2, 3, 9, 2), put(4, 5, 1, 3), got(6, 7, 9, 4)],
            ),
            ("a deleted key that comes back", vec![put(1, 2, 1, 1), op(3, 4, Call::Delete, done(2)), got(5, 6, 1, 1)]),
            (
                "two owners",
                vec![free(0, 1, false), acquire(1, 2, 1, 7, acquired(5, 5)), acquire(3, 4, 2, 8, acquired(4, 6))],
            ),
            ("a grant beside a hold", vec![acquire(1, 2, 1, 7, acquired(5, 5)), acquire(3, 4, 2, 8, acquired(6, 6))]),
            ("a hold that nothing ended", vec![acquire(1, 2, 1, 7, acquired(5, 5)), got(3, 4, 7, 5)]),
            ("a refusal that names nobody", vec![acquire(1, 2, 1, 7, acquired(5, 5)), acquire(3, 4, 2, 8, held(0, 6))]),
            ("another token", vec![acquire(1, 2, 1, 7, acquired(5, 5)), acquire(3, 4, 1, 8, acquired(6, 6))]),
            ("a release by another", vec![acquire(1, 2, 1, 7, acquired(5, 5)), release(3, 4, 2, 8, done(6))]),
            (
                "a session that ends without its key",
                vec![free(0, 1, false), acquire(1, 2, 1, 7, acquired(5, 5)), missing(3, 4)],
            ),
            (
                "a lock that is given up although its grant was told",
                vec![
                    untold(1, 1, 7),
                    give_up(1, 1, 7),
                    acquire(1, 3, 1, 7, acquired(5, 6)),
                    acquire(4, 5, 2, 8, acquired(9, 9)),
                ],
            ),
            (
                "a lock that is given up although its key was written since",
                vec![untold(1, 1, 7), give_up(1, 1, 7), got_held(2, 3, 7, 5, 1), put(4, 5, 8, 6), got(6, 7, 8, 7)],
            ),
            (
                "an untold grant beside a hold",
                vec![acquire(1, 2, 1, 7, acquired(5, 5)), untold(3, 2, 8), got_held(4, 5, 8, 6, 2)],
            ),
            (
                "a key that ends although it was set again",
                vec![unknown(1, Call::Lapse { value: 7 }), put(1, 2, 7, 3), put(3, 4, 8, 4), missing(5, 6)],
            ),
            (
                "a transaction whose check failed for nothing",
                vec![put(1, 2, 1, 1), cas(3, 4, 1, 2, Told::Failed { index: LogIndex(2) })],
            ),
        ];
        for (why, history) in bad {
            assert!(check("key", &history).is_err(), "{why}");
        }
    }

    #[test]
    fn many_unknown_locks_do_not_explode() {
        let mut history = Vec::new();
        for n in 0..100 {
            let (at, session) = (n * 20, n as u8);
            history.push(free(at, session, n % 2 == 0));
            history.push(untold(at + 1, session, 20_000 + n));
            history.push(give_up(at + 1, session, 20_000 + n));
            history.push(put(at + 2, at + 3, n, 2 * n + 1));
            history.push(got(at + 4, at + 5, n, 2 * n + 1));
            history.push(op(at + 6, at + 7, Call::Delete, done(2 * n + 2)));
        }
        assert_eq!(check("key", &history), Ok(Searched::Explained));
    }

    #[test]
    fn many_unknown_writes_do_not_explode() {
        let mut history = Vec::new();
        for n in 0..400 {
            let at = n * 10;
            history.push(put(at + 1, at + 2, n, n + 1));
            history.push(got(at + 3, at + 4, n, n + 1));
            if n % 4 == 0 {
                history.push(unknown(at + 5, Call::Put { value: 10_000 + n }));
                history.push(unknown(at + 5, Call::Delete));
            }
        }
        assert_eq!(check("key", &history), Ok(Searched::Explained));
    }
}
