//! `/v1/agent/`.

use crate::fake::*;
use quorate_protocol::check::{HttpCheck, TlsUse};
use quorate_protocol::{
    Accuser, AgentDescription, Cause, Check, CheckDefinition, CheckKind, Evidence, LocalRequest, LogIndex, Member,
    MemberStatus, NodeId, OwnPause, PeerDescription, RaftStatus, Refusal, Reply, Service, ServiceAddress, Status,
    SuspicionEvidence, Term, Weights,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const REGISTER: &str = "/v1/agent/service/register";
const REGISTER_CHECK: &str = "/v1/agent/check/register";

/// What is said of a check that does nothing.
const NO_KIND: &str = "Invalid check: TTL must be > 0 for TTL checks; any other kind is named by its field: HTTP, TCP, UDP, GRPC, \
                       H2PING, Args, DockerContainerID, OSService, AliasService, AliasNode";

fn member() -> Member {
    Member {
        id: NodeId([0xab; 16]),
        name: "n1".to_owned(),
        address: "127.0.0.1:8301".parse().unwrap(),
        tags: texts([("dc", "dc1"), ("role", "consul"), ("expect", "1")]),
        status: MemberStatus::Suspect,
        generation: 3,
    }
}

fn described(raft: Option<RaftStatus>) -> Reply {
    Reply::Agent(Box::new(AgentDescription {
        member: member(),
        datacenter: "dc1".to_owned(),
        server: raft.is_some(),
        version: "0.1.0".to_owned(),
        raft,
        known_servers: 1,
        members_alive: 2,
        members_failed: 1,
        members_left: 0,
        counters: BTreeMap::from([("gossip.dropped".to_owned(), 7)]),
    }))
}

#[tokio::test]
async fn a_server_describes_itself() {
    let peer = |id: u8, port| PeerDescription {
        id: NodeId([id; 16]),
        name: String::new(),
        address: format!("127.0.0.1:{port}").parse().unwrap(),
        voter: true,
    };
    let raft = RaftStatus {
        role: "Leader".to_owned(),
        term: Term(2),
        last_index: LogIndex(9),
        commit_index: LogIndex(8),
        applied_index: LogIndex(7),
        leader: Some(NodeId([0xab; 16])),
        peers: vec![peer(0xab, 8301), peer(1, 8302), peer(2, 8303)],
    };
    let seen = call("GET /v1/agent/self", "", [described(Some(raft))]).await;
    assert_eq!((seen.status, seen.local()), (200, &LocalRequest::Describe));
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        body["Config"],
        json!({"Datacenter":"dc1","NodeName":"n1","NodeID":"abababab-abab-abab-abab-abababababab",
               "Revision":"","Server":true,"Version":"0.1.0"})
    );
    assert_eq!(body["DebugConfig"]["SerfAdvertiseAddrLAN"], "tcp://127.0.0.1:8301");
    assert_eq!(body["Coord"], Value::Null);
    assert_eq!(body["Member"]["Tags"]["role"], "consul");
    assert_eq!(body["Stats"]["consul"]["leader"], "true");
    assert_eq!(body["Stats"]["consul"]["leader_addr"], "127.0.0.1:8301");
    assert_eq!(body["Stats"]["consul"]["bootstrap"], "true");
    assert_eq!(
        body["Stats"]["raft"],
        json!({"state":"Leader","term":"2","last_log_index":"9","commit_index":"8","applied_index":"7","num_peers":"2"})
    );
    assert_eq!(body["Stats"]["serf_lan"]["members"], "3");
    assert_eq!(body["Stats"]["counters"]["gossip.dropped"], "7");
    assert_eq!(body["Meta"], json!({}));
}

#[tokio::test]
async fn a_client_has_no_raft() {
    let seen = call("GET /v1/agent/self", "", [described(None)]).await;
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!((&body["Config"]["Server"], &body["Stats"]["raft"]), (&json!(false), &Value::Null));
    assert_eq!(body["Stats"]["consul"], json!({"acl":"disabled","known_servers":"1","server":"false"}));
}

#[tokio::test]
async fn why_a_member_is_as_it_is() {
    let ago = Duration::from_millis;
    let accuser = |id: u8, name: &str| Accuser { id: NodeId([id; 16]), name: name.to_owned(), ago: ago(2000) };
    let evidence = Evidence {
        id: NodeId([1; 16]),
        name: "n2".to_owned(),
        status: MemberStatus::Suspect,
        since: ago(1500),
        cause: Cause::Accused,
        local_health: 1,
        own_pause: Some(OwnPause { ago: ago(60_000), length: ago(4000) }),
        suspicion: Some(SuspicionEvidence {
            began: ago(1500),
            ended: None,
            incarnation: 3,
            accusers: vec![accuser(5, "n5")],
            confirmations_needed: 2,
            shortest: ago(3010),
            longest: ago(18_060),
            own_probe: None,
            told_by: None,
            verdict_in: None,
        }),
    };
    let seen = call("GET /v1/agent/members/why/n2", "", [Reply::Evidence(Box::new(evidence))]).await;
    seen.answered(
        200,
        r#"{"ID":"01010101-0101-0101-0101-010101010101","Node":"n2","Status":"suspect","Since":"1.5s","Cause":"accused","LocalHealth":1,"OwnPause":{"Ago":"1m0s","Length":"4s"},"Suspicion":{"Began":"1.5s","Ended":null,"Incarnation":3,"Accusers":[{"ID":"05050505-0505-0505-0505-050505050505","Node":"n5","Ago":"2s"}],"ConfirmationsNeeded":2,"Shortest":"3.01s","Longest":"18.06s","OwnProbe":null,"ToldBy":null,"VerdictIn":null}}"#,
    );
    assert_eq!(seen.local(), &LocalRequest::Why { node: "n2".to_owned() });
    let refused = Reply::Refused(Refusal::NotFound("there is no member \"n9\" here".to_owned()));
    call("GET /v1/agent/members/why/n9", "", [refused]).await.answered(404, "there is no member \"n9\" here");
}

#[tokio::test]
async fn members() {
    let seen = call("GET /v1/agent/members?segment=_all", "", [Reply::Members(vec![member()])]).await;
    seen.answered(
        200,
        r#"[{"Name":"n1","Addr":"127.0.0.1","Port":8301,"Tags":{"dc":"dc1","expect":"1","role":"consul"},"Status":1,"ProtocolMin":1,"ProtocolMax":5,"ProtocolCur":2,"DelegateMin":2,"DelegateMax":5,"DelegateCur":4}]"#,
    );
    assert_eq!(seen.local(), &LocalRequest::Members);
    call("GET /v1/agent/members?wan=1", "", []).await.answered(200, "[]");
}

#[tokio::test]
async fn join_and_leave() {
    let seen = put("/v1/agent/join/127.0.0.2", "").await;
    seen.answered(200, "");
    assert_eq!(seen.local(), &LocalRequest::Join { addresses: vec!["127.0.0.2".to_owned()] });
    let seen = put("/v1/agent/join/%5B::1%5D:9", "").await;
    assert_eq!(seen.local(), &LocalRequest::Join { addresses: vec!["[::1]:9".to_owned()] });
    let seen = put("/v1/agent/join/db.example.com:9", "").await;
    assert_eq!(seen.local(), &LocalRequest::Join { addresses: vec!["db.example.com:9".to_owned()] });
    let unreachable = [Reply::Refused(Refusal::Unreachable("nobody answers at 127.0.0.2:8301".to_owned()))];
    call("PUT /v1/agent/join/127.0.0.2", "", unreachable).await.answered(500, "nobody answers at 127.0.0.2:8301");
    let invalid = [Reply::Refused(Refusal::Invalid("\"a b\" is not an agent to join".to_owned()))];
    call("PUT /v1/agent/join/a%20b", "", invalid).await.answered(400, "\"a b\" is not an agent to join");
    assert_eq!(call("PUT /v1/agent/join/127.0.0.2?wan=1", "", []).await.status, 400);
    call("PUT /v1/agent/join/", "", []).await.refused(400, "Missing address to join");

    let seen = put("/v1/agent/leave", "").await;
    seen.answered(200, "");
    assert_eq!(seen.local(), &LocalRequest::Leave);
}

fn registered(seen: &Seen) -> (&Service, &[CheckDefinition], bool) {
    match seen.local() {
        LocalRequest::RegisterService { definition, replace_existing_checks } => {
            (&definition.service, &definition.checks, *replace_existing_checks)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_service_as_py_consul_registers_it() {
    let body = r#"{"name": "py", "id": "py1", "port": 80, "tags": ["a"], "enabletagoverride": false, "check": {"ttl": "10s"}}"#;
    let seen = put(REGISTER, body).await;
    seen.answered(200, "");
    let (service, checks, replace) = registered(&seen);
    let expected = Service {
        id: "py1".to_owned(),
        name: "py".to_owned(),
        port: 80,
        tags: vec!["a".to_owned()],
        ..Service::default()
    };
    assert_eq!(service, &expected);
    let ttl = CheckKind::Ttl { ttl: Duration::from_secs(10) };
    assert_eq!(checks, [CheckDefinition { kind: ttl, ..CheckDefinition::default() }]);
    assert!(!replace);
}

#[tokio::test]
async fn a_service_with_everything() {
    let body = r#"{"Kind":"","ID":"","Name":"web","Tags":["a","b"],"Port":80,"Address":"10.0.0.1","Meta":{"v":"1"},
        "TaggedAddresses":{"wan":{"Address":"1.2.3.4","Port":81}},"Weights":{"Passing":10,"Warning":0},"enable_tag_override":true,
        "Check":null,"Proxy":null,"Connect":{"Native":false},"Namespace":"default","Partition":"default","Token":"",
        "Checks":[
          {"CheckID":"c1","Name":"one","HTTP":"http://[127.0.0.1]:9998/health","Method":"POST","Header":{"X-A":["1","2"]},"Body":"b",
           "Interval":"15.0s","Timeout":2000000000,"TLSSkipVerify":true,"Status":"passing","SuccessBeforePassing":2,
           "FailuresBeforeWarning":1,"FailuresBeforeCritical":3,"DeregisterCriticalServiceAfter":"1s","OutputMaxSize":100,"Notes":"n"},
          {"tcp":"localhost:80","interval":"100ms","deregister_critical_service_after":"90m"}]}"#;
    let seen = put(&format!("{REGISTER}?replace-existing-checks=true"), body).await;
    seen.answered(200, "");
    let (service, checks, replace) = registered(&seen);
    assert!(replace);
    assert_eq!(
        service,
        &Service {
            id: "web".to_owned(),
            name: "web".to_owned(),
            tags: vec!["a".to_owned(), "b".to_owned()],
            address: "10.0.0.1".to_owned(),
            port: 80,
            meta: texts([("v", "1")]),
            tagged_addresses: BTreeMap::from([(
                "wan".to_owned(),
                ServiceAddress { address: "1.2.3.4".to_owned(), port: 81 }
            )]),
            weights: Weights { passing: 10, warning: 0 },
            enable_tag_override: true,
        }
    );
    let http = HttpCheck {
        url: "http://[127.0.0.1]:9998/health".to_owned(),
        method: "POST".to_owned(),
        header: BTreeMap::from([("X-A".to_owned(), vec!["1".to_owned(), "2".to_owned()])]),
        body: "b".to_owned(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(2),
        tls_skip_verify: true,
        ..HttpCheck::default()
    };
    let first = CheckDefinition {
        id: "c1".to_owned(),
        name: "one".to_owned(),
        notes: "n".to_owned(),
        service_id: String::new(),
        kind: CheckKind::Http(http),
        initial_status: Status::Passing,
        success_before_passing: 2,
        failures_before_warning: 1,
        failures_before_critical: 3,
        deregister_critical_service_after: Duration::from_secs(60),
        output_max_size: 100,
        ..CheckDefinition::default()
    };
    let second = CheckDefinition {
        kind: CheckKind::Tcp {
            address: "localhost:80".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::ZERO,
            tls: TlsUse::default(),
        },
        deregister_critical_service_after: Duration::from_secs(5_400),
        ..CheckDefinition::default()
    };
    assert_eq!(checks, [first, second]);
}

#[tokio::test]
async fn an_empty_check_is_no_check() {
    for body in [
        r#"{"Name":"cli","Port":81,"Check":null,"Checks":null}"#,
        r#"{"Name":"cli","Port":81,"Check":{},"Checks":[]}"#,
        r#"{"Name":"cli","Port":81,"Check":{"Name":"","TTL":"","Interval":0}}"#,
    ] {
        let seen = put(&format!("{REGISTER}?replace-existing-checks"), body).await;
        let (_, checks, replace) = registered(&seen);
        assert!(checks.is_empty() && replace, "{body}");
    }
}

#[tokio::test]
async fn registrations_that_are_refused() {
    let check = |check: &str| format!(r#"{{"Name":"x","Check":{check}}}"#);
    let http = "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks";
    for (body, sentence) in [
        (r#"{"Port":1}"#.to_owned(), "Missing service name"),
        (r#"{"Name":"x","Address":"0.0.0.0"}"#.to_owned(), "Invalid service address"),
        (
            r#"{"Name":"x","Bogus":1,"Check":{"HTTP":"http://x","Interval":"1s"}}"#.to_owned(),
            r#"Request decode failed: json: unknown field "Bogus""#,
        ),
        (check(r#"{"TTL":"1s","Bogus":1}"#), r#"Request decode failed: json: unknown field "Bogus""#),
        (check(r#"{"HTTP":"http://x"}"#), http),
        (check(r#"{"TCP":"x:1","Interval":"0s"}"#), http),
        (check(r#"{"TCP":"x:1","Interval":"-1s"}"#), http),
        (check(r#"{"Name":"c"}"#), NO_KIND),
        (check(r#"{"TTL":"1s","Interval":"1s"}"#), "Invalid check: Interval and TTL cannot both be specified"),
        (
            check(r#"{"HTTP":"ftp://x","Interval":"1s"}"#),
            "Invalid check: HTTP must be an address that starts with http:// or https://",
        ),
        (check(r#"{"TTL":"1s","OutputMaxSize":-1}"#), "Invalid check: MaxOutputMaxSize must be positive"),
        (check(r#"{"TTL":"1s","Status":"fine"}"#), "Status for checks must 'passing', 'warning', 'critical'"),
        (
            check(r#"{"DockerContainerID":"c1","Interval":"1s"}"#),
            "Invalid check: a Docker check needs the program to run in the container",
        ),
        (
            check(r#"{"GRPC":"/health","Interval":"1s"}"#),
            "Invalid check: GRPC must be host:port, such as 127.0.0.1:5432",
        ),
        (check(r#"{"AliasService":"y","Interval":"1s"}"#), "Invalid check: Interval cannot be set for Alias checks"),
        (check(r#"{"TTL":"1d"}"#), r#"Request decode failed: time: unknown unit "d" in duration "1d""#),
        (r#"{"Name":"x","Weights":{"Passing":0}}"#.to_owned(), "Invalid Weights: Passing must be greater than 0"),
        (
            r#"{"Name":"x","Meta":{"a b":"c"}}"#.to_owned(),
            r#"Invalid Service Meta: the key "a b" must be 1 to 128 letters, digits, dashes or underscores"#,
        ),
        (r#"{"Name":"x","Port":-1}"#.to_owned(), "Request decode failed: Port must be a port from 0 to 65535"),
        (String::new(), "Request decode failed: EOF: the request has no body, JSON is expected"),
    ] {
        call(&format!("PUT {REGISTER}"), body, []).await.refused(400, sentence);
    }
    let invalid = [Reply::Refused(Refusal::Invalid("service:x is taken".to_owned()))];
    call(&format!("PUT {REGISTER}"), r#"{"Name":"x"}"#, invalid).await.answered(400, "service:x is taken");
}

#[tokio::test]
async fn services_one_by_one_and_all() {
    let all = || [Reply::LocalServices(BTreeMap::from([("web1".to_owned(), service())]))];
    let alone = || [Reply::LocalService(Box::new(service()))];
    let hash = format!("{:016x}", service().content_hash());
    let one = r#"{"ID":"web1","Service":"web","Tags":["tcp"],"Meta":{},"Port":9191,"Address":"127.0.0.22","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"}"#;
    call("GET /v1/agent/services", "", all()).await.answered(200, &format!(r#"{{"web1":{one}}}"#));
    let with_hash = one.replace(r#""Datacenter""#, &format!(r#""ContentHash":"{hash}","Datacenter""#));
    let seen = call("GET /v1/agent/service/web1", "", alone()).await;
    seen.answered(200, &with_hash);
    assert_eq!(seen.header("x-consul-contenthash"), Some(hash.as_str()));
    assert_eq!(seen.local(), &LocalRequest::Service { service_id: "web1".to_owned(), wait: None });
    let unknown = [Reply::Refused(Refusal::NotFound("unknown service ID: nope".to_owned()))];
    call("GET /v1/agent/service/nope", "", unknown).await.answered(404, "unknown service ID: nope");

    let seen = call(&format!("GET /v1/agent/service/web1?hash={hash}&wait=16s"), "", alone()).await;
    let LocalRequest::Service { wait: Some((waited_with, patience)), .. } = seen.local() else { panic!("{seen:?}") };
    assert_eq!(*waited_with, service().content_hash());
    assert!((Duration::from_secs(16)..=Duration::from_secs(17)).contains(patience), "{patience:?}");
    let seen = call("GET /v1/agent/service/web1?hash=of+Consul", "", alone()).await;
    assert_eq!(seen.local(), &LocalRequest::Service { service_id: "web1".to_owned(), wait: None }, "another hash");
    call("GET /v1/agent/service/web1?hash=1&wait=x", "", []).await.refused(400, "Invalid wait time");
    call("GET /v1/agent/services", "", [Reply::LocalServices(BTreeMap::new())]).await.answered(200, "{}");
}

#[tokio::test]
async fn every_kind_of_check_is_taken() {
    for (fields, word, shown) in [
        (r#""UDP":"127.0.0.1:53""#, "udp", r#"Udp { address: "127.0.0.1:53", interval: 10s"#),
        (
            r#""GRPC":"x:1/web","GRPCUseTLS":true"#,
            "grpc",
            r#"service: "web", interval: 10s, timeout: 0ns, tls: TlsUse { on: true"#,
        ),
        (r#""H2PING":"x:1","H2PingUseTLS":false"#, "h2ping", "tls: TlsUse { on: false"),
        (r#""Args":["/bin/true","-x"]"#, "script", r#"args: ["/bin/true", "-x"]"#),
        (r#""script_args":["/bin/true"],"Args":null"#, "script", r#"args: ["/bin/true"]"#),
        (r#""ScriptArgs":["/bin/true"]"#, "script", r#"args: ["/bin/true"]"#),
        (r#""DockerContainerID":"c1","Shell":"/bin/bash","Args":["/x"]"#, "docker", r#"container: "c1", args: ["/x"]"#),
        (r#""OSService":"nginx""#, "os_service", r#"name: "nginx""#),
        (r#""TCP":"x:1","TCPUseTLS":true,"TLSServerName":"y""#, "tcp", r#"server_name: "y""#),
        (
            r#""HTTP":"https://x","TLSServerName":"y","TLSSkipVerify":true"#,
            "http",
            r#"tls_skip_verify: true, tls_server_name: "y", follow_redirects: false"#,
        ),
        (r#""HTTP":"https://x","DisableRedirects":false"#, "http", "follow_redirects: true"),
        (r#""HTTP":"https://x","DisableRedirects":true"#, "http", "follow_redirects: false"),
    ] {
        let seen = put(REGISTER_CHECK, &format!(r#"{{"Name":"c","Interval":"10s",{fields}}}"#)).await;
        let LocalRequest::RegisterCheck { check } = seen.local() else { panic!("{seen:?}") };
        assert_eq!(check.kind.word(), word, "{fields}");
        let kind = format!("{:?}", check.kind);
        assert!(kind.contains(shown), "{shown} in {kind}");
    }
    for fields in [r#""AliasService":"web1""#, r#""AliasNode":"n2","AliasService":"web1""#] {
        let seen = put(REGISTER_CHECK, &format!(r#"{{"Name":"c",{fields}}}"#)).await;
        let LocalRequest::RegisterCheck { check } = seen.local() else { panic!("{seen:?}") };
        assert_eq!(check.kind.word(), "alias");
    }
    let refused = || [Reply::Refused(Refusal::Disabled("Scripts are disabled on this agent".to_owned()))];
    let script = r#"{"Name":"c","Interval":"10s","Args":["/bin/true"]}"#;
    call(&format!("PUT {REGISTER_CHECK}"), script, refused()).await.answered(500, "Scripts are disabled on this agent");
}

#[tokio::test]
async fn maintenance() {
    for (path, service_id, reason) in [
        ("maintenance?enable=true&reason=new+disk", None, Some("new disk")),
        ("maintenance?enable=1", None, Some("")),
        ("maintenance?enable=false&reason=x", None, None),
        ("service/maintenance/web1?enable=true&reason=x", Some("web1"), Some("x")),
        ("service/maintenance/a%2Fb?enable=false", Some("a/b"), None),
    ] {
        let seen = put(&format!("/v1/agent/{path}"), "").await;
        seen.answered(200, "");
        let (service_id, reason) = (service_id.map(str::to_owned), reason.map(str::to_owned));
        assert_eq!(seen.local(), &LocalRequest::Maintain { service_id, reason }, "{path}");
    }
    for path in ["maintenance", "maintenance?enable=", "service/maintenance/web1?reason=x"] {
        call(&format!("PUT /v1/agent/{path}"), "", []).await.refused(400, "Missing value for enable");
    }
    call("PUT /v1/agent/maintenance?enable=yes", "", []).await.refused(400, "Invalid value for enable");
    call("PUT /v1/agent/service/maintenance/?enable=true", "", []).await.refused(400, "Missing service ID");
    let unknown = [Reply::Refused(Refusal::NotFound(r#"No service registered with ID "x""#.to_owned()))];
    call("PUT /v1/agent/service/maintenance/x?enable=true", "", unknown)
        .await
        .answered(404, r#"No service registered with ID "x""#);
}

#[tokio::test]
async fn reload() {
    let seen = put("/v1/agent/reload", "").await;
    seen.answered(200, "");
    assert_eq!(seen.local(), &LocalRequest::Reload { definitions: None });
    let broken = [Reply::Refused(Refusal::Invalid("a.json: is not JSON".to_owned()))];
    call("PUT /v1/agent/reload", "", broken).await.answered(500, "a.json: is not JSON");
}

#[tokio::test]
async fn a_token_is_kept_with_what_is_registered() {
    let token = |seen: &Seen| match seen.local() {
        LocalRequest::RegisterService { definition, .. } => definition.token.0.clone(),
        LocalRequest::RegisterCheck { check } => check.token.0.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(token(&put(REGISTER, r#"{"Name":"x","Token":"secret"}"#).await), "secret");
    assert_eq!(token(&put(&format!("{REGISTER}?token=secret"), r#"{"Name":"x"}"#).await), "secret");
    assert_eq!(token(&put(&format!("{REGISTER}?token=other"), r#"{"Name":"x","Token":"secret"}"#).await), "secret");
    assert_eq!(token(&put(REGISTER, r#"{"Name":"x"}"#).await), "");
    let seen = put(REGISTER_CHECK, r#"{"Name":"x","TTL":"1s","Token":"secret"}"#).await;
    assert_eq!(token(&seen), "secret");
    assert!(!format!("{seen:?}").contains("secret"), "it is never shown");
}

#[tokio::test]
async fn a_name_that_dns_cannot_ask_for_is_taken_with_a_warning() {
    let seen = put(REGISTER, r#"{"Name":"web_api"}"#).await;
    seen.answered(200, "");
    let warning = seen.header("warning").unwrap();
    assert!(warning.starts_with(r#"299 - "Service name 'web_api' cannot be asked for in DNS"#), "{warning}");
    assert_eq!(put(REGISTER, r#"{"Name":"web-api"}"#).await.header("warning"), None);
}

#[tokio::test]
async fn deregistration() {
    let seen = put("/v1/agent/service/deregister/a%2Fb", "").await;
    seen.answered(200, "");
    assert_eq!(seen.local(), &LocalRequest::DeregisterService { service_id: "a/b".to_owned() });
    let seen = put("/v1/agent/check/deregister/service:web", "").await;
    seen.answered(200, "");
    assert_eq!(seen.local(), &LocalRequest::DeregisterCheck { check_id: "service:web".to_owned() });
    let unknown = || [Reply::Refused(Refusal::NotFound("it".to_owned()))];
    call("PUT /v1/agent/service/deregister/nope", "", unknown())
        .await
        .answered(404, r#"Unknown service ID "nope". Ensure that the service ID is passed, not the service name."#);
    call("PUT /v1/agent/check/deregister/nope", "", unknown())
        .await
        .answered(404, r#"Unknown check ID "nope". Ensure that the check ID is passed, not the check name."#);
    call("PUT /v1/agent/service/deregister/", "", []).await.refused(400, "Missing service ID");
    call("PUT /v1/agent/check/deregister/", "", []).await.refused(400, "Missing check ID");
}

#[tokio::test]
async fn checks_registered_and_shown() {
    let body = r#"{"Name":"mem","TTL":"30s","service_id":"web1","Notes":"n"}"#;
    let seen = put(REGISTER_CHECK, body).await;
    seen.answered(200, "");
    let check = CheckDefinition {
        name: "mem".to_owned(),
        notes: "n".to_owned(),
        service_id: "web1".to_owned(),
        kind: CheckKind::Ttl { ttl: Duration::from_secs(30) },
        ..CheckDefinition::default()
    };
    assert_eq!(seen.local(), &LocalRequest::RegisterCheck { check });
    let line = format!("PUT {REGISTER_CHECK}");
    call(&line, r#"{"TTL":"1s"}"#, []).await.refused(400, "Missing check name");
    call(&line, r#"{"Name":"a","TTL":"1s","Status":"x"}"#, []).await.refused(400, "Bad check status");
    call(&line, r#"{"Name":"a"}"#, []).await.refused(400, NO_KIND);

    let local = Check { node: String::new(), ..crate::fake::check() };
    let seen =
        call("GET /v1/agent/checks", "", [Reply::LocalChecks(BTreeMap::from([("service:web1".to_owned(), local)]))])
            .await;
    seen.answered(
        200,
        r#"{"service:web1":{"Node":"n1","CheckID":"service:web1","Name":"Service 'web' check","Status":"passing","Notes":"","Output":"HTTP GET http://x: 200 OK","ServiceID":"web1","ServiceName":"web","ServiceTags":["tcp"],"Type":"http","Interval":"10s","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}}"#,
    );
}

#[tokio::test]
async fn reports_to_ttl_checks() {
    let id = || "service:py1".to_owned();
    for (path, body, status, output) in [
        ("pass/service:py1", "", Status::Passing, ""),
        ("pass/service%3Apy1?note=all+well", "", Status::Passing, "all well"),
        ("warn/service:py1", "", Status::Warning, ""),
        ("fail/service:py1?note=x", "", Status::Critical, "x"),
        ("update/service:py1", r#"{"Status":"warning","Output":"o"}"#, Status::Warning, "o"),
        ("update/service:py1", r#"{"status":"passing"}"#, Status::Passing, ""),
    ] {
        let seen = put(&format!("/v1/agent/check/{path}"), body).await;
        seen.answered(200, "");
        let expected = LocalRequest::UpdateCheck { check_id: id(), status, output: output.to_owned() };
        assert_eq!(seen.local(), &expected, "{path}");
    }
    for refusal in [Refusal::NotFound("it".to_owned()), Refusal::Invalid("not a TTL check".to_owned())] {
        call("PUT /v1/agent/check/pass/nope", "", [Reply::Refused(refusal)])
            .await
            .answered(500, r#"CheckID "nope" does not have associated TTL"#);
    }
    let update = "PUT /v1/agent/check/update/x";
    call(update, r#"{"Status":"x"}"#, []).await.refused(400, "Invalid check status: 'x'");
    call(update, "{}", []).await.refused(400, "Invalid check status: ''");
    call("PUT /v1/agent/check/pass/", "", []).await.refused(400, "Missing check ID");
}

#[tokio::test]
async fn local_health() {
    let services = || Reply::LocalServices(BTreeMap::from([("web1".to_owned(), service())]));
    let checks = |status| {
        let of_service = Check { status, ..check() };
        let of_other =
            Check { status: Status::Critical, id: "o".to_owned(), service_id: "other".to_owned(), ..check() };
        Reply::LocalChecks([of_service, of_other].into_iter().map(|check| (check.id.clone(), check)).collect())
    };
    for (status, code) in [(Status::Passing, 200), (Status::Warning, 429), (Status::Critical, 503)] {
        for path in ["id/web1", "name/web"] {
            let seen = call(&format!("GET /v1/agent/health/service/{path}"), "", [services(), checks(status)]).await;
            assert_eq!((seen.status, seen.header("x-consul-reason")), (code, Some(status.as_str())));
            assert!(seen.body.contains(&format!(r#""AggregatedStatus":"{status}""#)), "{}", seen.body);
            let line = format!("GET /v1/agent/health/service/{path}?format=text");
            call(&line, "", [services(), checks(status)]).await.answered(code, status.as_str());
        }
    }
    let seen = call("GET /v1/agent/health/service/name/x", "", [services(), checks(Status::Passing)]).await;
    seen.answered(404, "[]");
    assert_eq!(seen.header("x-consul-reason"), Some("ServiceName x Not Found"));
}

#[tokio::test]
async fn what_is_in_maintenance_says_so() {
    for (id, service_id) in [("_node_maintenance", ""), ("_service_maintenance:web1", "web1")] {
        let services = Reply::LocalServices(BTreeMap::from([("web1".to_owned(), service())]));
        let check = Check { id: id.to_owned(), service_id: service_id.to_owned(), status: Status::Critical, ..check() };
        let checks = Reply::LocalChecks([(id.to_owned(), check)].into());
        let seen = call("GET /v1/agent/health/service/id/web1", "", [services, checks]).await;
        assert_eq!((seen.status, seen.header("x-consul-reason")), (503, Some("maintenance")));
        assert!(seen.body.contains(r#""AggregatedStatus":"maintenance""#), "{}", seen.body);
    }
}
