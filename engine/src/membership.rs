//! What gossip says, and who must hear it.

use crate::door::{Notice, Output};
use crate::source::Source;
use crate::{Config, Engine, ServerConfig};
use quorate_gossip::{MemberEvent, MemberEventKind};
use quorate_protocol::go::quote;
use quorate_protocol::member::tag;
use quorate_protocol::wire::stream::Message;
use quorate_protocol::wire::{VERSION_MAX, VERSION_MIN};
use quorate_protocol::{AgentEvent, Member, NodeId, Refusal, Reply, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// More people than this do not wait for joins at once.
const MAX_JOINS: usize = 256;

/// Joins that a person is waiting for, by when they are given up.
#[derive(Debug, Default)]
pub struct Joins {
    waiting: BTreeMap<(Time, u64), (Source, Vec<SocketAddr>)>,
    last: u64,
}

impl Joins {
    pub fn deadline(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|((until, _), _)| *until)
    }
}

/// What the gossip part of an agent is told at the start.
pub fn gossip_config(config: &Config, server: Option<&ServerConfig>) -> quorate_gossip::Config {
    let role = if server.is_some() { tag::SERVER } else { tag::CLIENT };
    let mut tags: BTreeMap<String, String> = [
        (tag::ROLE, role.to_owned()),
        (tag::DATACENTER, config.datacenter.clone()),
        (tag::ID, config.id.to_string()),
        (tag::BUILD, config.version.clone()),
        (tag::VERSION_MIN, VERSION_MIN.to_string()),
        (tag::VERSION_MAX, VERSION_MAX.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    // What an older version let be set may have become the agent's own since.
    for (key, value) in &config.saved.tags {
        tags.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if let Some(founder) = server.and_then(ServerConfig::founder) {
        tags.insert(tag::CLUSTER.to_owned(), founder.to_string());
    }
    if let Some(expect) = server.filter(|server| server.waits_for_a_cluster()).map(|server| server.bootstrap_expect) {
        tags.insert(tag::EXPECT.to_owned(), expect.to_string());
    }
    quorate_gossip::Config {
        id: config.id,
        name: config.name.clone(),
        address: config.address,
        generation: config.generation,
        tags,
        keyring: config.keyring.clone(),
        label: config.datacenter.clone(),
        timing: config.timing.clone(),
        // Another stream of dice than the engine's own.
        seed: config.seed ^ 0x676f_7373,
    }
}

impl Engine {
    /// Moves what gossip put out to where it belongs.
    pub(crate) fn settle_gossip(&mut self, now: Time) -> bool {
        let mut moved = false;
        while let Some(output) = self.gossip.poll() {
            moved = true;
            match output {
                quorate_gossip::Output::Datagram { to, bytes } => {
                    self.outputs.push_back(Output::Datagram { to, bytes });
                }
                quorate_gossip::Output::Message { to, message } => {
                    self.outputs.push_back(Output::Message { to, message: Message::Gossip(message) });
                }
                quorate_gossip::Output::Event(event) => self.handle_member_event(now, event),
                quorate_gossip::Output::UserEvent(event) => self.handle_user_event(event),
                quorate_gossip::Output::Query(query) => self.handle_query(now, query),
                quorate_gossip::Output::KeysChanged => self.handle_keys_changed(),
                quorate_gossip::Output::QueryReply(reply) => self.handle_query_reply(reply),
                quorate_gossip::Output::Joined { address, members } => self.handle_joined(address, members),
            }
        }
        moved
    }

    /// Starts a join for somebody who waits for its end. Names were looked up in the shell.
    pub(crate) fn join(&mut self, now: Time, source: Source, addresses: &[String]) {
        let read = |text: &String| {
            let expected = "an IP address with a port is expected, such as 10.0.0.1:8301";
            text.parse().map_err(|_| Refusal::Invalid(format!("{} cannot be joined: {expected}", quote(text))))
        };
        let addresses = match addresses.iter().map(read).collect::<Result<Vec<SocketAddr>, _>>() {
            Ok(addresses) => addresses,
            Err(refusal) => return self.reply(source, Reply::Refused(refusal)),
        };
        if addresses.is_empty() {
            let why = "no address to join was given".to_owned();
            return self.reply(source, Reply::Refused(Refusal::Invalid(why)));
        }
        if self.joins.waiting.len() >= MAX_JOINS {
            return self.reply(source, Reply::Refused(Refusal::Busy));
        }
        self.gossip.join(now, addresses.clone());
        self.joins.last += 1;
        self.joins.waiting.insert((now + self.config.patience.join, self.joins.last), (source, addresses));
    }

    pub(crate) fn time_out_joins(&mut self, now: Time) {
        while self.joins.deadline().is_some_and(|until| until <= now) {
            let Some((_, (source, addresses))) = self.joins.waiting.pop_first() else { break };
            let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let why = format!(
                "nobody answered at {list}: check that an agent with the same encryption key and datacenter runs there; \
                 it is tried again in the background"
            );
            self.reply(source, Reply::Refused(Refusal::Unreachable(why)));
        }
    }

    /// Where an agent is: as gossip knows it, or as the configuration of the servers remembers it.
    pub(crate) fn address_of(&self, id: NodeId) -> Option<SocketAddr> {
        let remembered = || self.raft()?.configuration().peers.get(&id).map(|peer| peer.address);
        self.gossip.member(id).map(|member| member.address).or_else(remembered)
    }

    /// The servers of this datacenter that answer.
    pub(crate) fn live_servers(&self) -> impl Iterator<Item = &Member> {
        let dc = &self.config.datacenter;
        self.gossip
            .members()
            .filter(move |member| member.is_server() && member.is_alive() && member.datacenter() == *dc)
    }

    fn handle_joined(&mut self, address: SocketAddr, members: usize) {
        self.outputs.push_back(Output::Noticed(Notice::Joined { address, members }));
        let (done, waiting) = std::mem::take(&mut self.joins.waiting)
            .into_iter()
            .partition(|(_, (_, addresses)): &(_, (Source, Vec<SocketAddr>))| addresses.contains(&address));
        self.joins.waiting = waiting;
        let done: BTreeMap<(Time, u64), (Source, Vec<SocketAddr>)> = done;
        for (_, (source, _)) in done {
            self.reply(source, Reply::Done);
        }
    }

    fn handle_member_event(&mut self, now: Time, event: MemberEvent) {
        let MemberEvent { kind, member } = event;
        self.outputs.push_back(Output::Noticed(Notice::Member { kind, member: member.clone() }));
        if !matches!(kind, MemberEventKind::Suspect | MemberEventKind::Refute) {
            self.happened(AgentEvent::Member { kind: kind.as_str().to_owned(), member: member.clone() });
        }
        match kind {
            MemberEventKind::Failed | MemberEventKind::Leave | MemberEventKind::Reap => {
                self.give_up_on(now, member.id, None);
                self.forget_waiters_of(member.id);
                self.forget_locks_of(member.id);
            }
            MemberEventKind::Join | MemberEventKind::Update => {
                self.give_up_on(now, member.id, Some(member.generation));
                if self.server.is_some() && self.is_foreign(member.id) {
                    self.outputs.push_back(Output::Noticed(Notice::OtherCluster { node: member.name.clone() }));
                }
                if member.is_server() {
                    self.bootstrap_if_complete(now);
                    self.release_held(now);
                    self.local.want_sync(now);
                }
            }
            MemberEventKind::Suspect | MemberEventKind::Refute => return,
        }
        if !self.ending.leaving {
            self.remember_soon(now);
        }
        self.reconcile(now, &member);
        if member.is_server() {
            self.review_servers_soon(now);
        }
    }
}
