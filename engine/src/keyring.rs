//! Changing the keys of the cluster: an order to all agents in a query, what each makes of it, and who did what.

use crate::Engine;
use crate::door::{Notice, Output};
use crate::events::refusal;
use crate::source::Source;
use quorate_protocol::keyring::{KeyStamp, KeyringAnswer, KeyringChange, KeyringReport, KeyringRequest};
use quorate_protocol::wire::keyring::KEYRING;
use quorate_protocol::{EventId, Query, QueryReply, Question, Refusal, Reply, Time};
use std::collections::BTreeMap;

/// The most orders under way from here at once; they are given by people.
const MAX_ORDERS: usize = 16;

/// Orders that were given here, and those of anybody that wait for the disk.
#[derive(Debug, Default)]
pub struct Orders {
    given: BTreeMap<EventId, Order>,
    /// They are answered once what they changed is kept.
    unsaved: Vec<Query>,
    /// How often the keys changed, and how often they were kept since.
    changes: u64,
    saves: u64,
}

#[derive(Debug)]
struct Order {
    source: Source,
    over_at: Time,
    report: KeyringReport,
}

impl Orders {
    pub fn deadline(&self) -> Option<Time> {
        self.given.values().map(|order| order.over_at).min()
    }

    pub fn forget(&mut self, source: Source) {
        self.given.retain(|_, order| order.source != source);
    }
}

impl Engine {
    /// Has all agents list or change their keys; the reply comes when all have answered, or could have. `local` asks this agent alone.
    pub(crate) fn order_keys(&mut self, now: Time, source: Source, request: &KeyringRequest, relays: u8, local: bool) {
        if self.orders.given.len() >= MAX_ORDERS {
            return self.reply(source, Reply::Refused(Refusal::Busy));
        }
        let me = self.gossip.me().name.clone();
        let nodes = if local { [me].into() } else { Default::default() };
        let name = KEYRING.to_owned();
        let question = Question { name, payload: request.encode().into(), nodes, relays, ..Question::default() };
        let members = if local { 1 } else { self.gossip.members().filter(|member| member.is_alive()).count() };
        match self.gossip.query(now, question) {
            Ok(query) => {
                let report = KeyringReport { members, ..KeyringReport::default() };
                self.orders.given.insert(query.id, Order { source, over_at: now + query.question.timeout, report });
            }
            Err(why) => self.reply(source, Reply::Refused(refusal(&why))),
        }
    }

    /// Somebody orders something of this agent's keys.
    pub(crate) fn obey_keyring(&mut self, now: Time, query: Query) {
        let answer = match KeyringRequest::decode(&query.question.payload) {
            Err(_) => return self.count("keyring_order_malformed"),
            Ok(KeyringRequest::List) => {
                KeyringAnswer { keys: self.gossip.keyring().keys().cloned().collect(), refused: String::new() }
            }
            Ok(KeyringRequest::Change(change)) => {
                let outcome = self.gossip.change_keys(&change, KeyStamp { ltime: query.ltime, order: query.id });
                let what = match change {
                    KeyringChange::Install(_) => "install",
                    KeyringChange::Use(_) => "use",
                    KeyringChange::Remove(_) => "remove",
                };
                let refused = outcome.err().map(|why| why.to_string()).unwrap_or_default();
                self.outputs.push_back(Output::Noticed(Notice::KeyringOrder { what, refused: refused.clone() }));
                if outcome == Ok(true) {
                    return self.orders.unsaved.push(query);
                }
                KeyringAnswer { refused, ..KeyringAnswer::default() }
            }
        };
        self.answer_order(now, &query, &answer);
    }

    /// The keys are others now: they are kept, and connections are made under them.
    pub(crate) fn handle_keys_changed(&mut self) {
        self.orders.changes += 1;
        self.outputs.push_back(Output::KeysChanged { state: self.gossip.keyring().state().clone() });
    }

    /// The keys are kept, or cannot be.
    pub(crate) fn handle_keys_saved(&mut self, now: Time, failed: Option<String>) {
        self.orders.saves += 1;
        if self.orders.saves < self.orders.changes {
            return;
        }
        let refused = failed.map(|why| format!("the change holds until a restart: {why}")).unwrap_or_default();
        for query in std::mem::take(&mut self.orders.unsaved) {
            self.answer_order(now, &query, &KeyringAnswer { refused: refused.clone(), keys: Vec::new() });
        }
    }

    fn answer_order(&mut self, now: Time, query: &Query, answer: &KeyringAnswer) {
        if self.gossip.answer(now, query, Some(answer.encode().into())).is_err() {
            self.count("keyring_answer_too_long");
        }
    }

    /// Somebody answers an order that was given here. Returns false where it is none.
    pub(crate) fn take_keyring_answer(&mut self, reply: &QueryReply) -> bool {
        let node = self.name_of(reply.from);
        let Some(order) = self.orders.given.get_mut(&reply.query) else { return false };
        let Some(answer) = reply.answer.as_deref().and_then(|bytes| KeyringAnswer::decode(bytes).ok()) else {
            self.count("keyring_answer_malformed");
            return true;
        };
        let report = &mut order.report;
        report.answered += 1;
        if !answer.refused.is_empty() {
            report.refused.insert(node, answer.refused);
        }
        if let Some(primary) = answer.keys.first() {
            *report.primaries.entry(primary.clone()).or_default() += 1;
        }
        for key in answer.keys {
            *report.keys.entry(key).or_default() += 1;
        }
        if report.answered >= report.members {
            self.finish_order(reply.query);
        }
        true
    }

    pub(crate) fn time_out_key_orders(&mut self, now: Time) {
        let over: Vec<EventId> =
            self.orders.given.iter().filter(|(_, order)| order.over_at <= now).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.finish_order(id));
    }

    fn finish_order(&mut self, id: EventId) {
        if let Some(Order { source, report, .. }) = self.orders.given.remove(&id) {
            self.reply(source, Reply::Keyring(report));
        }
    }
}
