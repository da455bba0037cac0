//! `query` and `reachability` against an agent that says what the script says.

// Helpers of tests may panic as tests do, and the scripted agent needs a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scripted;

use scripted::quorate;

/// What an agent answers to a query; `done` where it did not end early.
fn stream(events: &[(&str, &str)]) -> String {
    let mut text = "event: asked\ndata: {\"ID\":\"x\",\"Timeout\":\"1.6s\"}\n\n:\n\n".to_owned();
    for (kind, data) in events {
        text.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
    }
    text
}

const DONE: (&str, &str) = ("done", r#"{"Acks":2,"Answers":1}"#);

#[test]
fn answers_are_shown_as_serf_shows_them() {
    let told = stream(&[
        ("ack", r#"{"Node":"c1"}"#),
        ("answer", r#"{"Node":"c1","Payload":"MC41"}"#),
        ("ack", r#"{"Node":"c2"}"#),
        DONE,
    ]);
    let ended = quorate("query -node c1 -node c2 -tag role=web -timeout 2s -relay-factor 2 load why", &[(200, &told)]);
    assert_eq!(
        ended.out,
        "Query 'load' dispatched\nAck from 'c1'\nResponse from 'c1': 0.5\nAck from 'c2'\nTotal Acks: 2\nTotal Responses: 1\n"
    );
    assert_eq!(
        ended.asked,
        ["PUT /v1/agent/query/load?node=c1&node=c2&tag=role%3Dweb&timeout=2s&relay-factor=2&ack= why"]
    );
    let json = quorate("query -no-ack -format=json load", &[(200, &told)]);
    let shown: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(shown, serde_json::json!({"Acks": ["c1", "c2"], "Responses": {"c1": "0.5"}}));
    assert_eq!(json.asked, ["PUT /v1/agent/query/load"]);
}

#[test]
fn what_went_wrong_is_said_with_the_next_step() {
    for (command, answer, words) in [
        ("query", None, "quorate query NAME"),
        ("query load", Some((200, stream(&[("ack", r#"{"Node":"c1"}"#)]))), "ended early"),
        ("query load", Some((400, "too long".to_owned())), "asking all agents"),
    ] {
        let script: Vec<(u16, &str)> = answer.iter().map(|(status, body)| (*status, body.as_str())).collect();
        let ended = quorate(command, &script);
        assert!(ended.code == 1 && ended.err.contains(words), "{command}: {ended:?}");
    }
}

const MEMBERS: &str = r#"[{"Name":"c1","Status":1},{"Name":"c2","Status":1},{"Name":"c3","Status":4}]"#;

#[test]
fn reachability_ends_when_all_who_live_have_answered_and_names_those_who_have_not() {
    let (c1, c2) = (("ack", r#"{"Node":"c1"}"#), ("ack", r#"{"Node":"c2"}"#));
    let all = stream(&[c1, c2]);
    let ended = quorate("reachability -verbose", &[(200, MEMBERS), (200, &all)]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (
            0,
            "Starting reachability test...\n\tAck from 'c1'\n\tAck from 'c2'\nSuccessfully contacted all 2 live nodes\n"
        )
    );
    assert_eq!(ended.asked, ["GET /v1/agent/members", "PUT /v1/agent/query/_ping?ack="]);
    let one = stream(&[c1, DONE]);
    let ended = quorate("reachability", &[(200, MEMBERS), (200, &one)]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.ends_with("Received acks from 1 of 2 live nodes\n"), "{ended:?}");
    assert!(ended.err.contains("No answer from: c2. "), "{ended:?}");
}
