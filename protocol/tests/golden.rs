//! The bytes of version 1, kept: what was written by an older build must be readable by this one, and the other way round.
//!
//! `UPDATE_GOLDEN=1 cargo test -p quorate-protocol` writes files that do not exist yet. A file that exists is never rewritten: a
//! difference means that the wire changed, which needs a new version beside the old.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::panic)]

use quorate_protocol::raft::{Configuration, LogEntry, Payload, Peer, RaftBody, RaftMessage, SnapshotMeta};
use quorate_protocol::wire::local::{SavedCheck, SavedLocal};
use quorate_protocol::wire::log::{
    decode_entry, decode_snapshot_meta, decode_write, encode_entry, encode_snapshot_meta, encode_write,
};
use quorate_protocol::wire::stream::Message;
use quorate_protocol::{
    Answer, Ask, Check, CheckDefinition, CheckKind, Consistency, Deregistration, Entry, KvRead, KvWrite, LogIndex,
    Node, NodeId, Outcome, Page, Pair, Read, ReadRequest, Registration, Reply, Request, Row, Service, SessionId,
    Status, Term, Wait, Write,
};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn check<T: PartialEq + Debug, E: Debug>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, E>,
) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    let bytes = encode(value);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(bytes, golden, "{name}: the bytes of version 1 changed");
    assert_eq!(&decode(&golden).unwrap(), value, "{name}");
    for length in 0..golden.len() {
        assert!(decode(&golden[..length]).is_err(), "{name} cut to {length} bytes");
    }
    let mut newer = golden.clone();
    newer[0] = 99;
    assert!(decode(&newer).is_err(), "{name} of an unknown version");
}

fn node() -> Node {
    Node {
        id: Some(NodeId([7; 16])),
        name: "n1".into(),
        address: "127.0.0.1".into(),
        tagged_addresses: [("lan".into(), "127.0.0.1".into())].into(),
        meta: [("rack".into(), "a".into())].into(),
    }
}

fn service() -> Service {
    Service { id: "web1".into(), name: "web".into(), tags: vec!["v1".into()], port: 80, ..Service::default() }
}

fn health() -> Check {
    Check { node: "n1".into(), id: "c".into(), service_id: "web1".into(), status: Status::Passing, ..Check::default() }
}

fn put() -> Write {
    let pair = Pair { key: "a/b".into(), value: vec![0, 1, 255].into(), flags: 42, ttl: None };
    Write::Kv(KvWrite::Put { pair, cas: Some(LogIndex(7)) })
}

fn acquire_once() -> Write {
    let pair = Pair { key: "l".into(), value: vec![1].into(), flags: 0, ttl: None };
    Write::Kv(KvWrite::AcquireOnce { pair, session: SessionId([7; 16]) })
}

#[test]
fn writes() {
    let registration =
        Registration { node: node(), skip_node_update: true, service: Some(service()), checks: vec![health()] };
    let all = [
        ("write-put", put()),
        ("write-delete", Write::Kv(KvWrite::Delete { key: "a".into(), cas: None })),
        ("write-delete-prefix", Write::Kv(KvWrite::DeletePrefix { prefix: "a/".into() })),
        ("write-acquire-once", acquire_once()),
        ("write-register", Write::Register(Box::new(registration))),
        ("write-deregister", Write::Deregister(Deregistration::Check { node: "n1".into(), check_id: "c".into() })),
    ];
    for (name, write) in all {
        check(name, &write, |write| encode_write(write).to_vec(), decode_write);
    }
}

#[test]
fn log_entries() {
    let peer = Peer { address: ([127, 0, 0, 1], 8301).into(), voter: true };
    let configuration = Configuration { peers: [(NodeId([1; 16]), peer)].into(), founder: None };
    let all = [
        ("entry-empty", Payload::Empty),
        ("entry-command", Payload::Command(encode_write(&put()))),
        ("entry-configuration", Payload::Configuration(configuration)),
    ];
    for (name, payload) in all {
        let entry = LogEntry { term: Term(3), index: LogIndex(12), payload };
        check(name, &entry, encode_entry, decode_entry);
    }
}

#[test]
fn what_comes_with_a_snapshot() {
    let peer = Peer { address: ([127, 0, 0, 1], 8301).into(), voter: true };
    let configuration = Configuration { peers: [(NodeId([1; 16]), peer)].into(), founder: None };
    let meta = SnapshotMeta { index: LogIndex(90), term: Term(4), configuration, configuration_index: LogIndex(12) };
    check("snapshot-meta", &meta, encode_snapshot_meta, decode_snapshot_meta);
}

#[test]
fn messages() {
    let read = ReadRequest {
        read: Read::Kv(KvRead::Keys { prefix: "a/".into(), separator: "/".into(), page: Page::default() }),
        consistency: Consistency::Consistent,
        wait: Some(Wait { index: LogIndex(9), timeout: Duration::from_millis(1500) }),
        max_stale: None,
        at_least: LogIndex::ZERO,
    };
    let row = Row { value: Entry::default(), create_index: LogIndex(1), modify_index: LogIndex(2) };
    let answer = Reply::Read {
        answer: Answer::Entries(vec![Arc::new(row)]),
        index: LogIndex(2),
        known_leader: true,
        last_contact: Duration::from_millis(3),
    };
    let forward = |request| Message::Forward { id: 5, hops: 1, request: Box::new(request) };
    let all = [
        ("message-forward-read", forward(Request::here(Ask::Read(read)))),
        ("message-forward-write", forward(Request { dc: Some("dc2".into()), ask: Ask::Write(put()) })),
        ("message-reply-read", Message::ForwardReply { id: 5, reply: Box::new(answer) }),
        (
            "message-reply-written",
            Message::ForwardReply {
                id: 6,
                reply: Box::new(Reply::Written {
                    outcome: Outcome::Unmatched { found: LogIndex(4) },
                    index: LogIndex(8),
                }),
            },
        ),
        ("message-abandon", Message::Abandon { id: 5 }),
    ];
    for (name, message) in all {
        check(name, &message, Message::encode, Message::decode);
    }
}

#[test]
fn raft_messages() {
    let entry = LogEntry { term: Term(3), index: LogIndex(12), payload: Payload::Empty };
    let (previous_index, previous_term, commit_index) = (LogIndex(11), Term(2), LogIndex(10));
    let all = [
        ("raft-pre-vote-request", RaftBody::PreVoteRequest { last_index: LogIndex(11), last_term: Term(2) }),
        ("raft-pre-vote-reply", RaftBody::PreVoteReply { granted: true }),
        ("raft-vote-request", RaftBody::VoteRequest { last_index: LogIndex(11), last_term: Term(2), transfer: false }),
        ("raft-vote-reply", RaftBody::VoteReply { granted: false }),
        ("raft-append", RaftBody::Append { previous_index, previous_term, entries: vec![entry], commit_index }),
        ("raft-append-accepted", RaftBody::AppendAccepted { match_index: LogIndex(12) }),
        (
            "raft-append-rejected",
            RaftBody::AppendRejected { previous_index, hint_index: LogIndex(7), hint_term: Term(1) },
        ),
        ("raft-heartbeat", RaftBody::Heartbeat { round: 9, commit_index }),
        ("raft-heartbeat-reply", RaftBody::HeartbeatReply { round: 9 }),
    ];
    for (name, body) in all {
        check(name, &Message::Raft(RaftMessage { term: Term(3), body }), Message::encode, Message::decode);
    }
}

#[test]
fn local_state() {
    let kind = CheckKind::Ttl { ttl: Duration::from_secs(10) };
    let definition = CheckDefinition { id: "c".into(), kind, ..CheckDefinition::default() };
    let check_saved = SavedCheck { definition, status: Status::Warning, output: "so so".into() };
    let saved = SavedLocal { services: vec![service()], checks: vec![check_saved], ..SavedLocal::default() };
    check("saved-local", &saved, SavedLocal::encode, SavedLocal::decode);
}
