//! What one agent carries: definitions that are read again, maintenance, aliases, programs, and waiting for a service.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, Engine, Input, Notice, Output, SavedLocal, Ticket};
use quorate_protocol::check::Alias;
use quorate_protocol::{
    Ask, CheckDefinition, CheckKind, Definitions, LocalRequest, Refusal, Reply, Request, Scripts, Service,
    ServiceDefinition, Status, Time, Token,
};
use std::collections::BTreeMap;
use std::time::Duration;
use support::Agents;

const MINUTE: Duration = Duration::from_secs(60);

/// A client that knows of nobody else, with what it asked of its shell.
struct Agent {
    engine: Engine,
    now: Time,
    last_ticket: u64,
    replies: BTreeMap<u64, Reply>,
    saved: SavedLocal,
    /// Probes that run, with how often each was started.
    probes: BTreeMap<String, (CheckDefinition, usize)>,
    notices: Vec<Notice>,
}

impl Agent {
    fn new(definitions: Definitions) -> Agent {
        Agent::restored(definitions, SavedLocal::default())
    }

    fn restored(definitions: Definitions, saved: SavedLocal) -> Agent {
        let config = Config { join: Vec::new(), definitions, saved: saved.clone(), ..support::config(1, None) };
        let engine = Engine::new(config, Time::ZERO).unwrap();
        let (replies, probes, notices) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut agent = Agent { engine, now: Time::ZERO, last_ticket: 0, replies, saved, probes, notices };
        agent.take_outputs();
        agent
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Reply { ticket, reply } => {
                    self.replies.insert(ticket.0, reply);
                }
                Output::SaveLocal(bytes) => self.saved = SavedLocal::decode(&bytes).unwrap(),
                Output::StartCheck(definition) => {
                    let started = self.probes.get(&definition.id).map_or(0, |(_, started)| *started);
                    self.probes.insert(definition.id.clone(), (definition, started + 1));
                }
                Output::StopCheck { check_id } => {
                    self.probes.remove(&check_id);
                }
                Output::Noticed(notice) => self.notices.push(notice),
                _ => {}
            }
        }
    }

    fn pass(&mut self, length: Duration) {
        let until = self.now + length;
        while let Some(deadline) = self.engine.deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.engine.handle_timeout(self.now);
            self.take_outputs();
        }
        self.now = until;
    }

    fn send(&mut self, request: LocalRequest) -> u64 {
        self.last_ticket += 1;
        let (ticket, request) = (Ticket(self.last_ticket), Request::here(Ask::Local(request)));
        self.engine.handle(self.now, Input::Request { ticket, request });
        self.take_outputs();
        self.last_ticket
    }

    fn ask(&mut self, request: LocalRequest) -> Reply {
        let ticket = self.send(request);
        self.replies.remove(&ticket).expect("an answer at once")
    }

    fn does(&mut self, request: LocalRequest) {
        assert_eq!(self.ask(request), Reply::Done);
    }

    fn reload(&mut self, definitions: Definitions) -> Reply {
        self.ask(LocalRequest::Reload { definitions: Some(Box::new(definitions)) })
    }

    fn report(&mut self, check_id: &str, status: Status, output: &str) {
        let (check_id, output) = (check_id.to_owned(), output.to_owned());
        self.engine.handle(self.now, Input::CheckReport { check_id, status, output });
        self.take_outputs();
    }

    fn tell(&mut self, check_id: &str, status: Status) {
        self.does(LocalRequest::UpdateCheck { check_id: check_id.into(), status, output: "told".into() });
    }

    fn status(&self, check_id: &str) -> Status {
        self.engine.local_checks()[check_id].status
    }

    fn checks(&self) -> Vec<String> {
        self.engine.local_checks().into_keys().collect()
    }
}

fn service(name: &str, port: u16, checks: Vec<CheckDefinition>) -> ServiceDefinition {
    let service = Service { name: name.into(), port, ..Service::default() };
    ServiceDefinition { service, checks, token: Token::default() }
}

fn check(id: &str, kind: CheckKind) -> CheckDefinition {
    CheckDefinition { id: id.into(), name: id.into(), kind, ..CheckDefinition::default() }
}

fn udp(port: u16) -> CheckKind {
    let (interval, timeout) = (Duration::from_secs(10), Duration::ZERO);
    CheckKind::Udp { address: format!("127.0.0.1:{port}"), interval, timeout }
}

fn ttl(seconds: u64) -> CheckKind {
    CheckKind::Ttl { ttl: Duration::from_secs(seconds) }
}

fn script() -> CheckKind {
    CheckKind::Script { args: vec!["/bin/true".into()], interval: MINUTE, timeout: Duration::ZERO }
}

fn alias(node: &str, service_id: &str) -> CheckKind {
    CheckKind::Alias(Alias { node: node.into(), service_id: service_id.into() })
}

fn definitions(services: Vec<ServiceDefinition>, checks: Vec<CheckDefinition>) -> Definitions {
    Definitions { services, checks, ..Definitions::default() }
}

#[test]
fn a_reload_adds_changes_and_removes_and_leaves_the_rest_alone() {
    let web = |port| service("web", port, vec![check("web-up", udp(80)), check("web-beat", ttl(30))]);
    let db = || service("db", 5432, vec![check("db-up", udp(5432))]);
    let mut agent = Agent::new(definitions(vec![web(80), db()], vec![check("disk", ttl(60))]));
    agent.report("web-up", Status::Passing, "fine");
    agent.tell("web-beat", Status::Passing);
    agent.tell("disk", Status::Warning);
    agent.does(LocalRequest::RegisterService {
        definition: service("api", 1, vec![]).into(),
        replace_existing_checks: false,
    });

    let cache = || service("cache", 6379, vec![check("cache-up", udp(6379))]);
    let longer = || check("disk", ttl(120));
    assert_eq!(agent.reload(definitions(vec![web(81), cache()], vec![longer()])), Reply::Done);
    let services: Vec<_> = agent.engine.local_services().values().map(|one| (one.name.as_str(), one.port)).collect();
    assert_eq!(services, [("api", 1), ("cache", 6379), ("web", 81)], "what came over the API stays");
    assert_eq!(agent.checks(), ["cache-up", "disk", "web-beat", "web-up"]);
    assert_eq!(agent.status("web-up"), Status::Passing);
    assert_eq!(agent.status("web-beat"), Status::Passing, "what a client said holds");
    assert_eq!(agent.status("disk"), Status::Warning, "also where it may be silent for longer now");
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["cache-up", "web-up"]);
    assert_eq!(agent.probes["web-up"].1, 1, "a probe that does the same keeps its moments");
    assert!(agent.notices.contains(&Notice::Reloaded { services: 2, gone: 2 }), "{:?}", agent.notices);

    let moved = service("web", 81, vec![check("web-up", udp(81))]);
    assert_eq!(agent.reload(definitions(vec![moved], vec![])), Reply::Done);
    assert_eq!(agent.checks(), ["web-up"]);
    assert_eq!(agent.status("web-up"), Status::Critical, "what another port said does not count");
    assert_eq!(agent.probes["web-up"].0.kind, udp(81));
}

#[test]
fn a_reload_that_makes_no_sense_changes_nothing() {
    let before = || definitions(vec![service("web", 80, vec![check("up", udp(80))])], vec![]);
    let mut agent = Agent::new(before());
    let good = || service("db", 1, vec![check("db-up", udp(1))]);
    for (bad, word) in [
        (definitions(vec![good(), service("consul", 1, vec![])], vec![]), "belongs to the servers"),
        (definitions(vec![good()], vec![check("serfHealth", ttl(1))]), "belongs to the leader"),
        (definitions(vec![good()], vec![check("_node_maintenance", ttl(1))]), "belongs to maintenance mode"),
        (definitions(vec![good()], vec![check("db-up", ttl(1))]), "there twice"),
        (definitions(vec![good()], vec![check("disk", script())]), "Scripts are disabled on this agent; to enable"),
        (definitions(vec![good(), service("", 1, vec![])], vec![]), "Missing service name"),
    ] {
        let Reply::Refused(why) = agent.reload(bad) else { panic!("{word}") };
        assert!(why.to_string().contains(word), "{why}");
        assert_eq!(agent.engine.local_services().keys().collect::<Vec<_>>(), ["web"]);
        assert_eq!(agent.checks(), ["up"]);
    }
    let reply = agent.ask(LocalRequest::Reload { definitions: None });
    assert!(matches!(reply, Reply::Refused(Refusal::Invalid(_))), "nobody read any files: {reply:?}");
}

#[test]
fn what_clients_said_of_configured_checks_holds_over_a_restart() {
    let configured =
        || definitions(vec![service("web", 80, vec![])], vec![check("beat", ttl(30)), check("up", udp(80))]);
    let mut agent = Agent::new(configured());
    agent.tell("beat", Status::Passing);
    agent.report("up", Status::Passing, "fine");
    assert_eq!(agent.saved.results.keys().collect::<Vec<_>>(), ["beat"]);
    assert!(agent.saved.services.is_empty() && agent.saved.checks.is_empty(), "the configuration brings them back");

    let mut restarted = Agent::restored(configured(), agent.saved);
    assert_eq!(restarted.status("beat"), Status::Passing);
    assert_eq!(restarted.status("up"), Status::Critical, "a probe looks for itself");
    restarted.pass(Duration::from_secs(31));
    assert_eq!(restarted.status("beat"), Status::Critical, "its silence is counted from the start");
    let again = Agent::restored(configured(), restarted.saved);
    assert_eq!(again.status("beat"), Status::Critical, "an end of silence is no secret");
}

#[test]
fn maintenance_holds_until_it_is_ended() {
    let mut agent = Agent::new(definitions(vec![service("web", 80, vec![])], vec![]));
    let maintain = |service_id: Option<&str>, reason: Option<&str>| LocalRequest::Maintain {
        service_id: service_id.map(str::to_owned),
        reason: reason.map(str::to_owned),
    };
    agent.does(maintain(None, Some("new disk")));
    agent.does(maintain(Some("web"), Some("")));
    let checks = agent.engine.local_checks();
    let (node, of_web) = (&checks["_node_maintenance"], &checks["_service_maintenance:web"]);
    assert_eq!((node.status, node.notes.as_str(), node.kind.as_str()), (Status::Critical, "new disk", "maintenance"));
    assert_eq!((of_web.status, of_web.service_name.as_str()), (Status::Critical, "web"));
    assert!(of_web.notes.contains("no reason was provided"), "{}", of_web.notes);

    // Neither a registration that replaces all checks, nor a reload, nor a restart ends it.
    let definition = service("web", 81, vec![check("up", udp(81))]).into();
    agent.does(LocalRequest::RegisterService { definition, replace_existing_checks: true });
    assert_eq!(agent.reload(definitions(vec![service("web", 80, vec![])], vec![])), Reply::Done);
    agent.does(maintain(None, Some("newer disk")));
    let mut agent = Agent::restored(definitions(vec![service("web", 80, vec![])], vec![]), agent.saved);
    assert_eq!(agent.status("_service_maintenance:web"), Status::Critical);
    assert_eq!(agent.engine.local_checks()["_node_maintenance"].notes, "newer disk");

    agent.does(maintain(None, None));
    agent.does(maintain(None, None));
    assert!(!agent.checks().contains(&"_node_maintenance".to_owned()));
    agent.does(LocalRequest::DeregisterService { service_id: "web".into() });
    assert!(!agent.checks().contains(&"_service_maintenance:web".to_owned()), "it goes with its service");
    let unknown = agent.ask(maintain(Some("nope"), Some("")));
    assert_eq!(unknown, Reply::Refused(Refusal::NotFound("No service registered with ID \"nope\"".into())));
    let reserved = agent.ask(LocalRequest::RegisterCheck { check: check("_node_maintenance", ttl(1)) });
    assert!(matches!(reserved, Reply::Refused(Refusal::Invalid(_))), "{reserved:?}");
}

#[test]
fn programs_run_as_far_as_the_operator_allows() {
    let register = || LocalRequest::RegisterCheck { check: check("over-the-api", script()) };
    let with = |scripts| Definitions { scripts, ..definitions(vec![], vec![check("from-a-file", script())]) };

    let mut agent = Agent::new(with(Scripts::FromFiles));
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["from-a-file"]);
    let Reply::Refused(Refusal::Disabled(why)) = agent.ask(register()) else { panic!("it was taken") };
    assert!(why.contains("from remote calls; to enable, configure 'enable_script_checks' to true"), "{why}");

    assert_eq!(agent.reload(with(Scripts::FromAnywhere)), Reply::Done);
    agent.does(register());
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["from-a-file", "over-the-api"]);

    // What was registered while it was allowed does not run any more once it is not, over a restart neither.
    assert_eq!(agent.reload(with(Scripts::FromFiles)), Reply::Done);
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["from-a-file"]);
    let mut agent = Agent::restored(with(Scripts::FromFiles), agent.saved);
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["from-a-file"]);
    let there = &agent.engine.local_checks()["over-the-api"];
    assert_eq!(there.status, Status::Critical);
    assert!(there.output.contains("Scripts are disabled"), "{}", there.output);
    assert_eq!(agent.reload(with(Scripts::FromAnywhere)), Reply::Done);
    assert!(agent.probes.contains_key("over-the-api"));
}

#[test]
fn output_is_cut_to_what_the_agent_and_the_check_allow() {
    let cut = CheckDefinition { output_max_size: 5, ..check("cut", udp(1)) };
    let greedy = CheckDefinition { output_max_size: 1_000_000, ..check("greedy", udp(2)) };
    let all = vec![cut, greedy, check("plain", udp(3))];
    let mut agent = Agent::new(Definitions { output_max_size: 10, ..definitions(vec![], all) });
    for (id, kept) in [("cut", "vwxyz"), ("greedy", "qrstuvwxyz"), ("plain", "qrstuvwxyz")] {
        agent.report(id, Status::Passing, "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(agent.engine.local_checks()[id].output, kept, "{id}");
        assert_eq!(agent.probes[id].0.output_max_size, kept.len(), "the probe keeps no more either");
    }
}

#[test]
fn registering_the_same_again_does_not_keep_a_check_from_running() {
    let mut agent = Agent::new(Definitions::default());
    let register = |port| LocalRequest::RegisterService {
        definition: service("web", 80, vec![check("up", udp(port))]).into(),
        replace_existing_checks: true,
    };
    agent.does(register(80));
    agent.report("up", Status::Passing, "");
    agent.does(register(80));
    assert_eq!((agent.probes["up"].1, agent.status("up")), (1, Status::Passing), "it was not started anew");
    agent.does(register(81));
    assert_eq!((&agent.probes["up"].0.kind, agent.status("up")), (&udp(81), Status::Critical));
}

#[test]
fn who_waits_for_a_service_hears_of_its_change_or_its_end() {
    let mut agent = Agent::new(Definitions::default());
    let register = |port| LocalRequest::RegisterService {
        definition: service("web", port, vec![]).into(),
        replace_existing_checks: false,
    };
    agent.does(register(80));
    let ask = |wait| LocalRequest::Service { service_id: "web".into(), wait };
    let Reply::LocalService(web) = agent.ask(ask(None)) else { panic!("no service") };
    let wait = |web: &Service| ask(Some((web.content_hash(), MINUTE)));
    assert!(matches!(agent.ask(ask(Some((1, MINUTE)))), Reply::LocalService(_)), "another hash is not waited for");

    let (ticket, bored) = (agent.send(wait(&web)), agent.send(ask(Some((web.content_hash(), Duration::from_secs(5))))));
    agent.does(register(80));
    agent.does(LocalRequest::RegisterCheck { check: check("disk", ttl(60)) });
    assert!(!agent.replies.contains_key(&ticket), "nothing of it changed");
    agent.pass(Duration::from_secs(6));
    assert!(matches!(agent.replies.remove(&bored), Some(Reply::LocalService(same)) if same == web));
    agent.does(register(81));
    let Some(Reply::LocalService(changed)) = agent.replies.remove(&ticket) else { panic!("nobody was told") };
    assert_eq!(changed.port, 81);

    let ticket = agent.send(wait(&changed));
    agent.does(LocalRequest::DeregisterService { service_id: "web".into() });
    assert!(matches!(agent.replies.remove(&ticket), Some(Reply::Refused(Refusal::NotFound(_)))));
    assert!(matches!(agent.ask(wait(&changed)), Reply::Refused(Refusal::NotFound(_))));
}

#[test]
fn a_token_is_kept_and_told_to_nobody() {
    let mut agent = Agent::new(Definitions::default());
    let definition = ServiceDefinition { token: Token("secret".into()), ..service("web", 80, vec![]) };
    agent.does(LocalRequest::RegisterService { definition: definition.into(), replace_existing_checks: false });
    assert_eq!(agent.saved.tokens["web"], Token("secret".into()));
    let mut agent = Agent::restored(Definitions::default(), agent.saved);
    for request in [LocalRequest::Services, LocalRequest::Service { service_id: "web".into(), wait: None }] {
        assert!(!format!("{:?}", agent.ask(request)).contains("secret"));
    }
    let definition = service("web", 80, vec![]).into();
    agent.does(LocalRequest::RegisterService { definition, replace_existing_checks: false });
    assert!(agent.saved.tokens.is_empty(), "the next registration has none");
}

#[test]
fn names_that_dns_cannot_ask_for_are_taken_and_told() {
    let mut agent = Agent::new(Definitions::default());
    for _ in 0..2 {
        let definition = service("web_api", 80, vec![]).into();
        agent.does(LocalRequest::RegisterService { definition, replace_existing_checks: false });
    }
    let told = |notice: &&Notice| matches!(notice, Notice::NotInDns { service_id, .. } if service_id == "web_api");
    assert_eq!(agent.notices.iter().filter(told).count(), 1, "once is enough");
    assert!(agent.engine.local_services().contains_key("web_api"));
}

#[test]
fn an_alias_shows_the_gravest_of_what_it_stands_for() {
    let db = service("db", 5432, vec![check("db-up", udp(5432)), check("db-lag", ttl(600))]);
    let all = vec![check("disk", ttl(600)), check("db-seen", alias("", "db")), check("lost", alias("", "nope"))];
    let mut agent = Agent::new(definitions(vec![db], all));
    let output = |agent: &Agent| agent.engine.local_checks()["db-seen"].output.clone();
    assert_eq!(agent.status("lost"), Status::Critical);
    assert!(agent.engine.local_checks()["lost"].output.contains("Service nope could not be found on node n1"));
    agent.report("db-up", Status::Passing, "");
    agent.tell("db-lag", Status::Passing);
    assert_eq!(agent.status("db-seen"), Status::Critical, "the node's own check is critical yet");
    agent.tell("disk", Status::Passing);
    assert_eq!((agent.status("db-seen"), output(&agent).as_str()), (Status::Passing, "All checks passing."));
    agent.tell("db-lag", Status::Warning);
    assert_eq!(agent.status("db-seen"), Status::Warning);
    agent.report("db-up", Status::Critical, "refused");
    assert_eq!(
        (agent.status("db-seen"), output(&agent).as_str()),
        (Status::Critical, "Aliased check \"db-up\" failing: refused")
    );
    agent.does(LocalRequest::DeregisterService { service_id: "db".into() });
    assert!(output(&agent).contains("could not be found"), "{}", output(&agent));
}

#[test]
fn aliases_that_show_each_other_do_not_hold_each_other_down() {
    let web = service("web", 80, vec![check("web-up", udp(80)), check("web-needs", alias("", "db"))]);
    let db = service("db", 5432, vec![check("db-up", udp(5432)), check("db-needs", alias("N1", "web"))]);
    let mut agent = Agent::new(definitions(vec![web, db], vec![]));
    agent.report("web-up", Status::Passing, "");
    assert_eq!(agent.status("db-needs"), Status::Critical, "through it, at its own service");
    agent.report("db-up", Status::Passing, "");
    assert_eq!((agent.status("web-needs"), agent.status("db-needs")), (Status::Passing, Status::Passing));
}

#[test]
fn an_alias_of_another_node_follows_it() {
    let mut agents = Agents::default();
    agents.start(support::config(1, Some(1)));
    agents.pass(Duration::from_secs(3));
    let seen = check("seen", alias("n1", "web"));
    agents.start(Config { definitions: definitions(vec![], vec![seen]), ..support::config(2, None) });
    agents.pass(Duration::from_secs(10));
    let shown = |agents: &Agents| {
        let there = agents.engines[&2].local_checks()["seen"].clone();
        (there.status, there.output)
    };
    let lost = "Service web could not be found on node n1".to_owned();
    assert_eq!(shown(&agents), (Status::Critical, lost));

    let beat = vec![check("beat", ttl(6000))];
    let service = Service { name: "web".into(), ..Service::default() };
    assert_eq!(agents.ask(1, Ask::Local(support::register(service, beat))), Reply::Done);
    let tell = |agents: &mut Agents, status| {
        let report = LocalRequest::UpdateCheck { check_id: "beat".into(), status, output: "so".into() };
        assert_eq!(agents.ask(1, Ask::Local(report)), Reply::Done);
        agents.pass(Duration::from_secs(3));
    };
    tell(&mut agents, Status::Passing);
    assert_eq!(shown(&agents), (Status::Passing, "All checks passing.".to_owned()));
    agents.pass(Duration::from_secs(200));
    tell(&mut agents, Status::Critical);
    assert_eq!(shown(&agents), (Status::Critical, "Aliased check \"beat\" failing: so".to_owned()));
    assert_eq!(agents.ask(1, Ask::Local(LocalRequest::DeregisterService { service_id: "web".into() })), Reply::Done);
    agents.pass(Duration::from_secs(3));
    assert_eq!(shown(&agents).0, Status::Critical);
    assert!(shown(&agents).1.contains("could not be found"), "{:?}", shown(&agents));
}
