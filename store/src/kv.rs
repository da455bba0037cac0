//! Keys and values, and the memory of keys that are gone.

use crate::Touched;
use imbl::{OrdMap, OrdSet};
use quorate_protocol::{Answer, Changes, Entry, KvRead, KvWrite, LogIndex, Outcome, Pair, Row};
use std::ops::Bound;
use std::sync::Arc;

/// The longest key, in bytes: what fits in a request line that common proxies let pass. Deleted keys are remembered for a
/// while, so their length costs memory even after they are gone.
pub const MAX_KEY_SIZE: usize = 8 * 1024;

/// The largest value, in bytes, whatever a front door was configured to let in.
///
/// Front doors have the limit that users see (512 KiB unless configured otherwise), but each has its own and every replica
/// must come to the same outcome, so this one is a constant. Every server holds every value in memory, twice while a view
/// of the older one is alive, and one entry of this size still leaves room for others in a frame between servers.
pub const MAX_VALUE_SIZE: usize = 1024 * 1024;

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
#[derive(Debug, Clone, Default)]
pub(crate) struct Kv {
    entries: OrdMap<Arc<str>, Arc<Row<Entry>>>,
    tombstones: OrdMap<Arc<str>, LogIndex>,
    by_age: OrdSet<(LogIndex, Arc<str>)>,
    floor: LogIndex,
}

impl Kv {
    pub fn apply(&mut self, index: LogIndex, write: &KvWrite) -> (Outcome, Touched) {
        let mut touched = Touched::default();
        let outcome = match write {
            KvWrite::Put { pair, cas } => self.put(index, pair, *cas, &mut touched),
            KvWrite::Acquire { .. } | KvWrite::Release { .. } => {
                Outcome::Refused("locks are not served yet".to_owned())
            }
            KvWrite::Delete { key, cas } => self.delete(index, key, *cas, &mut touched),
            KvWrite::DeletePrefix { prefix } => self.delete_prefix(index, prefix, &mut touched),
        };
        (outcome, touched)
    }

    /// The answer, and the index of what was asked about; zero if that was never written.
    pub fn read(&self, read: &KvRead) -> (Answer, LogIndex) {
        match read {
            KvRead::Get { key } => self.get(key),
            KvRead::List { prefix, page: _ } => {
                let entries: Vec<_> = self.below(prefix).cloned().collect();
                (Answer::Entries(entries), self.prefix_index(prefix))
            }
            KvRead::Keys { prefix, separator, page: _ } => {
                (Answer::Keys(self.keys(prefix, separator)), self.prefix_index(prefix))
            }
            KvRead::Changes { after, .. } => (Answer::Changes(Changes::Compacted { since: *after }), *after),
        }
    }

    fn put(&mut self, index: LogIndex, pair: &Pair, cas: Option<LogIndex>, touched: &mut Touched) -> Outcome {
        if let Err(why) = check_size(pair) {
            return Outcome::Refused(why);
        }
        let Pair { key, value, flags, ttl } = pair.clone();
        let entry = Entry { key, value, flags, ttl, ..Entry::default() };
        let existing = self.entries.get(entry.key.as_str());
        let found = existing.map_or(LogIndex::ZERO, |row| row.modify_index);
        if cas.is_some_and(|expected| expected != found) {
            return Outcome::Unmatched { found };
        }
        if existing.is_some_and(|row| row.value == entry) {
            return Outcome::Done;
        }
        let create_index = existing.map_or(index, |row| row.create_index);
        let key: Arc<str> = entry.key.as_str().into();
        let row = Row { value: entry, create_index, modify_index: index };
        self.entries.insert(Arc::clone(&key), Arc::new(row));
        if let Some(deleted_at) = self.tombstones.remove(&key) {
            self.by_age.remove(&(deleted_at, Arc::clone(&key)));
        }
        touched.keys.insert(key);
        Outcome::Done
    }

    fn delete(&mut self, index: LogIndex, key: &str, cas: Option<LogIndex>, touched: &mut Touched) -> Outcome {
        let Some(found) = self.entries.get(key).map(|row| row.modify_index) else { return Outcome::Done };
        if cas.is_some_and(|expected| expected != found) {
            return Outcome::Unmatched { found };
        }
        self.bury(index, key, touched);
        self.forget_oldest();
        Outcome::Done
    }

    fn delete_prefix(&mut self, index: LogIndex, prefix: &str, touched: &mut Touched) -> Outcome {
        let doomed: Vec<Arc<Row<Entry>>> = self.below(prefix).cloned().collect();
        for row in doomed {
            self.bury(index, &row.key, touched);
            self.forget_oldest();
        }
        Outcome::Done
    }

    fn bury(&mut self, index: LogIndex, key: &str, touched: &mut Touched) {
        if let Some((key, _)) = self.entries.remove_with_key(key) {
            self.tombstones.insert(Arc::clone(&key), index);
            self.by_age.insert((index, Arc::clone(&key)));
            touched.keys.insert(key);
        }
    }

    /// By log index and key, so every replica forgets the same ones.
    fn forget_oldest(&mut self) {
        while self.by_age.len() > MAX_TOMBSTONES {
            let Some((deleted_at, key)) = self.by_age.remove_min() else { return };
            self.tombstones.remove(&key);
            self.floor = self.floor.max(deleted_at);
        }
    }

    /// A key that exists needs no floor: it was made after any deletion of it.
    fn get(&self, key: &str) -> (Answer, LogIndex) {
        match self.entries.get(key) {
            Some(row) => (Answer::Entries(vec![Arc::clone(row)]), row.modify_index),
            None => (Answer::Entries(vec![]), self.tombstones.get(key).copied().unwrap_or(self.floor)),
        }
    }

    fn keys(&self, prefix: &str, separator: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for row in self.below(prefix) {
            let key = cut(&row.key, prefix, separator);
            // Keys that are cut to the same follow each other.
            if keys.last().is_none_or(|last| last != key) {
                keys.push(key.to_owned());
            }
        }
        keys
    }

    fn prefix_index(&self, prefix: &str) -> LogIndex {
        let changed = self.below(prefix).map(|row| row.modify_index);
        let deleted = self
            .tombstones
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, index)| *index);
        changed.chain(deleted).fold(self.floor, LogIndex::max)
    }

    fn below(&self, prefix: &str) -> impl Iterator<Item = &Arc<Row<Entry>>> {
        self.entries
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, row)| row)
    }
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

fn check_size(entry: &Pair) -> Result<(), String> {
    if entry.key.is_empty() {
        return Err("Missing key name".to_owned());
    }
    if entry.key.len() > MAX_KEY_SIZE {
        return Err(format!("The key has {} bytes; use at most {MAX_KEY_SIZE}", entry.key.len()));
    }
    if entry.value.len() > MAX_VALUE_SIZE {
        let size = entry.value.len();
        return Err(format!(
            "The value has {size} bytes; no server stores more than {MAX_VALUE_SIZE}: split it over several keys"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::Done;
    use bytes::Bytes;

    /// A table of keys with the index of its next write.
    struct Table {
        kv: Kv,
        index: u64,
    }

    impl Table {
        fn with(keys: &[&str]) -> Table {
            let mut table = Table { kv: Kv::default(), index: 1 };
            for key in keys {
                assert_eq!(table.put(key, "v", None), (Done, true));
            }
            table
        }

        /// What became of it, and whether it touched anything.
        fn write(&mut self, write: &KvWrite) -> (Outcome, bool) {
            self.index += 1;
            let (outcome, touched) = self.kv.apply(LogIndex(self.index), write);
            (outcome, !touched.is_empty())
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
            match self.kv.read(&KvRead::Get { key: key.to_owned() }) {
                (Answer::Entries(rows), index) => {
                    (rows.first().map(|row| (row.create_index.0, row.modify_index.0)), index.0)
                }
                other => panic!("{other:?}"),
            }
        }

        fn list(&self, prefix: &str) -> (Vec<String>, u64) {
            match self.kv.read(&KvRead::List { prefix: prefix.to_owned(), page: quorate_protocol::Page::default() }) {
                (Answer::Entries(rows), index) => (rows.iter().map(|row| row.key.clone()).collect(), index.0),
                other => panic!("{other:?}"),
            }
        }

        fn keys(&self, prefix: &str, separator: &str) -> Vec<String> {
            let (prefix, separator) = (prefix.to_owned(), separator.to_owned());
            match self.kv.read(&KvRead::Keys { prefix, separator, page: quorate_protocol::Page::default() }) {
                (Answer::Keys(keys), _) => keys,
                other => panic!("{other:?}"),
            }
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
        assert_eq!(table.kv.tombstones.len(), MAX_TOMBSTONES);
        let deleted_second = table.get("k1").1;
        assert_eq!(table.get("k0").1, deleted_second, "both are forgotten: the later one stands for both");
        assert_eq!(table.get("k2").1, deleted_second + 1, "remembered");
        assert_eq!(table.get("never").1, deleted_second, "who never was might have been among them");
        assert_eq!(table.get("kept").1, quiet, "a key that is there knows better");
    }
}
