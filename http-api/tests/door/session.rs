//! `/v1/session/`, against what Consul 1.8.7 and 1.9.1 answer.

use crate::fake::*;
use http::Request;
use quorate_http_api::Config;
use quorate_protocol::{Answer, Behavior, Outcome, Read, Row, Session, SessionId, SessionRead, SessionWrite, Write};
use std::sync::Arc;
use std::time::Duration;

const ID: &str = "b7b293c6-60a4-58b7-8c94-548313ba03e8";

fn id() -> SessionId {
    ID.parse().unwrap()
}

/// What is asked for where a client says nothing.
fn plain() -> Session {
    Session { node_checks: vec!["serfHealth".to_owned()], lock_delay: Duration::from_secs(15), ..Session::default() }
}

fn made(session: Session) -> Arc<Row<Session>> {
    row(Session { id: id(), node: "n1".to_owned(), ..session }, 418, 418)
}

async fn create(body: &str) -> Seen {
    call("PUT /v1/session/create", body.to_owned(), [written(Outcome::Session(Some(made(plain()))))]).await
}

#[tokio::test]
async fn what_clients_send_and_what_is_asked() {
    let (second, texts) =
        (Duration::from_secs(1), |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    for (body, asked) in [
        ("", plain()),
        (" \n", plain()),
        ("null", plain()),
        ("{}", plain()),
        // py-consul, in its spelling.
        (
            r#"{"lockdelay": "1s", "behavior": "delete", "ttl": "10s"}"#,
            Session { lock_delay: second, behavior: Behavior::Delete, ttl: Some(10 * second), ..plain() },
        ),
        // Patroni: no checks, half of the TTL that it means.
        (
            r#"{"checks": [], "lockdelay": "0.001s", "behavior": "delete", "ttl": "15.0s"}"#,
            Session {
                node_checks: vec![],
                lock_delay: Duration::from_millis(1),
                behavior: Behavior::Delete,
                ttl: Some(15 * second),
                ..plain()
            },
        ),
        // Ansible: a bare number of seconds, and nulls.
        (
            r#"{"LockDelay": 15, "Node": null, "Checks": null, "Name": "a"}"#,
            Session { name: "a".to_owned(), node_checks: vec![], ..plain() },
        ),
        // The consul CLI.
        (
            r#"{"Name":"Consul lock for 'echo hi'","TTL":"15s"}"#,
            Session { name: "Consul lock for 'echo hi'".to_owned(), ttl: Some(15 * second), ..plain() },
        ),
        (r#"{"LockDelay": 999}"#, Session { lock_delay: 999 * second, ..plain() }),
        (r#"{"LockDelay": 1000}"#, Session { lock_delay: Duration::from_nanos(1000), ..plain() }),
        (r#"{"LockDelay": 1.5e10}"#, plain()),
        (r#"{"LockDelay": "0s"}"#, Session { lock_delay: Duration::ZERO, ..plain() }),
        (r#"{"LockDelay": "90s"}"#, Session { lock_delay: 90 * second, ..plain() }),
        (r#"{"TTL":"0s"}"#, plain()),
        (r#"{"TTL":"24h"}"#, Session { ttl: Some(86_400 * second), ..plain() }),
        (r#"{"TTL":"10s","ExactTTL":true}"#, Session { ttl: Some(10 * second), exact_ttl: true, ..plain() }),
        (
            r#"{"Node":"n2","NodeChecks":["mem","mem"],"Checks":["disk","mem"],"ServiceChecks":[{"ID":"service:web","Namespace":""}]}"#,
            Session {
                node: "n2".to_owned(),
                node_checks: texts(&["mem", "disk"]),
                service_checks: texts(&["service:web"]),
                ..plain()
            },
        ),
        // The older name adds to what is there by default; either of them empty means none, as measured.
        (r#"{"Checks":["mem"]}"#, Session { node_checks: texts(&["serfHealth", "mem"]), ..plain() }),
        (r#"{"Checks":["serfHealth"]}"#, plain()),
        (r#"{"Checks":["mem"],"NodeChecks":[]}"#, Session { node_checks: vec![], ..plain() }),
        (r#"{"Checks":[],"NodeChecks":["mem"]}"#, Session { node_checks: vec![], ..plain() }),
        (r#"{"NodeChecks":null}"#, Session { node_checks: vec![], ..plain() }),
        (r#"{"ServiceChecks":[{"ID":"s"}]}"#, Session { service_checks: texts(&["s"]), ..plain() }),
        // Unlike registrations, a session may hold what nobody knows.
        (r#"{"Bogus":1,"ID":"x"}"#, plain()),
    ] {
        let seen = create(body).await;
        seen.answered(200, &format!(r#"{{"ID":"{ID}"}}"#));
        assert_eq!(seen.write(), &Write::Session(SessionWrite::Create(Box::new(asked))), "{body}");
        assert_eq!(seen.header("x-quorate-index"), Some("386"));
    }
}

#[tokio::test]
async fn what_cannot_be_a_session() {
    for (body, status, sentence) in [
        (r#"{"TTL":"5s"}"#, 500, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"),
        (r#"{"TTL":"25h"}"#, 500, "Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]"),
        (r#"{"TTL":"-10s"}"#, 500, "Invalid Session TTL '-10000000000', must be between [10s=24h0m0s]"),
        (r#"{"TTL":"10"}"#, 500, r#"Session TTL '10' invalid: time: missing unit in duration "10""#),
        (r#"{"Behavior":"foo"}"#, 500, "Invalid Behavior setting 'foo'"),
        (r#"{"LockDelay":"x"}"#, 400, r#"Request decode failed: time: invalid duration "x""#),
        (r#"{"NodeChecks":"serfHealth"}"#, 400, "Request decode failed: NodeChecks must be a list"),
        (r#"{"ServiceChecks":["x"]}"#, 400, "Request decode failed: ServiceChecks must be a list of objects"),
        (r#"{"ServiceChecks":[{"ID":1}]}"#, 400, "Request decode failed: ServiceChecks.ID must be a string"),
        ("[]", 400, "Request decode failed: a JSON object is expected"),
    ] {
        create(body).await.refused(status, sentence);
    }
    let seen = create("{bad").await;
    assert!(seen.status == 400 && seen.body.starts_with("Request decode failed: "), "{seen:?}");
    for sentence in ["Missing node registration", "Missing check 'nosuch' registration"] {
        let refused = written(Outcome::Refused(sentence.to_owned()));
        call("PUT /v1/session/create", "", [refused]).await.answered(500, sentence);
    }
}

#[tokio::test]
async fn shorter_ttls_by_configuration() {
    let config = || Config { session_ttl_min: Duration::from_secs(1), ..Config::default() };
    let request = |ttl| Request::put("/v1/session/create").body(format!(r#"{{"TTL":"{ttl}"}}"#).into()).unwrap();
    let seen = send_with(config(), request("1s"), [written(Outcome::Session(Some(made(plain()))))]).await;
    assert_eq!(seen.status, 200);
    let seen = send_with(config(), request("999ms"), []).await;
    seen.refused(500, "Invalid Session TTL '999000000', must be between [1s=24h0m0s]");
}

#[tokio::test]
async fn sessions_as_consul_shows_them() {
    let session = Session {
        name: "s1".to_owned(),
        service_checks: vec!["service:web".to_owned()],
        behavior: Behavior::Delete,
        ttl: Some(Duration::from_secs(10)),
        exact_ttl: true,
        node_checks: vec![],
        ..plain()
    };
    let full = format!(
        r#"[{{"ID":"{ID}","Name":"s1","Node":"n1","LockDelay":15000000000,"Behavior":"delete","TTL":"10s","ExactTTL":true,"NodeChecks":[],"ServiceChecks":[{{"ID":"service:web","Namespace":""}}],"CreateIndex":418,"ModifyIndex":418}}]"#
    );
    let bare = format!(
        r#"[{{"ID":"{ID}","Name":"","Node":"n1","LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":418,"ModifyIndex":418}}]"#
    );
    let info = || Read::Session(SessionRead::Info { id: id() });
    for (path, answer, body, asked) in [
        (format!("/v1/session/info/{ID}"), vec![made(session)], full, info()),
        ("/v1/session/list".to_owned(), vec![made(plain())], bare, Read::Session(SessionRead::List)),
        (
            "/v1/session/node/n%2F1".to_owned(),
            vec![],
            "[]".to_owned(),
            Read::Session(SessionRead::Node { node: "n/1".to_owned() }),
        ),
        (format!("/v1/session/info/{ID}"), vec![], "[]".to_owned(), info()),
    ] {
        let seen = get(&path, Answer::Sessions(answer)).await;
        seen.answered(200, &body);
        assert_eq!(seen.read(), &now(asked));
        assert_eq!(seen.header("x-consul-index"), Some("385"));
        assert_eq!(seen.header("x-consul-effective-consistency"), None);
    }
    let seen = get(&format!("/v1/session/info/{ID}?index=7&wait=10s"), Answer::Sessions(vec![])).await;
    waited(seen.read().wait, 7, 10_000);
}

#[tokio::test]
async fn renewing_and_destroying() {
    let renew = Write::Session(SessionWrite::Renew { id: id() });
    let seen = call(&format!("PUT /v1/session/renew/{ID}"), "", [written(Outcome::Session(Some(made(plain()))))]).await;
    assert!(seen.status == 200 && seen.body.starts_with(&format!(r#"[{{"ID":"{ID}","#)), "{seen:?}");
    assert_eq!(seen.write(), &renew);
    let seen = call(&format!("PUT /v1/session/renew/{ID}"), "", [written(Outcome::Session(None))]).await;
    seen.answered(404, &format!("Session id '{ID}' not found"));

    let seen = call(&format!("PUT /v1/session/destroy/{ID}?dc=dc2"), "", [written(Outcome::Done)]).await;
    seen.answered(200, "true");
    assert_eq!(seen.asked[0].dc.as_deref(), Some("dc2"));
    assert_eq!(seen.asked[0].ask, quorate_protocol::Ask::Write(Write::Session(SessionWrite::Destroy { id: id() })));
}

#[tokio::test]
async fn ids_that_cannot_be() {
    for line in ["PUT /v1/session/renew/", "PUT /v1/session/destroy/", "GET /v1/session/info/"] {
        call(line, "", []).await.refused(400, "Missing session");
        let sentence = "failed session lookup: index error: UUID must be 36 characters";
        call(&format!("{line}bogus"), "", []).await.refused(500, sentence);
    }
    call("GET /v1/session/node/", "", []).await.refused(400, "Missing node name");
    let seen = call("POST /v1/session/create", "", []).await;
    assert_eq!((seen.status, seen.header("allow")), (405, Some("OPTIONS,PUT")));
}
