//! A catalogue to ask, and `dig` in a few lines.

#![allow(dead_code)]

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use quorate_dns::{Config, Dns, Transport};
use quorate_protocol::{
    Answer, Ask, Check, Cluster, HealthFilter, Instance, LocalRequest, LogIndex, Member, MemberStatus, Node, NodeId,
    NodeServices, Read, Refusal, Reply, ReplyFuture, Request, Row, Service, Status, Weights,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Datacenters with instances; a node exists where an instance is.
#[derive(Default)]
pub struct Fake {
    pub instances: BTreeMap<String, Vec<Instance>>,
    pub members: Vec<Member>,
    pub refusal: Option<Refusal>,
    pub asked: Mutex<Vec<Request>>,
}

impl Cluster for Fake {
    fn ask(&self, request: Request) -> ReplyFuture<'_> {
        self.asked.lock().unwrap().push(request.clone());
        Box::pin(std::future::ready(self.answer(request)))
    }
}

impl Fake {
    fn answer(&self, request: Request) -> Reply {
        if let Some(refusal) = &self.refusal {
            return Reply::Refused(refusal.clone());
        }
        let Some(here) = self.instances.get(request.dc.as_deref().unwrap_or("dc1")) else {
            return Reply::Refused(Refusal::NoPathToDatacenter);
        };
        let read = match request.ask {
            Ask::Local(LocalRequest::Members) => return Reply::Members(self.members.clone()),
            Ask::Read(read) => read.read,
            other => panic!("not for DNS: {other:?}"),
        };
        let answer = match read {
            Read::NodeServices { node } => Answer::NodeServices(
                here.iter()
                    .find(|instance| instance.node.name.eq_ignore_ascii_case(&node))
                    .map(|instance| NodeServices { node: instance.node.clone(), services: Vec::new() }),
            ),
            Read::ServiceHealth { service, tags, health, .. } => {
                assert!(tags.is_empty());
                let healthy = |instance: &Instance| match health {
                    HealthFilter::Any => true,
                    HealthFilter::NotCritical => instance.status() != Status::Critical,
                    HealthFilter::Passing => instance.status() == Status::Passing,
                };
                let named = |instance: &&Instance| instance.service.name.eq_ignore_ascii_case(&service);
                Answer::Instances(here.iter().filter(named).filter(|i| healthy(i)).cloned().collect())
            }
            other => panic!("not for DNS: {other:?}"),
        };
        Reply::Read { answer, index: LogIndex(7), known_leader: true, last_contact: Duration::ZERO }
    }
}

/// `node address service[@address]:port status [tags]`
pub fn instance(node: &str, address: &str, service: &str, status: Status) -> Instance {
    let (named, port) = service.split_once(':').unwrap();
    let (name, own) = named.split_once('@').unwrap_or((named, ""));
    let node_row = Node {
        name: node.into(),
        address: address.into(),
        meta: [("os", "linux"), ("rfc1035-note", "as is")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..Node::default()
    };
    let service = Service {
        id: name.into(),
        name: name.into(),
        address: own.into(),
        port: port.parse().unwrap(),
        tags: vec!["Primary".into(), "v1.2".into()],
        weights: Weights { passing: 10, warning: 2 },
        ..Service::default()
    };
    let check = Check { node: node.into(), id: "c".into(), status, ..Check::default() };
    Instance { node: row(node_row), service: row(service), checks: vec![row(check)] }
}

fn row<T>(value: T) -> Arc<Row<T>> {
    Arc::new(Row { value, create_index: LogIndex(1), modify_index: LogIndex(1) })
}

/// A server or client of dc1.
pub fn member(name: &str, address: &str, role: &str, status: MemberStatus) -> Member {
    let tags = [("role", role), ("dc", "dc1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    Member {
        id: NodeId::default(),
        name: name.into(),
        address: address.parse().unwrap(),
        tags: tags.into(),
        status,
        generation: 1,
    }
}

/// `count` passing instances of `web`, each on its own node.
pub fn crowd(count: u16) -> Fake {
    let [high, low] = [|n: u16| n >> 8, |n: u16| n & 255];
    let web = |n| instance(&format!("node-{n}"), &format!("10.0.{}.{}", high(n), low(n)), "web:80", Status::Passing);
    Fake { instances: BTreeMap::from([("dc1".into(), (0..count).map(web).collect())]), ..Fake::default() }
}

pub fn dns(fake: Fake) -> Dns {
    with(Config { alt_domain: Some("corp.example".into()), ..Config::default() }, fake)
}

pub fn with(config: Config, fake: Fake) -> Dns {
    Dns::new(config, Arc::new(fake)).unwrap()
}

/// The bytes of a question.
pub fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// Nothing here waits, so that one look is enough.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

pub fn ask(dns: &Dns, name: &str, kind: RecordType, payload: Option<u16>, transport: Transport) -> (Message, usize) {
    let bytes = now(dns.respond(&question(name, kind, payload), transport)).expect("an answer");
    (Message::from_vec(&bytes).unwrap(), bytes.len())
}

/// The answer over TCP as text: the code and flags, then a line for each record, sorted within its section.
pub fn dig(dns: &Dns, name: &str, kind: RecordType) -> String {
    let (message, _) = ask(dns, name, kind, None, Transport::Tcp);
    let asked = &message.queries[0].name;
    assert!(asked.eq_case(&Name::from_ascii(name).unwrap()), "the question comes back as it was written: {asked}");
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert!(message.metadata.recursion_desired && !message.metadata.recursion_available);
    text(&message)
}

pub fn text(message: &Message) -> String {
    let aa = if message.metadata.authoritative { " aa" } else { "" };
    let tc = if message.metadata.truncation { " tc" } else { "" };
    let mut text = format!("{:?}{aa}{tc}", message.metadata.response_code);
    for (title, section) in
        [("", &message.answers), ("authority ", &message.authorities), ("additional ", &message.additionals)]
    {
        let mut lines: Vec<String> = section.iter().map(line).collect();
        lines.sort();
        for line in lines {
            write!(text, "\n{title}{line}").unwrap();
        }
    }
    text
}

fn line(record: &Record) -> String {
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)
}
