//! Queries: a question to all in datagrams of news, and answers straight back.

use crate::allowance::Allowance;
use crate::events::EVENTS_PER_SECOND;
use crate::identity::Identity;
use crate::machine::{Gossip, Output};
use crate::memory::{Heard, Memory};
use crate::news::FireError;
use bytes::Bytes;
use quorate_protocol::query::{MAX_QUERY, MAX_RELAYS, MAX_TIMEOUT};
use quorate_protocol::wire::WireError;
use quorate_protocol::wire::answer::AnswerPacket;
use quorate_protocol::wire::gossip::kind;
use quorate_protocol::wire::news::News;
use quorate_protocol::{EventId, NodeId, Query, QueryReply, Question, Time};
use rand::RngExt;
use rand::seq::IteratorRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// The most queries of our own that are open at once.
const MAX_OPEN: usize = 256;
/// The shortest a query is open: below it nothing could come back.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);
/// What is believed of another's queries. More than it may send, since delays bunch them together.
const HEARD_PER_SECOND: u32 = 2 * EVENTS_PER_SECOND;
const HEARD_BURST: u32 = 16 * EVENTS_PER_SECOND;
/// What is passed on for one member: the answers of a few queries to all at once.
const RELAYED_PER_SECOND: u32 = 64;
const RELAYED_BURST: u32 = 256;

/// The queries that this member heard lately, and its own that are open.
pub(crate) struct Queries {
    memory: Memory<()>,
    sent: Allowance,
    heard: Allowance,
    relayed: Allowance,
    open: BTreeMap<EventId, Open>,
}

struct Open {
    until: Time,
    /// Who answered, and who said that it arrived: the same comes by several roads.
    replied: BTreeSet<(NodeId, bool)>,
}

impl Queries {
    pub(crate) fn new() -> Queries {
        Queries {
            memory: Memory::new(),
            sent: Allowance::new(EVENTS_PER_SECOND, 4 * EVENTS_PER_SECOND),
            heard: Allowance::new(HEARD_PER_SECOND, HEARD_BURST),
            relayed: Allowance::new(RELAYED_PER_SECOND, RELAYED_BURST),
            open: BTreeMap::new(),
        }
    }
}

impl Gossip {
    /// How long a query takes to reach everybody and be answered, with room for loss: Serf's formula, sixteen gossip intervals for each
    /// decimal digit of the number of members.
    pub fn query_timeout(&self) -> Duration {
        let digits = (self.swim.alive() + 1).ilog10() + 1;
        self.timing.gossip_interval * 16 * digits
    }

    /// Asks everybody; this agent as well ([`Output::Query`]). Answers come as [`Output::QueryReply`] until the timeout:
    /// [`Gossip::query_timeout`] where the question has none, at most a minute.
    ///
    /// # Errors
    /// [`FireError`] that says what to do; nothing was sent.
    pub fn query(&mut self, now: Time, mut question: Question) -> Result<Query, FireError> {
        question.check().map_err(FireError::TooLong)?;
        if !self.is_running() {
            return Err(FireError::Leaving);
        }
        question.relays = question.relays.min(MAX_RELAYS);
        if question.timeout.is_zero() {
            question.timeout = self.query_timeout();
        }
        question.timeout = question.timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT);
        let clock = self.news.events.clock();
        let queries = &mut self.news.queries;
        queries.open.retain(|_, open| open.until > now);
        if queries.open.len() >= MAX_OPEN || !queries.sent.take(now, self.me.id) {
            return Err(FireError::TooMany);
        }
        // One clock orders events and queries; only that of the events travels when states are exchanged.
        queries.memory.witness(clock);
        let (id, ltime) = (EventId::from_random(self.rng.random()), queries.memory.tick());
        queries.open.insert(id, Open { until: now + question.timeout, replied: BTreeSet::new() });
        queries.memory.learn(ltime, id, ());
        self.news.events.witness(ltime);
        let query = Query { id, ltime, origin: self.me.id, address: self.me.address, question };
        self.outputs.push_back(Output::Query(query.clone()));
        self.announce(now, News::Query(query.clone()).encode());
        Ok(query)
    }

    /// Answers a query, or says that it arrived where there is no answer.
    ///
    /// # Errors
    /// [`WireError::TooLong`] above 1024 bytes.
    pub fn answer(&mut self, now: Time, query: &Query, answer: Option<Bytes>) -> Result<(), WireError> {
        if let Some(length) = answer.as_ref().map(Bytes::len).filter(|length| *length > MAX_QUERY) {
            return Err(WireError::TooLong { length, limit: MAX_QUERY });
        }
        let reply = QueryReply { query: query.id, from: self.me.id, answer };
        if query.origin == self.me.id {
            self.take_reply(now, reply);
            return Ok(());
        }
        let relays = usize::from(query.question.relays.min(MAX_RELAYS));
        let others = self.table.living().filter(|other| other.id != query.origin).sample(&mut self.rng, relays);
        for relay in others {
            self.send_reply(relay.address, &AnswerPacket { to: Some(query.address), reply: reply.clone() });
        }
        self.send_reply(query.address, &AnswerPacket { to: None, reply });
        Ok(())
    }

    /// Takes in a query that came in a datagram.
    pub(crate) fn hear_query(&mut self, now: Time, mut query: Query) {
        let queries = &mut self.news.queries;
        if queries.memory.contains(query.ltime, query.id) {
            return;
        }
        if !queries.heard.take(now, query.origin) {
            return self.count("query_rate_exceeded");
        }
        match queries.memory.learn(query.ltime, query.id, ()) {
            Heard::News => {
                self.news.events.witness(query.ltime);
                self.announce(now, News::Query(query.clone()).encode());
                query.question.timeout = query.question.timeout.min(MAX_TIMEOUT);
                self.outputs.push_back(Output::Query(query));
            }
            Heard::Known => {}
            Heard::Refused(reason) => self.count(reason),
        }
    }

    /// Takes in what somebody says to a query of ours, or passes it on. The sender holds a key.
    pub(crate) fn handle_reply(&mut self, now: Time, packet: &[u8]) {
        let mut rest = packet;
        let sender = Identity::decode(&mut rest);
        match (sender, AnswerPacket::decode(rest)) {
            (Ok(sender), Ok(AnswerPacket { to: Some(to), reply })) => {
                // To members alone: nobody is to be flooded through us.
                let known = self.table.living().any(|member| member.address == to);
                if known && self.news.queries.relayed.take(now, sender.id) {
                    self.send_reply(to, &AnswerPacket { to: None, reply });
                } else {
                    self.count("answer_not_relayed");
                }
            }
            (Ok(_), Ok(AnswerPacket { to: None, reply })) => self.take_reply(now, reply),
            _ => self.count("answer_malformed"),
        }
    }

    fn take_reply(&mut self, now: Time, reply: QueryReply) {
        let is_member = reply.from == self.me.id || self.table.get(reply.from).is_some();
        match self.news.queries.open.get_mut(&reply.query).filter(|open| open.until > now) {
            Some(_) if !is_member => self.count("answer_from_stranger"),
            Some(open) => {
                if open.replied.insert((reply.from, reply.answer.is_some())) {
                    self.outputs.push_back(Output::QueryReply(reply));
                }
            }
            None => self.count("answer_too_late"),
        }
    }

    fn send_reply(&mut self, to: SocketAddr, reply: &AnswerPacket) {
        let packet = [self.packet_head(), reply.encode()].concat();
        self.send_sealed(to, kind::REPLY, &packet);
    }
}
