//! `/v1/operator/`, against what Consul answers.

use crate::fake::*;
use http::Request;
use quorate_http_api::Config;
use quorate_protocol::{
    Answer, Ask, AutopilotConfig, AutopilotState, LocalRequest, LogIndex, NodeId, OperatorRequest, Outcome,
    PeerSelector, RaftConfiguration, RaftServer, Read, Refusal, Reply, ServerHealth, Term, Write,
};
use std::time::{Duration, SystemTime};

const ID: &str = "abababab-abab-abab-abab-abababababab";

fn id() -> NodeId {
    ID.parse().unwrap()
}

fn server(node: &str, leader: bool, voter: bool) -> RaftServer {
    RaftServer { id: id(), node: node.to_owned(), address: "127.0.0.1:8301".parse().unwrap(), leader, voter }
}

fn asked(seen: &Seen) -> &OperatorRequest {
    match seen.ask() {
        Ask::Operator(request) => request,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_takes_part() {
    let servers = vec![server("n1", true, true)];
    let reply = Reply::RaftConfiguration(RaftConfiguration { servers, index: LogIndex(22) });
    let seen = call("GET /v1/operator/raft/configuration?stale", "", [reply]).await;
    seen.answered(
        200,
        &format!(
            r#"{{"Servers":[{{"ID":"{ID}","Node":"n1","Address":"127.0.0.1:8301","Leader":true,"ProtocolVersion":"3","Voter":true}}],"Index":22}}"#
        ),
    );
    assert_eq!(asked(&seen), &OperatorRequest::RaftConfiguration);
}

#[tokio::test]
async fn removing_a_server() {
    let by_id = OperatorRequest::RemovePeer(PeerSelector::Id(id()));
    let by_address = OperatorRequest::RemovePeer(PeerSelector::Address("127.0.0.1:8301".parse().unwrap()));
    for (query, request) in [(format!("id={ID}"), by_id), ("address=127.0.0.1:8301".to_owned(), by_address)] {
        let seen = call(&format!("DELETE /v1/operator/raft/peer?{query}"), "", [Reply::Done]).await;
        seen.answered(200, "");
        assert_eq!(asked(&seen), &request);
    }
    for (query, status, sentence) in [
        (
            "",
            400,
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ),
        ("?id=x&address=y", 400, "Bad request: Must specify only one of ?id or ?address"),
        ("?address=nope", 500, r#"address "nope" was not found in the Raft configuration"#),
        ("?id=nope", 500, r#"id "nope" was not found in the Raft configuration"#),
    ] {
        call(&format!("DELETE /v1/operator/raft/peer{query}"), "", []).await.refused(status, sentence);
    }
    let sentence = r#"address "127.0.0.9:1" was not found in the Raft configuration"#;
    let unknown = Reply::Refused(Refusal::NotFound(sentence.to_owned()));
    call("DELETE /v1/operator/raft/peer?address=127.0.0.9:1", "", [unknown]).await.answered(500, sentence);
}

#[tokio::test]
async fn handing_over() {
    for (query, to) in [(String::new(), None), ("?id=".to_owned(), None), (format!("?id={ID}"), Some(id()))] {
        let seen = call(&format!("POST /v1/operator/raft/transfer-leader{query}"), "", [Reply::Done]).await;
        seen.answered(200, r#"{"Success":true}"#);
        assert_eq!(asked(&seen), &OperatorRequest::TransferLeader { to });
    }
    let seen = call("POST /v1/operator/raft/transfer-leader?id=x", "", []).await;
    seen.refused(400, "Bad request: Invalid id: 'x' is not a UUID: 32 hexadecimal digits as 8-4-4-4-12 are expected");
    let seen = call("PUT /v1/operator/raft/transfer-leader", "", []).await;
    assert_eq!((seen.status, seen.header("allow")), (405, Some("OPTIONS,POST")));
}

#[tokio::test]
async fn giving_up_the_others_needs_a_word() {
    for query in ["", "?confirm", "?confirm=true", "?confirm=yes", "?confirm=I-accept-losing-writes"] {
        let seen = call(&format!("POST /v1/operator/raft/recover-quorum{query}"), "", []).await;
        assert_eq!((seen.status, seen.asked.len()), (400, 0), "{query}");
        assert!(seen.body.ends_with("?confirm=i-accept-losing-writes"), "{}", seen.body);
    }
    let line = "POST /v1/operator/raft/recover-quorum?confirm=i-accept-losing-writes";
    let seen = call(&format!("{line}&dc=dc2"), "", [Reply::Done]).await;
    seen.answered(200, r#"{"Success":true}"#);
    assert_eq!(seen.local(), &LocalRequest::RecoverQuorum);
    let refused = Reply::Refused(Refusal::Invalid("there is a leader".to_owned()));
    call(line, "", [refused]).await.answered(400, "there is a leader");
}

#[tokio::test]
async fn autopilot_as_it_is_set() {
    let seen =
        get("/v1/operator/autopilot/configuration?stale", Answer::Autopilot(row(AutopilotConfig::default(), 4, 5)))
            .await;
    seen.answered(
        200,
        r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":4,"ModifyIndex":5}"#,
    );
    assert_eq!(seen.read().read, Read::Autopilot);
    assert_eq!(seen.header("x-consul-index"), Some("385"));
}

#[tokio::test]
async fn setting_autopilot() {
    let default = AutopilotConfig::default;
    let all = AutopilotConfig {
        cleanup_dead_servers: false,
        last_contact_threshold: Duration::from_millis(500),
        max_trailing_logs: u64::MAX,
        min_quorum: 3,
        server_stabilization_time: Duration::from_secs(20),
    };
    for (query, body, config, cas) in [
        ("", "{}", default(), None),
        ("?cas=0", r#"{"MaxTrailingLogs":500}"#, AutopilotConfig { max_trailing_logs: 500, ..default() }, Some(0)),
        (
            "?cas=7",
            r#"{"CleanupDeadServers":false,"LastContactThreshold":"500ms","MaxTrailingLogs":18446744073709551615,"MinQuorum":3,"ServerStabilizationTime":20000000000,"RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":4,"ModifyIndex":5}"#,
            all,
            Some(7),
        ),
    ] {
        let line = format!("PUT /v1/operator/autopilot/configuration{query}");
        let seen = call(&line, body, [written(Outcome::Done)]).await;
        seen.answered(200, "true");
        assert_eq!(seen.write(), &Write::Autopilot { config, cas: cas.map(LogIndex) });
        let unmatched = written(Outcome::Unmatched { found: LogIndex(9) });
        call(&line, body, [unmatched]).await.answered(200, "false");
    }
    for (query, body, sentence) in [
        ("?cas=x", "{}", r#"Bad request: Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax"#),
        ("", "", "Bad request: Error parsing autopilot config: EOF: the request has no body, JSON is expected"),
        ("", "[]", "Bad request: Error parsing autopilot config: a JSON object is expected"),
        ("", r#"{"Bogus":1}"#, r#"Bad request: Error parsing autopilot config: json: unknown field "Bogus""#),
        (
            "",
            r#"{"MinQuorum":-1}"#,
            "Bad request: Error parsing autopilot config: MinQuorum must be a count of at least 0",
        ),
        (
            "",
            r#"{"MaxTrailingLogs":"x"}"#,
            "Bad request: Error parsing autopilot config: MaxTrailingLogs must be a whole number from 0 to 18446744073709551615",
        ),
        (
            "",
            r#"{"LastContactThreshold":"x"}"#,
            r#"Bad request: Error parsing autopilot config: time: invalid duration "x""#,
        ),
    ] {
        let line = format!("PUT /v1/operator/autopilot/configuration{query}");
        call(&line, body, []).await.refused(400, sentence);
    }
}

fn state(healthy: bool) -> Reply {
    let health = |server: RaftServer, healthy| ServerHealth {
        server,
        serf_status: "alive".to_owned(),
        version: "0.1.0".to_owned(),
        last_contact: Duration::from_millis(35),
        last_term: Term(2),
        last_index: LogIndex(46),
        healthy,
        stable_for: Duration::from_secs(66),
    };
    let learner = RaftServer { id: NodeId([1; 16]), ..server("n2", false, false) };
    let servers = vec![health(server("n1", true, true), true), health(learner, healthy)];
    Reply::Autopilot(AutopilotState { healthy, failure_tolerance: 0, servers })
}

async fn ask(path: &str, reply: Reply) -> Seen {
    let noon = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_072_000);
    let config = Config { wall_clock: noon, ..Config::default() };
    send_with(config, Request::get(path).body("".into()).unwrap(), [reply]).await
}

#[tokio::test]
async fn how_well_the_servers_are() {
    let row = |id: &str, name: &str, leader: bool, healthy: bool| {
        format!(
            r#"{{"ID":"{id}","Name":"{name}","Address":"127.0.0.1:8301","SerfStatus":"alive","Version":"0.1.0","Leader":{leader},"LastContact":"35ms","LastTerm":2,"LastIndex":46,"Healthy":{healthy},"Voter":{leader},"StableSince":"2025-11-25T11:58:54Z"}}"#
        )
    };
    for (healthy, status) in [(true, 200), (false, 429)] {
        let seen = ask("/v1/operator/autopilot/health", state(healthy)).await;
        let second = row("01010101-0101-0101-0101-010101010101", "n2", false, healthy);
        let servers = format!("{},{second}", row(ID, "n1", true, true));
        seen.answered(status, &format!(r#"{{"Healthy":{healthy},"FailureTolerance":0,"Servers":[{servers}]}}"#));
        assert_eq!(asked(&seen), &OperatorRequest::AutopilotState);
        assert_eq!(seen.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn the_state_by_server() {
    let row = |id: &str, name: &str, healthy: bool, status: &str| {
        format!(
            r#""{id}":{{"ID":"{id}","Name":"{name}","Address":"127.0.0.1:8301","NodeStatus":"alive","Version":"0.1.0","LastContact":"35ms","LastTerm":2,"LastIndex":46,"Healthy":{healthy},"StableSince":"2025-11-25T11:58:54Z","ReadReplica":false,"Status":"{status}","Meta":{{}},"NodeType":"voter"}}"#
        )
    };
    let seen = ask("/v1/operator/autopilot/state", state(false)).await;
    let first = row("01010101-0101-0101-0101-010101010101", "n2", false, "non-voter");
    let servers = format!("{first},{}", row(ID, "n1", true, "leader"));
    seen.answered(
        200,
        &format!(
            r#"{{"Healthy":false,"FailureTolerance":0,"OptimisticFailureTolerance":0,"Servers":{{{servers}}},"Leader":"{ID}","Voters":["{ID}"]}}"#
        ),
    );
}
