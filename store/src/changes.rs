//! The change stream: what happened to keys lately, each put and delete once and in order.
//!
//! It is a memory of this replica alone, not part of its state: a server that came by a snapshot begins with an empty one.

use crate::kv::Kv;
use imbl::Vector;
use quorate_protocol::{Change, Changes, LogIndex, Selection};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many changes are kept. Entries are shared with the table of keys, so those that are still there cost 48 bytes each. Tests
/// keep few, so that they see what forgetting does.
const MAX_CHANGES: usize = if cfg!(test) { 6 } else { 16_384 };

/// How many bytes of keys and values the kept changes may have together, for the case that their entries are not there any more.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// How many changes more than [`MAX_CHANGES`] there may be until the oldest are dropped. Taking from the front copies what views
/// share of it, so it is done seldom.
const STRIDE: usize = if cfg!(test) { 1 } else { 256 };

/// The last changes of keys.
///
/// * Every change of a key above `floor` is in `ring`, in the order of the log, those of one write by key.
/// * The changes of one write are kept or dropped together.
#[derive(Clone, Default)]
pub(crate) struct ChangeRing {
    ring: Vector<Recorded>,
    floor: LogIndex,
    bytes: usize,
}

#[derive(Clone)]
struct Recorded {
    change: Change,
    /// When the key had last changed before, or a bound of that from above: whoever knows the key as it was then has missed
    /// nothing, however much was dropped in between.
    before: LogIndex,
}

impl ChangeRing {
    /// An empty memory of a state at an index.
    pub fn starting_at(floor: LogIndex) -> ChangeRing {
        ChangeRing { floor, ..ChangeRing::default() }
    }

    /// Adds what a write did to keys, each with the index of its last change before.
    pub fn record(&mut self, index: LogIndex, keys: &BTreeMap<Arc<str>, LogIndex>, kv: &Kv) {
        for (key, before) in keys {
            let change = match kv.entry(key) {
                Some(row) => Change::Put(Arc::clone(row)),
                None => Change::Delete { key: key.as_ref().to_owned(), index },
            };
            self.bytes += size(&change);
            self.ring.push_back(Recorded { change, before: *before });
        }
        if self.ring.len() > MAX_CHANGES + STRIDE || self.bytes > MAX_BYTES {
            self.drop_oldest();
        }
    }

    /// What happened to the selected keys after an index, as of a state at `now`.
    pub fn read(&self, kv: &Kv, of: &Selection, after: LogIndex, limit: u32, now: LogIndex) -> Changes {
        if after < self.floor && !self.has_all_since(kv, of, after) {
            return Changes::Compacted { since: self.floor };
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let mut changes: Vec<Change> = Vec::new();
        for change in self.after(after).map(|recorded| &recorded.change).filter(|change| of.covers(change.key())) {
            if let Some(last) = changes.last().filter(|last| changes.len() >= limit && last.index() != change.index()) {
                let up_to = last.index();
                return Changes::Known { changes, up_to };
            }
            changes.push(change.clone());
        }
        Changes::Known { changes, up_to: now.max(after) }
    }

    /// The index of the last change of the selected keys; at least the floor where it was dropped. Of one key the table knows it
    /// for longer.
    pub fn index_of(&self, kv: &Kv, of: &Selection) -> LogIndex {
        match of {
            Selection::Key(key) => kv.last_change(key),
            Selection::Prefix(prefix) => {
                let last = self.ring.iter().rev().find(|recorded| recorded.change.key().starts_with(prefix.as_str()));
                last.map_or(self.floor, |recorded| recorded.change.index())
            }
        }
    }

    /// Whether none of the selected keys changed after an index below the floor without being in the ring: then a client that
    /// waited for quiet keys beside busy ones need not list again.
    fn has_all_since(&self, kv: &Kv, of: &Selection, after: LogIndex) -> bool {
        // The first change in the ring of each key leads back to what the key was before.
        let mut before: BTreeMap<&str, LogIndex> = BTreeMap::new();
        for recorded in self.ring.iter().filter(|recorded| of.covers(recorded.change.key())) {
            before.entry(recorded.change.key()).or_insert(recorded.before);
        }
        let is_known = |key: &str, last_change: LogIndex| before.contains_key(key) || last_change <= after;
        let in_ring = before.values().all(|before| *before <= after);
        let in_table = || match of {
            Selection::Key(key) => is_known(key, kv.last_change(key)),
            Selection::Prefix(prefix) => {
                let (mut deleted, forgotten) = kv.deleted_below(prefix);
                forgotten <= after
                    && deleted.all(|(key, deleted_at)| is_known(key, deleted_at))
                    && kv.below(prefix).all(|row| is_known(&row.key, row.modify_index))
            }
        };
        in_ring && in_table()
    }

    fn after(&self, after: LogIndex) -> impl Iterator<Item = &Recorded> {
        let found = self.ring.binary_search_by(|recorded| {
            if recorded.change.index() <= after { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
        });
        let (Ok(first) | Err(first)) = found;
        self.ring.focus().narrow(first..).into_iter()
    }

    /// Drops whole writes: half of one would be a lie.
    fn drop_oldest(&mut self) {
        while self.ring.len() > MAX_CHANGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.ring.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(size(&oldest.change));
            self.floor = oldest.change.index();
            while self.ring.front().is_some_and(|next| next.change.index() == self.floor) {
                if let Some(next) = self.ring.pop_front() {
                    self.bytes = self.bytes.saturating_sub(size(&next.change));
                }
            }
        }
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Put(row) => row.key.len() + row.value.value.len(),
        Change::Delete { key, .. } => key.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scene;
    use quorate_protocol::{Answer, KvRead, KvWrite, Read, Write};

    /// What happened since an index, as `+key` and `-key`, and up to where; or since when it is known.
    fn changes(scene: &Scene, of: Selection, after: u64, limit: u32) -> Result<(String, u64), u64> {
        match scene.read(&Read::Kv(KvRead::Changes { of, after: LogIndex(after), limit })).0 {
            Answer::Changes(Changes::Known { changes, up_to }) => {
                let signed = changes.iter().map(|change| match change {
                    Change::Put(row) => format!("+{}", row.key),
                    Change::Delete { key, .. } => format!("-{key}"),
                });
                Ok((signed.collect::<Vec<_>>().join(" "), up_to.0))
            }
            Answer::Changes(Changes::Compacted { since }) => Err(since.0),
            other => panic!("{other:?}"),
        }
    }

    fn below(prefix: &str) -> Selection {
        Selection::Prefix(prefix.to_owned())
    }

    fn known(changes: &str, up_to: u64) -> Result<(String, u64), u64> {
        Ok((changes.to_owned(), up_to))
    }

    #[test]
    fn every_change_once_and_in_order() {
        let mut scene = Scene::new();
        scene.put("a/1", "");
        scene.put("b", "");
        scene.put("a/2", "");
        scene.kv(KvWrite::DeletePrefix { prefix: "a/".to_owned() });
        scene.put("b", "");
        assert_eq!(changes(&scene, below(""), 0, 9), known("+a/1 +b +a/2 -a/1 -a/2", 6));
        assert_eq!(changes(&scene, below("a/"), 2, 9), known("+a/2 -a/1 -a/2", 6));
        assert_eq!(changes(&scene, below(""), 0, 2), known("+a/1 +b", 3));
        assert_eq!(changes(&scene, below("a/"), 4, 1), known("-a/1 -a/2", 6), "one write is never parted");
        assert_eq!(changes(&scene, Selection::Key("b".to_owned()), 3, 9), known("", 6), "nothing changed for it");
        assert_eq!(changes(&scene, below(""), 99, 9), known("", 99));
    }

    #[test]
    fn quiet_keys_are_not_forgotten_because_of_busy_ones() {
        let mut scene = Scene::new();
        scene.put("quiet/a", "1");
        let seen = scene.store.applied_index().0;
        for n in 0..20 {
            scene.put("busy", &n.to_string());
        }
        let now = scene.store.applied_index().0;
        let key = || Selection::Key("quiet/a".to_owned());
        assert_eq!(changes(&scene, below("quiet/"), seen, 9), known("", now), "its ring is long past that");
        assert!(changes(&scene, below(""), seen, 9).is_err() && changes(&scene, below("quiet/"), 1, 9).is_err());
        scene.put("quiet/a", "2");
        assert_eq!(changes(&scene, below("quiet/"), seen, 9), known("+quiet/a", now + 1));
        assert_eq!(changes(&scene, key(), seen, 9), known("+quiet/a", now + 1));
        scene.put("quiet/b", "1");
        assert_eq!(changes(&scene, below("quiet/"), seen, 9), known("+quiet/a +quiet/b", now + 2));
        for n in 0..20 {
            scene.put("busy", &n.to_string());
        }
        assert!(changes(&scene, key(), seen, 9).is_err(), "what happened to it is not there any more");
    }

    #[test]
    fn a_write_that_is_larger_than_the_memory_is_not_kept_in_half() {
        let mut scene = Scene::new();
        for n in 0..20 {
            scene.put(&format!("k{n}"), "");
        }
        let before = scene.store.applied_index().0;
        scene.write(&Write::Kv(KvWrite::DeletePrefix { prefix: String::new() }));
        assert_eq!(changes(&scene, below(""), before, 99), Err(before + 1));
        assert_eq!(changes(&scene, below(""), before + 1, 99), known("", before + 1));
    }

    #[test]
    fn large_values_are_kept_within_bounds() {
        let mut scene = Scene::new();
        let large = "x".repeat(crate::MAX_VALUE_SIZE);
        let ring = |scene: &Scene| scene.store.state().changes.bytes;
        scene.put("a", &large);
        assert_eq!(ring(&scene), large.len() + 1);
        scene.put("b", "");
        for n in 0..5 {
            scene.put("a", &format!("{n}{}", &large[1..]));
        }
        scene.put("b", "1");
        scene.put("b", "2");
        let kept = scene.store.state().changes.ring.iter().map(|recorded| size(&recorded.change)).sum::<usize>();
        assert_eq!(ring(&scene), kept, "what was dropped does not count any more");
    }
}
