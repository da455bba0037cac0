//! Queries between agents without any server: who is asked, who answers, and how whoever asked is told.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Input, Ticket};
use quorate_protocol::query::PING;
use quorate_protocol::{AgentEvent, Ask, EventId, LocalRequest, Query, Question, Refusal, Reply};
use std::time::Duration;
use support::*;

fn question(name: &str) -> Question {
    Question { name: name.into(), ..Question::default() }
}

fn ask(agents: &mut Agents, number: u8, question: Question) -> Reply {
    agents.ask(number, Ask::Local(LocalRequest::Query { question }))
}

fn asked(reply: Reply) -> (EventId, Duration) {
    match reply {
        Reply::Asked { query, timeout } => (query, timeout),
        other => panic!("{other:?}"),
    }
}

fn responses(query: EventId, after: usize, timeout: Duration) -> LocalRequest {
    LocalRequest::Responses { query, after, timeout }
}

/// Who said what, `ack` where it is nothing; and whether it is over.
fn told(reply: Reply) -> (Vec<String>, bool) {
    let Reply::Responses { responses, over } = reply else { panic!("{reply:?}") };
    let said = |answer: Option<bytes::Bytes>| answer.map_or("ack".into(), |a| String::from_utf8(a.into()).unwrap());
    let mut told: Vec<String> = responses.into_iter().map(|one| format!("{} {}", one.node, said(one.answer))).collect();
    told.sort();
    (told, over)
}

/// The queries that programs beside this agent are told of.
fn heard(agents: &mut Agents, number: u8) -> Vec<Query> {
    let happened = LocalRequest::Happened { after: Some(0), timeout: Duration::ZERO };
    let Reply::Happened { events, .. } = agents.ask(number, Ask::Local(happened)) else { panic!("no events") };
    let query = |(_, event)| if let AgentEvent::Query(query) = event { Some(query) } else { None };
    events.into_iter().filter_map(query).collect()
}

fn answer(agents: &mut Agents, number: u8, query: EventId, answer: &[u8]) -> Reply {
    let answer = bytes::Bytes::copy_from_slice(answer);
    agents.ask(number, Ask::Local(LocalRequest::AnswerQuery { query, answer }))
}

#[test]
fn those_whom_it_is_for_are_told_and_their_answers_come_back() {
    let mut agents = Agents::clients(3);
    let nodes = ["n2".to_owned(), "n3".to_owned()].into();
    let tags = [("role".to_owned(), "^node$".to_owned())].into();
    let (query, _) = asked(ask(&mut agents, 1, Question { nodes, tags, ack: true, ..question("load") }));
    agents.pass(SECOND / 2);
    assert_eq!(heard(&mut agents, 1), []);
    assert_eq!(heard(&mut agents, 2)[0].question.name, "load");
    let first = agents.ask(1, Ask::Local(responses(query, 0, Duration::ZERO)));
    assert_eq!(told(first), (vec!["n2 ack".into(), "n3 ack".into()], false));

    // Somebody follows, and is told as soon as there is more.
    let waiting = agents.send(1, Ask::Local(responses(query, 2, 60 * SECOND)));
    agents.pass(SECOND / 10);
    assert_eq!(agents.replies.get(&waiting), None);
    assert!(matches!(answer(&mut agents, 2, query, &[0; 1025]), Reply::Refused(Refusal::Invalid(_))));
    assert_eq!(answer(&mut agents, 2, query, b"0.5"), Reply::Done);
    assert!(matches!(answer(&mut agents, 2, query, b"again"), Reply::Refused(Refusal::NotFound(_))), "once each");
    assert!(matches!(answer(&mut agents, 1, query, b"x"), Reply::Refused(Refusal::NotFound(_))), "not asked");
    assert_eq!(told(agents.replies.remove(&waiting).unwrap()), (vec!["n2 0.5".into()], false));

    // It ends for those who follow when its time is up; late answers are refused; its responses can be fetched for a while.
    let waiting = agents.send(1, Ask::Local(responses(query, 3, 60 * SECOND)));
    agents.pass(2 * SECOND);
    assert_eq!(told(agents.replies.remove(&waiting).unwrap()), (vec![], true));
    assert!(matches!(answer(&mut agents, 3, query, b"late"), Reply::Refused(Refusal::NotFound(_))));
    agents.pass(10 * SECOND);
    assert_eq!(told(agents.ask(1, Ask::Local(responses(query, 0, SECOND)))).0.len(), 3);
    agents.pass(30 * SECOND);
    let gone = agents.ask(1, Ask::Local(responses(query, 0, SECOND)));
    assert!(matches!(gone, Reply::Refused(Refusal::NotFound(_))));
}

#[test]
fn everybody_says_that_a_ping_arrived_and_no_program_hears_of_it() {
    let mut agents = Agents::clients(3);
    let (query, timeout) = asked(ask(&mut agents, 2, Question { ack: true, ..question(PING) }));
    agents.pass(timeout);
    let reply = agents.ask(2, Ask::Local(responses(query, 0, Duration::ZERO)));
    assert_eq!(told(reply), (["n1 ack", "n2 ack", "n3 ack"].map(String::from).into(), true));
    assert_eq!(heard(&mut agents, 1), []);
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_do() {
    let mut agents = Agents::clients(1);
    let tags = [("role".to_owned(), "(".to_owned())].into();
    for (question, why) in [
        (question("_keyring"), "begin with _"),
        (question(""), "without a name"),
        (Question { payload: vec![0; 2000].into(), ..question("q") }, "too long"),
        (Question { tags, ..question("q") }, "invalid tag role filter"),
    ] {
        match ask(&mut agents, 1, question) {
            Reply::Refused(Refusal::Invalid(sentence)) => assert!(sentence.contains(why), "{sentence}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn whoever_stops_following_is_forgotten() {
    let mut agents = Agents::clients(1);
    let (query, _) = asked(ask(&mut agents, 1, question("q")));
    let waiting = agents.send(1, Ask::Local(responses(query, 0, 60 * SECOND)));
    agents.engines.get_mut(&1).unwrap().handle(agents.now, Input::Abandon { ticket: Ticket(waiting) });
    agents.pass(10 * SECOND);
    assert_eq!(agents.replies.get(&waiting), None);
}
