//! What a write changed, so that those who wait for it can be woken.

use crate::index::{Topic, topics};
use quorate_protocol::{Armed, KvRead, LogIndex, Read, Selection, Timer, TxnRead};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// What a write changed.
///
/// [`Touched::concerns`] never misses: a question whose answer the write changed is always among those it names. It may
/// name one too many, whose asker then looks once in vain.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// Keys that were set or removed, each with the index of its last change before.
    pub(crate) keys: BTreeMap<Arc<str>, LogIndex>,
    /// What else changed.
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) timers: Vec<(Timer, Option<Armed>)>,
    /// A restore: all of it changed.
    pub(crate) everything: bool,
}

impl Touched {
    /// Whether the write left everything as it was, the timers too.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty() && !self.changes_answers()
    }

    /// Every timer that the write armed anew, with how it counts now, and every one that it disarmed, with none; each once.
    pub fn timers(&self) -> &[(Timer, Option<Armed>)] {
        &self.timers
    }

    /// The keys that were set or removed.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(AsRef::as_ref)
    }

    /// Whether the answer to this question may have changed.
    pub fn concerns(&self, read: &Read) -> bool {
        match read {
            _ if self.everything => true,
            _ if !self.changes_answers() => false,
            Read::Kv(KvRead::Get { key }) => self.has_key(key),
            Read::Kv(KvRead::List { prefix, .. } | KvRead::Keys { prefix, .. }) => self.has_key_below(prefix),
            Read::Kv(KvRead::Changes { of: Selection::Key(key), .. }) => self.has_key(key),
            Read::Kv(KvRead::Changes { of: Selection::Prefix(prefix), .. }) => self.has_key_below(prefix),
            Read::Txn(reads) => reads.iter().any(|read| self.concerns_keys_of(read)) || self.concerns_topics_of(read),
            _ => self.concerns_topics_of(read),
        }
    }

    fn changes_answers(&self) -> bool {
        self.everything || !self.keys.is_empty() || !self.topics.is_empty()
    }

    fn concerns_topics_of(&self, read: &Read) -> bool {
        topics(read).iter().any(|topic| self.topics.contains(topic))
    }

    fn concerns_keys_of(&self, read: &TxnRead) -> bool {
        read.as_kv_read().is_some_and(|read| self.concerns(&Read::Kv(read)))
    }

    fn has_key(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    fn has_key_below(&self, prefix: &str) -> bool {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.keys.range::<str, _>(from).next().is_some_and(|(key, _)| key.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::Page;

    #[test]
    fn keys_below_a_prefix() {
        let touched =
            Touched { keys: ["a/b", "b", "c/d/e"].map(|key| (key.into(), LogIndex(1))).into(), ..Touched::default() };
        let below = |prefix: &str, expected: bool| {
            let prefix = prefix.to_owned();
            let (page, separator) = (Page::default(), "/".to_owned());
            let list = KvRead::List { prefix: prefix.clone(), page: page.clone() };
            for read in [list, KvRead::Keys { prefix, separator, page }] {
                assert_eq!(touched.concerns(&Read::Kv(read.clone())), expected, "{read:?}");
            }
        };
        for prefix in ["", "a", "a/", "a/b", "b", "c", "c/d/", "c/d/e"] {
            below(prefix, true);
        }
        for prefix in ["a/b/", "a/a", "aa", "bb", "c/d/f", "d"] {
            below(prefix, false);
        }
        let get = |key: &str| touched.concerns(&Read::Kv(KvRead::Get { key: key.to_owned() }));
        assert!(get("a/b") && get("b") && !get("a") && !get("a/") && !get(""));
        assert!(!Touched::default().concerns(&Read::Kv(KvRead::List { prefix: String::new(), page: Page::default() })));
    }
}
