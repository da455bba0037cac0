//! `/v1/health/`.

use crate::fake::*;
use quorate_protocol::{Answer, Check, HealthFilter, Instance, Read, Status};
use std::collections::BTreeMap;

const NODE: &str = r#"{"ID":"abababab-abab-abab-abab-abababababab","Node":"n1","Address":"127.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"127.0.0.1","wan":"127.0.0.1"},"Meta":{"consul-network-segment":""},"CreateIndex":5,"ModifyIndex":6}"#;
const SERVICE: &str = r#"{"ID":"web1","Service":"web","Tags":["tcp"],"Address":"127.0.0.22","Meta":{},"Port":9191,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":7,"ModifyIndex":8}"#;
const CHECK: &str = r#"{"Node":"n1","CheckID":"service:web1","Name":"Service 'web' check","Status":"passing","Notes":"","Output":"HTTP GET http://x: 200 OK","ServiceID":"web1","ServiceName":"web","ServiceTags":["tcp"],"Type":"http","Interval":"10s","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":9,"ModifyIndex":10}"#;

fn instances() -> Answer {
    let checks = vec![row(check(), 9, 10)];
    Answer::Instances(vec![Instance { node: row(node(), 5, 6), service: row(service(), 7, 8), checks }])
}

#[tokio::test]
async fn instances_with_node_and_checks() {
    let seen = get("/v1/health/service/web", instances()).await;
    seen.answered(200, &format!(r#"[{{"Node":{NODE},"Service":{SERVICE},"Checks":[{CHECK}]}}]"#));
    assert_eq!(seen.header("x-consul-index"), Some("385"));
    assert_eq!(seen.header("x-consul-effective-consistency"), None, "1.9.1 has none here");
    get("/v1/health/service/nope", Answer::Instances(vec![])).await.answered(200, "[]");
}

#[tokio::test]
async fn which_instances_are_asked_for() {
    let asked = |tags: &[&str], meta: &[(&str, &str)], health| {
        now(Read::ServiceHealth {
            service: "web".to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            node_meta: meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            health,
        })
    };
    for (query, request) in [
        ("", asked(&[], &[], HealthFilter::Any)),
        ("?passing", asked(&[], &[], HealthFilter::Passing)),
        ("?passing=1", asked(&[], &[], HealthFilter::Passing)),
        ("?passing=true", asked(&[], &[], HealthFilter::Passing)),
        ("?passing=false", asked(&[], &[], HealthFilter::Any)),
        ("?passing=0", asked(&[], &[], HealthFilter::Any)),
        ("?tag=a&tag=b%3Dc&near=_agent&cached", asked(&["a", "b=c"], &[], HealthFilter::Any)),
        ("?node-meta=rack:2&node-meta=zone:a:b", asked(&[], &[("rack", "2"), ("zone", "a:b")], HealthFilter::Any)),
    ] {
        let seen = get(&format!("/v1/health/service/web{query}"), instances()).await;
        assert_eq!(seen.read(), &request, "{query}");
    }
    let seen = get("/v1/health/service/web?index=404&stale=&tag=prom&wait=120000ms", instances()).await;
    waited(seen.read().wait, 404, 120_000);
    call("GET /v1/health/service/web?passing=bogus", "", []).await.refused(400, "Invalid value for ?passing");
    call("GET /v1/health/service/", "", []).await.refused(400, "Missing service name");
    let seen = call("GET /v1/health/service/web?filter=Bogus", "", []).await;
    assert_eq!((seen.status, seen.asked.len()), (400, 0));
}

#[tokio::test]
async fn rows_name_the_datacenter_asked() {
    let seen = get("/v1/health/service/web?dc=dc2", instances()).await;
    assert!(seen.body.contains(r#""Datacenter":"dc2""#), "{}", seen.body);
    assert_eq!(seen.asked[0].dc.as_deref(), Some("dc2"));
}

#[tokio::test]
async fn checks_of_nodes_services_and_states() {
    let none = BTreeMap::new();
    let in_state = |status| Read::ChecksInState { status, node_meta: none.clone() };
    for (path, read) in [
        ("/v1/health/node/n1", Read::NodeChecks { node: "n1".to_owned() }),
        ("/v1/health/checks/web", Read::ServiceChecks { service: "web".to_owned(), node_meta: none.clone() }),
        ("/v1/health/state/any", in_state(None)),
        ("/v1/health/state/passing", in_state(Some(Status::Passing))),
        ("/v1/health/state/warning", in_state(Some(Status::Warning))),
        ("/v1/health/state/critical", in_state(Some(Status::Critical))),
    ] {
        let seen = get(path, Answer::Checks(vec![row(check(), 9, 10)])).await;
        seen.answered(200, &format!("[{CHECK}]"));
        assert_eq!(seen.read(), &now(read), "{path}");
        assert_eq!(seen.header("x-consul-effective-consistency"), Some("leader"));
        let stale = get(&format!("{path}?stale"), Answer::Checks(vec![])).await;
        stale.answered(200, "[]");
        assert_eq!(stale.header("x-consul-effective-consistency"), Some("stale"));
    }
    let seen = get("/v1/health/state/bogus", Answer::Checks(vec![row(Check::default(), 1, 1)])).await;
    seen.answered(200, "[]");
    assert_eq!(seen.header("x-consul-index"), Some("385"), "an index to wait from");
    for (path, sentence) in
        [("node/", "Missing node name"), ("checks/", "Missing service name"), ("state/", "Missing check state")]
    {
        call(&format!("GET /v1/health/{path}"), "", []).await.refused(400, sentence);
    }
}
