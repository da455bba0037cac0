//! Each command against an agent that says what the script says: what is asked of it, and what people see.

// Helpers of tests may panic as tests do, and the scripted agent needs a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scripted;

use scripted::agent::Said;
use scripted::{Ended, Gone, Run, quorate, quorate_told};
use std::collections::BTreeMap;

/// Code 0, this output, and these requests.
fn shows(ended: Ended, out: &str, asked: &[&str]) {
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(ended.out, out);
    assert_eq!(ended.asked, asked);
}

/// Code 1, no output, and these words in the error.
fn fails(ended: Ended, words: &[&str]) {
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "'{word}' in: {}", ended.err);
    }
}

const MEMBERS: &str = r#"[
    {"Name":"n2","Addr":"10.0.0.2","Port":8301,"Tags":{"role":"node","dc":"dc1"},"Status":4},
    {"Name":"n1","Addr":"2001:db8::1","Port":8301,"Status":1,
     "Tags":{"role":"consul","dc":"dc1","build":"0.1.0:abc","vsn":"2"}}
]"#;

#[test]
fn members() {
    shows(
        quorate("members", &[(200, MEMBERS)]),
        "Node  Address             Status  Type    Build    Protocol  DC\n\
         n1    [2001:db8::1]:8301  alive   server  0.1.0    2         dc1\n\
         n2    10.0.0.2:8301       failed  client  unknown  unknown   dc1\n",
        &["GET /v1/agent/members"],
    );
    shows(
        quorate("members -detailed", &[(200, MEMBERS)]),
        "Node  Address             Status  Tags\n\
         n1    [2001:db8::1]:8301  alive   build=0.1.0:abc,dc=dc1,role=consul,vsn=2\n\
         n2    10.0.0.2:8301       failed  dc=dc1,role=node\n",
        &["GET /v1/agent/members"],
    );
    for (status, expected) in [("alive", 1), ("alive|failed", 2), (".*", 2), ("f.*", 1)] {
        let ended = quorate(&format!("members -status {status}"), &[(200, MEMBERS)]);
        assert_eq!(ended.out.lines().count() - 1, expected, "{status}");
    }
    for none in ["left", "ali"] {
        let ended = quorate(&format!("members -status={none}"), &[(200, MEMBERS)]);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (2, "", ""), "{none}");
    }
    fails(quorate("members -status [", &[]), &["-status '['", "try 'alive|failed'"]);
    fails(quorate("members -wan", &[]), &["-wan"]);
}

#[test]
fn why_a_member_is_failed() {
    let evidence = r#"{"ID":"x","Node":"n2","Status":"failed","Since":"2m10s","Cause":"confirmed","LocalHealth":0,"OwnPause":null,
        "Suspicion":{"Began":"2m13s","Ended":"2m10s","Incarnation":4,"ConfirmationsNeeded":2,"Shortest":"3s","Longest":"18s",
            "Accusers":[{"ID":"5","Node":"n5","Ago":"2m13s"},{"ID":"abc","Node":"","Ago":"2m12s"}],
            "OwnProbe":{"Ago":"2m12s","Helpers":3,"Nacks":3,"ByStream":true},"ToldBy":null,"VerdictIn":null}}"#;
    shows(
        quorate("members -why n2", &[(200, evidence)]),
        "n2 is failed, for 2m10s: enough members found it silent by their own probes, and it did not refute that in time.\n\
         It was suspected 2m13s ago; that ended 2m10s ago.\n\
         \x20 2m13s ago: no answer to a probe by n5\n\
         \x20 2m12s ago: no answer to a probe by abc\n\
         \x20 2m12s ago: this agent's own probe: no answer to a datagram, nor to 3 helpers (3 of them said so), nor over a QUIC stream\n\
         It is given 3s once 2 others confirm the first, up to 18s if nobody does.\n\
         This agent itself was well then.\n",
        &["GET /v1/agent/members/why/n2"],
    );
    fails(quorate("members -why n9", &[(404, "there is no member \"n9\" here")]), &["no member"]);
}

const ENTRY: &str = r#"[{"LockIndex":0,"Key":"a/b","Flags":7,"Value":"Yw==","CreateIndex":5,"ModifyIndex":9}]"#;
const TWO: &str = r#"[{"LockIndex":0,"Key":"a/b","Flags":0,"Value":"Yw==","CreateIndex":5,"ModifyIndex":9},
    {"LockIndex":1,"Key":"a/c","Flags":0,"Value":null,"CreateIndex":6,"ModifyIndex":6,"Session":"s"}]"#;

#[test]
fn kv_get() {
    shows(quorate("kv get a/b", &[(200, ENTRY)]), "c\n", &["GET /v1/kv/a/b"]);
    shows(quorate("kv get /a/b", &[(200, ENTRY)]), "c\n", &["GET /v1/kv/a/b"]);
    shows(quorate("kv get -base64 a/b", &[(200, ENTRY)]), "Yw==\n", &["GET /v1/kv/a/b"]);
    shows(quorate("kv get a/b -stale -datacenter dc2", &[(200, ENTRY)]), "c\n", &["GET /v1/kv/a/b?dc=dc2&stale="]);
    shows(
        quorate("kv get -detailed a/b", &[(200, ENTRY)]),
        "CreateIndex      5\nFlags            7\nKey              a/b\nLockIndex        0\nModifyIndex      9\n\
         Session          -\nValue            c\n",
        &["GET /v1/kv/a/b"],
    );
    shows(quorate("kv get -recurse a/", &[(200, TWO)]), "a/b:c\na/c:\n", &["GET /v1/kv/a/?recurse="]);
    shows(quorate("kv get -recurse", &[(404, "")]), "", &["GET /v1/kv/?recurse="]);
    let detailed = quorate("kv get -recurse -detailed a", &[(200, TWO)]);
    assert!(detailed.out.contains("\nValue            c\n\nCreateIndex      6\n"), "{detailed:?}");
    assert!(detailed.out.contains("\nSession          s\n"));
    shows(
        quorate("kv get -keys a", &[(200, r#"["a/b","a/c/"]"#)]),
        "a/b\na/c/\n",
        &["GET /v1/kv/a?keys=&separator=%2F"],
    );
    shows(quorate("kv get -keys -separator= a", &[(404, "")]), "", &["GET /v1/kv/a?keys=&separator="]);
    shows(quorate("kv get ä?b#c", &[(200, ENTRY)]), "c\n", &["GET /v1/kv/%C3%A4%3Fb%23c"]);
    fails(quorate("kv get none", &[(404, "")]), &["No key exists at: none"]);
    fails(quorate("kv get", &[]), &["Missing KEY argument"]);
    fails(quorate("kv get /", &[]), &["Missing KEY argument"]);
    fails(quorate("kv get a", &[(200, r#"[{"Key":"a","Value":"!"}]"#)]), &["not base64"]);
    fails(quorate("kv get a", &[(200, "<html>")]), &["not what an agent says", "-http-addr"]);
}

#[test]
fn kv_put() {
    let done = "Success! Data written to: a/b\n";
    shows(quorate("kv put a/b c", &[(200, "true")]), done, &["PUT /v1/kv/a/b?flags=0 c"]);
    shows(quorate("kv put a/b", &[(200, "true\n")]), done, &["PUT /v1/kv/a/b?flags=0"]);
    shows(quorate("kv put a/b -1", &[(200, "true")]), done, &["PUT /v1/kv/a/b?flags=0 -1"]);
    shows(quorate("kv put a/b -- -data", &[(200, "true")]), done, &["PUT /v1/kv/a/b?flags=0 -data"]);
    shows(quorate("kv put -base64 -flags=42 a/b Yw==", &[(200, "true")]), done, &["PUT /v1/kv/a/b?flags=42 c"]);
    shows(quorate("kv put -cas -modify-index=9 a/b c", &[(200, "true")]), done, &["PUT /v1/kv/a/b?flags=0&cas=9 c"]);
    shows(quorate("kv put -cas=false a/b c", &[(200, "true")]), done, &["PUT /v1/kv/a/b?flags=0 c"]);
    let piped = Run { input: b"from a pipe".to_vec(), ..Run::default() };
    shows(piped.against("kv put a/b -", &[(200, "true")]), done, &["PUT /v1/kv/a/b?flags=0 from a pipe"]);
    fails(
        quorate("kv put -cas -modify-index=8 a/b c", &[(200, "false")]),
        &["CAS failed", "not 8", "kv get -detailed a/b"],
    );
    fails(quorate("kv put a/b @/no/such/file", &[]), &["/no/such/file", "readable file"]);
    fails(quorate("kv put -base64 a/b c", &[]), &["not base64"]);
    fails(quorate("kv put -flags=-1 a/b", &[]), &["-1"]);
    fails(quorate("kv put", &[]), &["Missing KEY argument"]);
    fails(
        quorate("kv put big c", &[(413, "Request body(524289 bytes) too large, max size: 524288 bytes.")]),
        &["writing the key 'big'", "Unexpected response code: 413 (Request body(524289 bytes) too large"],
    );
}

#[test]
fn kv_put_that_holds() {
    let id = "7c1a1b5e-0c64-4f0e-9d2e-6f8a3f1d2b3c";
    let said = |text: &str| Said::new(200, text).with("X-Quorate-Fencing-Token", 42);
    shows(
        quorate_told(&format!("kv put -acquire -session {id} a/b me"), vec![said("true")]),
        "Success! Lock acquired on: a/b\nFencing token: 42\n",
        &[&format!("PUT /v1/kv/a/b?flags=0&acquire={} me", id.replace('-', "%2D"))],
    );
    // Servers that know no tokens tell none.
    let old = quorate(&format!("kv put -acquire -session={id} a/b"), &[(200, "true")]);
    assert_eq!((old.code, old.out.as_str()), (0, "Success! Lock acquired on: a/b\n"));
    shows(
        quorate(&format!("kv put -release -session {id} -flags=3 a/b"), &[(200, "true")]),
        "Success! Lock released on: a/b\n",
        &[&format!("PUT /v1/kv/a/b?flags=3&release={}", id.replace('-', "%2D"))],
    );
    fails(quorate("kv put -acquire -session s a/b", &[(200, "false")]), &["Did not acquire lock", "lock delay"]);
    fails(quorate("kv put -release -session s a/b", &[(200, "false")]), &["Did not release lock", "session s"]);
    fails(quorate("kv put -acquire a/b", &[]), &["Missing -session", "quorate session create"]);
    fails(quorate("kv put -session s a/b", &[]), &["without one of -acquire and -release"]);
    for two in ["-acquire -release", "-acquire -cas", "-cas -release"] {
        fails(quorate(&format!("kv put {two} -session s a/b"), &[]), &["more than one of"]);
    }
    shows(
        quorate("kv put -ttl 90s a/b c", &[(200, "true")]),
        "Success! Data written to: a/b\n",
        &["PUT /v1/kv/a/b?flags=0&ttl=90s c"],
    );
    let held = r#"[{"LockIndex":1,"Key":"a","Flags":0,"Value":null,"CreateIndex":6,"ModifyIndex":6,"Session":"s","FencingToken":6}]"#;
    let detailed = quorate("kv get -detailed a", &[(200, held)]);
    assert!(detailed.out.contains("\nSession          s\nFencingToken     6\nValue"), "{detailed:?}");
}

#[test]
fn kv_export_and_import() {
    let file = "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"Yw==\"\n\t},\n\t{\n\t\t\"key\": \
                \"a/c\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"\"\n\t}\n]\n";
    shows(quorate("kv export a/", &[(200, TWO)]), file, &["GET /v1/kv/a/?recurse="]);
    shows(quorate("kv export", &[(404, "")]), "[]\n", &["GET /v1/kv/?recurse="]);
    let requests: &[&str] = &["PUT /v1/kv/a/b?flags=0 c", "PUT /v1/kv/a/c?flags=0"];
    let piped = Run { input: file.as_bytes().to_vec(), ..Run::default() };
    let done = "Imported: a/b\nImported: a/c\n";
    shows(piped.against("kv import -", &[(200, "true"), (200, "true")]), done, requests);
    let half = piped.against("kv import -", &[(200, "true"), (500, "No cluster leader")]);
    assert_eq!((half.code, half.out.as_str()), (1, "Imported: a/b\n"));
    assert!(half.err.contains("importing the key 'a/c'"), "{half:?}");
    fails(quorate("kv import", &[]), &["Missing DATA"]);
    fails(quorate("kv import {", &[]), &["export", "quorate kv export"]);
    // Nothing is set where a later entry is bad.
    let good = r#"{"key":"a","value":""}"#;
    for (bad, why) in [
        (r#"{"key":"b","value":"!"}"#, "value of b is not base64"),
        (r#"{"value":""}"#, "key"),
        (r#"{"key":""}"#, "no key"),
    ] {
        fails(quorate(&format!("kv import [{good},{bad}]"), &[]), &[why]);
    }
}

#[test]
fn kv_watch() {
    let put = |index: u64, key: &str, value: &str, id: &str| {
        format!(
            "event: put\n{id}data: {{\"Key\":\"{key}\",\"Value\":\"{value}\",\"Flags\":0,\"ModifyIndex\":{index}}}\n\n"
        )
    };
    let begin = "event: progress\nid: 10\ndata: {\"Index\":10}\n\n";
    let first = format!("{begin}{}: the leader is lost\n\n", put(11, "a/b", "Yw==", "id: 11\n"));
    // A write of two keys has an id at its end only: who breaks off in it is told both again.
    let second = put(12, "a/b", "ZA==", "");
    let third = format!("{second}event: delete\nid: 12\ndata: {{\"Key\":\"a/c\",\"ModifyIndex\":12}}\n\n");
    let ended = quorate("kv watch -recurse a/", &[(200, &first), (200, &third), (500, "No cluster leader")]);
    assert_eq!((ended.code, ended.out.as_str()), (1, "11 put a/b:c\n12 put a/b:d\n12 delete a/c\n"), "{ended:?}");
    assert!(ended.err.contains("watching 'a/'") && ended.err.contains("No cluster leader"), "{ended:?}");
    let asked = ["", "&index=11", "&index=12"].map(|index| format!("GET /v1/kv/a/?stream=&recurse={index}"));
    assert_eq!(ended.asked, asked);

    let json = quorate("kv watch -format=json -index 10 a/b", &[(200, &first), (200, "")]);
    assert_eq!(
        json.out,
        "{\"op\":\"put\",\"index\":11,\"key\":\"a/b\",\"flags\":0,\"session\":null,\"value\":\"Yw==\"}\n"
    );
    assert!(json.err.contains("the stream ended. Go on with -index=11."), "{json:?}");
    assert_eq!(json.asked[0], "GET /v1/kv/a/b?stream=&index=10");
    fails(
        quorate("kv watch -index=3 a", &[(200, "event: compacted\ndata: {\"Since\":9}\n\n")]),
        &["no longer remember", "index 3", "quorate kv get"],
    );
    fails(quorate("kv watch", &[]), &["Missing KEY"]);
    fails(quorate("kv watch a", &[(200, "event: put\ndata: {\n\n")]), &["not what an agent says"]);
}

const SESSION: &str = r#"[{"ID":"7c1a","Name":"web","Node":"n1","LockDelay":15000000000,"Behavior":"release","TTL":"10s",
    "NodeChecks":["serfHealth"],"ServiceChecks":[{"ID":"web-1","Namespace":""}],"CreateIndex":7,"ModifyIndex":7},
    {"ID":"0a","Name":"","Node":"n1","LockDelay":0,"Behavior":"delete","TTL":"","NodeChecks":[],"ServiceChecks":null}]"#;

#[test]
fn session() {
    shows(
        quorate("session create", &[(200, r#"{"ID":"7c1a"}"#)]),
        "7c1a\n",
        &[r#"PUT /v1/session/create {"LockDelay":"15s","Behavior":"release"}"#],
    );
    let all = "session create -name web -node n1 -ttl 10s -exact-ttl -lock-delay=0s -behavior delete -node-check= -service-check web-1";
    shows(
        quorate(all, &[(200, r#"{"ID":"7c1a"}"#)]),
        "7c1a\n",
        &[
            "PUT /v1/session/create {\"Name\":\"web\",\"Node\":\"n1\",\"TTL\":\"10s\",\"LockDelay\":\"0s\",\"Behavior\":\"delete\",\
           \"ExactTTL\":true,\"NodeChecks\":[],\"ServiceChecks\":[{\"ID\":\"web-1\"}]}",
        ],
    );
    fails(
        quorate("session create -ttl 1s", &[(500, "Invalid Session TTL '1000000000', must be between [10s=24h0m0s]")]),
        &["must be between"],
    );
    fails(quorate("session create -behavior keep", &[]), &["release, delete"]);
    shows(
        quorate("session destroy 7c1a", &[(200, "true")]),
        "Session destroyed: 7c1a\n",
        &["PUT /v1/session/destroy/7c1a"],
    );
    shows(quorate("session renew 7c1a", &[(200, SESSION)]), "Session renewed: 7c1a\n", &["PUT /v1/session/renew/7c1a"]);
    fails(quorate("session renew 7c1a", &[(404, "Session id '7c1a' not found")]), &["No session exists", "7c1a"]);
    shows(
        quorate("session info 7c1a", &[(200, SESSION)]),
        "ID             7c1a\nName           web\nNode           n1\nTTL            10s\nExactTTL       false\n\
         Behavior       release\nLockDelay      15s\nNodeChecks     serfHealth\nServiceChecks  web-1\n\
         CreateIndex    7\nModifyIndex    7\n",
        &["GET /v1/session/info/7c1a"],
    );
    fails(quorate("session info 7c1a", &[(200, "[]")]), &["No session exists"]);
    shows(
        quorate("session list", &[(200, SESSION)]),
        "ID    Node  Name  TTL   Behavior\n0a    n1    -     none  delete\n7c1a  n1    web   10s   release\n",
        &["GET /v1/session/list"],
    );
    shows(quorate("session list -node n2", &[(200, "[]")]), "There are no sessions.\n", &["GET /v1/session/node/n2"]);
    fails(quorate("session destroy", &[]), &["<ID>"]);
}

const PEERS: &str = r#"{"Servers":[
    {"ID":"0dbe","Node":"s1","Address":"10.0.0.1:8301","Leader":true,"ProtocolVersion":"3","Voter":true},
    {"ID":"1f","Node":"(unknown)","Address":"10.0.0.2:8301","Leader":false,"ProtocolVersion":"3","Voter":false}],"Index":9}"#;

#[test]
fn operator_raft() {
    shows(
        quorate("operator raft list-peers", &[(200, PEERS)]),
        "Node       ID    Address        State     Voter  RaftProtocol\n\
         s1         0dbe  10.0.0.1:8301  leader    true   3\n\
         (unknown)  1f    10.0.0.2:8301  follower  false  3\n",
        &["GET /v1/operator/raft/configuration"],
    );
    shows(
        quorate("operator raft remove-peer -id 1f", &[(200, "")]),
        "Removed peer with id \"1f\"\n",
        &["DELETE /v1/operator/raft/peer?id=1f"],
    );
    shows(
        quorate("operator raft remove-peer -address=10.0.0.2:8301", &[(200, "")]),
        "Removed peer with address \"10.0.0.2:8301\"\n",
        &["DELETE /v1/operator/raft/peer?address=10%2E0%2E0%2E2%3A8301"],
    );
    for which in ["", "-id 1f -address 10.0.0.2:8301"] {
        fails(quorate(&format!("operator raft remove-peer {which}"), &[]), &["one of -id and -address", "list-peers"]);
    }
    let unknown = "address \"nope\" was not found in the Raft configuration";
    fails(quorate("operator raft remove-peer -address nope", &[(500, unknown)]), &[unknown]);
    let done = r#"{"Success":true}"#;
    shows(
        quorate("operator raft transfer-leader", &[(200, done)]),
        "Success\n",
        &["POST /v1/operator/raft/transfer-leader"],
    );
    shows(
        quorate("operator raft transfer-leader -id 1f", &[(200, done)]),
        "Success\n",
        &["POST /v1/operator/raft/transfer-leader?id=1f"],
    );
}

#[test]
fn nobody_gives_up_a_quorum_unwarned() {
    let warned = quorate("operator raft recover-quorum", &[]);
    assert_eq!(warned.asked, [""; 0]);
    fails(warned, &["LOST", "TWO clusters", "-i-accept-losing-writes"]);
    assert!(quorate("operator raft recover-quorum -help", &[]).out.contains("TWO clusters"));
    let done = quorate("operator raft recover-quorum -i-accept-losing-writes", &[(200, r#"{"Success":true}"#)]);
    assert!(done.code == 0 && done.out.contains("the only one"), "{done:?}");
    assert_eq!(done.asked, ["POST /v1/operator/raft/recover-quorum?confirm=i%2Daccept%2Dlosing%2Dwrites"]);
    fails(
        quorate("operator raft recover-quorum -i-accept-losing-writes", &[(400, "a leader is known")]),
        &["recovering", "a leader is known"],
    );
}

const AUTOPILOT: &str = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,
    "ServerStabilizationTime":"10s","RedundancyZoneTag":"","CreateIndex":4,"ModifyIndex":11}"#;

#[test]
fn operator_autopilot() {
    shows(
        quorate("operator autopilot get-config", &[(200, AUTOPILOT)]),
        "CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\nMinQuorum = 0\n\
         ServerStabilizationTime = 10s\nRedundancyZoneTag = \n",
        &["GET /v1/operator/autopilot/configuration"],
    );
    shows(
        quorate(
            "operator autopilot set-config -min-quorum=3 -cleanup-dead-servers=false",
            &[(200, AUTOPILOT), (200, "true")],
        ),
        "Configuration updated!\n",
        &[
            "GET /v1/operator/autopilot/configuration",
            "PUT /v1/operator/autopilot/configuration?cas=11 {\"CleanupDeadServers\":false,\"LastContactThreshold\":\"200ms\",\
             \"MaxTrailingLogs\":250,\"MinQuorum\":3,\"ServerStabilizationTime\":\"10s\",\"RedundancyZoneTag\":\"\",\
             \"CreateIndex\":4,\"ModifyIndex\":11}",
        ],
    );
    let raced = quorate("operator autopilot set-config -max-trailing-logs 9", &[(200, AUTOPILOT), (200, "false")]);
    fails(raced, &["changed meanwhile", "get-config"]);
    fails(quorate("operator autopilot set-config", &[]), &["Nothing to change"]);
    fails(quorate("operator autopilot set-config -min-quorum=-1", &[]), &["-1"]);
    let state = r#"{"Healthy":false,"FailureTolerance":1,"Leader":"0dbe","Voters":["0dbe","1f"],"Servers":{
        "1f":{"ID":"1f","Name":"s2","Address":"10.0.0.2:8301","NodeStatus":"failed","Status":"voter","LastContact":"3s",
              "LastTerm":2,"LastIndex":40,"Healthy":false},
        "0dbe":{"ID":"0dbe","Name":"s1","Address":"10.0.0.1:8301","NodeStatus":"alive","Status":"leader","LastContact":"0s",
              "LastTerm":2,"LastIndex":47,"Healthy":true}}}"#;
    shows(
        quorate("operator autopilot state", &[(200, state)]),
        "Healthy:            false\nFailure Tolerance:  1\nLeader:             0dbe\nVoters:             0dbe, 1f\n\n\
         Name  ID    Address        Status  Node Status  Healthy  Last Contact  Last Term  Last Index\n\
         s1    0dbe  10.0.0.1:8301  leader  alive        true     0s            2          47\n\
         s2    1f    10.0.0.2:8301  voter   failed       false    3s            2          40\n",
        &["GET /v1/operator/autopilot/state"],
    );
    assert!(
        quorate("operator autopilot state -format=json", &[(200, state)]).out.starts_with("{\n  \"Healthy\": false,")
    );
}

#[test]
fn a_file_can_be_put() {
    let file = std::env::temp_dir().join(format!("quorate-cli-put-{}", std::process::id()));
    std::fs::write(&file, "from a file").unwrap();
    let ended = quorate(&format!("kv put a/b @{}", file.display()), &[(200, "true")]);
    std::fs::remove_file(&file).unwrap();
    shows(ended, "Success! Data written to: a/b\n", &["PUT /v1/kv/a/b?flags=0 from a file"]);
}

#[test]
fn maint() {
    shows(
        quorate("maint -enable -reason upgrade", &[(200, "")]),
        "Node maintenance is now enabled\n",
        &["PUT /v1/agent/maintenance?enable=true&reason=upgrade"],
    );
    shows(
        quorate("maint -disable -service web/1", &[(200, "")]),
        "Service maintenance is now disabled for \"web/1\"\n",
        &["PUT /v1/agent/service/maintenance/web/1?enable=false"],
    );
    let checks = r#"{"service:web":{"Node":"n1","ServiceID":"web","Notes":"x"},
        "_node_maintenance":{"Node":"n1","Notes":"new disk"},
        "_service_maintenance:web":{"Node":"n1","ServiceID":"web","Notes":"upgrade"}}"#;
    shows(
        quorate("maint", &[(200, checks)]),
        "Node:\n  Name:   n1\n  Reason: new disk\n\nService:\n  ID:     web\n  Reason: upgrade\n\n",
        &["GET /v1/agent/checks"],
    );
    fails(quorate("maint -enable -disable", &[]), &["Only one of -enable or -disable"]);
    fails(quorate("maint -disable -reason x", &[]), &["only be provided with -enable"]);
    fails(quorate("maint -service web", &[]), &["-enable or -disable"]);
    let unknown = (404, r#"No service registered with ID "x""#);
    fails(quorate("maint -enable -service x", &[unknown]), &["No service registered with ID"]);
}

#[test]
fn reload() {
    shows(quorate("reload", &[(200, "")]), "Configuration reload triggered\n", &["PUT /v1/agent/reload"]);
    fails(quorate("reload", &[(500, "a.json: is not JSON")]), &["reloading", "a.json: is not JSON"]);
}

#[test]
fn kv_delete() {
    shows(quorate("kv delete a", &[(200, "true")]), "Success! Deleted key: a\n", &["DELETE /v1/kv/a"]);
    shows(
        quorate("kv delete -recurse a/", &[(200, "true")]),
        "Success! Deleted keys with prefix: a/\n",
        &["DELETE /v1/kv/a/?recurse="],
    );
    shows(
        quorate("kv delete -cas -modify-index 4 a", &[(200, "true")]),
        "Success! Deleted key: a\n",
        &["DELETE /v1/kv/a?cas=4"],
    );
    fails(quorate("kv delete -cas -modify-index 4 a", &[(200, "false")]), &["CAS failed"]);
    fails(quorate("kv delete -cas -recurse a", &[]), &["both -cas and -recurse"]);
    fails(quorate("kv delete -cas a", &[]), &["-modify-index"]);
    fails(quorate("kv delete -modify-index=3 a", &[]), &["without -cas"]);
    fails(quorate("kv delete", &[]), &["Missing KEY argument"]);
}

const NODES: &str = r#"[{"ID":"0dbe00ba-5bc5-5a0d-daaf-cbcba04fbc49","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1",
    "TaggedAddresses":{"lan":"10.0.0.1","wan":"1.2.3.4"},"Meta":{"os":"linux"}},
    {"ID":"","Node":"ext","Address":"db.example.com","Datacenter":"dc1","TaggedAddresses":null,"Meta":null}]"#;

#[test]
fn catalog() {
    shows(quorate("catalog datacenters", &[(200, r#"["dc1","dc2"]"#)]), "dc1\ndc2\n", &["GET /v1/catalog/datacenters"]);
    shows(
        quorate("catalog nodes -stale", &[(200, NODES)]),
        "Node  ID        Address         DC\n\
         ext             db.example.com  dc1\n\
         n1    0dbe00ba  10.0.0.1        dc1\n",
        &["GET /v1/catalog/nodes?stale="],
    );
    let detailed = quorate("catalog nodes -detailed -node-meta os=linux", &[(200, NODES)]);
    assert!(
        detailed.out.ends_with("daaf-cbcba04fbc49  10.0.0.1        dc1  lan=10.0.0.1, wan=1.2.3.4  os=linux\n"),
        "{detailed:?}"
    );
    assert_eq!(detailed.asked, ["GET /v1/catalog/nodes?node-meta=os%3Alinux"]);
    let rows = r#"[{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","NodeMeta":{},"ServiceID":"a"},
                   {"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","NodeMeta":{},"ServiceID":"b"}]"#;
    shows(
        quorate("catalog nodes -service web", &[(200, rows)]),
        "Node  ID  Address   DC\nn1        10.0.0.1  dc1\n",
        &["GET /v1/catalog/service/web"],
    );
    let nothing = "No nodes match the given query - try expanding your search.\n";
    shows(quorate("catalog nodes", &[(200, "[]")]), nothing, &["GET /v1/catalog/nodes"]);
    let services = r#"{"web":["v2","v1"],"consul":[],"old":null}"#;
    shows(quorate("catalog services", &[(200, services)]), "consul\nold\nweb\n", &["GET /v1/catalog/services"]);
    shows(
        quorate("catalog services -tags", &[(200, services)]),
        "consul\nold\nweb     v1,v2\n",
        &["GET /v1/catalog/services"],
    );
    let on_node = r#"{"Node":{},"Services":{"a":{"Service":"web","Tags":["x"]},"b":{"Service":"web","Tags":null}}}"#;
    shows(quorate("catalog services -node n1 -tags", &[(200, on_node)]), "web  x\n", &["GET /v1/catalog/node/n1"]);
    let nothing = "No services match the given query - try expanding your search.\n";
    shows(quorate("catalog services -node nosuch", &[(200, "null")]), nothing, &["GET /v1/catalog/node/nosuch"]);
}

#[test]
fn join_and_leave() {
    shows(
        quorate("join 10.0.0.2 [::1]:8301", &[(200, ""), (200, "")]),
        "Successfully joined cluster by contacting 2 nodes.\n",
        &["PUT /v1/agent/join/10.0.0.2", "PUT /v1/agent/join/[::1]:8301"],
    );
    let half = quorate("join 10.0.0.2 10.0.0.3", &[(500, "nobody is there"), (200, "")]);
    assert_eq!((half.code, half.out.as_str()), (0, "Successfully joined cluster by contacting 1 nodes.\n"));
    assert!(half.err.contains("10.0.0.2") && half.err.contains("nobody is there"), "{half:?}");
    fails(quorate("join 10.0.0.2", &[(500, "nobody is there")]), &["10.0.0.2", "Failed to join any nodes", "8301"]);
    fails(quorate("join", &[]), &["ADDRESS"]);
    fails(quorate("join -wan 10.0.0.2", &[]), &["-wan"]);
    shows(quorate("leave", &[(200, "")]), "Graceful leave complete\n", &["PUT /v1/agent/leave"]);
}

#[test]
fn info() {
    let own = r#"{"Config":{},"Stats":{"raft":{"term":"2","state":"Leader"},"agent":{"checks":1}},"Member":{}}"#;
    shows(
        quorate("info", &[(200, own)]),
        "agent:\n\tchecks = 1\nraft:\n\tstate = Leader\n\tterm = 2\n",
        &["GET /v1/agent/self"],
    );
}

#[test]
fn what_needs_no_agent() {
    let version = quorate("version", &[]);
    assert_eq!(version.out, concat!("Quorate v", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(quorate("--version", &[]).out, version.out);
    assert!(quorate("version -format=json", &[]).out.contains("\"Version\": \"0."));
    let (one, other) = (quorate("keygen", &[]).out, quorate("keygen", &[]).out);
    assert!(one.len() == 45 && one != other, "32 bytes are 44 letters: {one}");
}

#[test]
fn help_and_unknown_words() {
    let bare = quorate("", &[]);
    assert_eq!((bare.code, bare.out.as_str()), (127, quorate_cli::command_list().as_str()));
    for line in ["help", "-help", "--help", "-h"] {
        assert_eq!((quorate(line, &[]).code, quorate(line, &[]).out), (0, bare.out.clone()), "{line}");
    }
    for line in ["kv put -help", "kv put -h", "help kv put", "kv help put"] {
        let help = quorate(line, &[]);
        assert_eq!(help.code, 0, "{line}");
        assert!(help.out.contains("quorate kv put") && help.out.contains("--modify-index"), "{line}: {}", help.out);
    }
    for (line, hint) in [("membrs", "'members'"), ("cat", "'catalog'"), ("frobnicate", "quorate help")] {
        let unknown = quorate(line, &[]);
        assert_eq!((unknown.code, unknown.out.as_str()), (127, ""), "{line}");
        assert!(unknown.err.contains(hint), "{}", unknown.err);
    }
    fails(quorate("members -nosuch", &[]), &["--nosuch"]);
    fails(quorate("kv frob", &[]), &["frob"]);
}

#[test]
fn where_the_agent_is_and_what_it_is_shown() {
    let set = |pairs: &[(&str, &str)]| Run {
        env: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Run::default()
    };
    for (env, options, token) in [
        (&[][..], "", ""),
        (&[("CONSUL_HTTP_TOKEN", "c")], "", " token=c"),
        (&[("CONSUL_HTTP_TOKEN", "c"), ("QUORATE_HTTP_TOKEN", "q")], "", " token=q"),
        (&[("CONSUL_HTTP_TOKEN", "c")], "-token=t", " token=t"),
        (&[("CONSUL_HTTP_TOKEN", "")], "--token t", " token=t"),
    ] {
        let ended = set(env).against(&format!("kv get a {options}"), &[(200, ENTRY)]);
        assert_eq!(ended.asked, [format!("GET /v1/kv/a{token}")], "{env:?} {options}");
    }
    fails(quorate("leave -token-file=/no/such/file", &[]), &["/no/such/file", "-token-file"]);
    for address in ["https://127.0.0.1:8501", "unix:///run/agent.sock"] {
        fails(quorate(&format!("leave -http-addr={address}"), &[]), &[address, "not supported yet", "127.0.0.1:8500"]);
    }
    fails(set(&[("CONSUL_HTTP_SSL", "true")]).against("leave", &[]), &["https://", "not supported yet"]);
    // The option goes before the environment, and all spellings work on either side of the command.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for option in ["-http-addr=", "-http-addr ", "--http-addr=", "--http-addr "] {
        fails(
            quorate(&format!("kv get a {option}{closed}"), &[(200, ENTRY)]),
            &["reading the key 'a'", &format!("http://{closed}"), "refused", "quorate agent -dev"],
        );
    }
}

#[test]
fn refusals_say_what_to_do() {
    for (status, body, next) in [
        (500, "No cluster leader", "Retry in a few seconds"),
        (500, "No known Consul servers", "quorate join"),
        (500, "No path to datacenter", "quorate catalog datacenters"),
        (500, "leadership lost while committing log: the write may or may not have happened", "Look before"),
        (500, "rpc error: the server did not answer in time", "quorate members"),
        (500, "agent is shutting down", "-http-addr"),
        (500, "id \"x\" was not found in the Raft configuration", "list-peers"),
        (403, "Permission denied", "-token"),
        (429, "", "Retry in a moment"),
    ] {
        fails(
            quorate("catalog nodes", &[(status, body)]),
            &["listing the nodes", &format!("Unexpected response code: {status} ({body})"), next],
        );
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    for line in ["version", "help", "keygen", "", "help kv"] {
        let mut err = Vec::new();
        let env: BTreeMap<String, String> = BTreeMap::new();
        let look = |name: &str| env.get(name).cloned();
        let mut surroundings = quorate_cli::Surroundings {
            input: &mut std::io::empty(),
            out: &mut Gone,
            err: &mut err,
            err_is_terminal: false,
            env: &look,
        };
        let args = line.split_whitespace().map(Into::into).collect();
        assert_eq!(quorate_cli::run(args, &mut surroundings), 0, "{line}");
        assert!(err.is_empty(), "{line}");
    }
}
