//! What must hold whatever is written, over random sequences of all writes and all questions.
//!
//! There are few names, so that writes meet each other, and (in tests) few tombstones, so that they are forgotten.

use crate::name::Name;
use crate::{Store, View};
use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const KEYS: &[&str] = &["a", "a/", "a/b", "a/b/c", "a/é", "a0", "b", "c/d"];
const PREFIXES: &[&str] = &["", "a", "a/", "a/b", "a/b/", "b", "c", "zz"];
const NODES: &[&str] = &["n1", "N1", "n2", "n3"];
const SERVICES: &[&str] = &["web", "Web", "db", "api"];
const SERVICE_IDS: &[&str] = &["web", "web2", "db"];
const CHECK_IDS: &[&str] = &[SERF_HEALTH, "c1", "c2"];
const TAGS: &[&str] = &["a", "b", "C"];
const RACKS: &[&str] = &["1", "2"];

fn text(choices: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(choices).prop_map(str::to_owned)
}

fn cas() -> impl Strategy<Value = Option<LogIndex>> {
    option::weighted(0.4, (0..20u64).prop_map(LogIndex))
}

fn kv_write() -> impl Strategy<Value = KvWrite> {
    let entry = (text(KEYS), text(&["", "x", "y"]), 0..2u64);
    let pair = entry.prop_map(|(key, value, flags)| Pair { key, value: value.into(), flags, ttl: None });
    prop_oneof![
        4 => (pair, cas()).prop_map(|(pair, cas)| KvWrite::Put { pair, cas }),
        3 => (text(KEYS), cas()).prop_map(|(key, cas)| KvWrite::Delete { key, cas }),
        1 => text(PREFIXES).prop_map(|prefix| KvWrite::DeletePrefix { prefix }),
    ]
}

fn rack() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(Just("rack".to_owned()), text(RACKS), 0..=1)
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    btree_set(text(TAGS), 0..=2).prop_map(|tags| tags.into_iter().collect())
}

fn node() -> impl Strategy<Value = Node> {
    let id = option::weighted(0.6, (1..4u8).prop_map(|id| NodeId([id; 16])));
    (id, text(NODES), text(&["10.0.0.1", "10.0.0.2"]), rack()).prop_map(|(id, name, address, meta)| Node {
        id,
        name,
        address,
        meta,
        ..Node::default()
    })
}

fn service() -> impl Strategy<Value = Service> {
    (text(SERVICE_IDS), text(SERVICES), tags(), 1..3u16).prop_map(|(id, name, tags, port)| Service {
        id,
        name,
        tags,
        port,
        ..Service::default()
    })
}

fn check() -> impl Strategy<Value = Check> {
    let status = select(&[Status::Passing, Status::Warning, Status::Critical][..]);
    let speaks_for = prop_oneof![2 => Just(String::new()), 3 => text(SERVICE_IDS)];
    (text(CHECK_IDS), speaks_for, status, text(&["", "x"])).prop_map(|(id, service_id, status, output)| {
        // Gossip's check is always one of the node.
        let service_id = if id == SERF_HEALTH { String::new() } else { service_id };
        Check { id, service_id, status, output, ..Check::default() }
    })
}

fn write() -> impl Strategy<Value = Write> {
    let registration = (node(), any::<bool>(), option::of(service()), vec(check(), 0..3)).prop_map(
        |(node, skip_node_update, service, checks)| {
            Write::Register(Box::new(Registration { node, skip_node_update, service, checks }))
        },
    );
    let deregistration = prop_oneof![
        1 => text(NODES).prop_map(|node| Deregistration::Node { node }),
        2 => (text(NODES), text(SERVICE_IDS))
            .prop_map(|(node, service_id)| Deregistration::Service { node, service_id }),
        2 => (text(NODES), text(CHECK_IDS)).prop_map(|(node, check_id)| Deregistration::Check { node, check_id }),
    ];
    prop_oneof![3 => kv_write().prop_map(Write::Kv), 6 => registration, 2 => deregistration.prop_map(Write::Deregister)]
}

/// Every kind of question about everything that can be written, and about what never is.
fn all_reads() -> Vec<Read> {
    let mut reads = kv_reads();
    let racks = [None, Some("1"), Some("2")];
    for node_meta in racks.map(|rack| rack.map(|rack| ("rack".to_owned(), rack.to_owned())).into_iter().collect()) {
        let node_meta: &BTreeMap<String, String> = &node_meta;
        reads.push(Read::Nodes { node_meta: node_meta.clone() });
        reads.push(Read::Services { node_meta: node_meta.clone() });
        for status in [None, Some(Status::Passing), Some(Status::Warning), Some(Status::Critical)] {
            reads.push(Read::ChecksInState { status, node_meta: node_meta.clone() });
        }
        for service in ["web", "DB", "api", "never"].map(str::to_owned) {
            reads.push(Read::ServiceChecks { service: service.clone(), node_meta: node_meta.clone() });
            for tags in [&[][..], &["a"], &["b", "c"]] {
                let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
                let (service, node_meta) = (service.clone(), node_meta.clone());
                reads.push(Read::ServiceInstances {
                    service: service.clone(),
                    tags: tags.clone(),
                    node_meta: node_meta.clone(),
                });
                for health in [HealthFilter::Any, HealthFilter::NotCritical, HealthFilter::Passing] {
                    let (service, tags, node_meta) = (service.clone(), tags.clone(), node_meta.clone());
                    reads.push(Read::ServiceHealth { service, tags, node_meta, health });
                }
            }
        }
    }
    for node in ["n1", "N2", "n3", "never"].map(str::to_owned) {
        reads.push(Read::NodeServices { node: node.clone() });
        reads.push(Read::NodeChecks { node });
    }
    reads
}

fn kv_reads() -> Vec<Read> {
    let get = KEYS.iter().chain(&["never"]).map(|key| KvRead::Get { key: (*key).to_owned() });
    let prefixes = || PREFIXES.iter().map(|prefix| (*prefix).to_owned());
    let list = prefixes().map(|prefix| KvRead::List { prefix, page: Page::default() });
    let keys = ["", "/"].into_iter().flat_map(|separator| {
        prefixes().map(move |prefix| KvRead::Keys { prefix, separator: separator.to_owned(), page: Page::default() })
    });
    get.chain(list).chain(keys).map(Read::Kv).collect()
}

fn answers(view: &View, reads: &[Read]) -> Vec<(Answer, LogIndex)> {
    reads.iter().map(|read| view.read(read)).collect()
}

/// Log index 1 is a configuration, as in every cluster.
fn begin() -> Store {
    let mut store = Store::new();
    store.skip(LogIndex(1));
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// `index_never_goes_back` and `no_wakeup_lost`, as far as they are the store's.
    #[test]
    fn a_changed_answer_has_a_higher_index_and_wakes(writes in vec(write(), 1..50)) {
        let reads = all_reads();
        let mut store = begin();
        let mut before = answers(&store.view(), &reads);
        for write in &writes {
            let (outcome, touched) = store.apply(store.applied_index().next(), write);
            let after = answers(&store.view(), &reads);
            for (read, ((old, old_index), (new, new_index))) in reads.iter().zip(before.iter().zip(&after)) {
                prop_assert!(new_index >= old_index && old_index.0 >= 1, "{read:?}: {old_index} to {new_index} by {write:?}");
                prop_assert!(*new_index <= store.applied_index());
                if old != new {
                    prop_assert!(new_index > old_index, "{read:?}: unmoved at {old_index} by {write:?}");
                    prop_assert!(touched.concerns(read), "{read:?}: not woken by {write:?}");
                }
                if touched.is_empty() {
                    prop_assert_eq!((old, old_index), (new, new_index), "{:?} touches nothing", write);
                }
            }
            if outcome != Outcome::Done {
                prop_assert!(touched.is_empty());
            }
            before = after;
        }
    }

    /// What is done a second time changes nothing.
    #[test]
    fn the_same_again_touches_nothing(writes in vec(write(), 1..30)) {
        let mut store = begin();
        for write in &writes {
            let (outcome, _) = store.apply(store.applied_index().next(), write);
            let compares = matches!(write, Write::Kv(KvWrite::Put { cas: Some(_), .. } | KvWrite::Delete { cas: Some(_), .. }));
            // One check id twice with two contents is written twice by one registration.
            let mut ids = BTreeSet::new();
            let twice = matches!(write, Write::Register(r) if !r.checks.iter().all(|check| ids.insert(&check.id)));
            if outcome == Outcome::Done && !compares && !twice {
                let (outcome, touched) = store.apply(store.applied_index().next(), write);
                prop_assert!(outcome == Outcome::Done && touched.is_empty(), "{:?} touches {:?}", write, touched);
            }
        }
    }

    /// `applied_states_equal`; and earlier views are as they were.
    #[test]
    fn equal_logs_make_equal_stores(writes in vec(write(), 1..40), at in any::<prop::sample::Index>()) {
        let reads = all_reads();
        let (mut one, mut other) = (begin(), begin());
        let at = at.index(writes.len());
        let mut kept = None;
        for (n, write) in writes.iter().enumerate() {
            let index = one.applied_index().next();
            prop_assert_eq!(one.apply(index, write).0, other.apply(index, write).0);
            prop_assert_eq!(one.hash(), other.hash());
            if n == at {
                kept = Some((one.view(), answers(&one.view(), &reads)));
            }
        }
        prop_assert_eq!(answers(&one.view(), &reads), answers(&other.view(), &reads));
        let (view, then) = kept.expect("one was kept");
        prop_assert_eq!(answers(&view, &reads), then);

        let index = one.applied_index().next();
        one.apply(index, &Write::Kv(KvWrite::DeletePrefix { prefix: "p".into() }));
        other.apply(index, &Write::Kv(KvWrite::DeletePrefix { prefix: "q".into() }));
        prop_assert_ne!(one.hash(), other.hash());
    }

    /// The short cuts (by service name, by service id, counted tags) answer as a look at every row would.
    #[test]
    fn answers_follow_from_the_rows(writes in vec(write(), 1..40)) {
        let reads = all_reads();
        let mut store = begin();
        for write in &writes {
            store.apply(store.applied_index().next(), write);
            let view = store.view();
            for read in &reads {
                if let Some(expected) = naive(&view, read) {
                    prop_assert_eq!(view.read(read).0, expected, "{:?} after {:?}", read, write);
                }
            }
            rows_are_in_step(&view)?;
        }
    }

    #[test]
    fn keys_behave_as_an_ordered_map(writes in vec(kv_write(), 1..80)) {
        let mut store = begin();
        let mut model = Model::default();
        for write in writes {
            let index = store.applied_index().next();
            let (view, before) = (store.view(), model.clone());
            let (outcome, touched) = store.apply(index, &Write::Kv(write.clone()));
            prop_assert_eq!(outcome, model.apply(index, &write), "{:?}", write);
            prop_assert_eq!(touched.is_empty(), before.0 == model.0, "{:?}", write);
            for read in kv_reads() {
                let (old, old_index) = view.read(&read);
                let (answer, answer_index) = store.view().read(&read);
                prop_assert!(answer_index >= old_index, "{:?}: back to {} by {:?}", read, answer_index, write);
                prop_assert!(answer == old || (answer_index > old_index && touched.concerns(&read)), "{:?}", read);
                let Read::Kv(read) = read else { continue };
                prop_assert_eq!(&answer, &model.answer(&read), "{:?} after {:?}", read, write);
                match (&read, &answer) {
                    (KvRead::Get { .. }, Answer::Entries(found)) if !found.is_empty() => {
                        prop_assert_eq!(answer_index, found[0].modify_index);
                    }
                    (_, Answer::Entries(found)) => {
                        prop_assert!(found.iter().all(|row| row.modify_index <= answer_index));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Keys as they are known to work.
#[derive(Default, Clone)]
struct Model(BTreeMap<String, Row<Entry>>);

impl Model {
    fn apply(&mut self, index: LogIndex, write: &KvWrite) -> Outcome {
        match write {
            KvWrite::Put { pair, cas } => {
                let Pair { key, value, flags, ttl } = pair.clone();
                let entry = &Entry { key, value, flags, ttl, ..Entry::default() };
                let there = self.0.get(&entry.key);
                let found = there.map_or(LogIndex(0), |row| row.modify_index);
                if cas.is_some_and(|cas| cas != found) {
                    return Outcome::Unmatched { found };
                }
                if there.is_none_or(|row| row.value != *entry) {
                    let create_index = there.map_or(index, |row| row.create_index);
                    let row = Row { value: entry.clone(), create_index, modify_index: index };
                    self.0.insert(entry.key.clone(), row);
                }
            }
            KvWrite::Delete { key, cas } => match (self.0.get(key).map(|row| row.modify_index), cas) {
                (None, _) => {}
                (Some(found), Some(cas)) if found != *cas => return Outcome::Unmatched { found },
                _ => {
                    self.0.remove(key);
                }
            },
            KvWrite::DeletePrefix { prefix } => self.0.retain(|key, _| !key.starts_with(prefix)),
            KvWrite::Acquire { .. } | KvWrite::Release { .. } => todo!(),
        }
        Outcome::Done
    }

    fn answer(&self, read: &KvRead) -> Answer {
        let rows = |keep: &dyn Fn(&str) -> bool| {
            self.0.iter().filter(|(key, _)| keep(key)).map(|(_, row)| Arc::new(row.clone())).collect()
        };
        match read {
            KvRead::Get { key: wanted } => Answer::Entries(rows(&|key| key == wanted)),
            KvRead::List { prefix, page: _ } => Answer::Entries(rows(&|key| key.starts_with(prefix))),
            KvRead::Keys { prefix, separator, page: _ } => {
                let below = self.0.keys().filter(|key| key.starts_with(prefix));
                let cut = below.map(|key| match key[prefix.len()..].split_once(separator.as_str()) {
                    Some((start, _)) if !separator.is_empty() => format!("{prefix}{start}{separator}"),
                    _ => key.clone(),
                });
                Answer::Keys(cut.collect::<BTreeSet<_>>().into_iter().collect())
            }
            KvRead::Changes { .. } => todo!(),
        }
    }
}

/// The answer by a look at every row; none for keys, which have a model of their own.
fn naive(view: &View, read: &Read) -> Option<Answer> {
    let carries =
        |node: &Node, wanted: &BTreeMap<String, String>| wanted.iter().all(|(k, v)| node.meta.get(k) == Some(v));
    let nodes = |meta: &BTreeMap<String, String>| -> Vec<_> {
        view.nodes().filter(|node| carries(node, meta)).cloned().collect()
    };
    let instances = |name: &str, tags: &[String], meta: &BTreeMap<String, String>, checked: bool| {
        let mut found = Vec::new();
        for node in nodes(meta) {
            for service in view.services_of(&node.name) {
                let its: BTreeSet<String> = service.tags.iter().map(|tag| tag.to_lowercase()).collect();
                if service.name.eq_ignore_ascii_case(name) && tags.iter().all(|tag| its.contains(&tag.to_lowercase())) {
                    // Those of the node first.
                    let mut checks: Vec<_> = view.checks_of(&node.name).filter(|_| checked).cloned().collect();
                    checks.retain(|check| check.service_id.is_empty() || check.service_id == service.id);
                    checks.sort_by_key(|check| !check.service_id.is_empty());
                    found.push(Instance { node: node.clone(), service: service.clone(), checks });
                }
            }
        }
        found
    };
    let checks = |meta: &BTreeMap<String, String>, keep: &dyn Fn(&Check) -> bool| {
        let all = nodes(meta).into_iter().flat_map(|node| view.checks_of(&node.name).cloned().collect::<Vec<_>>());
        Answer::Checks(all.filter(|check| keep(check)).collect())
    };
    Some(match read {
        Read::Kv(_) | Read::Session(_) | Read::Txn(_) | Read::Autopilot => return None,
        Read::Nodes { node_meta } => Answer::Nodes(nodes(node_meta)),
        Read::NodeServices { node } => Answer::NodeServices(
            view.nodes()
                .find(|row| row.name.eq_ignore_ascii_case(node))
                .map(|row| NodeServices { node: row.clone(), services: view.services_of(node).cloned().collect() }),
        ),
        Read::Services { node_meta } => {
            let mut spelling: BTreeMap<Name, String> = BTreeMap::new();
            let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for service in view.nodes().flat_map(|node| view.services_of(&node.name)) {
                spelling.entry(Name::of(&service.name)).or_insert_with(|| service.name.clone());
            }
            for service in nodes(node_meta).iter().flat_map(|node| view.services_of(&node.name)) {
                let name = spelling[&Name::of(&service.name)].clone();
                tags.entry(name).or_default().extend(service.tags.iter().cloned());
            }
            Answer::Services(tags.into_iter().map(|(name, tags)| (name, tags.into_iter().collect())).collect())
        }
        Read::ServiceInstances { service, tags, node_meta } => {
            Answer::Instances(instances(service, tags, node_meta, false))
        }
        Read::ServiceHealth { service, tags, node_meta, health } => {
            let mut found = instances(service, tags, node_meta, true);
            found.retain(|one| match health {
                HealthFilter::Any => true,
                HealthFilter::NotCritical => one.checks.iter().all(|check| check.status < Status::Critical),
                HealthFilter::Passing => one.checks.iter().all(|check| check.status == Status::Passing),
            });
            Answer::Instances(found)
        }
        Read::NodeChecks { node } => checks(&BTreeMap::new(), &|check| check.node.eq_ignore_ascii_case(node)),
        Read::ServiceChecks { service, node_meta } => {
            checks(node_meta, &|check| check.service_name.eq_ignore_ascii_case(service))
        }
        Read::ChecksInState { status, node_meta } => {
            checks(node_meta, &|check| status.is_none_or(|status| check.status == status))
        }
    })
}

/// Rows that repeat each other agree, every identity leads to its node, and no index is kept for what is gone.
fn rows_are_in_step(view: &View) -> Result<(), TestCaseError> {
    let mut ids = BTreeSet::new();
    let mut services = BTreeSet::new();
    for node in view.nodes() {
        if let Some(id) = node.id {
            prop_assert!(ids.insert(id), "two nodes are {id}");
            prop_assert_eq!(view.node_by_id(id), Some(node));
        }
        services.extend(view.services_of(&node.name).map(|service| Name::of(&service.name)));
        for check in view.checks_of(&node.name) {
            prop_assert_eq!(&check.node, &node.name);
            let service = view.services_of(&node.name).find(|service| service.id == check.service_id);
            prop_assert_eq!(service.is_none(), check.service_id.is_empty());
            prop_assert_eq!(&check.service_name, service.map_or("", |service| &service.name));
            prop_assert_eq!(&check.service_tags[..], service.map_or(&[][..], |service| &service.tags));
        }
    }
    let catalog = &view.state.catalog;
    prop_assert_eq!(catalog.by_id.keys().copied().collect::<BTreeSet<_>>(), ids);
    prop_assert_eq!(catalog.services.keys().cloned().collect::<BTreeSet<_>>(), services);
    for (topic, _) in view.state.indexes.after(std::ops::Bound::Unbounded) {
        prop_assert!(view.state.is_there(topic), "{topic:?} is gone");
    }
    Ok(())
}

/// The questions of these tests see something: a property over empty answers would hold of anything.
#[test]
fn the_questions_are_answered_by_something() {
    let mut store = begin();
    let mut apply = |write: &Write| store.apply(store.applied_index().next(), write).0;
    let node = Node { name: "n1".into(), meta: [("rack".into(), "1".into())].into(), ..Node::default() };
    let service = Service { name: "web".into(), tags: vec!["a".into()], ..Service::default() };
    let check = |status| Check { id: "c".into(), service_id: "web".into(), status, ..Check::default() };
    let checks = vec![check(Status::Passing)];
    assert_eq!(
        apply(&Write::Register(Box::new(Registration {
            node,
            service: Some(service),
            checks,
            ..Registration::default()
        }))),
        Outcome::Done
    );
    let pair = Pair { key: "a/b".into(), value: Bytes::from_static(b"v"), ..Pair::default() };
    assert_eq!(apply(&Write::Kv(KvWrite::Put { pair, cas: None })), Outcome::Done);
    let empty = begin();
    let kinds: BTreeSet<_> = all_reads()
        .iter()
        .filter(|read| store.view().read(read).0 != empty.view().read(read).0)
        .map(|read| format!("{read:?}").split([' ', '{']).next().unwrap_or_default().to_owned())
        .collect();
    let expected = [
        "ChecksInState",
        "Kv(Get",
        "Kv(Keys",
        "Kv(List",
        "NodeChecks",
        "NodeServices",
        "Nodes",
        "ServiceChecks",
        "ServiceHealth",
        "ServiceInstances",
        "Services",
    ];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
