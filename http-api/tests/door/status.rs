//! `/v1/status/`, the root, and paths that nothing serves.

use crate::fake::*;
use http::Request;
use quorate_protocol::{Ask, LocalRequest, Refusal, Reply, StatusRequest};

#[tokio::test]
async fn leader_and_peers() {
    let address = "127.0.0.1:8300".parse().unwrap();
    let seen = call("GET /v1/status/leader", "", [Reply::Leader(Some(address))]).await;
    seen.answered(200, r#""127.0.0.1:8300""#);
    assert_eq!(seen.ask(), &Ask::Status(StatusRequest::Leader));
    call("GET /v1/status/leader", "", [Reply::Leader(None)]).await.answered(200, r#""""#);
    let seen = call("GET /v1/status/peers", "", [Reply::Peers(vec![address])]).await;
    seen.answered(200, r#"["127.0.0.1:8300"]"#);
    assert_eq!(seen.ask(), &Ask::Status(StatusRequest::Peers));
    let seen = call("GET /v1/status/peers?dc=dc2", "", [Reply::Peers(vec![])]).await;
    assert_eq!(seen.asked[0].dc.as_deref(), Some("dc2"));
}

#[tokio::test]
async fn probes() {
    let address = "127.0.0.1:8301".parse().unwrap();
    let seen = call("GET /readyz", "", [Reply::Leader(Some(address))]).await;
    seen.answered(200, "ok");
    assert_eq!(seen.ask(), &Ask::Status(StatusRequest::Leader));
    for reply in [Reply::Leader(None), Reply::Refused(Refusal::NoLeader)] {
        call("GET /readyz", "", [reply]).await.answered(503, "No cluster leader");
    }
    call("GET /readyz", "", [Reply::Refused(Refusal::NoServers)]).await.answered(503, "No known Consul servers");

    let seen = call("GET /livez", "", [Reply::Done]).await;
    seen.answered(200, "ok");
    assert_eq!(seen.ask(), &Ask::Local(LocalRequest::Describe));
    // Whoever is busy is not to be restarted.
    call("GET /livez", "", [Reply::Refused(Refusal::Busy)]).await.answered(200, "ok");
    let seen = call("GET /livez", "", [Reply::Refused(Refusal::Stopping)]).await;
    seen.answered(503, "agent is shutting down");
}

#[tokio::test]
async fn wrong_methods_say_which_work() {
    for line in ["HEAD /v1/status/leader", "POST /v1/agent/members", "DELETE /v1/catalog/nodes", "PATCH /v1/agent/self"]
    {
        let seen = call(line, "", []).await;
        // An answer to HEAD has no body (RFC 9110, 9.3.2).
        let sentence = match line.split(' ').next().unwrap() {
            "HEAD" => String::new(),
            method => format!("method {method} not allowed"),
        };
        seen.refused(405, &sentence);
        assert_eq!(seen.header("allow"), Some("OPTIONS,GET"));
    }
    let seen = call("GET /v1/agent/service/register", "", []).await;
    assert_eq!((seen.status, seen.header("allow")), (405, Some("OPTIONS,PUT")));
}

#[tokio::test]
async fn paths_that_nothing_serves() {
    for (line, status, part) in [
        ("GET /v1/nope", 404, "no such endpoint"),
        ("GET /v1/operator/usage", 404, "not yet served"),
        ("GET /v1/agent/metrics", 404, "not yet served"),
        ("GET /v1/agent/connect/ca/roots", 404, "service mesh"),
        ("GET /v1/health/connect/web", 404, "service mesh"),
        ("GET /v1/namespaces", 404, "Enterprise"),
        ("GET /v1/acl/token/self", 401, "ACL support disabled"),
        ("GET /favicon.ico", 404, "below /v1/"),
    ] {
        let seen = call(line, "", []).await;
        assert_eq!((seen.status, seen.body.contains(part)), (status, true), "{line}: {}", seen.body);
        assert_eq!(seen.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(seen.asked, []);
    }
}

#[tokio::test]
async fn the_root_and_redirects() {
    call("GET /", "", []).await.answered(200, "Quorate Agent");
    for (path, target) in [
        ("/v1/kv//app/config?raw", "/v1/kv/app/config?raw"),
        ("/v1/kv?recurse", "/v1/kv/?recurse"),
        ("/v1//agent/self", "/v1/agent/self"),
        ("/v1/kv/../agent/leave", "/v1/agent/leave"),
    ] {
        let seen = call(&format!("GET {path}"), "", []).await;
        seen.answered(301, "");
        assert_eq!(seen.header("location"), Some(target));
    }
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let request = |method: &str, origin: &str| {
        let request = Request::builder().method(method).uri("/v1/agent/leave");
        request.header("host", "127.0.0.1:8500").header("origin", origin).body("".into()).unwrap()
    };
    let seen = send(request("PUT", "https://evil.example"), []).await;
    assert_eq!((seen.status, seen.asked.len()), (403, 0));
    let seen = send(request("PUT", "http://127.0.0.1:8500"), [Reply::Done]).await;
    assert_eq!((seen.status, seen.asked.len()), (200, 1));
}
