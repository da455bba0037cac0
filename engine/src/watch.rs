//! Which parked questions a batch of writes concerns, without looking at the others.

use crate::news::News;
use quorate_protocol::{KvRead, Read, Selection};
use std::collections::{BTreeMap, BTreeSet};

/// The questions that somebody waits for, by what they are about.
#[derive(Debug, Default)]
pub struct Watched {
    /// Those about one key.
    by_key: BTreeMap<String, BTreeSet<Read>>,
    /// Those about all keys that share a beginning.
    by_prefix: BTreeMap<String, BTreeSet<Read>>,
    /// How many beginnings there are of each length, so that a key is cut only where somebody may wait.
    prefix_lengths: BTreeMap<usize, usize>,
    /// Those about several things at once.
    several: BTreeSet<Read>,
    /// Those about anything but keys.
    others: BTreeSet<Read>,
}

/// What a question is about, as far as keys go.
enum About<'a> {
    Key(&'a String),
    Prefix(&'a String),
    Several,
    Else,
}

fn about(read: &Read) -> About<'_> {
    match read {
        Read::Kv(KvRead::Get { key } | KvRead::Changes { of: Selection::Key(key), .. }) => About::Key(key),
        Read::Kv(
            KvRead::List { prefix, .. }
            | KvRead::Keys { prefix, .. }
            | KvRead::Changes { of: Selection::Prefix(prefix), .. },
        ) => About::Prefix(prefix),
        Read::Txn(_) => About::Several,
        _ => About::Else,
    }
}

impl Watched {
    /// Somebody waits for this from now on.
    pub fn insert(&mut self, read: &Read) {
        match about(read) {
            About::Key(key) => {
                self.by_key.entry(key.clone()).or_default().insert(read.clone());
            }
            About::Prefix(prefix) => {
                let same = self.by_prefix.entry(prefix.clone()).or_default();
                if same.is_empty() {
                    *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                }
                same.insert(read.clone());
            }
            About::Several => {
                self.several.insert(read.clone());
            }
            About::Else => {
                self.others.insert(read.clone());
            }
        }
    }

    /// Nobody waits for this any more.
    pub fn remove(&mut self, read: &Read) {
        match about(read) {
            About::Key(key) => {
                remove_from(&mut self.by_key, key, read);
            }
            About::Prefix(prefix) => {
                if remove_from(&mut self.by_prefix, prefix, read)
                    && let Some(count) = self.prefix_lengths.get_mut(&prefix.len())
                {
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
            About::Several => {
                self.several.remove(read);
            }
            About::Else => {
                self.others.remove(read);
            }
        }
    }

    /// The questions whose answers may have changed.
    pub fn concerned(&self, news: &News) -> BTreeSet<Read> {
        let mut concerned = BTreeSet::new();
        for key in news.keys() {
            concerned.extend(self.by_key.get(key).into_iter().flatten().cloned());
            for prefix in self.prefix_lengths.keys().filter_map(|length| key.get(..*length)) {
                concerned.extend(self.by_prefix.get(prefix).into_iter().flatten().cloned());
            }
        }
        if news.keys().next().is_some() {
            concerned.extend(self.several.iter().cloned());
        }
        if news.is_wide() {
            let of_keys = self.by_key.values().chain(self.by_prefix.values()).flatten();
            concerned.extend(
                of_keys.chain(&self.several).chain(&self.others).filter(|read| news.widely_concerns(read)).cloned(),
            );
        }
        concerned
    }
}

/// Whether nobody waits for anything in that place any more.
fn remove_from(place: &mut BTreeMap<String, BTreeSet<Read>>, at: &String, read: &Read) -> bool {
    let Some(same) = place.get_mut(at) else { return false };
    same.remove(read);
    let emptied = same.is_empty();
    if emptied {
        place.remove(at);
    }
    emptied
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{KvWrite, LogIndex, Page, Pair, Write};
    use quorate_store::Store;

    fn news_of(write: &Write) -> News {
        let (_, touched) = Store::new().apply(LogIndex(2), write);
        let mut news = News::default();
        news.add(write, touched);
        news
    }

    fn put(key: &str) -> Write {
        let pair = Pair { key: key.into(), value: "v".into(), ..Pair::default() };
        Write::Kv(KvWrite::Put { pair, cas: None })
    }

    fn get(key: &str) -> Read {
        Read::Kv(KvRead::Get { key: key.into() })
    }

    fn list(prefix: &str) -> Read {
        Read::Kv(KvRead::List { prefix: prefix.into(), page: Page::default() })
    }

    #[test]
    fn a_write_finds_the_questions_about_its_key_and_no_others() {
        let mut watched = Watched::default();
        let questions =
            [get("a/b"), get("a"), list(""), list("a/"), list("a/b"), list("a/bc"), list("é"), Read::Autopilot];
        questions.iter().for_each(|read| watched.insert(read));
        let expected: BTreeSet<Read> = [get("a/b"), list(""), list("a/"), list("a/b")].into();
        assert_eq!(watched.concerned(&news_of(&put("a/b"))), expected);
        // The length of the prefix é falls into the middle of a letter of this key.
        assert_eq!(watched.concerned(&news_of(&put("xé"))), [list("")].into());
        for read in &questions {
            watched.remove(read);
        }
        assert!(watched.concerned(&news_of(&put("a/b"))).is_empty());
        assert!(watched.by_key.is_empty() && watched.by_prefix.is_empty() && watched.prefix_lengths.is_empty());
    }
}
