//! Clients that ask blocking questions.

use super::{Clients, Purpose, Wish, get};
use quorate_protocol::{
    Ask, Consistency, HealthFilter, KvRead, LogIndex, Page, Read, ReadRequest, SessionRead, Status, Wait,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a watcher follows.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    read: Read,
    seen: LogIndex,
    consistency: Consistency,
}

/// The questions of watchers, for checkers that look at views.
pub fn questions() -> Vec<Read> {
    let health = |service: &str, health| Read::ServiceHealth {
        service: service.to_owned(),
        tags: Vec::new(),
        node_meta: BTreeMap::new(),
        health,
    };
    vec![
        get("key/0"),
        get("lock/1"),
        Read::Kv(KvRead::List { prefix: "key/".into(), page: Page::default() }),
        Read::Kv(KvRead::Keys { prefix: String::new(), separator: "/".into(), page: Page::default() }),
        health("web", HealthFilter::Passing),
        health("db", HealthFilter::NotCritical),
        Read::Nodes { node_meta: BTreeMap::new() },
        Read::Services { node_meta: BTreeMap::new() },
        Read::ChecksInState { status: Some(Status::Critical), node_meta: BTreeMap::new() },
        Read::NodeServices { node: "agent-0".into() },
        Read::Session(SessionRead::List),
        Read::Session(SessionRead::Node { node: "agent-1".into() }),
        get("lock/0"),
    ]
}

impl Clients {
    pub(super) fn wish_to_watch(&mut self, client: usize) -> Wish {
        if !self.watches.contains_key(&client) || self.dice.chance(0.05) {
            let questions = questions();
            let read = questions[self.dice.below(questions.len())].clone();
            let consistency = [Consistency::Stale, Consistency::Default, Consistency::Consistent][self.dice.below(3)];
            self.watches.insert(client, Watch { read, seen: LogIndex::ZERO, consistency });
        }
        let timeout = self.dice.between(Duration::from_secs(1), Duration::from_secs(12));
        let Watch { read, seen, consistency } = self.watches[&client].clone();
        let wait = (seen > LogIndex::ZERO).then_some(Wait { index: seen, timeout });
        let request = ReadRequest { consistency, wait, ..ReadRequest::now(read) };
        Wish::new(Ask::Read(request.clone()), Purpose::Watch(request))
    }

    pub(super) fn watch_answered(&mut self, client: usize, request: &ReadRequest, index: LogIndex) {
        self.counts.woken += u64::from(request.wait.is_some_and(|wait| index > wait.index));
        if let Some(watch) = self.watches.get_mut(&client) {
            watch.seen = index;
        }
    }
}
