//! `/v1/agent/query/` and `/v1/agent/answer/`.

use crate::fake::*;
use quorate_protocol::query::Response;
use quorate_protocol::{Ask, EventId, LocalRequest, NodeId, Query, Question, Refusal, Reply};
use std::time::Duration;

const ID: EventId = EventId([0xcd; 16]);
const ID_TEXT: &str = "cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd";

fn asked() -> Reply {
    Reply::Asked { query: ID, timeout: Duration::from_millis(1600) }
}

fn said(responses: &[(&str, Option<&str>)], over: bool) -> Reply {
    let response =
        |(node, answer): &(&str, Option<&str>)| Response { node: (*node).to_owned(), answer: answer.map(bytes) };
    Reply::Responses { responses: responses.iter().map(response).collect(), over }
}

#[tokio::test]
async fn a_question_is_asked_and_its_answers_are_told_as_they_come() {
    let replies =
        [asked(), said(&[("c1", None), ("c2", Some("0.5"))], false), said(&[], false), said(&[("c2", None)], true)];
    let path = "PUT /v1/agent/query/load?node=c1&node=c2&tag=role%3Dweb%7Cdb&timeout=2s&relay-factor=3&ack";
    let seen = call(path, "why", replies).await;
    seen.answered(
        200,
        &format!(
            "event: asked\ndata: {{\"ID\":\"{ID_TEXT}\",\"Timeout\":\"1.6s\"}}\n\n\
             event: ack\ndata: {{\"Node\":\"c1\"}}\n\n\
             event: answer\ndata: {{\"Node\":\"c2\",\"Payload\":\"MC41\"}}\n\n:\n\n\
             event: ack\ndata: {{\"Node\":\"c2\"}}\n\n\
             event: done\ndata: {{\"Acks\":2,\"Answers\":1}}\n\n"
        ),
    );
    assert_eq!(seen.header("content-type"), Some("text/event-stream"));
    let question = Question {
        name: "load".to_owned(),
        payload: bytes("why"),
        nodes: ["c1".to_owned(), "c2".to_owned()].into(),
        tags: texts([("role", "web|db")]),
        ack: true,
        relays: 3,
        timeout: Duration::from_secs(2),
    };
    assert_eq!(seen.asked[0].ask, Ask::Local(LocalRequest::Query { question }));
    let after = |n: usize| LocalRequest::Responses { query: ID, after: n, timeout: Duration::from_secs(28) };
    let followed: Vec<_> = seen.asked[1..].iter().map(|request| request.ask.clone()).collect();
    assert_eq!(followed, [after(0), after(2), after(2)].map(Ask::Local));
}

#[tokio::test]
async fn bad_questions_are_refused_and_a_stream_says_why_it_ends() {
    for (path, why) in [
        ("query/", "Missing name"),
        ("query/q?tag=role", "?tag=\"role\" is no filter: write it as KEY=REGEX"),
        ("query/q?timeout=soon", "Invalid timeout \"soon\""),
        ("answer/", "Missing query ID"),
        ("answer/7", "\"7\" is no ID of a query"),
    ] {
        call(&format!("PUT /v1/agent/{path}"), "", []).await.refused(400, why);
    }
    let ended = call("PUT /v1/agent/query/q", "", [asked(), Reply::Refused(Refusal::Stopping)]).await;
    assert!(ended.body.ends_with("\n\n: agent is shutting down\n\n"), "{}", ended.body);
    call("PUT /v1/agent/query/q", "", [Reply::Refused(Refusal::Busy)]).await.answered(429, "RPC rate limit exceeded");
}

#[tokio::test]
async fn a_program_is_told_of_a_query_and_answers_it() {
    let question = Question { name: "load".to_owned(), timeout: Duration::from_secs(5), ..Question::default() };
    let address = ([127, 0, 0, 1], 8301).into();
    let query = Query { id: ID, ltime: 7, origin: NodeId([1; 16]), address, question };
    let told =
        Reply::Happened { events: vec![(5, quorate_protocol::AgentEvent::Query(query))], last: 5, missed: false };
    let seen = call("GET /v1/agent/events?type=query:load", "", [told, Reply::Refused(Refusal::Stopping)]).await;
    let row = format!(r#"{{"ID":"{ID_TEXT}","Name":"load","Payload":null,"Timeout":"5s","LTime":7}}"#);
    assert!(seen.body.contains(&format!("event: query\nid: 5\ndata: {row}\n\n")), "{}", seen.body);

    let seen = put(&format!("/v1/agent/answer/{ID_TEXT}"), "0.5").await;
    seen.answered(200, "");
    assert_eq!(seen.local(), &LocalRequest::AnswerQuery { query: ID, answer: bytes("0.5") });
}
