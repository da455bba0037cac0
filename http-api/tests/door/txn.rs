//! `/v1/txn`, against what Consul 1.8.7 and 1.9.1 answer.

use crate::fake::*;
use http::Request;
use quorate_http_api::Config;
use quorate_protocol::{
    Answer, Ask, CatalogOperation, Check, Consistency, Entry, KvWrite, Lock, LogIndex, Node, Outcome, Pair, Read,
    Reply, Row, Service, SessionId, Status, TxnError, TxnOperation, TxnOutcome, TxnRead, TxnResult, TxnRow, Write,
};
use std::sync::Arc;
use std::time::Duration;

const SESSION: &str = "b7b293c6-60a4-58b7-8c94-548313ba03e8";

fn session() -> SessionId {
    SESSION.parse().unwrap()
}

fn applied(outcome: TxnOutcome) -> Reply {
    written(Outcome::Txn(outcome))
}

fn looked(outcome: TxnOutcome) -> Reply {
    found(Answer::Txn(outcome))
}

fn pair(key: &str, value: &str) -> Pair {
    Pair { key: key.to_owned(), value: bytes(value), ..Pair::default() }
}

fn entry(key: &str, value: &str, lock: Lock) -> Arc<Row<Entry>> {
    row(Entry { key: key.to_owned(), value: bytes(value), lock, ..Entry::default() }, 244, 245)
}

async fn txn(body: &str, reply: Reply) -> Seen {
    call("PUT /v1/txn", body.to_owned(), [reply]).await
}

fn operations(seen: &Seen) -> &[TxnOperation] {
    match seen.write() {
        Write::Txn(operations) => operations,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_verb_of_keys() {
    let key = || "k".to_owned();
    let index = LogIndex(u64::MAX);
    let kv = |fields: &str| format!(r#"[{{"KV":{{"Key":"k",{fields}}}}},{{"KV":{{"Verb":"delete","Key":"z"}}}}]"#);
    let held = |verb: &str| kv(&format!(r#""Verb":"{verb}","Session":"{SESSION}","Value":"dg==""#));
    let put = |cas| TxnOperation::Kv(KvWrite::Put { pair: pair("k", "v"), cas });
    for (body, asked) in [
        (kv(r#""Verb":"set","Value":"dg==""#), put(None)),
        (kv(r#""Verb":"cas","Value":"dg==","Index":18446744073709551615"#), put(Some(index))),
        (kv(r#""Verb":"cas","Value":"dg==""#), put(Some(LogIndex(0)))),
        (held("lock"), TxnOperation::Kv(KvWrite::Acquire { pair: pair("k", "v"), session: session() })),
        (held("unlock"), TxnOperation::Kv(KvWrite::Release { pair: pair("k", "v"), session: session() })),
        (kv(r#""Verb":"delete""#), TxnOperation::Kv(KvWrite::Delete { key: key(), cas: None })),
        (
            kv(r#""Verb":"delete-cas","Index":7"#),
            TxnOperation::Kv(KvWrite::Delete { key: key(), cas: Some(LogIndex(7)) }),
        ),
        (kv(r#""Verb":"delete-tree""#), TxnOperation::Kv(KvWrite::DeletePrefix { prefix: key() })),
        (kv(r#""Verb":"get""#), TxnRead::Get { key: key() }.into()),
        (kv(r#""Verb":"get-or-empty""#), TxnRead::GetOrEmpty { key: key() }.into()),
        (kv(r#""Verb":"get-tree""#), TxnRead::GetTree { prefix: key() }.into()),
        (kv(r#""Verb":"check-index","Index":9"#), TxnRead::CheckIndex { key: key(), index: LogIndex(9) }.into()),
        (held("check-session"), TxnRead::CheckSession { key: key(), session: session() }.into()),
        (kv(r#""Verb":"check-not-exists""#), TxnRead::CheckNotExists { key: key() }.into()),
        (
            kv(r#""Verb":"check-token","FencingToken":18446744073709551615"#),
            TxnRead::CheckToken { key: key(), token: index }.into(),
        ),
        (
            kv(r#""Verb":"set","Flags":18446744073709551615,"TTL":"30s","Value":null"#),
            TxnOperation::Kv(KvWrite::Put {
                pair: Pair { flags: u64::MAX, ttl: Some(Duration::from_secs(30)), ..pair("k", "") },
                cas: None,
            }),
        ),
        // In another spelling, and base64 in lines, as Go takes it.
        (
            r#"[{"kv":{"verb":"set","key":"k","value":"d\ng=\r="}},{"KV":{"Verb":"delete","Key":"z"}}]"#.to_owned(),
            put(None),
        ),
    ] {
        let seen = txn(&body, applied(Ok(vec![]))).await;
        if !body.contains("get-or-empty") {
            seen.answered(200, r#"{"Results":[],"Errors":null}"#);
        }
        assert_eq!(operations(&seen)[0], asked, "{body}");
        assert_eq!(seen.header("x-quorate-index"), Some("386"));
        assert_eq!(seen.header("x-consul-knownleader"), None, "only what looks has been answered by somebody");
    }
}

#[tokio::test]
async fn every_verb_of_the_catalogue() {
    let (n1, cas) = (|| "n1".to_owned(), Some(LogIndex(7)));
    let node = || Box::new(Node { name: n1(), address: "127.0.0.9".to_owned(), ..Node::default() });
    let service =
        || Box::new(Service { id: "web1".to_owned(), name: "web".to_owned(), port: 80, ..Service::default() });
    let check = || {
        let (id, name) = ("c".to_owned(), "C".to_owned());
        Box::new(Check { node: n1(), id, name, status: Status::Passing, ..Check::default() })
    };
    let (service_id, check_id) = (|| "web1".to_owned(), || "c".to_owned());
    let on_node = |verb: &str| {
        format!(
            r#"{{"Node":{{"Verb":"{verb}","Node":{{"Node":"n1","Address":"127.0.0.9","Datacenter":"dc1","ModifyIndex":7}}}}}}"#
        )
    };
    let on_service = |verb: &str| {
        format!(
            r#"{{"Service":{{"Verb":"{verb}","Node":"n1","Service":{{"ID":"web1","Service":"web","Port":80,"ModifyIndex":7}}}}}}"#
        )
    };
    let on_check = |verb: &str| {
        format!(
            r#"{{"Check":{{"Verb":"{verb}","Check":{{"Node":"n1","CheckID":"c","Name":"C","Status":"passing","Definition":{{"HTTP":"http://x"}},"ModifyIndex":7}}}}}}"#
        )
    };
    for (body, asked) in [
        (on_node("set"), TxnOperation::Catalog(CatalogOperation::SetNode { node: node(), cas: None })),
        (on_node("cas"), TxnOperation::Catalog(CatalogOperation::SetNode { node: node(), cas })),
        (on_node("get"), TxnRead::Node { node: n1() }.into()),
        (on_node("delete"), TxnOperation::Catalog(CatalogOperation::DeleteNode { node: n1(), cas: None })),
        (on_node("delete-cas"), TxnOperation::Catalog(CatalogOperation::DeleteNode { node: n1(), cas })),
        (
            on_service("set"),
            TxnOperation::Catalog(CatalogOperation::SetService { node: n1(), service: service(), cas: None }),
        ),
        (
            on_service("cas"),
            TxnOperation::Catalog(CatalogOperation::SetService { node: n1(), service: service(), cas }),
        ),
        (on_service("get"), TxnRead::Service { node: n1(), service_id: service_id() }.into()),
        (
            on_service("delete"),
            TxnOperation::Catalog(CatalogOperation::DeleteService { node: n1(), service_id: service_id(), cas: None }),
        ),
        (
            on_service("delete-cas"),
            TxnOperation::Catalog(CatalogOperation::DeleteService { node: n1(), service_id: service_id(), cas }),
        ),
        (on_check("set"), TxnOperation::Catalog(CatalogOperation::SetCheck { check: check(), cas: None })),
        (on_check("cas"), TxnOperation::Catalog(CatalogOperation::SetCheck { check: check(), cas })),
        (on_check("get"), TxnRead::Check { node: n1(), check_id: check_id() }.into()),
        (
            on_check("delete"),
            TxnOperation::Catalog(CatalogOperation::DeleteCheck { node: n1(), check_id: check_id(), cas: None }),
        ),
        (
            on_check("delete-cas"),
            TxnOperation::Catalog(CatalogOperation::DeleteCheck { node: n1(), check_id: check_id(), cas }),
        ),
    ] {
        let seen = txn(&format!(r#"[{body},{{"KV":{{"Verb":"delete","Key":"z"}}}}]"#), applied(Ok(vec![]))).await;
        assert_eq!(operations(&seen)[0], asked, "{body}");
    }
}

#[tokio::test]
async fn what_only_the_store_can_judge() {
    let set = r#"{"KV":{"Verb":"delete-tree","Key":""}}"#;
    let nobody = SessionId::default();
    let none = String::new;
    for (operation, asked) in [
        (
            r#"{"KV":{"Verb":"unlock","Key":"k","Session":"bogus"}}"#,
            TxnOperation::Kv(KvWrite::Release { pair: pair("k", ""), session: nobody }),
        ),
        (
            r#"{"KV":{"Verb":"check-session","Key":"k"}}"#,
            TxnRead::CheckSession { key: "k".to_owned(), session: nobody }.into(),
        ),
        (
            r#"{"Service":{"Verb":"get","Service":{"ID":"web1"}}}"#,
            TxnRead::Service { node: none(), service_id: "web1".to_owned() }.into(),
        ),
        (
            r#"{"Check":{"Verb":"get","Check":{"CheckID":"c"}}}"#,
            TxnRead::Check { node: none(), check_id: "c".to_owned() }.into(),
        ),
    ] {
        let seen = txn(&format!("[{operation},{set}]"), applied(Ok(vec![]))).await;
        assert_eq!(operations(&seen)[0], asked, "{operation}");
        assert_eq!(operations(&seen)[1], TxnOperation::Kv(KvWrite::DeletePrefix { prefix: none() }));
    }
}

#[tokio::test]
async fn what_only_looks_is_a_read() {
    let body = r#"[{"KV":{"Verb":"get","Key":"e/a"}},{"KV":{"Verb":"check-index","Key":"e/a","Index":3}}]"#;
    let results = vec![TxnResult { operation: 0, row: TxnRow::Entry(entry("e/a", "v1", Lock::default())) }];
    let seen = txn(body, looked(Ok(results))).await;
    seen.answered(
        200,
        r#"{"Results":[{"KV":{"LockIndex":0,"Key":"e/a","Flags":0,"Value":"djE=","CreateIndex":244,"ModifyIndex":245}}],"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#,
    );
    let reads =
        vec![TxnRead::Get { key: "e/a".to_owned() }, TxnRead::CheckIndex { key: "e/a".to_owned(), index: LogIndex(3) }];
    assert_eq!(seen.read(), &now(Read::Txn(reads)));
    assert_eq!((seen.header("x-consul-knownleader"), seen.header("x-consul-lastcontact")), (Some("true"), Some("0")));
    assert_eq!((seen.header("x-consul-index"), seen.header("x-quorate-index")), (None, None));

    // As fresh as any read, but nothing can be waited for.
    let request = Request::put("/v1/txn?stale&index=7&wait=1s&min-index=9&dc=dc2").body("[]".into()).unwrap();
    let seen = send(request, [looked(Ok(vec![]))]).await;
    for nothing in ["[]", "null"] {
        let seen = txn(nothing, looked(Ok(vec![]))).await;
        assert!(seen.status == 200 && seen.body.starts_with(r#"{"Results":[],"Errors":null,"#), "{seen:?}");
    }
    let Ask::Read(read) = &seen.asked[0].ask else { panic!("{seen:?}") };
    assert_eq!((read.consistency, read.wait, read.at_least), (Consistency::Stale, None, LogIndex(9)));
    assert_eq!(seen.asked[0].dc.as_deref(), Some("dc2"));
    let conflict = "Cannot specify ?stale with ?consistent, conflicting semantics.";
    call("PUT /v1/txn?stale&consistent", "[]", []).await.refused(400, conflict);

    let errors = vec![TxnError { operation: 1, what: "no".to_owned() }];
    let seen = txn(body, looked(Err(errors))).await;
    seen.answered(
        409,
        r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"no"}],"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#,
    );
    assert_eq!(seen.header("x-consul-knownleader"), Some("true"));
}

#[tokio::test]
async fn results_show_values_only_to_who_asked_for_them() {
    let kv = |verb: &str, key: &str| format!(r#"{{"KV":{{"Verb":"{verb}","Key":"{key}","Session":"{SESSION}"}}}}"#);
    let body = format!(
        "[{},{},{},{},{}]",
        kv("lock", "a"),
        kv("get-or-empty", "none"),
        kv("get-tree", "t/"),
        kv("delete", "d"),
        kv("get-or-empty", "last"),
    );
    let lock = Lock { count: 1, session: Some(session()), token: LogIndex(386) };
    let of = |operation, entry| TxnResult { operation, row: TxnRow::Entry(entry) };
    let results = vec![
        of(0, entry("a", "v", lock)),
        of(2, entry("t/1", "v", Lock::default())),
        of(2, entry("t/2", "", Lock::default())),
    ];
    let seen = txn(&body, applied(Ok(results))).await;
    let row = |key: &str, value: &str, held: &str, lock: u64, create: u64, modify: u64| {
        format!(
            r#"{{"KV":{{"LockIndex":{lock},"Key":"{key}","Flags":0,"Value":{value},{held}"CreateIndex":{create},"ModifyIndex":{modify}}}}}"#
        )
    };
    let rows = [
        row("a", "null", &format!(r#""Session":"{SESSION}","FencingToken":386,"#), 1, 244, 245),
        row("none", "null", "", 0, 0, 0),
        row("t/1", r#""dg==""#, "", 0, 244, 245),
        row("t/2", "null", "", 0, 244, 245),
        row("last", "null", "", 0, 0, 0),
    ];
    seen.answered(200, &format!(r#"{{"Results":[{}],"Errors":null}}"#, rows.join(",")));
}

#[tokio::test]
async fn results_of_the_catalogue() {
    let body = r#"[{"Node":{"Verb":"get","Node":{"Node":"n1"}}},{"Service":{"Verb":"get","Node":"n1","Service":{"ID":"web1","Service":"web"}}},{"Check":{"Verb":"get","Check":{"Node":"n1","CheckID":"service:web1"}}}]"#;
    let results = vec![
        TxnResult { operation: 0, row: TxnRow::Node(row(node(), 1, 2)) },
        TxnResult { operation: 1, row: TxnRow::Service("n1".to_owned(), row(service(), 3, 4)) },
        TxnResult { operation: 2, row: TxnRow::Check(row(check(), 5, 6)) },
    ];
    let seen = txn(body, looked(Ok(results))).await;
    for part in [
        r#"{"Node":{"ID":"abababab-abab-abab-abab-abababababab","Node":"n1","Address":"127.0.0.1","Datacenter":"dc1","#,
        r#""CreateIndex":1,"ModifyIndex":2}},{"Service":{"ID":"web1","Service":"web","#,
        r#""CreateIndex":3,"ModifyIndex":4}},{"Check":{"Node":"n1","CheckID":"service:web1","#,
        r#""CreateIndex":5,"ModifyIndex":6}}],"Errors":null"#,
    ] {
        assert!(seen.body.contains(part), "{part}\n{}", seen.body);
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_told_all_at_once() {
    let stale = r#"failed to set key "e/a", index is stale"#;
    let errors = vec![TxnError { operation: 0, what: stale.to_owned() }];
    let body = r#"[{"KV":{"Verb":"cas","Key":"e/a","Value":"eA==","Index":1}}]"#;
    let seen = txn(body, applied(Err(errors))).await;
    seen.answered(
        409,
        r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set key \"e/a\", index is stale"}]}"#,
    );
    assert_eq!(seen.header("content-type"), Some("application/json"));

    for (operation, what) in [
        (r#"{"KV":{"Verb":"bogus","Key":"e/a"}}"#, r#"unknown KV verb \"bogus\""#),
        (r#"{"KV":{"Verb":"set"}}"#, "Must provide key"),
        (r#"{"KV":{"Verb":"get-tree","Key":""}}"#, "Must provide key"),
        (r#"{"KV":{"Verb":"lock","Key":"a"}}"#, "missing session"),
        (r#"{"KV":{"Verb":"unlock","Key":"a"}}"#, "missing session"),
        (
            r#"{"KV":{"Verb":"lock","Key":"a","Session":"x"}}"#,
            "failed session lookup: index error: UUID must be 36 characters",
        ),
        (r#"{"Node":{"Verb":"x","Node":{"Node":"n"}}}"#, r#"unknown Node verb \"x\""#),
        (r#"{"Node":{"Verb":"get","Node":{}}}"#, "Must provide node"),
        (r#"{"Node":{"Verb":"get"}}"#, "Must provide node"),
        (
            r#"{"Node":{"Verb":"set","Node":{"Node":"n","ID":"x"}}}"#,
            "Invalid node ID: 'x' is not a UUID: 32 hexadecimal digits as 8-4-4-4-12 are expected",
        ),
        (r#"{"Service":{"Verb":"x","Node":"n","Service":{"Service":"s"}}}"#, r#"unknown Service verb \"x\""#),
        (r#"{"Service":{"Verb":"delete","Node":"n","Service":{"ID":"s"}}}"#, "Must provide service name with ID"),
        (r#"{"Check":{"Verb":"x","Check":{"Node":"n","CheckID":"c"}}}"#, r#"unknown Check verb \"x\""#),
        (r#"{"Check":{"Verb":"get","Check":{"Node":"n"}}}"#, "Must provide check name or CheckID"),
    ] {
        let body = format!(r#"[{{"KV":{{"Verb":"set","Key":"a"}}}},{operation},{{"KV":{{"Verb":"?","Key":"b"}}}}]"#);
        let seen = txn(&body, Reply::Done).await;
        let errors = format!(r#"[{{"OpIndex":1,"What":"{what}"}},{{"OpIndex":2,"What":"unknown KV verb \"?\""}}]"#);
        seen.answered(409, &format!(r#"{{"Results":null,"Errors":{errors}}}"#));
        assert_eq!(seen.asked, [], "nothing of it is tried");
    }
}

#[tokio::test]
async fn what_cannot_be_read() {
    for (body, why) in [
        ("", "EOF: the request has no body, JSON is expected"),
        ("{}", "a JSON list of objects is expected"),
        ("[1]", "a JSON list of objects is expected"),
        ("[{}]", "an operation is one of KV, Node, Service and Check"),
        (r#"[{"KV":{"Verb":"set","Key":"a"},"Node":{}}]"#, "an operation is one of KV, Node, Service and Check"),
        (r#"[{"KV":{"Verb":"set","Key":"a"},"Bogus":1}]"#, r#"json: unknown field "Bogus""#),
        (r#"[{"KV":{"Verb":"set","Key":"a","Bogus":1}}]"#, r#"json: unknown field "Bogus""#),
        (r#"[{"KV":[]}]"#, "KV must be an object"),
        (r#"[{"KV":{"Key":1}}]"#, "KV.Key must be a string"),
        (r#"[{"KV":{"Flags":-1}}]"#, "KV.Flags must be a whole number from 0 to 18446744073709551615"),
        (
            r#"[{"KV":{"Index":18446744073709551616}}]"#,
            "KV.Index must be a whole number from 0 to 18446744073709551615",
        ),
        (r#"[{"KV":{"Index":1e3}}]"#, "KV.Index must be a whole number from 0 to 18446744073709551615"),
        (r#"[{"KV":{"Value":"%%%%"}}]"#, "illegal base64 data at input byte 0"),
        (r#"[{"KV":{"Value":"dgo=%"}}]"#, "illegal base64 data at input byte 4"),
        (r#"[{"KV":{"Value":"dg"}}]"#, "illegal base64 data at input byte 0"),
    ] {
        let seen = txn(body, Reply::Done).await;
        seen.refused(400, &format!("Failed to parse body: {why}"));
    }
    let seen = txn(r#"[{"KV":{"Verb":"set","Key":"a","TTL":"1ms"}}]"#, Reply::Done).await;
    seen.refused(400, r#"Invalid ttl "1ms": a key lives for at least 1s"#);
}

#[tokio::test]
async fn limits() {
    let many = |count: usize| format!("[{}]", vec![r#"{"KV":{"Verb":"set","Key":"a"}}"#; count].join(","));
    let request = |body: String| Request::put("/v1/txn").body(body.into()).unwrap();
    assert_eq!(txn(&many(128), applied(Ok(vec![]))).await.status, 200);
    txn(&many(129), Reply::Done).await.refused(413, "Transaction contains too many operations (129 > 128)");
    let config = || Config { txn_max_ops: 2, max_value_size: 3, txn_max_req_len: 200, ..Config::default() };
    let seen = send_with(config(), request(many(3)), []).await;
    seen.refused(413, "Transaction contains too many operations (3 > 2)");
    let seen = send_with(config(), request(many(20)), []).await;
    let hint = "https://www.consul.io/docs/agent/options.html#txn_max_req_len";
    let size = many(20).len();
    seen.refused(413, &format!("Request body({size} bytes) too large, max size: 200 bytes. See {hint}."));
    let value = |value: &str| format!(r#"[{{"KV":{{"Verb":"set","Key":"a","Value":"{value}"}}}}]"#);
    let seen = send_with(config(), request(value("YWJj")), [applied(Ok(vec![]))]).await;
    assert_eq!(seen.status, 200);
    let seen = send_with(config(), request(value("YWJjZA==")), []).await;
    seen.refused(413, r#"Value for key "a" is too large (4 > 3 bytes)"#);
    // A value may always be as large as it may be alone.
    let large = Config { txn_max_req_len: 10, ..Config::default() };
    assert_eq!(send_with(large, request(many(1)), [applied(Ok(vec![]))]).await.status, 200);
}
