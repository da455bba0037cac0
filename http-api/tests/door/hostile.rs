//! Whatever is sent, there is an answer, and it is not a panic.

use crate::fake::*;
use axum::body::Body;
use http::Request;
use quorate_protocol::Reply;
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
