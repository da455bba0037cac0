//! Whatever is sent, there is an answer, and it is not a panic.

use crate::fake::*;
use axum::body::Body;
use http::Request;
use quorate_protocol::{Outcome, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TAKE_JSON: [&str; 5] = [
    "/v1/agent/service/register",
    "/v1/agent/check/register",
    "/v1/agent/check/update/x",
    "/v1/catalog/register",
    "/v1/catalog/deregister",
];

#[tokio::test]
async fn garbage_for_json() {
    let deep = format!("{{\"Check\":{}", "[".repeat(200_000));
    let wide = format!("{{\"Tags\":[{}\"\"]}}", "\"a\",".repeat(50_000));
    for path in TAKE_JSON {
        for body in [
            "\u{0}",
            "{",
            "}",
            "null",
            "true",
            "1e999",
            "\"",
            "{\"a\":}",
            "{\"Check\":[]}",
            "{\"Check\":1}",
            "{\"Tags\":{}}",
            "{\"Tags\":[1]}",
            "{\"Meta\":[]}",
            "{\"Meta\":{\"a\":1}}",
            "{\"Port\":1e400}",
            "{\"Port\":\"1\"}",
            "{\"Weights\":1}",
            "{\"Name\":\"x\",\"Check\":{\"Header\":{\"a\":\"b\"}}}",
            "{\"Name\":\"\\ud800\"}",
            "{} {}",
            &deep,
            &wide,
        ] {
            let seen = call(&format!("PUT {path}"), body.to_owned(), []).await;
            assert!(
                seen.status == 400 || (seen.status == 500 && seen.body == "Must provide node"),
                "{path} {body:.40}: {seen:?}"
            );
            assert_eq!(seen.asked, [], "{path} {body:.40}");
            assert!(seen.body.len() < 400, "an error does not repeat its cause: {}", seen.body.len());
        }
        let seen = call(&format!("PUT {path}"), Body::from(vec![0xff; 4096]), []).await;
        assert_eq!((seen.status, seen.asked.len()), (400, 0));
    }
}

/// What the store's second half takes; some of it takes almost anything, and no more than a body's worth of it.
const TAKE_STATE: [&str; 4] = ["/v1/session/create", "/v1/txn", "/v1/operator/autopilot/configuration", "/v1/snapshot"];

#[tokio::test]
async fn garbage_for_the_store() {
    let nested = |open: &str| format!("{{\"NodeChecks\":{}", open.repeat(500_000 / open.len()));
    let many = |item: &dyn Fn(usize) -> String| (0..40_000).map(item).collect::<Vec<_>>().join(",");
    let bodies = [
        "\u{0}".to_owned(),
        "{".to_owned(),
        "true".to_owned(),
        "1e999".to_owned(),
        "[[]]".to_owned(),
        "[null]".to_owned(),
        "{\"TTL\":1}".to_owned(),
        "{\"TTL\":\"99999999999999999999h\"}".to_owned(),
        "{\"LockDelay\":1e308}".to_owned(),
        "{\"LockDelay\":-9223372036854775808}".to_owned(),
        "{\"LockDelay\":99999999999999999999}".to_owned(),
        "{\"MaxTrailingLogs\":1e30}".to_owned(),
        "{\"MinQuorum\":4294967296}".to_owned(),
        "[{\"KV\":{\"Verb\":\"set\",\"Key\":\"a\",\"Flags\":1e30}}]".to_owned(),
        "[{\"KV\":{\"Verb\":\"get\",\"Key\":\"\\ud800\"}}]".to_owned(),
        format!("[{{\"KV\":{{\"Verb\":\"{}\",\"Key\":\"a\"}}}}]", "v".repeat(100_000)),
        format!("[{{\"KV\":{{\"Key\":\"a\",\"Value\":\"{}\"}}}}]", "%".repeat(100_000)),
        format!("{{\"Behavior\":\"{}\"}}", "b".repeat(100_000)),
        nested("["),
        nested("{\"a\":"),
        format!("[{}]", many(&|_| "{}".to_owned())),
        format!("{{\"NodeChecks\":[{}]}}", many(&|number| format!("\"{number}\""))),
        format!("{{{}}}", many(&|number| format!("\"{number}\":1"))),
    ];
    for path in TAKE_STATE {
        for body in &bodies {
            let seen = call(&format!("PUT {path}"), body.clone(), [written(Outcome::Done)]).await;
            assert!(seen.status <= 500, "{path} {body:.40}: {}", seen.status);
            assert!(seen.body.len() < 400, "an error does not repeat its cause: {}", seen.body.len());
        }
        let (body, taken) = pieces(64 * 1024, 1_000_000);
        let seen = call(&format!("PUT {path}"), body, [written(Outcome::Done)]).await;
        assert!(matches!(seen.status, 413 | 500), "{path}: {}", seen.status);
        assert!(taken.load(Ordering::Relaxed) < 200, "what nobody reads is not read for ever");
        assert_eq!(seen.asked, [], "{path}");
    }
}

#[tokio::test]
async fn bodies_without_length_are_cut() {
    for path in TAKE_JSON {
        let (body, taken) = pieces(64 * 1024, 16);
        let seen = call(&format!("PUT {path}"), body, []).await;
        assert_eq!((seen.status, seen.asked.len()), (413, 0), "{path}");
        assert_eq!(taken.load(Ordering::Relaxed), 16);
        assert!(
            seen.body.starts_with("Request body(1048576 bytes) too large, max size: 524288 bytes."),
            "{}",
            seen.body
        );
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    for path in TAKE_JSON.into_iter().chain(["/v1/kv/a"]) {
        let body = Pieces { size: 10, left: 3, taken: Arc::new(AtomicUsize::new(0)), breaks: true };
        let seen = call(&format!("PUT {path}"), Body::new(body), []).await;
        assert_eq!((seen.status, seen.asked.len()), (400, 0), "{path}: {}", seen.body);
    }
}

#[tokio::test]
async fn odd_paths_and_queries() {
    let long = format!("/v1/kv/{}", "a".repeat(60_000));
    for path in [
        "/v1/kv/%",
        "/v1/kv/%2",
        "/v1/kv/%C3%28",
        "/v1/kv/a?%",
        "/v1/kv/a?%zz=1",
        "/v1/kv/a?=&=&&",
        "/v1/kv/a?index=%ff",
        "/v1/agent/service/%",
        "/v1/catalog/node/%0a",
        "/v1/health/state/%7f",
        "/v1/kv/..%2f..%2fetc%2fpasswd",
        "/v1/agent/join/%00",
        "/v1/",
        "/v1",
        "/%",
        "/v1/kv/a?wait=9999999999999999999999h&index=1",
        "/v1/kv/a?tag=&tag",
        "/v1/kv/{*tail}",
        "/v1/kv/a?max_stale=-5s",
        "/v1/kv/a?stream&index=18446744073709551615&wait=9999h",
        "/v1/kv/a?acquire=%00",
        "/v1/kv/?recurse&limit=4294967295&start-after=%ff",
        "/v1/kv/?recurse&limit=4294967295&start-after=%0a",
        "/v1/session/info/%2e%2e",
        "/v1/session/renew/%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92",
        "/v1/operator/raft/peer?address=%5B::1%5D:99999",
        "/v1/operator/autopilot/configuration?cas=99999999999999999999",
        &long,
    ] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let seen = send(request, [Reply::Done]).await;
            assert!(seen.status < 502, "{method} {path:.60}: {}", seen.status);
        }
    }
}

#[tokio::test]
async fn odd_headers() {
    for (name, value) in [
        ("content-length", "-1"),
        ("content-length", "99999999999999999999999"),
        ("origin", "\u{e9}"),
        ("x-consul-token", ""),
        ("authorization", "Basic Og=="),
    ] {
        let request = Request::put("/v1/agent/leave").header(name, value.as_bytes()).body(Body::empty()).unwrap();
        let seen = send(request, [Reply::Done]).await;
        assert!(matches!(seen.status, 200 | 403), "{name}: {value}: {}", seen.status);
    }
}
