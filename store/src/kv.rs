//! Keys and values, and the memory of keys that are gone.

use crate::edit::Edit;
use crate::planted::Bug;
use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use quorate_protocol::{Entry, KvWrite, Lock, LogIndex, Outcome, Page, Pair, Row, SessionId, Timer};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// The longest key, in bytes: what fits in a request line that common proxies let pass. Deleted keys are remembered for a
/// while, so their length costs memory even after they are gone.
pub const MAX_KEY_SIZE: usize = 8 * 1024;

/// The largest value, in bytes, whatever a front door was configured to let in.
///
/// Front doors have the limit that users see (512 KiB unless configured otherwise), but each has its own and every replica
/// must come to the same outcome, so this one is a constant. Every server holds every value in memory, twice while a view
/// of the older one is alive, and one entry of this size still leaves room for others in a frame between servers.
pub const MAX_VALUE_SIZE: usize = 1024 * 1024;

/// The longest TTL of a key: ten years. Whoever means longer means no TTL.
pub const MAX_KEY_TTL: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How many deleted keys are remembered. With keys of usual length this is 2 MB, and at ten deletions a second nearly half
/// an hour. Tests remember few, so that they see what forgetting does.
const MAX_TOMBSTONES: usize = if cfg!(test) { 2 } else { 16_384 };

/// Keys and values.
///
/// * A key is in `entries` or in `tombstones`, never in both: a key that is made again has a higher index than its
///   deletion.
/// * `by_age` holds the same tombstones as `tombstones`.
/// * `floor` is at or above the index of every deletion that was forgotten, and below that of every one remembered, so
///   that taking it in place of what was forgotten raises an index and never lowers it.
/// * `held` has exactly the keys whose entry names a session.
/// * `size` is the length of all keys and values in `entries`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kv {
    entries: OrdSet<ByKey>,
    tombstones: OrdMap<Arc<str>, LogIndex>,
    by_age: OrdSet<(LogIndex, Arc<str>)>,
    floor: LogIndex,
    held: OrdSet<(SessionId, Arc<str>)>,
    size: u64,
}

/// An entry, found by the key that it carries itself: beside a hundred thousand small values a second copy of each key counts.
#[derive(Debug, Clone)]
struct ByKey(Arc<Row<Entry>>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &ByKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &ByKey) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl Kv {
    pub fn entry(&self, key: &str) -> Option<&Arc<Row<Entry>>> {
        self.entries.get(key).map(|entry| &entry.0)
    }

    /// The log index at which a key was last set or removed; zero if it never was, and a bound from above where that was
    /// forgotten. A key that exists needs no floor: it was made after any deletion of it.
    pub fn last_change(&self, key: &str) -> LogIndex {
        match self.entry(key) {
            Some(row) => row.modify_index,
            None => self.tombstones.get(key).copied().unwrap_or(self.floor),
        }
    }

    /// Every entry below a prefix, in byte order.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Row<Entry>>> {
        self.on_page(prefix, None)
    }

    /// A page of the entries below a prefix, with the index of that page.
    pub fn list(&self, prefix: &str, page: &Page) -> (Vec<Arc<Row<Entry>>>, LogIndex) {
        let limit = limit(page);
        let rows: Vec<_> = self.on_page(prefix, page.after.as_deref()).take(limit).cloned().collect();
        let changed = rows.iter().map(|row| row.modify_index).max().unwrap_or_default();
        let end = rows.last().filter(|_| rows.len() == limit).map(|row| row.key.as_str());
        let deleted = self.last_deletion(prefix, page, end, |key| key);
        (rows, changed.max(deleted))
    }

    /// A page of the keys below a prefix, cut after a separator, with the index of that page.
    ///
    /// Cutting keeps the order, so keys that are cut to the same follow each other and a page goes on where the last one ended.
    pub fn keys(&self, prefix: &str, separator: &str, page: &Page) -> (Vec<String>, LogIndex) {
        let (limit, after) = (limit(page), page.after.as_deref());
        let (mut keys, mut changed): (Vec<String>, _) = (Vec::new(), LogIndex::ZERO);
        let shown = self.on_page(prefix, after).map(|row| (cut(&row.key, prefix, separator), row.modify_index));
        for (key, modify_index) in shown.skip_while(|(key, _)| after.is_some_and(|after| *key <= after)) {
            if keys.last().is_none_or(|last| last != key) {
                if keys.len() == limit {
                    break;
                }
                keys.push(key.to_owned());
            }
            changed = changed.max(modify_index);
        }
        let end = keys.last().filter(|_| keys.len() == limit).map(String::as_str);
        let deleted = self.last_deletion(prefix, page, end, |key| cut(key, prefix, separator));
        (keys, changed.max(deleted))
    }

    /// The keys below a prefix that were deleted and are remembered, with the index of that; and the index at or below which
    /// deletions may have been forgotten.
    pub fn deleted_below<'a>(&'a self, prefix: &'a str) -> (impl Iterator<Item = (&'a str, LogIndex)>, LogIndex) {
        let from = self.tombstones.range::<_, str>((Bound::Included(prefix), Bound::Unbounded));
        let deleted = from.take_while(move |(key, _)| key.starts_with(prefix)).map(|(key, index)| (&**key, *index));
        (deleted, self.floor)
    }

    /// The keys that a session holds.
    pub fn held_by(&self, session: SessionId) -> Vec<Arc<str>> {
        let from = (Bound::Included((session, Arc::from(""))), Bound::Unbounded);
        let held = self.held.range::<_, (SessionId, Arc<str>)>(from).take_while(|(holder, _)| *holder == session);
        held.map(|(_, key)| Arc::clone(key)).collect()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The length of all keys and values.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn floor(&self) -> LogIndex {
        self.floor
    }

    /// Every entry whose key comes after `after`.
    pub fn entries_after<'a>(&'a self, after: Bound<&'a str>) -> impl Iterator<Item = &'a Arc<Row<Entry>>> + use<'a> {
        self.entries.range::<_, str>((after, Bound::Unbounded)).map(|entry| &entry.0)
    }

    /// Every deletion that is remembered and comes after `after`, the oldest first.
    pub fn tombstones_after(
        &self,
        after: Bound<(LogIndex, Arc<str>)>,
    ) -> impl Iterator<Item = &(LogIndex, Arc<str>)> + use<'_> {
        self.by_age.range::<_, (LogIndex, Arc<str>)>((after, Bound::Unbounded))
    }

    /// Puts an entry in place of the one with its key.
    pub fn place(&mut self, row: Arc<Row<Entry>>) {
        let before = self.entries.insert(ByKey(Arc::clone(&row))).map(|ByKey(before)| before);
        let (size_before, holder_before) = match &before {
            Some(before) => (size(before), before.lock.session),
            None => {
                self.unbury(&row.key);
                (0, None)
            }
        };
        self.size = self.size + size(&row) - size_before;
        if holder_before != row.lock.session {
            self.note_holder(&row.key, holder_before, row.lock.session);
        }
    }

    /// Removes an entry, and remembers that.
    pub fn bury(&mut self, index: LogIndex, key: &str) -> Option<Arc<Row<Entry>>> {
        let row = self.take(key)?;
        self.remember(index, key.into());
        self.forget_oldest();
        Some(row)
    }

    /// Removes an entry without a trace.
    fn take(&mut self, key: &str) -> Option<Arc<Row<Entry>>> {
        let ByKey(row) = self.entries.remove(key)?;
        self.note_holder(key, row.lock.session, None);
        self.size -= size(&row);
        Some(row)
    }

    /// Remembers a deletion.
    pub fn remember(&mut self, index: LogIndex, key: Arc<str>) {
        self.tombstones.insert(Arc::clone(&key), index);
        self.by_age.insert((index, key));
    }

    /// Forgets the deletion of a key that is made again.
    fn unbury(&mut self, key: &str) {
        if let Some((key, deleted_at)) = self.tombstones.remove_with_key(key) {
            self.by_age.remove(&(deleted_at, key));
        }
    }

    /// Takes it that whatever is not remembered may have been deleted at `index`.
    pub fn raise_floor(&mut self, index: LogIndex) {
        self.floor = self.floor.max(index);
    }

    /// By log index and key, so every replica forgets the same ones.
    fn forget_oldest(&mut self) {
        while self.by_age.len() > MAX_TOMBSTONES {
            let Some((deleted_at, key)) = self.by_age.remove_min() else { return };
            self.tombstones.remove(&key);
            self.raise_floor(deleted_at);
        }
    }

    fn note_holder(&mut self, key: &str, before: Option<SessionId>, after: Option<SessionId>) {
        if let Some(session) = before {
            self.held.remove(&(session, Arc::from(key)));
        }
        if let Some(session) = after {
            self.held.insert((session, key.into()));
        }
    }

    fn on_page<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Row<Entry>>> {
        self.entries_after(page_start(prefix, after)).take_while(move |row| row.key.starts_with(prefix))
    }

    /// The index of the last deletion on a page. It ends with the last key that it shows, or with the prefix if it is not full.
    ///
    /// Exactly the keys that would be shown between its ends count, there or deleted. So its index never goes back: whatever
    /// moves its end is a change within it.
    fn last_deletion(&self, prefix: &str, page: &Page, end: Option<&str>, shown: impl Fn(&str) -> &str) -> LogIndex {
        let after = page.after.as_deref();
        let deleted = self.tombstones.range::<_, str>((page_start(prefix, after), Bound::Unbounded));
        deleted
            .take_while(|(key, _)| key.starts_with(prefix) && end.is_none_or(|end| shown(key) <= end))
            .filter(|(key, _)| after.is_none_or(|after| shown(key) > after))
            .map(|(_, index)| *index)
            .fold(self.floor, LogIndex::max)
    }
}

fn limit(page: &Page) -> usize {
    page.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

fn page_start<'a>(prefix: &'a str, after: Option<&'a str>) -> Bound<&'a str> {
    after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded)
}

/// The key up to and with the first separator that follows the prefix.
fn cut<'a>(key: &'a str, prefix: &str, separator: &str) -> &'a str {
    if separator.is_empty() {
        return key;
    }
    let rest = key.get(prefix.len()..).unwrap_or_default();
    let end = rest.find(separator).map(|at| prefix.len() + at + separator.len());
    end.and_then(|end| key.get(..end)).unwrap_or(key)
}

fn size(row: &Row<Entry>) -> u64 {
    (row.key.len() + row.value.value.len()) as u64
}

impl Edit<'_> {
    pub fn write_kv(&mut self, write: &KvWrite) -> Outcome {
        match write {
            KvWrite::Put { pair, cas } => self.put(pair, *cas),
            KvWrite::Acquire { pair, session } => self.acquire(pair, *session),
            KvWrite::AcquireOnce { pair, session } => self.acquire_once(pair, *session),
            KvWrite::Release { pair, session } => self.release(pair, *session),
            KvWrite::Delete { key, cas } => self.delete(key, *cas),
            KvWrite::DeletePrefix { prefix } => self.delete_prefix(prefix),
        }
    }

    /// Locks are advisory: whoever holds the key goes on holding it.
    fn put(&mut self, pair: &Pair, cas: Option<LogIndex>) -> Outcome {
        if let Err(why) = check_pair(pair) {
            return Outcome::Refused(why);
        }
        let existing = self.state.kv.entry(&pair.key).cloned();
        let found = existing.as_ref().map_or(LogIndex::ZERO, |row| row.modify_index);
        let just_changed = found.next() >= self.index && self.state.planted.has(Bug::CasRace);
        if cas.is_some_and(|expected| expected != found) && !just_changed {
            return Outcome::Unmatched { found };
        }
        let lock = lock_of(existing.as_ref());
        self.set(pair, existing, lock);
        Outcome::Done
    }

    fn delete(&mut self, key: &str, cas: Option<LogIndex>) -> Outcome {
        let Some(found) = self.state.kv.entry(key).map(|row| row.modify_index) else { return Outcome::Done };
        if cas.is_some_and(|expected| expected != found) {
            return Outcome::Unmatched { found };
        }
        self.remove_key(key);
        Outcome::Done
    }

    fn delete_prefix(&mut self, prefix: &str) -> Outcome {
        let doomed: Vec<Arc<Row<Entry>>> = self.state.kv.below(prefix).cloned().collect();
        for row in doomed {
            self.remove_key(&row.key);
        }
        Outcome::Done
    }

    /// Sets a key, of which this is there so far, with its lock, and begins its TTL. What is equal already is left as it is, unless
    /// there is a TTL to begin anew.
    pub(crate) fn set(&mut self, pair: &Pair, existing: Option<Arc<Row<Entry>>>, lock: Lock) {
        let Pair { key, value, flags, ttl } = pair;
        let (flags, ttl) = (*flags, *ttl);
        // In an allocation of its own and of its size, so that a row never keeps the buffer that its value came in.
        let value = Entry { key: key.clone(), value: Bytes::copy_from_slice(value), flags, ttl, lock };
        if ttl.is_none() && existing.as_ref().is_some_and(|row| row.value == value) {
            return;
        }
        let (create_index, before) = match &existing {
            Some(row) => (row.create_index, row.modify_index),
            None => (self.index, self.state.kv.last_change(key)),
        };
        self.place_entry(Row { value, create_index, modify_index: self.index }, before);
        match ttl {
            Some(ttl) => self.arm(Timer::Key(key.clone()), ttl),
            None if existing.is_some_and(|row| row.ttl.is_some()) => self.disarm(Timer::Key(key.clone())),
            None => {}
        }
    }

    /// Puts an entry in place of the one with its key, which had last changed at `before`.
    pub(crate) fn place_entry(&mut self, row: Row<Entry>, before: LogIndex) {
        self.touch_key(&row.key, before);
        self.state.kv.place(Arc::new(row));
    }

    /// Removes a key with its lock and its TTL.
    pub(crate) fn remove_key(&mut self, key: &str) {
        let removed = if self.state.planted.has(Bug::IndexGoesBack) {
            self.state.kv.take(key)
        } else {
            self.state.kv.bury(self.index, key)
        };
        let Some(row) = removed else { return };
        if row.ttl.is_some() {
            self.disarm(Timer::Key(key.to_owned()));
        }
        if !self.state.planted.has(Bug::WatchGap) {
            self.touch_key(key, row.modify_index);
        }
    }
}

/// Who holds a key, of which this is there.
pub(crate) fn lock_of(existing: Option<&Arc<Row<Entry>>>) -> Lock {
    existing.map_or_else(Lock::default, |row| row.lock)
}

/// Whether a pair can be kept.
pub(crate) fn check_pair(pair: &Pair) -> Result<(), String> {
    if pair.key.is_empty() {
        return Err("Missing key name".to_owned());
    }
    if pair.key.len() > MAX_KEY_SIZE {
        return Err(format!("The key has {} bytes; use at most {MAX_KEY_SIZE}", pair.key.len()));
    }
    if pair.value.len() > MAX_VALUE_SIZE {
        let size = pair.value.len();
        return Err(format!(
            "The value has {size} bytes; no server stores more than {MAX_VALUE_SIZE}: split it over several keys"
        ));
    }
    match pair.ttl {
        Some(ttl) if ttl.is_zero() || ttl > MAX_KEY_TTL => Err(format!(
            "Invalid TTL of {} ns; it must be more than 0 and at most {} hours, or be left out for a key that stays",
            ttl.as_nanos(),
            MAX_KEY_TTL.as_secs() / 3600
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scene;
    use Outcome::Done;
    use quorate_protocol::Write;

    /// A store of which only keys are written, from log index 2 on.
    struct Table(Scene);

    impl Table {
        fn with(keys: &[&str]) -> Table {
            let mut table = Table(Scene::new());
            for key in keys {
                assert_eq!(table.put(key, "v", None), (Done, true));
            }
            table
        }

        /// What became of it, and whether it touched anything.
        fn write(&mut self, write: &KvWrite) -> (Outcome, bool) {
            let outcome = self.0.write(&Write::Kv(write.clone()));
            (outcome, !self.0.touched.is_empty())
        }

        fn kv(&self) -> &Kv {
            &self.0.store.state().kv
        }

        fn put(&mut self, key: &str, value: &str, cas: Option<u64>) -> (Outcome, bool) {
            let value = Bytes::copy_from_slice(value.as_bytes());
            let pair = Pair { key: key.to_owned(), value, ..Pair::default() };
            self.write(&KvWrite::Put { pair, cas: cas.map(LogIndex) })
        }

        fn delete(&mut self, key: &str, cas: Option<u64>) -> (Outcome, bool) {
            self.write(&KvWrite::Delete { key: key.to_owned(), cas: cas.map(LogIndex) })
        }

        fn delete_prefix(&mut self, prefix: &str) -> (Outcome, bool) {
            self.write(&KvWrite::DeletePrefix { prefix: prefix.to_owned() })
        }

        /// Create and modify index of a key, and the index of the answer.
        fn get(&self, key: &str) -> (Option<(u64, u64)>, u64) {
            let indexes = self.kv().entry(key).map(|row| (row.create_index.0, row.modify_index.0));
            (indexes, self.kv().last_change(key).0)
        }

        fn list(&self, prefix: &str) -> (Vec<String>, u64) {
            let (rows, index) = self.kv().list(prefix, &Page::default());
            (rows.iter().map(|row| row.key.clone()).collect(), index.0)
        }

        fn keys(&self, prefix: &str, separator: &str) -> Vec<String> {
            self.kv().keys(prefix, separator, &Page::default()).0
        }
    }

    fn unmatched(found: u64) -> (Outcome, bool) {
        (Outcome::Unmatched { found: LogIndex(found) }, false)
    }

    #[test]
    fn a_key_through_its_life() {
        let mut table = Table::with(&["a"]);
        assert_eq!(table.get("a"), (Some((2, 2)), 2));
        assert_eq!(table.put("a", "v", None), (Done, false), "the same again changes nothing");
        assert_eq!(table.get("a"), (Some((2, 2)), 2));
        assert_eq!(table.put("a", "w", None), (Done, true));
        assert_eq!(table.get("a"), (Some((2, 4)), 4));
        let flagged = Pair { key: "a".into(), value: "w".into(), flags: 7, ttl: None };
        assert_eq!(table.write(&KvWrite::Put { pair: flagged, cas: None }), (Done, true), "other flags are a change");
        assert_eq!(table.get("a"), (Some((2, 5)), 5));
        assert_eq!(table.delete("a", None), (Done, true));
        assert_eq!(table.get("a"), (None, 6), "the index of its deletion");
        assert_eq!(table.delete("a", None), (Done, false), "removing none succeeds");
        assert_eq!(table.put("a", "v", None), (Done, true));
        assert_eq!(table.get("a"), (Some((8, 8)), 8), "made again");
    }

    #[test]
    fn compare_and_set() {
        let mut table = Table::with(&["a"]);
        assert_eq!(table.put("a", "w", Some(0)), unmatched(2));
        assert_eq!(table.put("a", "w", Some(3)), unmatched(2));
        assert_eq!(table.put("b", "w", Some(3)), unmatched(0));
        assert_eq!(table.put("a", "w", Some(2)), (Done, true));
        assert_eq!(table.put("b", "w", Some(0)), (Done, true));
        assert_eq!(table.delete("a", Some(0)), unmatched(6), "zero is the index of no key that exists");
        assert_eq!(table.delete("none", Some(0)), (Done, false), "what does not exist is removed");
        assert_eq!(table.delete("a", Some(2)), unmatched(6));
        assert_eq!(table.delete("a", Some(6)), (Done, true));
        assert_eq!(table.delete("a", Some(6)), (Done, false), "it is gone, as was wanted");
        assert_eq!(table.put("a", "w", Some(0)), (Done, true));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let mut table = Table::with(&[]);
        let mut refusal = |key: &str, value: usize| {
            let pair = Pair { key: key.to_owned(), value: vec![0; value].into(), ..Pair::default() };
            match table.write(&KvWrite::Put { pair, cas: None }) {
                (Outcome::Refused(why), false) => why,
                other => format!("{other:?}"),
            }
        };
        assert_eq!(refusal("", 1), "Missing key name");
        assert!(refusal(&"k".repeat(MAX_KEY_SIZE + 1), 1).contains("8193 bytes; use at most 8192"));
        assert!(refusal("k", MAX_VALUE_SIZE + 1).contains("1048577 bytes"));
        assert_eq!(refusal(&"k".repeat(MAX_KEY_SIZE), MAX_VALUE_SIZE), "(Done, true)");
    }

    #[test]
    fn prefixes_and_separators() {
        let table = Table::with(&["a", "a/b", "a/b/c", "a/d/", "a/é/x", "ab", "b/a"]);
        assert_eq!(table.list("a/").0, ["a/b", "a/b/c", "a/d/", "a/é/x"]);
        assert_eq!(table.list("").0.len(), 7);
        assert_eq!(table.list("c").0, [""; 0]);
        for (prefix, separator, expected) in [
            ("", "/", &["a", "a/", "ab", "b/"][..]),
            ("a", "/", &["a", "a/", "ab"]),
            ("a/", "/", &["a/b", "a/b/", "a/d/", "a/é/"]),
            ("a/b/", "/", &["a/b/c"]),
            ("a/", "", &["a/b", "a/b/c", "a/d/", "a/é/x"]),
            ("a", "b", &["a", "a/b", "a/d/", "a/é/x", "ab"]),
            ("a/", "é/", &["a/b", "a/b/c", "a/d/", "a/é/"]),
            ("x", "/", &[]),
        ] {
            assert_eq!(table.keys(prefix, separator), expected, "{prefix} {separator}");
        }
    }

    #[test]
    fn a_page_is_about_what_it_shows() {
        let mut table = Table::with(&["a/1", "a/2", "b", "c"]);
        let page = |after: &str, limit| Page { after: Some(after.to_owned()), limit: Some(limit) };
        let shown = |table: &Table, page: &Page| {
            let (keys, index) = table.kv().keys("", "/", page);
            (keys.join(" "), index.0)
        };
        assert_eq!(shown(&table, &page("", 1)), ("a/".to_owned(), 3));
        assert_eq!(shown(&table, &page("a/", 1)), ("b".to_owned(), 4));
        table.delete("a/1", None);
        table.put("a/1", "v", None);
        assert_eq!(shown(&table, &page("a/", 1)), ("b".to_owned(), 4), "neither the deletion nor what came after it");
        table.delete("b", None);
        assert_eq!(shown(&table, &page("a/", 1)), ("c".to_owned(), 8), "what was there is gone");
        assert_eq!(shown(&table, &page("c", 9)), (String::new(), 0));
        assert_eq!(table.kv().list("", &page("a/1", 1)).0[0].key, "a/2");
    }

    #[test]
    fn a_prefix_goes_at_once() {
        let mut table = Table::with(&["a/b", "a/c", "ab", "b"]);
        assert_eq!(table.delete_prefix("a/"), (Done, true));
        assert_eq!(table.list("").0, ["ab", "b"]);
        assert_eq!(table.list("a/"), (vec![], 6), "the prefix remembers");
        assert_eq!((table.get("a/b"), table.get("a/c")), ((None, 6), (None, 6)));
        assert_eq!(table.list("b").1, 5, "its neighbour is not concerned");
        assert_eq!(table.delete_prefix("a/"), (Done, false));
        assert_eq!(table.delete_prefix(""), (Done, true));
        assert_eq!(table.list("").0, [""; 0]);
    }

    #[test]
    fn forgetting_deletions_goes_nowhere_back() {
        let keys: Vec<String> = (0..MAX_TOMBSTONES + 2).map(|n| format!("k{n}")).collect();
        let mut table = Table::with(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let kept = table.put("kept", "v", None);
        assert_eq!(kept, (Done, true));
        let (never, quiet) = (table.get("never").1, table.get("kept").1);
        assert_eq!(never, 0);
        for key in &keys {
            let before = table.list("k").1;
            table.delete(key, None);
            assert!(table.list("k").1 > before);
        }
        assert_eq!(table.kv().tombstones.len(), MAX_TOMBSTONES);
        let deleted_second = table.get("k1").1;
        assert_eq!(table.get("k0").1, deleted_second, "both are forgotten: the later one stands for both");
        assert_eq!(table.get("k2").1, deleted_second + 1, "remembered");
        assert_eq!(table.get("never").1, deleted_second, "who never was might have been among them");
        assert_eq!(table.get("kept").1, quiet, "a key that is there knows better");
    }
}
