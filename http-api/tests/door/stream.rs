//! `GET /v1/kv/…?stream`: server-sent events.

use crate::fake::*;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use quorate_http_api::{Config, router};
use quorate_protocol::{
    Answer, Ask, Change, Changes, Consistency, Entry, KvRead, LogIndex, Page, Read, ReadRequest, Refusal, Reply,
    Selection,
};
use std::sync::Mutex;
use std::time::Duration;
use tower::ServiceExt;

fn put(key: &str, value: &str, index: u64) -> Change {
    Change::Put(row(Entry { key: key.to_owned(), value: bytes(value), ..Entry::default() }, 5, index))
}

fn delete(key: &str, index: u64) -> Change {
    Change::Delete { key: key.to_owned(), index: LogIndex(index) }
}

fn known(changes: Vec<Change>, up_to: u64) -> Reply {
    found(Answer::Changes(Changes::Known { changes, up_to: LogIndex(up_to) }))
}

fn compacted(since: u64) -> Reply {
    found(Answer::Changes(Changes::Compacted { since: LogIndex(since) }))
}

fn stopping() -> Reply {
    Reply::Refused(Refusal::Stopping)
}

fn changes(of: Selection, after: u64) -> Read {
    Read::Kv(KvRead::Changes { of, after: LogIndex(after), limit: 256 })
}

fn below(prefix: &str) -> Selection {
    Selection::Prefix(prefix.to_owned())
}

fn reads(seen: &Seen) -> Vec<&ReadRequest> {
    seen.asked
        .iter()
        .map(|request| match &request.ask {
            Ask::Read(read) => read,
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn resume(path: &str, id: &str, replies: Vec<Reply>) -> Seen {
    let request = Request::get(path).header("Last-Event-ID", id).body(Body::empty()).unwrap();
    send(request, replies).await
}

#[tokio::test]
async fn from_an_index_every_change_once_and_in_order() {
    let seen = call(
        "GET /v1/kv/app/?stream&recurse&index=10",
        "",
        [
            known(vec![put("app/a", "1", 11), delete("app/b", 12)], 15),
            known(vec![put("app/a\n", "2", 16)], 16),
            known(vec![], 40),
            stopping(),
        ],
    )
    .await;
    let begin = "event: progress\nid: 10\ndata: {\"Index\":10}\n\n";
    let first = "event: put\nid: 11\ndata: {\"LockIndex\":0,\"Key\":\"app/a\",\"Flags\":0,\"Value\":\"MQ==\",\"CreateIndex\":5,\"ModifyIndex\":11}\n\n\
                 event: delete\nid: 12\ndata: {\"Key\":\"app/b\",\"ModifyIndex\":12}\n\n";
    let second = "event: put\nid: 16\ndata: {\"LockIndex\":0,\"Key\":\"app/a\\n\",\"Flags\":0,\"Value\":\"Mg==\",\"CreateIndex\":5,\"ModifyIndex\":16}\n\n";
    let rest = "event: progress\nid: 40\ndata: {\"Index\":40}\n\n: agent is shutting down\n\n";
    seen.answered(200, &format!("{begin}{first}{second}{rest}"));
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-cache"), ("x-consul-index", "385")]
    {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    // The first question does not wait, so that a refusal is a status; the others wait for what is new.
    let reads = reads(&seen);
    assert_eq!(reads[0], &now(changes(below("app/"), 10)));
    for (read, after) in reads[1..].iter().zip([15, 16, 40]) {
        assert_eq!(read.read, changes(below("app/"), after));
        waited(read.wait, after, 28_000);
        assert!(read.wait.unwrap().timeout < Duration::from_secs(30), "a sign of life every 30 s");
    }
}

#[tokio::test]
async fn one_write_is_resumed_whole() {
    let whole = vec![put("a", "1", 7), put("b", "1", 7), delete("c", 7), put("a", "2", 8)];
    let seen = call("GET /v1/kv/?stream&recurse&index=6", "", [known(whole, 8), stopping()]).await;
    let events: Vec<_> = seen
        .body
        .split("\n\n")
        .map(|event| (event.lines().next().unwrap_or_default(), event.lines().find(|line| line.starts_with("id:"))))
        .collect();
    assert_eq!(
        events[1..5],
        [("event: put", None), ("event: put", None), ("event: delete", Some("id: 7")), ("event: put", Some("id: 8"))]
    );
}

#[tokio::test]
async fn without_an_index_it_begins_now() {
    let one = found(Answer::Entries(vec![]));
    let seen =
        call("GET /v1/kv/a?stream", "", [one, known(vec![], 390), known(vec![put("a", "1", 391)], 391), stopping()])
            .await;
    assert!(
        seen.body.starts_with("event: progress\nid: 385\ndata: {\"Index\":385}\n\nevent: put\nid: 391\n"),
        "{}",
        seen.body
    );
    let reads = reads(&seen);
    let key = Selection::Key("a".to_owned());
    assert_eq!(reads[0], &now(Read::Kv(KvRead::Get { key: "a".to_owned() })));
    assert_eq!(reads[1], &now(changes(key.clone(), 385)));
    assert_eq!(reads[2].read, changes(key, 385));

    let seen = call("GET /v1/kv/p/?stream&recurse&index=0", "", [found(Answer::Keys(vec![])), stopping()]).await;
    seen.answered(500, "agent is shutting down");
    let page = Page { after: None, limit: Some(1) };
    let small = KvRead::Keys { prefix: "p/".to_owned(), separator: String::new(), page };
    assert_eq!(reads_of(&seen, 0), &now(Read::Kv(small)));
}

fn reads_of(seen: &Seen, at: usize) -> &ReadRequest {
    reads(seen)[at]
}

#[tokio::test]
async fn now_is_never_forgotten() {
    // The key did not change for longer than anybody remembers: its index lies before the memory, and nothing is missed.
    let one = found(Answer::Entries(vec![]));
    let seen = call("GET /v1/kv/a?stream", "", [one, compacted(5_000), known(vec![], 5_000), stopping()]).await;
    assert!(seen.body.starts_with("event: progress\nid: 5000\ndata: {\"Index\":5000}\n\n"), "{}", seen.body);
    assert!(!seen.body.contains("compacted"), "{}", seen.body);
}

#[tokio::test]
async fn a_gap_is_told_and_ends_the_stream() {
    let seen = call("GET /v1/kv/a?stream&index=3", "", [compacted(5_000)]).await;
    let begin = "event: progress\nid: 3\ndata: {\"Index\":3}\n\n";
    seen.answered(200, &format!("{begin}event: compacted\ndata: {{\"Since\":5000}}\n\n"));
    assert_eq!(seen.asked.len(), 1);
    let late = [known(vec![], 10), compacted(900)];
    let seen = call("GET /v1/kv/a?stream&index=3", "", late).await;
    assert!(seen.body.ends_with("event: compacted\ndata: {\"Since\":900}\n\n"), "{}", seen.body);
    assert_eq!(seen.asked.len(), 2);
}

#[tokio::test]
async fn resuming_by_event_id() {
    let seen = resume("/v1/kv/a?stream&index=3", "17", vec![known(vec![], 17), stopping()]).await;
    assert_eq!(reads_of(&seen, 0).read, changes(Selection::Key("a".to_owned()), 17), "the last event wins");
    for bad in ["", "x", "-1", "18446744073709551616"] {
        resume("/v1/kv/a?stream", bad, vec![]).await.refused(400, "Invalid Last-Event-ID");
    }
}

#[tokio::test]
async fn freshness_is_asked_for_each_time() {
    let seen = call("GET /v1/kv/a?stream&index=3&stale&wait=5s&dc=dc2", "", [known(vec![], 3), stopping()]).await;
    assert!(seen.asked.iter().all(|request| request.dc.as_deref() == Some("dc2")));
    assert!(reads(&seen).iter().all(|read| read.consistency == Consistency::Stale));
    waited(reads_of(&seen, 1).wait, 3, 5_000);
    for (wait, millis) in [("1ns", 1_000), ("10m", 28_000)] {
        let line = format!("GET /v1/kv/a?stream&index=3&wait={wait}");
        waited(reads_of(&call(&line, "", [known(vec![], 3), stopping()]).await, 1).wait, 3, millis);
    }
}

#[tokio::test]
async fn what_is_refused_before_it_begins() {
    for (path, status, sentence) in [
        ("/v1/kv/?stream", 400, "Missing key name"),
        ("/v1/kv/a?stream&keys", 400, "Conflicting flags: keys=&stream="),
        ("/v1/kv/a?stream&raw", 400, "Conflicting flags: raw=&stream="),
        ("/v1/kv/a?stream&index=x", 400, "Invalid index"),
        ("/v1/kv/a?stream&wait=x", 400, "Invalid wait time"),
    ] {
        call(&format!("GET {path}"), "", []).await.refused(status, sentence);
    }
    let seen = call("GET /v1/kv/a?stream&index=1", "", [Reply::Refused(Refusal::NoLeader)]).await;
    seen.answered(500, "No cluster leader");
    let seen = call("GET /v1/kv/a?stream&index=1", "", [known(vec![], 1), Reply::Done]).await;
    assert!(
        seen.body
            .ends_with(": the agent answered another question than the one asked; this is a bug, please report it\n\n"),
        "{}",
        seen.body
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_is_forgotten() {
    let request = "GET /v1/kv/a?stream&index=3 HTTP/1.1\r\nHost: x\r\n\r\n";
    let seen = goes_away(request, Some(known(vec![], 3))).await;
    // The first event is on its way at once, so that a client knows where it is.
    assert!(seen.contains("content-type: text/event-stream") && seen.contains("event: progress\nid: 3\n"), "{seen}");
}

#[tokio::test]
async fn a_slow_reader_is_not_asked_for() {
    let script = Thinking::of({
        let index = Mutex::new(0);
        move |_: &Ask| {
            let mut index = index.lock().unwrap();
            *index += 2;
            known(vec![put("a", "1", *index), put("a", "2", *index + 1)], *index + 1)
        }
    });
    let request = Request::get("/v1/kv/a?stream&index=1").body(Body::empty()).unwrap();
    let mut body = router(script.clone(), Config::default()).oneshot(request).await.unwrap().into_body();
    let asked = || script.asked(|_| ()).len();
    assert_eq!(asked(), 1);
    for (event, questions) in [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
        body.frame().await.unwrap().unwrap();
        assert_eq!(asked(), questions, "after event {event}");
    }
}
