//! A whole connection: what a refused body leaves of it. hyper on an in-memory pipe, as `agent` has it on sockets.

use crate::fake::*;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use quorate_http_api::{Config, router};
use quorate_protocol::{Answer, Outcome};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends all at once, as clients do that write before they read, and reads until the server closes.
async fn converse(sent: Vec<u8>, script: Arc<Script>) -> String {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let service = TowerToHyperService::new(router(script, Config::default()));
    let serve = async {
        // A broken pipe is the client's business here.
        let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service).await;
    };
    let talk = async {
        let (mut reader, mut writer) = tokio::io::split(client);
        let write = writer.write_all(&sent);
        let mut answer = Vec::new();
        let read = reader.read_to_end(&mut answer);
        let _ = tokio::join!(write, read);
        String::from_utf8(answer).unwrap()
    };
    tokio::join!(serve, talk).1
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

const NEXT: &[u8] = b"GET /v1/kv/?keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_refused_value_leaves_the_connection_in_use() {
    let declared = {
        let mut sent = b"PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".to_vec();
        sent.resize(sent.len() + 1_000_000, b'x');
        sent
    };
    let chunked = {
        let mut sent = b"PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..10 {
            sent.extend_from_slice(b"186a0\r\n");
            sent.resize(sent.len() + 100_000, b'x');
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
        sent
    };
    for mut sent in [declared, chunked] {
        sent.extend_from_slice(NEXT);
        let script = Arc::new(Script::of([found(Answer::Keys(vec![]))]));
        let answer = converse(sent, script.clone()).await;
        assert_eq!(statuses(&answer), ["413", "200"], "{answer}");
        assert!(answer.contains("Request body(1000000 bytes) too large, max size: 524288 bytes."), "{answer}");
        assert_eq!(script.asked().len(), 1, "only the second request");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_without_sending() {
    let sent =
        b"PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    let script = Arc::new(Script::of([]));
    let answer = converse(sent, script.clone()).await;
    assert_eq!(statuses(&answer), ["413"], "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(script.asked(), []);
}

#[tokio::test]
async fn what_is_allowed_is_asked_for() {
    let mut sent = b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nv1".to_vec();
    sent.extend_from_slice(NEXT);
    let script = Arc::new(Script::of([written(Outcome::Done), found(Answer::Keys(vec![]))]));
    assert_eq!(statuses(&converse(sent, script.clone()).await), ["100", "200", "200"]);
    assert_eq!(script.asked().len(), 2);
}
