//! Acquire, release, fencing tokens, and waiting for a key in a queue.

use crate::fake::*;
use quorate_protocol::{
    Answer, Ask, Entry, KvRead, KvWrite, Lock, LockRequest, LogIndex, Outcome, Pair, Read, Reply, Row, SessionId, Write,
};
use std::sync::Arc;
use std::time::Duration;

const SESSION: &str = "b7b293c6-60a4-58b7-8c94-548313ba03e8";

fn session() -> SessionId {
    SESSION.parse().unwrap()
}

fn pair(flags: u64) -> Pair {
    Pair { key: "l".to_owned(), value: bytes("x"), flags, ttl: None }
}

fn held(count: u64, token: u64) -> Arc<Row<Entry>> {
    let lock = Lock { count, session: Some(session()), token: LogIndex(token) };
    row(Entry { key: "l".to_owned(), value: bytes("x"), lock, ..Entry::default() }, 5, 9)
}

#[tokio::test]
async fn acquiring_gives_a_token() {
    let acquire = |flags| Write::Kv(KvWrite::Acquire { pair: pair(flags), session: session() });
    let token = LogIndex(386);
    let seen = call(&format!("PUT /v1/kv/l?acquire={SESSION}"), "x", [written(Outcome::Acquired { token })]).await;
    seen.answered(200, "true");
    assert_eq!(seen.write(), &acquire(0));
    assert_eq!(seen.header("x-quorate-fencing-token"), Some("386"));
    assert_eq!(seen.header("x-quorate-index"), Some("386"));

    // Whoever waits for what it holds.
    let seen = call(&format!("PUT /v1/kv/l?acquire={SESSION}&wait=1s"), "x", [written(Outcome::Holds { token })]).await;
    seen.answered(200, "true");
    assert_eq!(seen.header("x-quorate-fencing-token"), Some("386"));

    // As the Go client's lock asks, and finds it held.
    let line = format!("PUT /v1/kv/l?acquire={SESSION}&flags=3304740253564472344");
    let seen = call(&line, "x", [written(Outcome::Held { by: None })]).await;
    seen.answered(200, "false");
    assert_eq!(seen.write(), &acquire(3_304_740_253_564_472_344));
    assert_eq!(seen.header("x-quorate-fencing-token"), None);
}

#[tokio::test]
async fn releasing() {
    let release = Write::Kv(KvWrite::Release { pair: pair(7), session: session() });
    for (outcome, body) in [(Outcome::Done, "true"), (Outcome::Held { by: Some(SessionId([1; 16])) }, "false")] {
        let seen = call(&format!("PUT /v1/kv/l?flags=7&release={SESSION}"), "x", [written(outcome)]).await;
        seen.answered(200, body);
        assert_eq!(seen.write(), &release);
        assert_eq!(seen.header("x-quorate-fencing-token"), None);
    }
}

#[tokio::test]
async fn sessions_that_cannot_be() {
    let short = "failed session lookup: index error: UUID must be 36 characters";
    for (parameter, status, sentence) in [
        ("acquire=bogus", 500, short),
        ("acquire=", 500, "missing session"),
        ("acquire", 500, "missing session"),
        ("release=", 500, "missing session"),
        ("acquire=x&release=y", 400, "Conflicting flags: acquire=x&release=y"),
        ("acquire=b7b293c6-60a4-58b7-8c94-548313ba03e8&wait=10", 400, "Invalid wait time"),
    ] {
        call(&format!("PUT /v1/kv/l?{parameter}"), "x", []).await.refused(status, sentence);
    }
    // Consul only compares who lets go with who holds, so that what cannot be a session is nobody.
    for release in ["bogus", "zzzzzzzz-60a4-58b7-8c94-548313ba03e8"] {
        let seen = call(&format!("PUT /v1/kv/l?release={release}"), "x", [written(Outcome::Held { by: None })]).await;
        seen.answered(200, "false");
        let nobody = SessionId::default();
        assert_eq!(seen.write(), &Write::Kv(KvWrite::Release { pair: pair(0), session: nobody }));
    }
    let odd = "zzzzzzzz-60a4-58b7-8c94-548313ba03e8";
    let sentence = "failed session lookup: index error: Invalid UUID: encoding/hex: invalid byte: U+007A 'z'";
    call(&format!("PUT /v1/kv/l?acquire={odd}"), "x", []).await.refused(500, sentence);
    let dashes = "0-00000000000000000000000000000000--";
    let seen = call(&format!("PUT /v1/kv/l?acquire={dashes}"), "x", []).await;
    assert_eq!((seen.status, seen.asked.len()), (500, 0));
    let refused = Outcome::Refused("invalid session \"00000000-0000-0000-0000-000000000000\"".to_owned());
    let line = "PUT /v1/kv/l?acquire=00000000-0000-0000-0000-000000000000";
    let seen = call(line, "x", [written(refused)]).await;
    seen.answered(500, r#"invalid session "00000000-0000-0000-0000-000000000000""#);
}

#[tokio::test]
async fn who_holds_a_key_is_shown() {
    let seen = get("/v1/kv/l", Answer::Entries(vec![held(2, 9)])).await;
    seen.answered(
        200,
        &format!(
            r#"[{{"LockIndex":2,"Key":"l","Flags":0,"Value":"eA==","Session":"{SESSION}","FencingToken":9,"CreateIndex":5,"ModifyIndex":9}}]"#
        ),
    );
    assert_eq!(seen.header("x-quorate-fencing-token"), Some("9"));
    let seen = get("/v1/kv/l?raw", Answer::Entries(vec![held(2, 9)])).await;
    assert_eq!(seen.header("x-quorate-fencing-token"), Some("9"));

    // Let go: the count stays, the token tells nobody anything.
    let lock = Lock { count: 2, session: None, token: LogIndex(9) };
    let free = row(Entry { key: "l".to_owned(), lock, ttl: Some(Duration::from_secs(90)), ..Entry::default() }, 5, 10);
    let seen = get("/v1/kv/l", Answer::Entries(vec![free])).await;
    seen.answered(
        200,
        r#"[{"LockIndex":2,"Key":"l","Flags":0,"Value":null,"TTL":"1m30s","CreateIndex":5,"ModifyIndex":10}]"#,
    );
    assert_eq!(seen.header("x-quorate-fencing-token"), None);
}

#[tokio::test]
async fn a_resource_asks_whether_a_token_counts() {
    let free = || {
        row(
            Entry {
                key: "l".to_owned(),
                lock: Lock { count: 1, session: None, token: LogIndex(9) },
                ..Entry::default()
            },
            5,
            10,
        )
    };
    for (token, entries, status, body, now_held) in [
        (9, vec![held(2, 9)], 200, "true", Some("9")),
        (8, vec![held(2, 9)], 409, "false", Some("9")),
        (10, vec![held(2, 9)], 409, "false", Some("9")),
        (9, vec![free()], 409, "false", None),
        (0, vec![], 409, "false", None),
    ] {
        let seen = get(&format!("/v1/kv/l?check-token={token}"), Answer::Entries(entries)).await;
        seen.answered(status, body);
        assert_eq!(seen.read(), &now(Read::Kv(KvRead::Get { key: "l".to_owned() })));
        assert_eq!(seen.header("x-quorate-fencing-token"), now_held);
        assert_eq!(seen.header("x-consul-index"), Some("385"));
    }
}

#[tokio::test]
async fn waiting_in_the_queue() {
    let asked =
        |millis| Ask::Lock(LockRequest { pair: pair(0), session: session(), wait: Duration::from_millis(millis) });
    let token = LogIndex(400);
    let acquired = || written(Outcome::Acquired { token });
    let seen = call(&format!("PUT /v1/kv/l?acquire={SESSION}&wait=1.5s"), "x", [acquired()]).await;
    seen.answered(200, "true");
    assert_eq!((seen.ask(), seen.header("x-quorate-fencing-token")), (&asked(1_500), Some("400")));
    let seen =
        call(&format!("PUT /v1/kv/l?acquire={SESSION}&wait=2h"), "x", [written(Outcome::Held { by: None })]).await;
    seen.answered(200, "false");
    assert_eq!(seen.ask(), &asked(600_000), "at most as long as a read");
    let in_vain = Reply::Written { outcome: Outcome::Held { by: None }, index: LogIndex::ZERO };
    let seen = call(&format!("PUT /v1/kv/l?acquire={SESSION}&wait=2s"), "x", [in_vain]).await;
    assert_eq!((seen.body.as_str(), seen.header("x-quorate-index")), ("false", None), "nothing was written");
    // No wait is no wait, and only acquiring waits.
    for parameters in [format!("acquire={SESSION}&wait=0s"), format!("acquire={SESSION}&wait=")] {
        let seen = call(&format!("PUT /v1/kv/l?{parameters}"), "x", [acquired()]).await;
        assert!(matches!(seen.write(), Write::Kv(KvWrite::Acquire { .. })), "{parameters}");
    }
    let seen = call("PUT /v1/kv/l?wait=bogus", "x", [written(Outcome::Done)]).await;
    assert!(matches!(seen.write(), Write::Kv(KvWrite::Put { .. })));
}

#[tokio::test]
async fn who_goes_away_leaves_the_queue() {
    let request = format!("PUT /v1/kv/l?acquire={SESSION}&wait=30s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(goes_away(&request, None).await, "");
}
