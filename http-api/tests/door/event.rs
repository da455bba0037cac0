//! `/v1/event/`, `/v1/agent/events`, `/v1/agent/tags` and `/v1/agent/force-leave/`.

use crate::fake::*;
use axum::body::Body;
use http::Request;
use quorate_protocol::{
    AgentEvent, Ask, EventFilter, EventId, LocalRequest, LogIndex, Member, MemberStatus, NodeId, Refusal, Reply,
    UserEvent, Wait,
};
use std::time::Duration;

fn event(name: &str, payload: &str, ltime: u64) -> UserEvent {
    UserEvent {
        id: EventId([0xcd; 16]),
        ltime,
        origin: NodeId([1; 16]),
        name: name.to_owned(),
        payload: bytes(payload),
        filter: EventFilter::default(),
    }
}

#[tokio::test]
async fn an_event_is_sent_out() {
    let fired = UserEvent {
        filter: EventFilter { node: "^web".to_owned(), service: "api".to_owned(), tag: "v1".to_owned() },
        ..event("deploy", "v2", 7)
    };
    let path = "PUT /v1/event/fire/deploy?node=%5Eweb&service=api&tag=v1&dc=dc1";
    let seen = call(path, "v2", [Reply::UserEvents(vec![fired.clone()])]).await;
    seen.answered(
        200,
        r#"{"ID":"cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd","Name":"deploy","Payload":"djI=","NodeFilter":"^web","ServiceFilter":"api","TagFilter":"v1","Version":1,"LTime":0}"#,
    );
    let asked = LocalRequest::FireEvent { name: "deploy".to_owned(), payload: bytes("v2"), filter: fired.filter };
    assert_eq!(seen.local(), &asked);
    let bare = call("PUT /v1/event/fire/deploy", "", [Reply::UserEvents(vec![event("deploy", "", 1)])]).await;
    assert!(bare.body.contains(r#""Payload":null,"NodeFilter":"""#), "{}", bare.body);
    call("PUT /v1/event/fire/", "", []).await.refused(400, "Missing name");
    call("PUT /v1/event/fire/x?dc=other", "", []).await.refused(500, "No path to datacenter");
    let long = [Reply::Refused(Refusal::Invalid("513 bytes are more than the 512 allowed here".to_owned()))];
    call("PUT /v1/event/fire/x", "", long).await.answered(400, "513 bytes are more than the 512 allowed here");
}

#[tokio::test]
async fn events_are_listed_and_waited_for_by_a_number_that_does_not_grow() {
    let list = [Reply::UserEvents(vec![event("a", "", 1), event("b", "1", 2)])];
    let seen = call("GET /v1/event/list", "", list).await;
    assert_eq!((seen.status, seen.header("x-consul-index")), (200, Some("1")), "two equal halves make none");
    assert_eq!(seen.local(), &LocalRequest::UserEvents { name: String::new(), wait: None });
    assert!(
        seen.body.contains(r#""Name":"b","Payload":"MQ==""#) && seen.body.contains(r#""LTime":2"#),
        "{}",
        seen.body
    );

    let mut last = event("a", "", 1);
    last.id = EventId([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let seen = call("GET /v1/event/list?name=a&index=5&wait=10s", "", [Reply::UserEvents(vec![last])]).await;
    assert_eq!(seen.header("x-consul-index"), Some("72057594037927938"));
    let wait = Some(Wait { index: LogIndex(5), timeout: Duration::from_secs(10) });
    assert_eq!(seen.local(), &LocalRequest::UserEvents { name: "a".to_owned(), wait });
    let none = call("GET /v1/event/list", "", [Reply::UserEvents(vec![])]).await;
    none.answered(200, "[]");
    assert_eq!(none.header("x-consul-index"), Some("1"));
}

fn happened(events: Vec<(u64, AgentEvent)>, last: u64, missed: bool) -> Reply {
    Reply::Happened { events, last, missed }
}

fn failed(name: &str) -> AgentEvent {
    let member = Member {
        id: NodeId([2; 16]),
        name: name.to_owned(),
        address: "127.0.0.2:8301".parse().unwrap(),
        tags: texts([]),
        status: MemberStatus::Failed,
        generation: 1,
    };
    AgentEvent::Member { kind: "member-failed".to_owned(), member }
}

#[tokio::test]
async fn what_happens_is_followed() {
    let replies = vec![
        happened(vec![], 40, false),
        happened(vec![(41, failed("n2")), (42, AgentEvent::User(event("deploy", "", 3)))], 42, false),
        happened(vec![], 42, false),
        happened(vec![(90, AgentEvent::User(event("other", "", 4)))], 90, true),
        Reply::Refused(Refusal::Stopping),
    ];
    let seen = call("GET /v1/agent/events?type=member-failed,user:deploy", "", replies).await;
    let member = r#"{"Name":"n2","Addr":"127.0.0.2","Port":8301,"Tags":{},"Status":4,"ProtocolMin":1,"ProtocolMax":5,"ProtocolCur":2,"DelegateMin":2,"DelegateMax":5,"DelegateCur":4}"#;
    let user = r#"{"ID":"cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd","Name":"deploy","Payload":null,"NodeFilter":"","ServiceFilter":"","TagFilter":"","Version":1,"LTime":3}"#;
    let told = format!(
        ":\n\n:\n\nevent: member-failed\nid: 41\ndata: {member}\n\nevent: user\nid: 42\ndata: {user}\n\n\
         :\n\nevent: missed\ndata: {{}}\n\n: agent is shutting down\n\n"
    );
    seen.answered(200, &told);
    assert_eq!(seen.header("content-type"), Some("text/event-stream"));
    let asked: Vec<_> = seen
        .asked
        .iter()
        .map(|request| match &request.ask {
            Ask::Local(LocalRequest::Happened { after, timeout }) => (*after, timeout.as_secs()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [(None, 0), (Some(40), 28), (Some(42), 28), (Some(42), 28), (Some(90), 28)]);
}

#[tokio::test]
async fn a_follower_resumes_where_it_broke_off_and_bad_wishes_are_refused() {
    let request = Request::get("/v1/agent/events").header("Last-Event-ID", "41").body(Body::empty()).unwrap();
    let seen = send(request, [happened(vec![], 41, false), Reply::Refused(Refusal::Stopping)]).await;
    let first = LocalRequest::Happened { after: Some(41), timeout: Duration::ZERO };
    assert_eq!(seen.asked[0].ask, Ask::Local(first));
    let bad = call("GET /v1/agent/events?type=member-jion", "", []).await;
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("member-jion") && bad.body.contains("member-join"), "{}", bad.body);
    call("GET /v1/agent/events", "", [Reply::Refused(Refusal::Busy)]).await.answered(429, "RPC rate limit exceeded");
}

#[tokio::test]
async fn tags_are_changed() {
    let seen = put("/v1/agent/tags", r#"{"Set": {"rack": "r1"}, "Delete": ["old"]}"#).await;
    seen.answered(200, "");
    let asked = LocalRequest::ChangeTags { set: texts([("rack", "r1")]), delete: ["old".to_owned()].into() };
    assert_eq!(seen.local(), &asked);
    let own = [Reply::Refused(Refusal::Invalid("the tag \"role\" is the agent's own".to_owned()))];
    call("PUT /v1/agent/tags", r#"{"Set":{"role":"x"}}"#, own)
        .await
        .answered(400, "the tag \"role\" is the agent's own");
    assert_eq!(put("/v1/agent/tags", r#"{"Set": 3}"#).await.status, 400);
}

#[tokio::test]
async fn the_failed_are_declared_gone() {
    for (path, prune) in [("n2", false), ("n2?prune", true), ("n2?prune=1", true), ("n2?prune=false", false)] {
        let seen = put(&format!("/v1/agent/force-leave/{path}"), "").await;
        seen.answered(200, "");
        assert_eq!(seen.local(), &LocalRequest::ForceLeave { name: "n2".to_owned(), prune }, "{path}");
    }
    let unknown = [Reply::Refused(Refusal::NotFound("agent: No node found with name 'x'".to_owned()))];
    call("PUT /v1/agent/force-leave/x", "", unknown).await.answered(500, "agent: No node found with name 'x'");
}
