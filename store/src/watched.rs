//! The questions that somebody waits for, indexed by what they are about: a write finds those that it concerns without looking at
//! the others.

use crate::index::{Topic, topics};
use crate::touched::Touched;
use quorate_protocol::{KvRead, Read, Selection, TxnRead};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Questions that somebody waits for.
///
/// [`Watched::concerned_by`] gives those for which [`Touched::concerns`] holds, at the cost of what the write touched and of what it
/// gives; how many other questions there are matters only by its logarithm.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    all: BTreeSet<Arc<Read>>,
    by_key: BTreeMap<String, BTreeSet<Arc<Read>>>,
    by_prefix: BTreeMap<String, BTreeSet<Arc<Read>>>,
    by_topic: BTreeMap<Topic, BTreeSet<Arc<Read>>>,
}

/// What a question is about. If a write touches none of its subjects, its answer is as before.
enum Subject {
    Key(String),
    Prefix(String),
    Topic(Topic),
}

fn subjects(read: &Read) -> Vec<Subject> {
    let of_keys: Vec<Subject> = match read {
        Read::Kv(read) => vec![subject_of_keys(read)],
        Read::Txn(reads) => reads.iter().filter_map(TxnRead::as_kv_read).map(|read| subject_of_keys(&read)).collect(),
        _ => Vec::new(),
    };
    of_keys.into_iter().chain(topics(read).into_iter().map(Subject::Topic)).collect()
}

fn subject_of_keys(read: &KvRead) -> Subject {
    match read {
        KvRead::Get { key } | KvRead::Changes { of: Selection::Key(key), .. } => Subject::Key(key.clone()),
        KvRead::List { prefix, .. }
        | KvRead::Keys { prefix, .. }
        | KvRead::Changes { of: Selection::Prefix(prefix), .. } => Subject::Prefix(prefix.clone()),
    }
}

impl Watched {
    /// Takes a question in; once is enough, however many wait for it.
    pub fn insert(&mut self, read: &Arc<Read>) {
        if self.all.insert(Arc::clone(read)) {
            for subject in subjects(read) {
                match subject {
                    Subject::Key(key) => self.by_key.entry(key).or_default(),
                    Subject::Prefix(prefix) => self.by_prefix.entry(prefix).or_default(),
                    Subject::Topic(topic) => self.by_topic.entry(topic).or_default(),
                }
                .insert(Arc::clone(read));
            }
        }
    }

    /// Nobody waits for this question any more.
    pub fn remove(&mut self, read: &Read) {
        if self.all.remove(read) {
            for subject in subjects(read) {
                match subject {
                    Subject::Key(key) => forget(&mut self.by_key, key, read),
                    Subject::Prefix(prefix) => forget(&mut self.by_prefix, prefix, read),
                    Subject::Topic(topic) => forget(&mut self.by_topic, topic, read),
                }
            }
        }
    }

    /// The questions whose answers the write may have changed, each once.
    pub fn concerned_by(&self, touched: &Touched) -> BTreeSet<Arc<Read>> {
        if touched.everything {
            return self.all.clone();
        }
        let mut found = BTreeSet::new();
        for topic in &touched.topics {
            found.extend(self.by_topic.get(topic).into_iter().flatten().cloned());
        }
        if !self.by_key.is_empty() || !self.by_prefix.is_empty() {
            for key in touched.keys() {
                found.extend(self.by_key.get(key).into_iter().flatten().cloned());
                found.extend(self.above(key).flatten().cloned());
            }
        }
        found
    }

    /// The questions about each prefix of a key, the longest prefix first.
    ///
    /// Whatever stands between a prefix of the key and the key has that prefix too. So the last one before the key is the longest
    /// prefix, or what it has in common with the key is as long as any other prefix can be.
    fn above(&self, key: &str) -> impl Iterator<Item = &BTreeSet<Arc<Read>>> {
        let mut rest = Some(key);
        std::iter::from_fn(move || {
            while let Some(bound) = rest {
                let upto = (Bound::Unbounded, Bound::Included(bound));
                let (prefix, reads) = self.by_prefix.range::<str, _>(upto).next_back()?;
                if let Some(left) = bound.strip_prefix(prefix.as_str()) {
                    let found = &bound[..bound.len() - left.len()];
                    rest = found.char_indices().next_back().map(|(last, _)| &found[..last]);
                    return Some(reads);
                }
                rest = Some(common_prefix(bound, prefix));
            }
            None
        })
    }
}

fn common_prefix<'a>(one: &'a str, other: &str) -> &'a str {
    let differs = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    let end = differs.map_or(one.len().min(other.len()), |((at, _), _)| at);
    &one[..end]
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Arc<Read>>>, subject: K, read: &Read) {
    if let Some(reads) = index.get_mut(&subject) {
        reads.remove(read);
        if reads.is_empty() {
            index.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{LogIndex, Page};

    fn list(prefix: &str) -> Arc<Read> {
        Arc::new(Read::Kv(KvRead::List { prefix: prefix.to_owned(), page: Page::default() }))
    }

    fn concerned(watched: &Watched, key: &str) -> Vec<String> {
        let touched = Touched { keys: [(key.into(), LogIndex(1))].into(), ..Touched::default() };
        let prefix = |read: &Arc<Read>| match &**read {
            Read::Kv(KvRead::List { prefix, .. }) => prefix.clone(),
            other => panic!("{other:?}"),
        };
        watched.concerned_by(&touched).iter().map(prefix).collect()
    }

    #[test]
    fn every_prefix_of_a_key_is_found_among_its_neighbours() {
        let mut watched = Watched::default();
        // What lies between a prefix and the key, before, behind, and where a letter of several bytes is cut.
        let prefixes = ["", "a", "a/", "a/a", "a/ah", "a/b", "a/b/c", "a/bb", "a/é", "a/éa", "a/ê", "b", "é"];
        prefixes.iter().for_each(|prefix| watched.insert(&list(prefix)));
        for key in ["", "a", "a/", "a/b", "a/bb/c", "a/b0", "a/éa/x", "a/éb", "a/ëz", "ab", "c", "é", "ê", "zz"] {
            let expected: Vec<&str> = prefixes.iter().copied().filter(|prefix| key.starts_with(prefix)).collect();
            assert_eq!(concerned(&watched, key), expected, "{key}");
        }
    }

    #[test]
    fn nothing_is_kept_of_what_nobody_waits_for() {
        let mut watched = Watched::default();
        let reads = [list("a"), list("b"), Arc::new(Read::Autopilot), Arc::new(Read::Txn(Vec::new()))];
        reads.iter().chain(&reads).for_each(|read| watched.insert(read));
        let restored = Touched { everything: true, ..Touched::default() };
        assert!(watched.concerned_by(&restored).iter().eq(&BTreeSet::from(reads.clone())), "even one about nothing");
        assert!(watched.concerned_by(&Touched::default()).is_empty());
        reads.iter().for_each(|read| watched.remove(read));
        let Watched { all, by_key, by_prefix, by_topic } = watched;
        assert!(all.is_empty() && by_key.is_empty() && by_prefix.is_empty() && by_topic.is_empty());
    }
}
