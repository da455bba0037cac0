//! The bytes of version 1 of a snapshot, kept: what was written by an older build must be readable by this one, and the other way
//! round.
//!
//! `UPDATE_GOLDEN=1 cargo test -p quorate-store` writes a file that does not exist yet. A file that exists is never rewritten: a
//! difference means that the format changed, which needs a new version beside the old.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::panic)]

use quorate_protocol::{
    AutopilotConfig, Behavior, Check, KvWrite, LogIndex, Node, NodeId, Pair, Registration, RestoreWrite, Service,
    Session, SessionId, SessionWrite, Status, Write,
};
use quorate_store::{SnapshotChunks, Store, Summary};
use std::path::PathBuf;
use std::time::Duration;

/// A store with a row of every kind.
fn store() -> Store {
    let node = Node {
        id: Some(NodeId([7; 16])),
        name: "N1".into(),
        address: "127.0.0.1".into(),
        meta: [("rack".into(), "a".into())].into(),
        ..Node::default()
    };
    let service =
        Service { id: "web1".into(), name: "Web".into(), tags: vec!["v1".into()], port: 80, ..Service::default() };
    let check = Check { id: "c".into(), service_id: "web1".into(), status: Status::Passing, ..Check::default() };
    let registration = Registration { node, service: Some(service), checks: vec![check], ..Registration::default() };
    let session = Session {
        id: SessionId([1; 16]),
        name: "leader".into(),
        node: "n1".into(),
        service_checks: vec!["c".into()],
        lock_delay: Duration::from_secs(15),
        behavior: Behavior::Delete,
        ttl: Some(Duration::from_secs(10)),
        ..Session::default()
    };
    let pair = |key: &str| Pair { key: key.into(), value: "v".into(), flags: 7, ttl: Some(Duration::from_secs(60)) };
    let put = |key: &str| Write::Kv(KvWrite::Put { pair: pair(key), cas: None });
    let ended = Session { id: SessionId([2; 16]), ttl: None, ..session.clone() };
    let mut store = Store::new();
    for write in [
        Write::Register(Box::new(registration)),
        Write::Session(SessionWrite::Create(Box::new(session))),
        Write::Session(SessionWrite::Create(Box::new(ended))),
        Write::Kv(KvWrite::Acquire { pair: pair("held"), session: SessionId([1; 16]) }),
        Write::Kv(KvWrite::Acquire { pair: pair("delayed"), session: SessionId([2; 16]) }),
        Write::Session(SessionWrite::Destroy { id: SessionId([2; 16]) }),
        Write::Session(SessionWrite::Renew { id: SessionId([1; 16]) }),
        put("kept"),
        put("gone"),
        Write::Kv(KvWrite::Delete { key: "gone".into(), cas: None }),
        Write::Autopilot { config: AutopilotConfig::default(), cas: None },
        Write::Restore(RestoreWrite::Begin { id: 5 }),
    ] {
        store.apply(store.applied_index().next(), &write);
    }
    let small = SnapshotChunks::new(Store::new().view()).chunk(0).unwrap();
    let chunk = RestoreWrite::Chunk { id: 5, number: 0, bytes: small.bytes };
    store.apply(store.applied_index().next(), &Write::Restore(chunk));
    store
}

#[test]
fn the_bytes_of_a_snapshot_stay() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join("snapshot-v1");
    let store = store();
    let chunk = SnapshotChunks::new(store.view()).chunk(0).unwrap();
    assert!(chunk.last);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &chunk.bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(chunk.bytes, golden, "the bytes of version 1 changed");
    let tables: Vec<_> = Summary::of([golden.as_slice()]).unwrap().tables.iter().map(|table| table.name).collect();
    let every =
        ["nodes", "services", "checks", "sessions", "keys", "tombstones", "timers", "indexes", "autopilot", "restore"];
    assert_eq!(tables, every);
    let copy = Store::from_chunks([golden.as_slice()]).unwrap();
    assert_eq!((copy.applied_index(), copy.hash()), (LogIndex(13), store.hash()));
    assert_eq!(copy.view().timers(), store.view().timers());
}

#[test]
fn a_large_store_comes_in_many_chunks() {
    let mut store = Store::new();
    for n in 0..4000 {
        let pair = Pair { key: format!("key/{n}"), value: vec![0; 1000].into(), ..Pair::default() };
        store.apply(store.applied_index().next(), &Write::Kv(KvWrite::Put { pair, cas: None }));
    }
    let mut chunks = SnapshotChunks::new(store.view());
    let drawn: Vec<_> = (0..).map_while(|number| chunks.chunk(number)).map(|chunk| chunk.bytes).collect();
    let bytes: usize = drawn.iter().map(|bytes| bytes.len()).sum();
    assert!(drawn.len() > 16 && drawn.iter().all(|bytes| bytes.len() < 257 * 1024));
    assert!(chunks.size_hint() as usize > bytes * 9 / 10 && (chunks.size_hint() as usize) < bytes * 11 / 10);
    let copy = Store::from_chunks(drawn.iter().map(|bytes| bytes.as_ref())).unwrap();
    assert_eq!(copy.hash(), store.hash());
}
