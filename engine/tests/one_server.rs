//! A server alone: every journey that needs no other agent, on a clock of its own.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, Engine, Input, Ticket};
use quorate_protocol::{
    Answer, Ask, CheckDefinition, CheckKind, Consistency, HealthFilter, KvRead, KvWrite, LocalRequest, LogIndex,
    Outcome, Pair, Read, ReadRequest, Refusal, Reply, Request, Service, Status, StatusRequest, Time, Wait, Write,
};
use std::collections::BTreeMap;
use std::time::Duration;
use support::alone::Alone;

/// One that knows of nobody else.
fn config(server: bool) -> Config {
    Config { join: Vec::new(), ..support::config(1, server.then_some(1)) }
}

impl Alone {
    fn server() -> Alone {
        let mut alone = Alone::new(config(true));
        alone.pass(Duration::from_secs(2));
        alone
    }

    fn put(&mut self, key: &str, value: &str) -> Reply {
        let pair = Pair { key: key.into(), value: value.to_owned().into(), ..Pair::default() };
        self.ask(Ask::Write(Write::Kv(KvWrite::Put { pair, cas: None })))
    }

    fn read(&mut self, read: Read) -> (Answer, LogIndex) {
        match self.ask(Ask::Read(ReadRequest::now(read))) {
            Reply::Read { answer, index, known_leader: true, last_contact: Duration::ZERO } => (answer, index),
            other => panic!("{other:?}"),
        }
    }

    fn wait_for(&mut self, read: Read, index: LogIndex, timeout: Duration) -> u64 {
        let wait = Some(Wait { index, timeout });
        self.send(Ask::Read(ReadRequest { wait, ..ReadRequest::now(read) }))
    }
}

fn get(key: &str) -> Read {
    Read::Kv(KvRead::Get { key: key.into() })
}

fn value(reply: Option<Reply>) -> String {
    match reply {
        Some(Reply::Read { answer: Answer::Entries(entries), .. }) => {
            entries.iter().map(|entry| String::from_utf8_lossy(&entry.value.value).into_owned()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_is_read_back_at_every_consistency() {
    let mut server = Alone::server();
    assert!(matches!(server.put("a", "1"), Reply::Written { outcome: Outcome::Done, .. }));
    for consistency in [Consistency::Stale, Consistency::Default, Consistency::Consistent] {
        let ticket = server.send(Ask::Read(ReadRequest { consistency, ..ReadRequest::now(get("a")) }));
        let reply = server.reply(ticket);
        assert_eq!(value(reply), "1", "{consistency:?}");
    }
    assert!(matches!(server.ask(Ask::Status(StatusRequest::Leader)), Reply::Leader(Some(_))));
}

#[test]
fn a_blocking_question_ends_with_the_change_or_with_its_time() {
    let mut server = Alone::server();
    server.put("a", "1");
    let (_, index) = server.read(get("a"));
    let woken = server.wait_for(get("a"), index, Duration::from_secs(60));
    let bored = server.wait_for(get("b"), index, Duration::from_secs(10));
    assert!(server.reply(woken).is_none(), "nothing changed yet");
    server.put("other", "x");
    server.put("a", "1");
    assert!(server.reply(woken).is_none(), "another key, or an equal value, wakes nobody");
    server.put("a", "2");
    let reply = server.reply(woken);
    assert_eq!(value(reply), "2");

    server.pass(Duration::from_secs(9));
    assert!(server.reply(bored).is_none());
    server.pass(Duration::from_secs(1));
    let reply = server.reply(bored);
    assert_eq!(value(reply), "", "time is up: the answer as it is");
}

#[test]
fn an_abandoned_question_is_forgotten() {
    let mut server = Alone::server();
    server.put("a", "1");
    let (_, index) = server.read(get("a"));
    let ticket = server.wait_for(get("a"), index, Duration::from_secs(60));
    server.engine.handle(server.now, Input::Abandon { ticket: Ticket(ticket) });
    server.put("a", "2");
    assert!(server.reply(ticket).is_none());
}

#[test]
fn another_datacenter_is_not_known() {
    let mut server = Alone::server();
    let request = Request { dc: Some("dc2".into()), ask: Ask::Read(ReadRequest::now(get("a"))) };
    server.engine.handle(server.now, Input::Request { ticket: Ticket(99), request });
    server.take_outputs();
    assert_eq!(server.reply(99), Some(Reply::Refused(Refusal::NoPathToDatacenter)));
}

#[test]
fn a_client_without_servers_waits_a_moment_and_refuses() {
    let mut client = Alone::new(config(false));
    let ticket = client.send(Ask::Read(ReadRequest::now(get("a"))));
    client.pass(Duration::from_secs(4));
    assert_eq!(client.reply(ticket), None, "a server may still appear");
    client.pass(Duration::from_secs(2));
    assert_eq!(client.reply(ticket), Some(Reply::Refused(Refusal::NoServers)));
    assert!(matches!(client.ask(Ask::Local(LocalRequest::Members)), Reply::Members(members) if members.len() == 1));
}

#[test]
fn a_join_that_nobody_answers_says_so() {
    let mut client = Alone::new(config(false));
    let join = |text: &str| Ask::Local(LocalRequest::Join { addresses: vec![text.to_owned()] });
    let ticket = client.send(join("127.0.0.9:8301"));
    client.pass(Duration::from_secs(6));
    assert!(
        matches!(client.reply(ticket), Some(Reply::Refused(Refusal::Unreachable(why))) if why.contains("127.0.0.9:8301"))
    );
    for unresolved in ["db.example.com:8301", "127.0.0.9", ""] {
        let reply = client.ask(join(unresolved));
        assert!(matches!(reply, Reply::Refused(Refusal::Invalid(_))), "{unresolved}: {reply:?}");
    }
}

#[test]
fn a_ttl_check_lives_by_its_reports() {
    let mut server = Alone::server();
    let service = Service { name: "web".into(), port: 80, ..Service::default() };
    let check = CheckDefinition { kind: CheckKind::Ttl { ttl: Duration::from_secs(10) }, ..CheckDefinition::default() };
    let register = support::register(service, vec![check]);
    assert_eq!(server.ask(Ask::Local(register)), Reply::Done);
    server.pass(Duration::from_secs(1));
    let healthy = |server: &mut Alone| {
        let read = Read::ServiceHealth {
            service: "web".into(),
            tags: Vec::new(),
            node_meta: BTreeMap::new(),
            health: HealthFilter::NotCritical,
        };
        match server.read(read) {
            (Answer::Instances(instances), _) => instances.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(healthy(&mut server), 0, "critical until the first report");
    let report = |status| {
        let (check_id, output) = ("service:web".to_owned(), "so it is".to_owned());
        Ask::Local(LocalRequest::UpdateCheck { check_id, status, output })
    };
    assert_eq!(server.ask(report(Status::Passing)), Reply::Done);
    assert_eq!(healthy(&mut server), 1);
    server.pass(Duration::from_secs(9));
    assert_eq!(server.ask(report(Status::Warning)), Reply::Done);
    server.pass(Duration::from_secs(9));
    assert_eq!(healthy(&mut server), 1, "a warning is not critical, and the silence starts anew");
    server.pass(Duration::from_secs(2));
    assert_eq!(healthy(&mut server), 0, "silence is critical");

    // After a restart the agent still knows what was registered with it.
    let saved = server.saved.clone();
    let restarted = Engine::new(Config { saved, ..config(true) }, Time::ZERO).unwrap();
    assert!(restarted.local_services().contains_key("web"));
    assert!(restarted.local_checks().contains_key("service:web"));

    assert_eq!(server.ask(Ask::Local(LocalRequest::DeregisterService { service_id: "web".into() })), Reply::Done);
    let (answer, _) = server.read(Read::Services { node_meta: BTreeMap::new() });
    assert!(matches!(answer, Answer::Services(services) if !services.contains_key("web")));
    let again = server.ask(Ask::Local(LocalRequest::DeregisterService { service_id: "web".into() }));
    assert!(matches!(again, Reply::Refused(Refusal::NotFound(_))));
}

#[test]
fn the_leader_registers_itself() {
    let mut server = Alone::server();
    let (answer, _) = server.read(Read::NodeChecks { node: "n1".into() });
    assert!(matches!(&answer, Answer::Checks(checks) if checks.len() == 1 && checks[0].status == Status::Passing));
    let index = server.engine.store().unwrap().applied_index();
    server.pass(Duration::from_secs(600));
    assert_eq!(server.engine.store().unwrap().applied_index(), index, "nothing changes, nothing is written");
}

#[test]
fn the_servers_own_service_cannot_be_registered() {
    let mut server = Alone::server();
    let service = Service { id: "consul".into(), name: "web".into(), ..Service::default() };
    let register = support::register(service, Vec::new());
    assert!(matches!(server.ask(Ask::Local(register)), Reply::Refused(Refusal::Invalid(_))));
    let index = server.engine.store().unwrap().applied_index();
    server.pass(Duration::from_secs(600));
    assert_eq!(server.engine.store().unwrap().applied_index(), index, "agent and leader do not fight over it");
}

#[test]
fn a_saved_check_of_a_service_that_is_no_more_is_forgotten() {
    let mut before = Alone::new(Config {
        definitions: support::services(vec![Service { name: "web".into(), ..Service::default() }]),
        ..config(true)
    });
    before.pass(Duration::from_secs(2));
    let check = CheckDefinition { name: "alive".into(), service_id: "web".into(), ..CheckDefinition::default() };
    assert_eq!(before.ask(Ask::Local(LocalRequest::RegisterCheck { check })), Reply::Done);
    let saved = before.saved;
    assert_eq!(saved.checks.len(), 1);

    let mut after = Alone::new(Config { saved, ..config(true) });
    after.pass(Duration::from_secs(2));
    assert!(after.engine.local_checks().is_empty());
    let index = after.engine.store().unwrap().applied_index();
    after.pass(Duration::from_secs(600));
    assert_eq!(after.engine.store().unwrap().applied_index(), index, "nothing is tried in vain for ever");
}

#[test]
fn a_late_report_of_a_probe_does_not_speak_for_a_ttl_check() {
    let mut server = Alone::server();
    let check = CheckDefinition {
        name: "alive".into(),
        kind: CheckKind::Ttl { ttl: Duration::from_secs(10) },
        ..CheckDefinition::default()
    };
    assert_eq!(server.ask(Ask::Local(LocalRequest::RegisterCheck { check })), Reply::Done);
    let (check_id, status, output) = ("alive".to_owned(), Status::Passing, String::new());
    server.engine.handle(server.now, Input::CheckReport { check_id, status, output });
    assert_eq!(server.engine.local_checks()["alive"].status, Status::Critical);
}

#[test]
fn a_service_that_stays_critical_is_deregistered_where_it_asked_for_that() {
    let mut server = Alone::server();
    let minute = Duration::from_secs(60);
    let check = CheckDefinition {
        kind: CheckKind::Ttl { ttl: Duration::from_secs(10) },
        deregister_critical_service_after: minute,
        ..CheckDefinition::default()
    };
    let service = Service { name: "web".into(), ..Service::default() };
    let register = support::register(service, vec![check]);
    assert_eq!(server.ask(Ask::Local(register)), Reply::Done);
    server.pass(minute / 2);
    let (check_id, output) = ("service:web".to_owned(), String::new());
    let passing = LocalRequest::UpdateCheck { check_id, status: Status::Passing, output };
    assert_eq!(server.ask(Ask::Local(passing)), Reply::Done);
    server.pass(minute);
    assert!(server.engine.local_services().contains_key("web"), "critical for 50 seconds");
    server.pass(minute / 4);
    assert!(!server.engine.local_services().contains_key("web"));
    let (answer, _) = server.read(Read::Services { node_meta: BTreeMap::new() });
    assert!(matches!(answer, Answer::Services(services) if !services.contains_key("web")));
}
