//! `/v1/catalog/`.

use crate::fake::*;
use quorate_protocol::{
    Answer, Ask, Check, Deregistration, Instance, Node, NodeServices, Outcome, Read, Registration, Reply, Service,
    Status, StatusRequest, Weights, Write,
};
use std::collections::BTreeMap;

#[tokio::test]
async fn nodes_and_services() {
    let seen = get("/v1/catalog/nodes?node-meta=a:b", Answer::Nodes(vec![row(node(), 5, 6)])).await;
    seen.answered(
        200,
        r#"[{"ID":"abababab-abab-abab-abab-abababababab","Node":"n1","Address":"127.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"127.0.0.1","wan":"127.0.0.1"},"Meta":{"consul-network-segment":""},"CreateIndex":5,"ModifyIndex":6}]"#,
    );
    assert_eq!(seen.read(), &now(Read::Nodes { node_meta: texts([("a", "b")]) }));
    assert_eq!(seen.header("x-consul-effective-consistency"), Some("leader"));

    let names = BTreeMap::from([("consul".to_owned(), vec![]), ("web".to_owned(), vec!["prom".to_owned()])]);
    let seen = get("/v1/catalog/services", Answer::Services(names)).await;
    seen.answered(200, r#"{"consul":[],"web":["prom"]}"#);
    assert_eq!(seen.read(), &now(Read::Services { node_meta: BTreeMap::new() }));

    let seen = call("GET /v1/catalog/datacenters", "", [Reply::Datacenters(vec!["dc1".to_owned()])]).await;
    seen.answered(200, r#"["dc1"]"#);
    assert_eq!(seen.ask(), &Ask::Status(StatusRequest::Datacenters));
}

#[tokio::test]
async fn instances_are_flattened() {
    let instance = Instance { node: row(node(), 5, 6), service: row(service(), 7, 8), checks: vec![] };
    let seen = get("/v1/catalog/service/web?tag=a&tag=b", Answer::Instances(vec![instance])).await;
    seen.answered(
        200,
        r#"[{"ID":"abababab-abab-abab-abab-abababababab","Node":"n1","Address":"127.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"127.0.0.1","wan":"127.0.0.1"},"NodeMeta":{"consul-network-segment":""},"ServiceKind":"","ServiceID":"web1","ServiceName":"web","ServiceTags":["tcp"],"ServiceAddress":"127.0.0.22","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":9191,"ServiceEnableTagOverride":false,"ServiceProxy":{"MeshGateway":{},"Expose":{}},"ServiceConnect":{},"CreateIndex":7,"ModifyIndex":8}]"#,
    );
    let tags = vec!["a".to_owned(), "b".to_owned()];
    let read = Read::ServiceInstances { service: "web".to_owned(), tags, node_meta: BTreeMap::new() };
    assert_eq!(seen.read(), &now(read));
    get("/v1/catalog/service/nope", Answer::Instances(vec![])).await.answered(200, "[]");
    call("GET /v1/catalog/service/", "", []).await.refused(400, "Missing service name");
}

#[tokio::test]
async fn a_node_with_its_services() {
    let on = || Some(NodeServices { node: row(node(), 5, 6), services: vec![row(service(), 7, 8)] });
    let seen = get("/v1/catalog/node/n1", Answer::NodeServices(on())).await;
    assert!(seen.body.starts_with(r#"{"Node":{"ID":"#) && seen.body.contains(r#""Services":{"web1":{"ID":"web1","#));
    assert_eq!(seen.read(), &now(Read::NodeServices { node: "n1".to_owned() }));
    let seen = get("/v1/catalog/node-services/n1", Answer::NodeServices(on())).await;
    assert!(seen.body.contains(r#""Services":[{"ID":"web1","#), "{}", seen.body);

    let seen = get("/v1/catalog/node/nope", Answer::NodeServices(None)).await;
    seen.answered(200, "null");
    assert_eq!(seen.header("x-consul-index"), Some("385"));
    let seen = get("/v1/catalog/node-services/nope", Answer::NodeServices(None)).await;
    seen.answered(200, r#"{"Node":null,"Services":null}"#);
    call("GET /v1/catalog/node/", "", []).await.refused(400, "Missing node name");
}

#[tokio::test]
async fn registration() {
    let body = r#"{"Node":"ext","Address":"127.0.0.9","NodeMeta":{"a":"b"},"TaggedAddresses":{"lan":"127.0.0.9"},
        "Service":{"Service":"extsvc","Port":5,"Tags":null,"Kind":"","Connect":{"Native":true}},
        "Check":{"Name":"up","ServiceID":"extsvc","Status":"passing","Definition":{"HTTP":"http://x"}},
        "Checks":[{"CheckID":"c2","Node":"ext","Name":"two"}],
        "SkipNodeUpdate":false,"Datacenter":"dc1","Namespace":"default"}"#;
    let seen = put("/v1/catalog/register", body).await;
    seen.answered(200, "true");
    let check = |id: &str, name: &str, status, service: &str| Check {
        node: "ext".to_owned(),
        id: id.to_owned(),
        name: name.to_owned(),
        status,
        service_id: service.to_owned(),
        ..Check::default()
    };
    let expected = Registration {
        node: Node {
            id: None,
            name: "ext".to_owned(),
            address: "127.0.0.9".to_owned(),
            tagged_addresses: texts([("lan", "127.0.0.9")]),
            meta: texts([("a", "b")]),
        },
        skip_node_update: false,
        service: Some(Service {
            id: "extsvc".to_owned(),
            name: "extsvc".to_owned(),
            port: 5,
            weights: Weights { passing: 1, warning: 1 },
            ..Service::default()
        }),
        checks: vec![check("c2", "two", Status::Critical, ""), check("up", "up", Status::Passing, "extsvc")],
    };
    assert_eq!(seen.write(), &Write::Register(Box::new(expected)));

    let dc2 = r#"{"Node":"ext","Address":"1.2.3.4","Datacenter":"dc2"}"#;
    let seen = put("/v1/catalog/register", dc2).await;
    assert_eq!(seen.asked[0].dc.as_deref(), Some("dc2"));
    let seen = put("/v1/catalog/register?dc=dc3", dc2).await;
    assert_eq!(seen.asked[0].dc.as_deref(), Some("dc3"));
    let refused = [written(Outcome::Refused("no such service".to_owned()))];
    call("PUT /v1/catalog/register", dc2, refused).await.answered(500, "no such service");
}

#[tokio::test]
async fn registrations_that_are_refused() {
    for (body, status, sentence) in [
        (r#"{"Address":"1.2.3.4"}"#, 500, "Must provide node"),
        (r#"{"Node":"ext"}"#, 500, "Must provide address if SkipNodeUpdate is not set"),
        (
            r#"{"Node":"ext","Address":"1.2.3.4","Service":{"ID":"x"}}"#,
            500,
            "Must provide service name (Service.Service) when a service is given",
        ),
        (
            r#"{"Node":"e","Address":"1.2.3.4","Service":{"Service":"x","Address":"0.0.0.0"}}"#,
            500,
            "Invalid service address",
        ),
        (r#"{"Node":"e","Address":"1.2.3.4","Bogus":1}"#, 400, r#"Request decode failed: json: unknown field "Bogus""#),
        (
            r#"{"Node":"e","Address":"1.2.3.4","Service":{"Service":"x","Bogus":1}}"#,
            400,
            r#"Request decode failed: json: unknown field "Bogus""#,
        ),
        (
            r#"{"Node":"e","Address":"1.2.3.4","Check":{"Name":"c","Status":"fine"}}"#,
            400,
            "Invalid check status: 'fine'",
        ),
        (
            r#"{"Node":"e","Address":"1.2.3.4","Check":{"Name":"c","Node":"other"}}"#,
            500,
            r#"check "c" is of node "other", the registration of "e""#,
        ),
        ("", 400, "Request decode failed: EOF: the request has no body, JSON is expected"),
        ("[]", 400, "Request decode failed: a JSON object is expected"),
    ] {
        call("PUT /v1/catalog/register", body, []).await.refused(status, sentence);
    }
    let bad_id = r#"{"ID":"x","Node":"ext","Address":"1.2.3.4"}"#;
    assert_eq!(call("PUT /v1/catalog/register", bad_id, []).await.status, 500);
    assert!(call("PUT /v1/catalog/register", "{bad", []).await.body.starts_with("Request decode failed: "));
}

#[tokio::test]
async fn deregistration() {
    let node = || "ext".to_owned();
    for (body, expected) in [
        (r#"{"Node":"ext"}"#, Deregistration::Node { node: node() }),
        (
            r#"{"Node":"ext","ServiceID":"s","CheckID":"c"}"#,
            Deregistration::Service { node: node(), service_id: "s".to_owned() },
        ),
        (r#"{"node":"ext","check_id":"c"}"#, Deregistration::Check { node: node(), check_id: "c".to_owned() }),
    ] {
        let seen = put("/v1/catalog/deregister", body).await;
        seen.answered(200, "true");
        assert_eq!(seen.write(), &Write::Deregister(expected));
    }
    call("PUT /v1/catalog/deregister", "{}", []).await.refused(500, "Must provide node");
}
