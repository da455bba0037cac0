//! User events, tags and followers, without any server.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, Input, Ticket};
use quorate_protocol::event::event_index;
use quorate_protocol::{
    AgentEvent, Ask, EventFilter, LocalRequest, LogIndex, MemberStatus, Refusal, Reply, UserEvent, Wait,
};
use std::collections::{BTreeMap, BTreeSet};
use support::*;

fn fire(name: &str, filter: EventFilter) -> Ask {
    Ask::Local(LocalRequest::FireEvent { name: name.into(), payload: "x".into(), filter })
}

fn list(name: &str, wait: Option<Wait>) -> Ask {
    Ask::Local(LocalRequest::UserEvents { name: name.into(), wait })
}

fn events(reply: Option<Reply>) -> Vec<UserEvent> {
    match reply {
        Some(Reply::UserEvents(events)) => events,
        other => panic!("{other:?}"),
    }
}

fn names(agents: &mut Agents, number: u8) -> Vec<String> {
    events(Some(agents.ask(number, list("", None)))).into_iter().map(|event| event.name).collect()
}

fn happened(reply: Option<Reply>) -> (Vec<(u64, String)>, u64, bool) {
    let name = |event: &AgentEvent| match event {
        AgentEvent::Member { kind, member } => format!("{kind} {}", member.name),
        AgentEvent::User(event) => format!("user {}", event.name),
        AgentEvent::Query(query) => format!("query {}", query.question.name),
    };
    match reply {
        Some(Reply::Happened { events, last, missed }) => {
            (events.iter().map(|(number, event)| (*number, name(event))).collect(), last, missed)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_is_kept_by_those_whom_it_is_for() {
    let mut agents = Agents::clients(3);
    agents.register(2, "web");
    let on = |node: &str, service: &str| EventFilter { node: node.into(), service: service.into(), tag: String::new() };
    for (name, filter) in [("all", on("", "")), ("third", on("3$", "")), ("web", on("", "^web$"))] {
        assert_eq!(events(Some(agents.ask(1, fire(name, filter)))).len(), 1);
    }
    agents.pass(SECOND);
    assert_eq!(names(&mut agents, 1), ["all"]);
    assert_eq!(names(&mut agents, 2), ["all", "web"]);
    assert_eq!(names(&mut agents, 3), ["all", "third"]);
    for (name, filter, why) in [
        ("x", on("(", ""), "invalid node filter"),
        ("x", EventFilter { tag: "t".into(), ..EventFilter::default() }, "without a service filter"),
        (&"n".repeat(300), on("", ""), "too long"),
    ] {
        match agents.ask(1, fire(name, filter)) {
            Reply::Refused(Refusal::Invalid(sentence)) => assert!(sentence.contains(why), "{sentence}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_list_is_waited_for_until_it_is_another() {
    let mut agents = Agents::clients(2);
    agents.ask(1, fire("a", EventFilter::default()));
    agents.pass(SECOND);
    let seen = event_index(&events(Some(agents.ask(2, list("a", None)))));
    let wait = |index| Some(Wait { index, timeout: 60 * SECOND });
    // Whoever saw another list is told at once.
    assert_eq!(events(Some(agents.ask(2, list("a", wait(LogIndex(1)))))).len(), 1);
    let waiting = agents.send(2, list("a", wait(seen)));
    agents.ask(1, fire("b", EventFilter::default()));
    agents.pass(SECOND);
    assert!(!agents.replies.contains_key(&waiting), "b is none of its business");
    agents.ask(1, fire("a", EventFilter::default()));
    agents.pass(SECOND);
    assert_eq!(events(agents.replies.remove(&waiting)).len(), 2);
    let none = agents.send(2, list("c", wait(LogIndex(1))));
    agents.pass(59 * SECOND);
    assert!(!agents.replies.contains_key(&none));
    agents.pass(2 * SECOND);
    assert_eq!(events(agents.replies.remove(&none)), []);
}

#[test]
fn a_follower_is_told_everything_in_order_and_what_it_missed() {
    let mut agents = Agents::clients(2);
    let ask = |after, timeout| Ask::Local(LocalRequest::Happened { after, timeout: timeout * SECOND });
    let (begun, last, missed) = happened(Some(agents.ask(1, ask(Some(0), 0))));
    assert!(missed, "nobody remembers what was before the start");
    assert_eq!(begun.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>(), ["member-join n1", "member-join n2"]);
    let follower = agents.send(1, ask(None, 60));
    let gone = agents.send(1, ask(None, 60));
    agents.engines.get_mut(&1).unwrap().handle(agents.now, Input::Abandon { ticket: Ticket(gone) });
    agents.ask(2, fire("deploy", EventFilter::default()));
    agents.pass(SECOND);
    assert_eq!(happened(agents.replies.remove(&follower)), (vec![(last + 1, "user deploy".into())], last + 1, false));
    assert!(!agents.replies.contains_key(&gone));
    agents.engines.remove(&2);
    agents.pass(30 * SECOND);
    let (after, end, missed) = happened(Some(agents.ask(1, ask(Some(last + 1), 60))));
    assert_eq!((after, missed), (vec![(last + 2, "member-failed n2".into())], false));
    let waiting = agents.send(1, ask(Some(end), 10));
    agents.pass(11 * SECOND);
    assert_eq!(happened(agents.replies.remove(&waiting)), (vec![], end, false));
    let (all, _, missed) = happened(Some(agents.ask(1, ask(Some(end + 1_000_000), 60))));
    assert_eq!((all.len(), missed), (4, true), "the clock of an earlier life was ahead");
}

#[test]
fn tags_change_at_run_time_and_the_agents_own_do_not() {
    let mut agents = Agents::clients(2);
    let change = |set: &[(&str, &str)], delete: &[&str]| {
        let set: BTreeMap<String, String> = set.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let delete: BTreeSet<String> = delete.iter().map(|key| (*key).into()).collect();
        Ask::Local(LocalRequest::ChangeTags { set, delete })
    };
    let tag = |agents: &Agents, key: &str| {
        let members: Vec<_> = agents.engines[&2].members().cloned().collect();
        members.iter().find(|member| member.name == "n1").and_then(|member| member.tags.get(key).cloned())
    };
    assert_eq!(agents.ask(1, change(&[("rack", "r1"), ("zone", "z")], &[])), Reply::Done);
    agents.pass(SECOND);
    assert_eq!(tag(&agents, "rack").as_deref(), Some("r1"));
    assert_eq!(agents.ask(1, change(&[("rack", "r2")], &["zone"])), Reply::Done);
    agents.pass(SECOND);
    assert_eq!((tag(&agents, "rack").as_deref(), tag(&agents, "zone")), (Some("r2"), None));
    assert_eq!(tag(&agents, "dc").as_deref(), Some("dc1"));
    for ask in [change(&[("role", "consul")], &[]), change(&[], &["dc"]), change(&[("", "x")], &[])] {
        assert!(matches!(agents.ask(1, ask), Reply::Refused(Refusal::Invalid(_))));
    }
    let long = "x".repeat(600);
    assert!(matches!(agents.ask(1, change(&[("long", &long)], &[])), Reply::Refused(Refusal::Invalid(_))));
    agents.pass(SECOND);
    assert_eq!(tag(&agents, "rack").as_deref(), Some("r2"));
    // A restart keeps them.
    let saved = agents.saved.remove(&1).unwrap();
    agents.start(Config { generation: 2, saved, ..config(1, None) });
    agents.pass(5 * SECOND);
    assert_eq!(tag(&agents, "rack").as_deref(), Some("r2"));
}

#[test]
fn the_failed_are_declared_gone_and_the_living_are_not() {
    let mut agents = Agents::clients(3);
    let gone = |name: &str, prune| Ask::Local(LocalRequest::ForceLeave { name: name.into(), prune });
    agents.engines.remove(&3);
    agents.pass(30 * SECOND);
    let status = |agents: &Agents| agents.engines[&2].members().find(|member| member.name == "n3").map(|m| m.status);
    assert_eq!(status(&agents), Some(MemberStatus::Failed));
    assert_eq!(agents.ask(1, gone("n3", false)), Reply::Done);
    agents.pass(SECOND);
    assert_eq!(status(&agents), Some(MemberStatus::Left));
    assert_eq!(agents.ask(1, gone("n3", true)), Reply::Done);
    agents.pass(SECOND);
    assert_eq!(status(&agents), None);
    for (name, why) in [("n3", "No node found"), ("n2", "is alive")] {
        match agents.ask(1, gone(name, false)) {
            Reply::Refused(Refusal::NotFound(sentence)) => assert!(sentence.contains(why), "{sentence}"),
            other => panic!("{other:?}"),
        }
    }
}
