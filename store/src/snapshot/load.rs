//! A state from the records of a snapshot.

use super::SnapshotError;
use super::reader::Reader;
use super::record::{End, Record};
use crate::Store;
use crate::changes::ChangeRing;
use crate::edit::Edit;
use crate::hash::History;
use crate::name::Name;
use crate::restore::Staged;
use crate::store::State;
use bytes::Bytes;
use quorate_protocol::{Armed, Entry, LogIndex, Row};
use std::sync::Arc;

impl Store {
    /// The store whose view the chunks were drawn from: it answers alike, and goes on alike.
    ///
    /// # Errors
    /// [`SnapshotError`] when anything is damaged, missing, doubled or in another order. Nothing is used before all is read.
    pub fn from_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Store, SnapshotError> {
        let mut loader = Loader::new(None);
        let end = Reader::read(chunks, |record, _| loader.add(record))?;
        let mut state = loader.finish(&end);
        state.changes = ChangeRing::starting_at(end.index);
        Ok(Store::resume(end.index, state, History::resume(end.hash)))
    }
}

/// Puts the rows of a snapshot into their tables.
pub(crate) struct Loader {
    state: State,
    /// The log index of a restore: every row then counts as changed there, so that no index goes back.
    restored_at: Option<LogIndex>,
}

impl Loader {
    pub fn new(restored_at: Option<LogIndex>) -> Loader {
        Loader { state: State::default(), restored_at }
    }

    /// Adds a record. What it belongs to has come before it.
    pub fn add(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Node(row) => {
                let row = self.row(row);
                self.edit().place_node(&Name::of(&row.name), row);
            }
            Record::Service(node, row) => {
                self.must_have_node(&node)?;
                let row = self.row(row);
                self.edit().place_service(&node, Arc::new(row));
            }
            Record::Check(row) => {
                let node = Name::of(&row.node);
                self.must_have_node(&node)?;
                let row = self.row(row);
                self.edit().place_check(&node, row);
            }
            Record::Session(row) => {
                self.must_have_node(&Name::of(&row.node))?;
                let row = self.row(row);
                self.state.sessions.insert(Arc::new(row));
            }
            Record::Entry(row) => {
                let holder = row.lock.session;
                if let Some(holder) = holder.filter(|holder| self.state.sessions.get(*holder).is_none()) {
                    return Err(format!("key {:?} is held by session {holder}, which is not there", row.key));
                }
                let row = self.entry(row);
                self.state.kv.place(Arc::new(row));
            }
            Record::Timer(timer, armed) => {
                let since = self.restored_at.unwrap_or(armed.since);
                self.state.timers.insert(timer, Armed { since, ..armed });
            }
            Record::Autopilot(row) => self.state.autopilot = Some(Arc::new(self.row(row))),
            // What a restore begins anew: a key that is not there was deleted at its index at the latest, everything changed
            // then, and another restore that was on its way in the old cluster is none in this one.
            Record::Tombstone(..) | Record::Index(..) | Record::Staged(_) | Record::StagedPiece(..)
                if self.restored_at.is_some() => {}
            Record::Tombstone(index, key) => {
                if self.state.kv.entry(&key).is_some() {
                    return Err(format!("key {key:?} is there and deleted"));
                }
                self.state.kv.remember(index, key);
            }
            Record::Index(topic, index) => {
                if !self.state.is_there(&topic) {
                    return Err(format!("{topic:?} is not there"));
                }
                self.state.indexes.insert(topic, index);
            }
            Record::Staged(id) => self.state.staged = Some(Staged::new(id)),
            Record::StagedPiece(chunk, piece, bytes) => self.stage(chunk, piece, bytes)?,
            Record::End(_) => {}
        }
        Ok(())
    }

    /// The state, once all is read.
    pub fn finish(mut self, end: &End) -> State {
        match self.restored_at {
            None => self.state.kv.raise_floor(end.floor),
            Some(index) => {
                self.state.kv.raise_floor(index);
                let topics = self.state.all_topics();
                self.state.raise(&topics, index);
            }
        }
        self.state
    }

    /// An edit whose marks are of no use: nobody waits for this state yet.
    fn edit(&mut self) -> Edit<'_> {
        Edit::begin(self.restored_at.unwrap_or_default(), &mut self.state)
    }

    fn must_have_node(&self, node: &Name) -> Result<(), String> {
        if self.state.catalog.nodes.contains_key(node) {
            return Ok(());
        }
        Err(format!("node {node:?} is not there"))
    }

    /// The row with the indexes that it is to have.
    fn row<T: Clone>(&self, row: Arc<Row<T>>) -> Row<T> {
        let Row { value, create_index, modify_index } = Arc::unwrap_or_clone(row);
        match self.restored_at {
            None => Row { value, create_index, modify_index },
            Some(index) => Row { value, create_index: create_index.min(index), modify_index: index },
        }
    }

    /// Tokens are log indexes too: those of holds that go on count from the restore, those of earlier ones are no later.
    fn entry(&self, row: Arc<Row<Entry>>) -> Row<Entry> {
        let mut row = self.row(row);
        if let Some(index) = self.restored_at {
            let lock = &mut row.value.lock;
            lock.token = if lock.session.is_some() { index } else { lock.token.min(index) };
        }
        row
    }

    fn stage(&mut self, chunk: u64, piece: u64, bytes: Bytes) -> Result<(), String> {
        let Some(staged) = &mut self.state.staged else { return Err("pieces of no restore".to_owned()) };
        staged.add_piece(chunk, piece, bytes)
    }
}
