//! The replicated state machine: committed writes in, outcomes out.

use crate::catalog::{Catalog, Edit};
use crate::hash::History;
use crate::kv::Kv;
use crate::{Touched, View};
use quorate_protocol::{LogIndex, Outcome, Write};
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
    state: Arc<State>,
    history: History,
}

/// All that is known. Cloning it costs a few pointers.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub kv: Kv,
    pub catalog: Catalog,
}

impl Store {
    /// The empty store.
    pub fn new() -> Store {
        Store::default()
    }

    /// Applies the write of the log entry at `index`, and tells what became of it and what it changed.
    ///
    /// Entries come in the order of the log; one at or below [`Store::applied_index`] is refused without any effect, for
    /// applying an entry twice could undo a later one.
    pub fn apply(&mut self, index: LogIndex, write: &Write) -> (Outcome, Touched) {
        if index <= self.applied {
            let why = format!("log entry {index} was applied already, as were all up to {}", self.applied);
            return (Outcome::Refused(why), Touched::default());
        }
        let (outcome, touched) = match write {
            Write::Kv(write) => Arc::make_mut(&mut self.state).kv.apply(index, write),
            Write::Register(registration) => self.edit(index, |edit| edit.register(registration)),
            Write::Deregister(deregistration) => self.edit(index, |edit| edit.deregister(deregistration)),
            Write::Session(_) | Write::Txn(_) | Write::Expire { .. } | Write::Autopilot { .. } | Write::Restore(_) => {
                (Outcome::Refused("this is not served yet".to_owned()), Touched::default())
            }
        };
        self.applied = index;
        self.history.add(index, write, &outcome);
        (outcome, touched)
    }

    /// Takes note of a log entry without a write (a no-op, a configuration): only the applied index moves.
    pub fn skip(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
    }

    /// The state as it is now. O(1); it stays as it is while the store moves on.
    pub fn view(&self) -> View {
        View { index: self.applied, state: Arc::clone(&self.state) }
    }

    /// The log index of the last entry applied or skipped.
    pub fn applied_index(&self) -> LogIndex {
        self.applied
    }

    /// A rolling hash over (index, write, outcome) of every write applied: equal on equal replicas.
    pub fn hash(&self) -> u64 {
        self.history.value()
    }

    /// Changes a copy of the catalogue, and keeps it only if nothing was refused: a registration is all or nothing.
    fn edit(&mut self, index: LogIndex, change: impl FnOnce(&mut Edit) -> Result<(), String>) -> (Outcome, Touched) {
        let mut edit = Edit::begin(index, &self.state.catalog);
        match change(&mut edit) {
            Ok(()) => {
                let (catalog, topics) = edit.finish();
                if !topics.is_empty() {
                    Arc::make_mut(&mut self.state).catalog = catalog;
                }
                (Outcome::Done, Touched { topics, ..Touched::default() })
            }
            Err(why) => (Outcome::Refused(why), Touched::default()),
        }
    }
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
