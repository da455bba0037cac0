//! What a write changed, so that those who wait for it can be woken.

use crate::index::{Topic, topics};
use quorate_protocol::{KvRead, Read, Selection};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// What a write changed.
///
/// [`Touched::concerns`] never misses: a question whose answer the write changed is always among those it names. It may
/// name one too many, whose asker then looks once in vain.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// Keys that were set or removed.
    pub(crate) keys: BTreeSet<Arc<str>>,
    /// What changed in the catalogue.
    pub(crate) topics: BTreeSet<Topic>,
}

impl Touched {
    /// Whether the write left everything as it was.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.topics.is_empty()
    }

    /// Whether the answer to this question may have changed.
    pub fn concerns(&self, read: &Read) -> bool {
        match read {
            _ if self.is_empty() => false,
            Read::Kv(KvRead::Get { key }) => self.keys.contains(key.as_str()),
            Read::Kv(KvRead::List { prefix, .. } | KvRead::Keys { prefix, .. }) => self.has_key_below(prefix),
            Read::Kv(KvRead::Changes { of: Selection::Key(key), .. }) => self.keys.contains(key.as_str()),
            Read::Kv(KvRead::Changes { of: Selection::Prefix(prefix), .. }) => self.has_key_below(prefix),
            about_the_catalogue => topics(about_the_catalogue).iter().any(|topic| self.topics.contains(topic)),
        }
    }

    fn has_key_below(&self, prefix: &str) -> bool {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.keys.range::<str, _>(from).next().is_some_and(|key| key.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::Page;

    #[test]
    fn keys_below_a_prefix() {
        let touched =
            Touched { keys: ["a/b", "b", "c/d/e"].map(Arc::from).into_iter().collect(), ..Touched::default() };
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
