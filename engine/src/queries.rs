//! Queries: those that people asked here, and those that this agent may answer.

use crate::Engine;
use crate::door::{Notice, Output};
use crate::events::refusal;
use crate::expression::compile;
use crate::source::Source;
use bytes::Bytes;
use quorate_protocol::query::{Response, is_reserved};
use quorate_protocol::wire::keyring::KEYRING;
use quorate_protocol::{AgentEvent, EventId, Member, Query, QueryReply, Question, Refusal, Reply, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most queries whose responses are kept, and the most of others that wait for an answer of this agent.
const MAX_QUERIES: usize = 256;
/// The most responses kept of one query, 8 MB if all are as long as can be. Further ones are dropped and counted.
const MAX_RESPONSES: usize = 8192;
/// The most that follow one query at once.
const MAX_FOLLOWERS: usize = 64;
/// How long the responses to a query are kept after its end, for whoever has not fetched the last.
const KEPT_AFTER: Duration = Duration::from_secs(30);

/// Queries that are open.
#[derive(Debug, Default)]
pub struct Queries {
    asked: BTreeMap<EventId, Asked>,
    /// Those of others (and of this agent itself) that programs here may answer, and until when.
    heard: BTreeMap<EventId, (Time, Query)>,
}

/// A query that was asked here.
#[derive(Debug)]
struct Asked {
    over_at: Time,
    is_over: bool,
    responses: Vec<Response>,
    followers: Vec<Follower>,
}

#[derive(Debug)]
struct Follower {
    source: Source,
    after: usize,
    until: Time,
}

impl Asked {
    fn reply(&self, after: usize) -> Reply {
        let responses = self.responses.get(after..).unwrap_or_default().to_vec();
        Reply::Responses { responses, over: self.is_over }
    }
}

impl Queries {
    pub fn deadline(&self) -> Option<Time> {
        let asked = self.asked.values().flat_map(|asked| {
            let end = if asked.is_over { asked.over_at + KEPT_AFTER } else { asked.over_at };
            asked.followers.iter().map(|follower| follower.until).chain([end])
        });
        asked.chain(self.heard.values().map(|(until, _)| *until)).min()
    }

    pub fn forget(&mut self, source: Source) {
        self.asked.values_mut().for_each(|asked| asked.followers.retain(|follower| follower.source != source));
    }
}

impl Engine {
    /// Asks all agents.
    pub(crate) fn ask_members(&mut self, now: Time, question: Question) -> Reply {
        let invalid = |why: String| Reply::Refused(Refusal::Invalid(why));
        if is_reserved(&question.name) {
            return invalid("names of queries that begin with _ are the agents' own: choose another".to_owned());
        }
        if let Some(why) = question.tags.iter().find_map(|(key, text)| compile(&format!("tag {key}"), text).err()) {
            return invalid(why);
        }
        if self.queries.asked.len() >= MAX_QUERIES {
            self.count("queries_overflow");
            return Reply::Refused(Refusal::Busy);
        }
        match self.gossip.query(now, question) {
            Ok(query) => {
                let over_at = now + query.question.timeout;
                let asked = Asked { over_at, is_over: false, responses: Vec::new(), followers: Vec::new() };
                self.queries.asked.insert(query.id, asked);
                Reply::Asked { query: query.id, timeout: query.question.timeout }
            }
            Err(why) => Reply::Refused(refusal(&why)),
        }
    }

    /// What was said to a query after so many responses, as soon as something was, or it is over.
    pub(crate) fn responses(&mut self, now: Time, source: Source, query: EventId, after: usize, timeout: Duration) {
        let reply = match self.queries.asked.get_mut(&query) {
            None => Reply::Refused(Refusal::NotFound("no query with this ID was asked here lately".to_owned())),
            Some(asked) if asked.is_over || asked.responses.len() > after || timeout.is_zero() => asked.reply(after),
            Some(asked) if asked.followers.len() >= MAX_FOLLOWERS => Reply::Refused(Refusal::Busy),
            Some(asked) => {
                return asked.followers.push(Follower { source, after, until: now + timeout });
            }
        };
        self.reply(source, reply);
    }

    /// Answers a query for a program on this host.
    pub(crate) fn answer_query(&mut self, now: Time, query: EventId, answer: Bytes) -> Reply {
        let Some((_, heard)) = self.queries.heard.get(&query) else {
            let why = "no query with this ID can be answered here: it is over, was answered, or was not for this agent";
            return Reply::Refused(Refusal::NotFound(why.to_owned()));
        };
        // Where it is too long, a shorter one may follow.
        if let Err(why) = self.gossip.answer(now, heard, Some(answer)) {
            return Reply::Refused(Refusal::Invalid(format!("the answer is too long ({why})")));
        }
        self.queries.heard.remove(&query);
        Reply::Done
    }

    /// Somebody, perhaps this agent, asks everybody.
    pub(crate) fn handle_query(&mut self, now: Time, query: Query) {
        match is_for(self.gossip.me(), &query.question) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return self.count("query_bad_filter"),
        }
        if query.question.ack {
            // An acknowledgement has no length that could be too long.
            let _ = self.gossip.answer(now, &query, None);
        }
        if query.question.name == KEYRING {
            return self.obey_keyring(now, query);
        }
        if query.question.name.starts_with('_') {
            return;
        }
        self.outputs.push_back(Output::Noticed(Notice::Query { query: query.clone() }));
        if self.queries.heard.len() >= MAX_QUERIES {
            self.count("queries_overflow");
        } else {
            self.queries.heard.insert(query.id, (now + query.question.timeout, query.clone()));
        }
        self.happened(AgentEvent::Query(query));
    }

    /// Somebody answers a query that was asked here.
    pub(crate) fn handle_query_reply(&mut self, reply: QueryReply) {
        if self.take_keyring_answer(&reply) {
            return;
        }
        let QueryReply { query, from, answer } = reply;
        let node = self.name_of(from);
        let Some(asked) = self.queries.asked.get_mut(&query) else { return };
        if asked.responses.len() >= MAX_RESPONSES {
            return self.count("responses_overflow");
        }
        asked.responses.push(Response { node, answer });
        self.tell_who_asked(query, |_| true);
    }

    pub(crate) fn time_out_queries(&mut self, now: Time) {
        self.queries.heard.retain(|_, (until, _)| *until > now);
        self.queries.asked.retain(|_, asked| asked.over_at + KEPT_AFTER > now);
        let ids: Vec<EventId> = self.queries.asked.keys().copied().collect();
        for id in ids {
            let Some(asked) = self.queries.asked.get_mut(&id) else { continue };
            asked.is_over |= asked.over_at <= now;
            let all = asked.is_over;
            self.tell_who_asked(id, |follower| all || follower.until <= now);
        }
    }

    fn tell_who_asked(&mut self, query: EventId, whom: impl Fn(&Follower) -> bool) {
        let Some(asked) = self.queries.asked.get_mut(&query) else { return };
        let (told, others) = std::mem::take(&mut asked.followers).into_iter().partition(whom);
        asked.followers = others;
        let told: Vec<Follower> = told;
        let replies: Vec<_> = told.iter().map(|follower| (follower.source, asked.reply(follower.after))).collect();
        replies.into_iter().for_each(|(source, reply)| self.reply(source, reply));
    }
}

/// Whether this member is to answer. As in Serf, an expression need not match the whole tag, and a tag that is not there is empty.
fn is_for(me: &Member, question: &Question) -> Result<bool, String> {
    if !question.nodes.is_empty() && !question.nodes.contains(&me.name) {
        return Ok(false);
    }
    for (key, text) in &question.tags {
        let value = me.tags.get(key).map_or("", String::as_str);
        if compile(key, text)?.is_some_and(|expression| !expression.is_match(value)) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{MemberStatus, NodeId};

    #[test]
    fn filters_as_serf_understands_them() {
        let me = Member {
            id: NodeId([1; 16]),
            name: "web-1".into(),
            address: ([127, 0, 0, 1], 8301).into(),
            tags: [("role".to_owned(), "web".to_owned())].into(),
            status: MemberStatus::Alive,
            generation: 1,
        };
        let check = |nodes: &[&str], tags: &[(&str, &str)]| {
            let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
            let tags = tags.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
            is_for(&me, &Question { nodes, tags, ..Question::default() })
        };
        for (nodes, tags, expected) in [
            (&[][..], &[][..], true),
            (&["web-1", "web-2"], &[], true),
            (&["web-2"], &[], false),
            (&["web"], &[], false),
            (&[], &[("role", "web|db")], true),
            (&[], &[("role", "^e")], false),
            (&["web-1"], &[("role", "db")], false),
            (&[], &[("rack", "^$")], true),
            (&[], &[("rack", "r1")], false),
        ] {
            assert_eq!(check(nodes, tags), Ok(expected), "{nodes:?} {tags:?}");
        }
        assert!(check(&[], &[("role", "(")]).is_err());
    }
}
