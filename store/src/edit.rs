//! A change of the state on its way, and the marks it leaves.

use crate::index::Topic;
use crate::name::Name;
use crate::node::OnNode;
use crate::store::State;
use crate::touched::Touched;
use quorate_protocol::{LogIndex, Timer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A change of the state. Each noun adds to it what can be done with that noun, and marks what it changes; from the marks come
/// the indexes, the change stream and [`Touched`], so none of them can know something that the others do not.
///
/// What may be refused halfway is given a copy of the state (which costs a few pointers), and the copy is dropped.
pub(crate) struct Edit<'a> {
    pub(crate) index: LogIndex,
    pub(crate) state: &'a mut State,
    /// Keys that changed, each with the index at which it had last changed before.
    keys: BTreeMap<Arc<str>, LogIndex>,
    topics: BTreeSet<Topic>,
    timers: BTreeSet<Timer>,
}

impl Edit<'_> {
    pub fn begin(index: LogIndex, state: &mut State) -> Edit<'_> {
        Edit { index, state, keys: BTreeMap::new(), topics: BTreeSet::new(), timers: BTreeSet::new() }
    }

    /// Raises the indexes of what was marked, and records the changes of keys.
    pub fn finish(self) -> Touched {
        let Edit { index, state, keys, topics, timers } = self;
        state.raise(&topics, index);
        state.changes.record(index, &keys, &state.kv);
        let armed = |timer: Timer| {
            let armed = state.timers.get(&timer);
            (timer, armed)
        };
        Touched { keys, topics, timers: timers.into_iter().map(armed).collect(), everything: false }
    }

    pub(crate) fn touch(&mut self, topics: impl IntoIterator<Item = Topic>) {
        self.topics.extend(topics);
    }

    /// Marks a key. `before` is the index of its last change until now; within one write the first one counts.
    pub(crate) fn touch_key(&mut self, key: &str, before: LogIndex) {
        self.keys.entry(key.into()).or_insert(before);
    }

    pub(crate) fn touch_timer(&mut self, timer: Timer) {
        self.timers.insert(timer);
    }

    /// What is on a node, to be changed; views that share it keep theirs.
    pub(crate) fn on_mut(&mut self, node: &Name) -> Option<&mut OnNode> {
        self.state.catalog.nodes.get_mut(node).map(Arc::make_mut)
    }
}
