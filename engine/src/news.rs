//! What a batch of writes changed, for those who wait for it.

use quorate_protocol::{KvRead, KvWrite, Read, SessionWrite, Timer, TxnOperation, Write};
use quorate_store::Touched;
use std::collections::BTreeSet;

/// What a batch of writes changed.
///
/// Most writes name the few keys that they can change: those are looked up, so that a write costs nothing for questions about anything else,
/// however many are parked. The others (of the catalogue, of sessions with what they hold, of prefixes) are compared with each question.
#[derive(Debug, Default)]
pub struct News {
    /// Keys that were changed by writes that change nothing but keys they name.
    keys: BTreeSet<String>,
    /// What the other writes changed.
    wide: Vec<Touched>,
    /// Keys whose lock delay is over: no answer changed, but they can be acquired.
    freed: BTreeSet<String>,
}

impl News {
    /// Adds what a write did.
    pub fn add(&mut self, write: &Write, touched: Touched) {
        if touched.is_empty() {
            return;
        }
        let freed = touched.timers().iter().filter_map(|(timer, armed)| match timer {
            Timer::LockDelay(key) if armed.is_none() => Some(key.clone()),
            Timer::LockDelay(_) | Timer::Session(_) | Timer::Key(_) => None,
        });
        self.freed.extend(freed);
        match keys_of(write) {
            Some(keys) => {
                let changed = |key: &String| touched.concerns(&Read::Kv(KvRead::Get { key: key.clone() }));
                self.keys.extend(keys.into_iter().filter(changed));
            }
            None => self.wide.push(touched),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.wide.is_empty() && self.freed.is_empty()
    }

    /// The keys that are known by name.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.iter()
    }

    /// Keys that may be acquired though nothing about them changed.
    pub fn freed(&self) -> impl Iterator<Item = &String> {
        self.freed.iter()
    }

    /// Whether something changed that is not known by the names of keys.
    pub fn is_wide(&self) -> bool {
        !self.wide.is_empty()
    }

    /// Whether one of the writes that name no keys changed the answer to a question.
    pub fn widely_concerns(&self, read: &Read) -> bool {
        self.wide.iter().any(|touched| touched.concerns(read))
    }
}

/// The keys that a write can change at most, where it names them and can change no answer about anything else.
fn keys_of(write: &Write) -> Option<Vec<String>> {
    match write {
        Write::Kv(write) => keys_of_kv(write),
        Write::Expire { timer: Timer::Key(key) | Timer::LockDelay(key), .. } => Some(vec![key.clone()]),
        Write::Txn(operations) => {
            let keys = operations.iter().map(|operation| match operation {
                TxnOperation::Read(_) => Some(Vec::new()),
                TxnOperation::Kv(write) => keys_of_kv(write),
                TxnOperation::Catalog(_) => None,
            });
            keys.collect::<Option<Vec<_>>>().map(|keys| keys.into_iter().flatten().collect())
        }
        // Begins a timer anew, and no answer tells of it.
        Write::Session(SessionWrite::Renew { .. }) => Some(Vec::new()),
        Write::Expire { timer: Timer::Session(_), .. }
        | Write::Session(_)
        | Write::Register(_)
        | Write::Deregister(_)
        | Write::Autopilot { .. }
        | Write::Restore(_) => None,
    }
}

fn keys_of_kv(write: &KvWrite) -> Option<Vec<String>> {
    match write {
        KvWrite::Put { pair, .. } | KvWrite::Acquire { pair, .. } | KvWrite::Release { pair, .. } => {
            Some(vec![pair.key.clone()])
        }
        KvWrite::Delete { key, .. } => Some(vec![key.clone()]),
        KvWrite::DeletePrefix { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{
        LogIndex, Node, Outcome, Page, Pair, Registration, Selection, Session, SessionId, SessionRead,
    };
    use quorate_store::Store;
    use std::time::Duration;

    /// A store with a node, a session on it, a key that it holds and one with a TTL.
    fn store() -> Store {
        let mut store = Store::new();
        let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
        let session = Session {
            id: SessionId([1; 16]),
            node: "n1".into(),
            ttl: Some(Duration::from_secs(10)),
            ..Session::default()
        };
        let writes = [
            Write::Register(Box::new(Registration { node, ..Registration::default() })),
            Write::Session(SessionWrite::Create(Box::new(session))),
            Write::Kv(KvWrite::Acquire { pair: pair("held"), session: SessionId([1; 16]) }),
            Write::Kv(KvWrite::Put { pair: Pair { ttl: Some(Duration::from_secs(5)), ..pair("short") }, cas: None }),
        ];
        for write in writes {
            let (outcome, _) = store.apply(store.applied_index().next(), &write);
            assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        }
        store
    }

    fn pair(key: &str) -> Pair {
        Pair { key: key.into(), value: "v".into(), ..Pair::default() }
    }

    /// Whoever is not looked up by the name of a key must not be concerned by a write that says that it changes only such keys.
    #[test]
    fn a_write_that_names_its_keys_changes_nothing_else() {
        let session = SessionId([1; 16]);
        let put = |key: &str| KvWrite::Put { pair: pair(key), cas: None };
        let delete = |key: &str| KvWrite::Delete { key: key.into(), cas: None };
        let expire = |timer, since| Write::Expire { timer, since: LogIndex(since) };
        let writes = [
            Write::Kv(put("a")),
            Write::Kv(delete("held")),
            Write::Kv(KvWrite::Acquire { pair: pair("b"), session }),
            Write::Kv(KvWrite::Release { pair: Pair { value: "w".into(), ..pair("held") }, session }),
            Write::Session(SessionWrite::Renew { id: session }),
            expire(Timer::Key("short".into()), 4),
            Write::Txn(vec![TxnOperation::Kv(put("a")), TxnOperation::Kv(delete("held"))]),
        ];
        let questions = [
            Read::Nodes { node_meta: Default::default() },
            Read::NodeServices { node: "n1".into() },
            Read::NodeChecks { node: "n1".into() },
            Read::Services { node_meta: Default::default() },
            Read::ChecksInState { status: None, node_meta: Default::default() },
            Read::Session(SessionRead::Info { id: session }),
            Read::Session(SessionRead::Node { node: "n1".into() }),
            Read::Session(SessionRead::List),
            Read::Autopilot,
            Read::Kv(KvRead::Get { key: "elsewhere".into() }),
            Read::Kv(KvRead::List { prefix: "else".into(), page: Page::default() }),
        ];
        for write in writes {
            let mut store = store();
            let (_, touched) = store.apply(LogIndex(9), &write);
            assert!(!touched.is_empty(), "{write:?}");
            for question in &questions {
                assert!(!touched.concerns(question), "{write:?} changes {question:?}");
            }
            let named = keys_of(&write).expect("it names its keys");
            let mut news = News::default();
            news.add(&write, touched.clone());
            for key in ["a", "b", "held", "short"] {
                let read = Read::Kv(KvRead::Get { key: key.into() });
                assert!(!touched.concerns(&read) || named.iter().any(|one| one == key), "{write:?} changes {key}");
                assert_eq!(news.keys().any(|one| one == key), touched.concerns(&read), "{write:?}, {key}");
            }
            let changes =
                Read::Kv(KvRead::Changes { of: Selection::Prefix("zz".into()), after: LogIndex(1), limit: 1 });
            assert!(!touched.concerns(&changes) && !news.is_wide());
        }
    }

    #[test]
    fn writes_that_reach_far_are_compared_with_every_question() {
        let session = SessionId([1; 16]);
        let writes = [
            Write::Session(SessionWrite::Destroy { id: session }),
            Write::Expire { timer: Timer::Session(session), since: LogIndex(2) },
            Write::Kv(KvWrite::DeletePrefix { prefix: "he".into() }),
        ];
        for write in writes {
            let mut store = store();
            let (_, touched) = store.apply(LogIndex(9), &write);
            let mut news = News::default();
            news.add(&write, touched);
            assert!(news.widely_concerns(&Read::Kv(KvRead::Get { key: "held".into() })), "{write:?}");
        }
    }

    #[test]
    fn the_end_of_a_lock_delay_frees_a_key() {
        let mut store = store();
        let session = Session {
            id: SessionId([2; 16]),
            node: "n1".into(),
            lock_delay: Duration::from_secs(15),
            ..Session::default()
        };
        store.apply(LogIndex(5), &Write::Session(SessionWrite::Create(Box::new(session))));
        store.apply(LogIndex(6), &Write::Kv(KvWrite::Acquire { pair: pair("a"), session: SessionId([2; 16]) }));
        store.apply(LogIndex(7), &Write::Session(SessionWrite::Destroy { id: SessionId([2; 16]) }));
        let over = Write::Expire { timer: Timer::LockDelay("a".into()), since: LogIndex(7) };
        let (_, touched) = store.apply(LogIndex(8), &over);
        let mut news = News::default();
        news.add(&over, touched);
        assert_eq!((news.freed().collect::<Vec<_>>(), news.keys().count()), (vec![&"a".to_owned()], 0));
    }
}
