//! What must hold whatever is written, over random sequences of all writes and all questions.
//!
//! There are few names, so that writes meet each other, and (in tests) few tombstones and changes are kept, so that they are
//! forgotten.

mod catalog;
mod changes;
mod indexes;
mod model;
mod pages;
mod snapshots;

use crate::{Store, View};
use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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

fn pair() -> impl Strategy<Value = Pair> + Clone {
    let ttl = option::weighted(0.2, (1..3u64).prop_map(Duration::from_secs));
    (text(KEYS), text(&["", "x", "y"]), 0..2u64, ttl).prop_map(|(key, value, flags, ttl)| Pair {
        key,
        value: value.into(),
        flags,
        ttl,
    })
}

fn session_id() -> impl Strategy<Value = SessionId> {
    (1..4u8).prop_map(|id| SessionId([id; 16]))
}

fn kv_write() -> impl Strategy<Value = KvWrite> {
    prop_oneof![
        4 => (pair(), cas()).prop_map(|(pair, cas)| KvWrite::Put { pair, cas }),
        4 => (pair(), session_id()).prop_map(|(pair, session)| KvWrite::Acquire { pair, session }),
        2 => (pair(), session_id()).prop_map(|(pair, session)| KvWrite::AcquireOnce { pair, session }),
        2 => (pair(), session_id()).prop_map(|(pair, session)| KvWrite::Release { pair, session }),
        3 => (text(KEYS), cas()).prop_map(|(key, cas)| KvWrite::Delete { key, cas }),
        1 => text(PREFIXES).prop_map(|prefix| KvWrite::DeletePrefix { prefix }),
    ]
}

fn session() -> impl Strategy<Value = Session> {
    let checks = || vec(text(CHECK_IDS), 0..2);
    let lock_delay = select(&[0, 1, 90][..]).prop_map(Duration::from_secs);
    let behavior = select(&[Behavior::Release, Behavior::Delete][..]);
    let ttl = option::of((0..3u64).prop_map(Duration::from_secs));
    (session_id(), text(NODES), checks(), checks(), lock_delay, behavior, ttl, any::<bool>()).prop_map(
        |(id, node, node_checks, service_checks, lock_delay, behavior, ttl, exact_ttl)| Session {
            id,
            node,
            node_checks,
            service_checks,
            lock_delay,
            behavior,
            ttl,
            exact_ttl,
            ..Session::default()
        },
    )
}

fn session_write() -> impl Strategy<Value = SessionWrite> {
    prop_oneof![
        4 => session().prop_map(|session| SessionWrite::Create(Box::new(session))),
        1 => session_id().prop_map(|id| SessionWrite::Destroy { id }),
        2 => session_id().prop_map(|id| SessionWrite::Renew { id }),
    ]
}

fn look_at_keys() -> impl Strategy<Value = TxnRead> {
    let index = || (0..40u64).prop_map(LogIndex);
    prop_oneof![
        text(KEYS).prop_map(|key| TxnRead::Get { key }),
        text(KEYS).prop_map(|key| TxnRead::GetOrEmpty { key }),
        text(PREFIXES).prop_map(|prefix| TxnRead::GetTree { prefix }),
        (text(KEYS), index()).prop_map(|(key, index)| TxnRead::CheckIndex { key, index }),
        (text(KEYS), session_id()).prop_map(|(key, session)| TxnRead::CheckSession { key, session }),
        text(KEYS).prop_map(|key| TxnRead::CheckNotExists { key }),
        (text(KEYS), index()).prop_map(|(key, token)| TxnRead::CheckToken { key, token }),
    ]
}

fn look() -> impl Strategy<Value = TxnRead> {
    let node = || text(NODES);
    prop_oneof![
        4 => look_at_keys(),
        1 => node().prop_map(|node| TxnRead::Node { node }),
        1 => (node(), text(SERVICE_IDS)).prop_map(|(node, service_id)| TxnRead::Service { node, service_id }),
        1 => (node(), text(CHECK_IDS)).prop_map(|(node, check_id)| TxnRead::Check { node, check_id }),
    ]
}

fn catalog_operation() -> impl Strategy<Value = CatalogOperation> {
    let set_check = (text(NODES), check(), cas())
        .prop_map(|(node, check, cas)| CatalogOperation::SetCheck { check: Box::new(Check { node, ..check }), cas });
    prop_oneof![
        (node(), cas()).prop_map(|(node, cas)| CatalogOperation::SetNode { node: Box::new(node), cas }),
        (text(NODES), cas()).prop_map(|(node, cas)| CatalogOperation::DeleteNode { node, cas }),
        (text(NODES), service(), cas()).prop_map(|(node, service, cas)| CatalogOperation::SetService {
            node,
            service: Box::new(service),
            cas
        }),
        (text(NODES), text(SERVICE_IDS), cas()).prop_map(|(node, service_id, cas)| CatalogOperation::DeleteService {
            node,
            service_id,
            cas
        }),
        set_check,
        (text(NODES), text(CHECK_IDS), cas()).prop_map(|(node, check_id, cas)| CatalogOperation::DeleteCheck {
            node,
            check_id,
            cas
        }),
    ]
}

fn txn_operation() -> impl Strategy<Value = TxnOperation> {
    prop_oneof![
        1 => look().prop_map(TxnOperation::Read),
        4 => kv_write().prop_map(TxnOperation::Kv),
        2 => catalog_operation().prop_map(TxnOperation::Catalog),
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
    let autopilot = (0..3u32, cas()).prop_map(|(min_quorum, cas)| Write::Autopilot {
        config: AutopilotConfig { min_quorum, ..AutopilotConfig::default() },
        cas,
    });
    prop_oneof![
        6 => kv_write().prop_map(Write::Kv),
        4 => session_write().prop_map(Write::Session),
        3 => vec(txn_operation(), 0..4).prop_map(Write::Txn),
        6 => registration,
        2 => deregistration.prop_map(Write::Deregister),
        1 => autopilot,
    ]
}

/// What happens next: something is written, or the leader's clock rings for one of the timers that are armed then, maybe too late.
#[derive(Debug, Clone)]
enum Step {
    Write(Write),
    Ring(Index, bool),
}

impl Step {
    fn write(&self, view: &View) -> Write {
        let timers = view.timers();
        match self {
            Step::Write(write) => write.clone(),
            Step::Ring(..) if timers.is_empty() => {
                Write::Expire { timer: Timer::Session(SessionId([1; 16])), since: LogIndex(1) }
            }
            Step::Ring(which, late) => {
                let (timer, armed) = which.get(&timers);
                let since = if *late { armed.since.previous() } else { armed.since };
                Write::Expire { timer: timer.clone(), since }
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => write().prop_map(Step::Write),
        1 => (any::<Index>(), prop::bool::weighted(0.2)).prop_map(|(which, late)| Step::Ring(which, late)),
    ]
}

/// Takes a step, and tells with which write.
fn take(store: &mut Store, step: &Step) -> (Write, Outcome, crate::Touched) {
    let write = step.write(&store.view());
    let (outcome, touched) = store.apply(store.applied_index().next(), &write);
    (write, outcome, touched)
}

/// Whether the write was done, so that it may have changed something.
fn is_done(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done
        | Outcome::Acquired { .. }
        | Outcome::Holds { .. }
        | Outcome::Session(Some(_))
        | Outcome::Txn(Ok(_)) => true,
        Outcome::Unmatched { .. }
        | Outcome::Refused(_)
        | Outcome::Held { .. }
        | Outcome::Session(None)
        | Outcome::Txn(Err(_)) => false,
    }
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
        reads.push(Read::Session(SessionRead::Node { node: node.clone() }));
        reads.push(Read::Txn(vec![
            TxnRead::Service { node: node.clone(), service_id: "web".into() },
            TxnRead::Check { node: node.clone(), check_id: "c1".into() },
        ]));
        reads.push(Read::NodeServices { node: node.clone() });
        reads.push(Read::NodeChecks { node });
    }
    for id in (1..5).map(|id| SessionId([id; 16])) {
        reads.push(Read::Session(SessionRead::Info { id }));
    }
    reads.push(Read::Session(SessionRead::List));
    reads.push(Read::Autopilot);
    let (key, tree) = (|| "a/b".to_owned(), TxnRead::GetTree { prefix: "a".into() });
    for reads_together in [
        vec![],
        vec![TxnRead::Get { key: key() }],
        vec![TxnRead::GetOrEmpty { key: key() }, tree, TxnRead::Node { node: "n1".into() }],
        vec![
            TxnRead::CheckNotExists { key: key() },
            TxnRead::CheckSession { key: "b".into(), session: SessionId([1; 16]) },
        ],
    ] {
        reads.push(Read::Txn(reads_together));
    }
    reads
}

fn kv_reads() -> Vec<Read> {
    let get = KEYS.iter().chain(&["never"]).map(|key| KvRead::Get { key: (*key).to_owned() });
    let prefixes = || PREFIXES.iter().map(|prefix| (*prefix).to_owned());
    let list = prefixes().flat_map(|prefix| pages().map(move |page| KvRead::List { prefix: prefix.clone(), page }));
    let keys = ["", "/"].into_iter().flat_map(move |separator| {
        prefixes().flat_map(move |prefix| {
            pages().map(move |page| KvRead::Keys { prefix: prefix.clone(), separator: separator.to_owned(), page })
        })
    });
    get.chain(list).chain(keys).map(Read::Kv).collect()
}

fn pages() -> impl Iterator<Item = Page> {
    let page = |after: Option<&str>, limit| Page { after: after.map(str::to_owned), limit };
    [page(None, None), page(None, Some(2)), page(Some("a/"), Some(1)), page(Some("a/b"), None)].into_iter()
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
    let session = Session { id: SessionId([1; 16]), node: "n1".into(), ..Session::default() };
    assert!(is_done(&apply(&Write::Session(SessionWrite::Create(Box::new(session))))));
    assert_eq!(
        apply(&Write::Autopilot { config: AutopilotConfig { min_quorum: 3, ..AutopilotConfig::default() }, cas: None }),
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
        "Autopilot",
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
        "Session(Info",
        "Session(List)",
        "Session(Node",
        "Txn([CheckNotExists",
        "Txn([Get",
        "Txn([GetOrEmpty",
        "Txn([Service",
    ];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
