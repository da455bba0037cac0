//! What one agent carries: definitions that are read again, maintenance, aliases, programs, and waiting for a service.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_engine::{Config, Input, Notice, SavedLocal};
use quorate_protocol::check::Alias;
use quorate_protocol::{
    Ask, CheckDefinition, CheckKind, Definitions, LocalRequest, Refusal, Reply, Scripts, Service, ServiceDefinition,
    Status, Token,
};
use std::time::Duration;
use support::Agents;
use support::alone::Alone;

const MINUTE: Duration = Duration::from_secs(60);

/// A client that knows of nobody else, started with what is configured.
fn start(definitions: Definitions) -> Alone {
    restart(definitions, SavedLocal::default())
}

/// The same, with what another one saved.
fn restart(definitions: Definitions, saved: SavedLocal) -> Alone {
    Alone::new(Config { join: Vec::new(), definitions, saved, ..support::config(1, None) })
}

impl Alone {
    fn local(&mut self, request: LocalRequest) -> Reply {
        self.ask(Ask::Local(request))
    }

    fn send_local(&mut self, request: LocalRequest) -> u64 {
        self.send(Ask::Local(request))
    }

    fn does(&mut self, request: LocalRequest) {
        assert_eq!(self.local(request), Reply::Done);
    }

    fn reload(&mut self, definitions: Definitions) -> Reply {
        self.local(LocalRequest::Reload { definitions: Some(Box::new(definitions)) })
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
    let mut agent = start(definitions(vec![web(80), db()], vec![check("disk", ttl(60))]));
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
    let mut agent = start(before());
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
    let reply = agent.local(LocalRequest::Reload { definitions: None });
    assert!(matches!(reply, Reply::Refused(Refusal::Invalid(_))), "nobody read any files: {reply:?}");
}

#[test]
fn what_clients_said_of_configured_checks_holds_over_a_restart() {
    let configured =
        || definitions(vec![service("web", 80, vec![])], vec![check("beat", ttl(30)), check("up", udp(80))]);
    let mut agent = start(configured());
    agent.tell("beat", Status::Passing);
    agent.report("up", Status::Passing, "fine");
    assert_eq!(agent.saved.results.keys().collect::<Vec<_>>(), ["beat"]);
    assert!(agent.saved.services.is_empty() && agent.saved.checks.is_empty(), "the configuration brings them back");

    let mut restarted = restart(configured(), agent.saved);
    assert_eq!(restarted.status("beat"), Status::Passing);
    assert_eq!(restarted.status("up"), Status::Critical, "a probe looks for itself");
    restarted.pass(Duration::from_secs(31));
    assert_eq!(restarted.status("beat"), Status::Critical, "its silence is counted from the start");
    let again = restart(configured(), restarted.saved);
    assert_eq!(again.status("beat"), Status::Critical, "an end of silence is no secret");
}

#[test]
fn maintenance_holds_until_it_is_ended() {
    let mut agent = start(definitions(vec![service("web", 80, vec![])], vec![]));
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
    let mut agent = restart(definitions(vec![service("web", 80, vec![])], vec![]), agent.saved);
    assert_eq!(agent.status("_service_maintenance:web"), Status::Critical);
    assert_eq!(agent.engine.local_checks()["_node_maintenance"].notes, "newer disk");

    agent.does(maintain(None, None));
    agent.does(maintain(None, None));
    assert!(!agent.checks().contains(&"_node_maintenance".to_owned()));
    agent.does(LocalRequest::DeregisterService { service_id: "web".into() });
    assert!(!agent.checks().contains(&"_service_maintenance:web".to_owned()), "it goes with its service");
    let unknown = agent.local(maintain(Some("nope"), Some("")));
    assert_eq!(unknown, Reply::Refused(Refusal::NotFound("No service registered with ID \"nope\"".into())));
    let reserved = agent.local(LocalRequest::RegisterCheck { check: check("_node_maintenance", ttl(1)) });
    assert!(matches!(reserved, Reply::Refused(Refusal::Invalid(_))), "{reserved:?}");
}

#[test]
fn programs_run_as_far_as_the_operator_allows() {
    let register = || LocalRequest::RegisterCheck { check: check("over-the-api", script()) };
    let with = |scripts| Definitions { scripts, ..definitions(vec![], vec![check("from-a-file", script())]) };

    let mut agent = start(with(Scripts::FromFiles));
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["from-a-file"]);
    let Reply::Refused(Refusal::Disabled(why)) = agent.local(register()) else { panic!("it was taken") };
    assert!(why.contains("from remote calls; to enable, configure 'enable_script_checks' to true"), "{why}");

    assert_eq!(agent.reload(with(Scripts::FromAnywhere)), Reply::Done);
    agent.does(register());
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["from-a-file", "over-the-api"]);

    // What was registered while it was allowed does not run any more once it is not, over a restart neither.
    assert_eq!(agent.reload(with(Scripts::FromFiles)), Reply::Done);
    assert_eq!(agent.probes.keys().collect::<Vec<_>>(), ["from-a-file"]);
    let mut agent = restart(with(Scripts::FromFiles), agent.saved);
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
    let mut agent = start(Definitions { output_max_size: 10, ..definitions(vec![], all) });
    for (id, kept) in [("cut", "vwxyz"), ("greedy", "qrstuvwxyz"), ("plain", "qrstuvwxyz")] {
        agent.report(id, Status::Passing, "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(agent.engine.local_checks()[id].output, kept, "{id}");
        assert_eq!(agent.probes[id].0.output_max_size, kept.len(), "the probe keeps no more either");
    }
}

#[test]
fn registering_the_same_again_does_not_keep_a_check_from_running() {
    let mut agent = start(Definitions::default());
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
    let mut agent = start(Definitions::default());
    let register = |port| LocalRequest::RegisterService {
        definition: service("web", port, vec![]).into(),
        replace_existing_checks: false,
    };
    agent.does(register(80));
    let ask = |wait| LocalRequest::Service { service_id: "web".into(), wait };
    let Reply::LocalService(web) = agent.local(ask(None)) else { panic!("no service") };
    let wait = |web: &Service| ask(Some((web.content_hash(), MINUTE)));
    assert!(matches!(agent.local(ask(Some((1, MINUTE)))), Reply::LocalService(_)), "another hash is not waited for");

    let (ticket, bored) =
        (agent.send_local(wait(&web)), agent.send_local(ask(Some((web.content_hash(), Duration::from_secs(5))))));
    agent.does(register(80));
    agent.does(LocalRequest::RegisterCheck { check: check("disk", ttl(60)) });
    assert!(!agent.replies.contains_key(&ticket), "nothing of it changed");
    agent.pass(Duration::from_secs(6));
    assert!(matches!(agent.replies.remove(&bored), Some(Reply::LocalService(same)) if same == web));
    agent.does(register(81));
    let Some(Reply::LocalService(changed)) = agent.replies.remove(&ticket) else { panic!("nobody was told") };
    assert_eq!(changed.port, 81);

    let ticket = agent.send_local(wait(&changed));
    agent.does(LocalRequest::DeregisterService { service_id: "web".into() });
    assert!(matches!(agent.replies.remove(&ticket), Some(Reply::Refused(Refusal::NotFound(_)))));
    assert!(matches!(agent.local(wait(&changed)), Reply::Refused(Refusal::NotFound(_))));
}

#[test]
fn a_token_is_kept_and_told_to_nobody() {
    let mut agent = start(Definitions::default());
    let definition = ServiceDefinition { token: Token("secret".into()), ..service("web", 80, vec![]) };
    agent.does(LocalRequest::RegisterService { definition: definition.into(), replace_existing_checks: false });
    assert_eq!(agent.saved.tokens["web"], Token("secret".into()));
    let mut agent = restart(Definitions::default(), agent.saved);
    for request in [LocalRequest::Services, LocalRequest::Service { service_id: "web".into(), wait: None }] {
        assert!(!format!("{:?}", agent.local(request)).contains("secret"));
    }
    let definition = service("web", 80, vec![]).into();
    agent.does(LocalRequest::RegisterService { definition, replace_existing_checks: false });
    assert!(agent.saved.tokens.is_empty(), "the next registration has none");
}

#[test]
fn names_that_dns_cannot_ask_for_are_taken_and_told() {
    let mut agent = start(Definitions::default());
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
    let mut agent = start(definitions(vec![db], all));
    let output = |agent: &Alone| agent.engine.local_checks()["db-seen"].output.clone();
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
    let mut agent = start(definitions(vec![web, db], vec![]));
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
