//! The replicated state machine: committed writes in, outcomes out.

use crate::catalog::Catalog;
use crate::changes::ChangeRing;
use crate::edit::Edit;
use crate::hash::History;
use crate::index::Indexes;
use crate::kv::Kv;
#[cfg(feature = "planted-bugs")]
use crate::planted::Bug;
use crate::planted::Planted;
use crate::restore::Staged;
use crate::session::Sessions;
use crate::timer::Timers;
use crate::{Touched, View};
use quorate_protocol::wire::log::encode_write;
use quorate_protocol::{AutopilotConfig, LogIndex, Outcome, Row, Write};
use std::fmt;
use std::sync::Arc;

/// What is known, on this replica.
///
/// * Equal writes at equal indexes make equal stores: nothing here looks at a clock, rolls dice or follows the order of a
///   hash map.
/// * A write that is refused, or that changes nothing, leaves every row and every index as they were.
/// * Views handed out earlier never change.
#[derive(Clone, Default)]
pub struct Store {
    applied: LogIndex,
    pub(crate) state: Arc<State>,
    history: History,
    /// The write of the last entry, for [`Bug::AppliedTwice`].
    #[cfg(feature = "planted-bugs")]
    previous: Option<Write>,
}

/// All that is known. Cloning it costs a few pointers.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub kv: Kv,
    pub catalog: Catalog,
    pub sessions: Sessions,
    pub timers: Timers,
    pub indexes: Indexes,
    /// None as long as nobody set them.
    pub autopilot: Option<Arc<Row<AutopilotConfig>>>,
    /// A restore on its way.
    pub staged: Option<Staged>,
    pub changes: ChangeRing,
    pub planted: Planted,
}

impl Store {
    /// The empty store.
    pub fn new() -> Store {
        Store::default()
    }

    /// A store that goes on from a snapshot.
    pub(crate) fn resume(applied: LogIndex, state: State, history: History) -> Store {
        Store {
            applied,
            state: Arc::new(state),
            history,
            #[cfg(feature = "planted-bugs")]
            previous: None,
        }
    }

    /// Applies the write of the log entry at `index`, and tells what became of it and what it changed.
    ///
    /// Entries come in the order of the log; one at or below [`Store::applied_index`] is refused without any effect, for
    /// applying an entry twice could undo a later one.
    pub fn apply(&mut self, index: LogIndex, write: &Write) -> (Outcome, Touched) {
        self.apply_encoded(index, &encode_write(write), write)
    }

    /// The same for a write whose bytes in the log are at hand, which saves encoding it for the [hash](Store::hash).
    pub fn apply_encoded(&mut self, index: LogIndex, encoded: &[u8], write: &Write) -> (Outcome, Touched) {
        if index <= self.applied {
            let why = format!("log entry {index} was applied already, as were all up to {}", self.applied);
            return (Outcome::Refused(why), Touched::default());
        }
        let (outcome, touched) = self.change(index, write);
        self.applied = index;
        self.history.add(index, encoded, &outcome);
        #[cfg(feature = "planted-bugs")]
        self.apply_previous_again(index, write);
        (outcome, touched)
    }

    fn change(&mut self, index: LogIndex, write: &Write) -> (Outcome, Touched) {
        match write {
            Write::Kv(write) => self.edit(index, |edit| edit.write_kv(write)),
            Write::Session(write) => self.edit(index, |edit| edit.write_session(write)),
            Write::Expire { timer, since } => self.edit(index, |edit| edit.expire(timer, *since)),
            Write::Autopilot { config, cas } => self.edit(index, |edit| edit.configure_autopilot(config, *cas)),
            Write::Register(registration) => self.all_or_nothing(index, |edit| done(edit.register(registration))),
            Write::Deregister(what) => self.all_or_nothing(index, |edit| done(edit.deregister(what))),
            Write::Txn(operations) => self.all_or_nothing(index, |edit| match edit.transact(operations) {
                Ok(outcome @ Ok(_)) => Ok(Outcome::Txn(outcome)),
                Ok(failed @ Err(_)) => Err(Outcome::Txn(failed)),
                Err(why) => Err(Outcome::Refused(why)),
            }),
            Write::Restore(write) => self.restore(index, write),
        }
    }

    /// Takes note of a log entry without a write (a no-op, a configuration): only the applied index moves.
    pub fn skip(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
    }

    /// The state as it is now. O(1); it stays as it is while the store moves on.
    pub fn view(&self) -> View {
        View { index: self.applied, state: Arc::clone(&self.state), hash: self.hash() }
    }

    /// The log index of the last entry applied or skipped.
    pub fn applied_index(&self) -> LogIndex {
        self.applied
    }

    /// A rolling hash over (index, write, outcome) of every write applied: equal on equal replicas.
    pub fn hash(&self) -> u64 {
        self.history.value()
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Switches a defect on, in place of any other; none switches it off. A store made from chunks begins without.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: Option<Bug>) {
        self.previous = None;
        Arc::make_mut(&mut self.state).planted = Planted::with(bug);
    }

    /// What must not happen: see [`Bug::AppliedTwice`].
    #[cfg(feature = "planted-bugs")]
    fn apply_previous_again(&mut self, index: LogIndex, write: &Write) {
        if self.state.planted.has(Bug::AppliedTwice) {
            let previous = self.previous.replace(write.clone()).filter(|_| index.0.is_multiple_of(8));
            if let Some(previous) = previous {
                self.change(index, &previous);
            }
        }
    }

    /// Changes the state in place: for what is refused before anything is changed.
    fn edit(&mut self, index: LogIndex, change: impl FnOnce(&mut Edit<'_>) -> Outcome) -> (Outcome, Touched) {
        let mut edit = Edit::begin(index, Arc::make_mut(&mut self.state));
        let outcome = change(&mut edit);
        (outcome, edit.finish())
    }

    /// Changes a copy of the state, and keeps it only if nothing failed.
    fn all_or_nothing(
        &mut self,
        index: LogIndex,
        change: impl FnOnce(&mut Edit<'_>) -> Result<Outcome, Outcome>,
    ) -> (Outcome, Touched) {
        let mut state = State::clone(&self.state);
        let mut edit = Edit::begin(index, &mut state);
        match change(&mut edit) {
            Ok(outcome) => {
                let touched = edit.finish();
                if !touched.is_empty() {
                    self.state = Arc::new(state);
                }
                (outcome, touched)
            }
            Err(failed) => (failed, Touched::default()),
        }
    }
}

fn done(result: Result<(), String>) -> Result<Outcome, Outcome> {
    result.map(|()| Outcome::Done).map_err(Outcome::Refused)
}

impl fmt::Debug for Store {
    /// The index and the hash say which store it is; all rows would say too much.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("applied", &self.applied).field("hash", &self.hash()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{Answer, KvRead, KvWrite, Pair, Read};

    fn put(key: &str, value: &'static str) -> Write {
        let pair = Pair { key: key.to_owned(), value: value.into(), ..Pair::default() };
        Write::Kv(KvWrite::Put { pair, cas: None })
    }

    fn value(view: &View) -> Option<bytes::Bytes> {
        match view.read(&Read::Kv(KvRead::Get { key: "a".to_owned() })).0 {
            Answer::Entries(entries) => entries.first().map(|row| row.value.value.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_view_stays_while_the_store_moves_on() {
        let mut store = Store::new();
        let empty = store.view();
        store.apply(LogIndex(2), &put("a", "1"));
        let first = store.view();
        store.apply(LogIndex(3), &put("a", "2"));
        store.skip(LogIndex(4));
        assert_eq!((value(&empty), empty.index()), (None, LogIndex(0)));
        assert_eq!((value(&first), first.index()), (Some("1".into()), LogIndex(2)));
        assert_eq!((value(&store.view()), store.view().index()), (Some("2".into()), LogIndex(4)));
    }

    #[test]
    fn an_entry_is_applied_once() {
        let mut store = Store::new();
        store.apply(LogIndex(5), &put("a", "1"));
        let (hash, before) = (
            store.hash(),
            store
                .view()
                .read(&Read::Kv(KvRead::List { prefix: String::new(), page: quorate_protocol::Page::default() })),
        );
        for index in [0, 4, 5] {
            let (outcome, touched) = store.apply(LogIndex(index), &put("a", "2"));
            assert!(matches!(outcome, Outcome::Refused(_)) && touched.is_empty());
            store.skip(LogIndex(index));
        }
        assert_eq!((store.hash(), store.applied_index()), (hash, LogIndex(5)));
        assert_eq!(
            store
                .view()
                .read(&Read::Kv(KvRead::List { prefix: String::new(), page: quorate_protocol::Page::default() })),
            before
        );
    }

    #[test]
    fn views_travel_between_threads() {
        fn is_shared<T: Send + Sync + Clone + 'static>() {}
        is_shared::<View>();
        is_shared::<Store>();
    }
}
