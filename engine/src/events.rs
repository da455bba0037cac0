//! What happened lately: user events, queries, and what became of members. Kept for those who follow it.

use crate::Engine;
use crate::door::{Notice, Output};
use crate::expression::compile;
use crate::followers::{Followers, Full};
use crate::source::Source;
use bytes::Bytes;
use quorate_gossip::FireError;
use quorate_protocol::event::event_index;
use quorate_protocol::{AgentEvent, EventFilter, LogIndex, Refusal, Reply, Service, Time, UserEvent, Wait};
use regex_lite::Regex;
use std::collections::VecDeque;
use std::time::Duration;

/// User events in `/v1/event/list` (Consul's number).
const KEPT_USER_EVENTS: usize = 256;
/// What a follower that was away for a moment can still be told; a few hundred kilobytes where members have many tags.
const KEPT: usize = 512;

/// What happened lately, and who waits for more.
#[derive(Debug, Default)]
pub struct Happenings {
    user_events: VecDeque<UserEvent>,
    all: VecDeque<(u64, AgentEvent)>,
    /// The number of the last.
    last: u64,
    followers: Followers<Question>,
}

#[derive(Debug, Clone)]
enum Question {
    /// For another list of user events than the one with this index.
    UserEvents { name: String, index: LogIndex },
    /// For something after this number.
    Happened { after: u64 },
}

impl Happenings {
    /// Numbers go on from `generation`, which no earlier life reached if it saw less than a thousand events a second.
    pub fn new(generation: u64) -> Happenings {
        Happenings { last: generation, ..Happenings::default() }
    }

    pub fn deadline(&self) -> Option<Time> {
        self.followers.deadline()
    }

    pub fn forget(&mut self, source: Source) {
        self.followers.forget(source);
    }

    fn push(&mut self, event: AgentEvent) {
        self.last += 1;
        if let AgentEvent::User(event) = &event {
            if self.user_events.len() >= KEPT_USER_EVENTS {
                self.user_events.pop_front();
            }
            self.user_events.push_back(event.clone());
        }
        if self.all.len() >= KEPT {
            self.all.pop_front();
        }
        self.all.push_back((self.last, event));
    }

    fn answer(&self, question: &Question) -> Reply {
        match question {
            Question::UserEvents { name, .. } => Reply::UserEvents(self.named(name).cloned().collect()),
            Question::Happened { after } => {
                let first = self.all.front().map_or(self.last + 1, |(number, _)| *number);
                // A number above the last is from an earlier life with a clock ahead of this one's.
                let missed = after + 1 < first || *after > self.last;
                let after = if missed { 0 } else { *after };
                let events = self.all.iter().filter(|(number, _)| *number > after).cloned().collect();
                Reply::Happened { events, last: self.last, missed }
            }
        }
    }

    fn is_answered(&self, question: &Question) -> bool {
        match question {
            Question::UserEvents { name, index } => {
                let last = self.named(name).next_back().cloned();
                event_index(last.as_slice()) != *index
            }
            Question::Happened { after } => *after != self.last,
        }
    }

    fn named<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a UserEvent> {
        self.user_events.iter().filter(move |event| name.is_empty() || event.name == name)
    }
}

impl Engine {
    /// Sends out a user event.
    pub(crate) fn fire_event(&mut self, now: Time, name: String, payload: Bytes, filter: EventFilter) -> Reply {
        let checked = match Filter::new(&filter) {
            Ok(_) if !filter.tag.is_empty() && filter.service.is_empty() => {
                Err("tag filter provided without a service filter".to_owned())
            }
            Ok(_) => Ok(()),
            Err(why) => Err(why),
        };
        if let Err(why) = checked {
            return Reply::Refused(Refusal::Invalid(why));
        }
        match self.gossip.fire_event(now, name, payload, filter) {
            Ok(event) => Reply::UserEvents(vec![event]),
            Err(why) => Reply::Refused(refusal(&why)),
        }
    }

    /// The last user events, as soon as they are others than those that were seen.
    pub(crate) fn user_events(&mut self, now: Time, source: Source, name: String, wait: Option<Wait>) {
        let (index, timeout) = wait.map_or((LogIndex::ZERO, Duration::ZERO), |wait| (wait.index, wait.timeout));
        self.answer_or_follow(now, source, Question::UserEvents { name, index }, timeout);
    }

    /// What happened after a number, as soon as something did.
    pub(crate) fn happened_after(&mut self, now: Time, source: Source, after: Option<u64>, timeout: Duration) {
        let after = after.unwrap_or(self.happenings.last);
        self.answer_or_follow(now, source, Question::Happened { after }, timeout);
    }

    fn answer_or_follow(&mut self, now: Time, source: Source, question: Question, timeout: Duration) {
        let happenings = &mut self.happenings;
        if timeout.is_zero() || happenings.is_answered(&question) {
            let reply = happenings.answer(&question);
            return self.reply(source, reply);
        }
        if let Err(Full) = happenings.followers.add(now + timeout, source, question) {
            self.count("followers_overflow");
            self.reply(source, Reply::Refused(Refusal::Busy));
        }
    }

    pub(crate) fn time_out_happenings(&mut self, now: Time) {
        while let Some((source, question)) = self.happenings.followers.take_due(now) {
            let reply = self.happenings.answer(&question);
            self.reply(source, reply);
        }
    }

    /// A user event arrived. Everybody logs it; it is kept by those whom it is for.
    pub(crate) fn handle_user_event(&mut self, event: UserEvent) {
        self.outputs.push_back(Output::Noticed(Notice::UserEvent { event: event.clone() }));
        match Filter::new(&event.filter) {
            Ok(filter) if filter.matches(&self.config.name, self.local.services().values()) => {
                self.happened(AgentEvent::User(event));
            }
            Ok(_) => {}
            Err(_) => self.count("event_bad_filter"),
        }
    }

    /// Tells those who follow that something happened.
    pub(crate) fn happened(&mut self, event: AgentEvent) {
        self.happenings.push(event);
        let mut followers = std::mem::take(&mut self.happenings.followers);
        let answered = followers.take_answered(|question| self.happenings.is_answered(question));
        self.happenings.followers = followers;
        for (source, question) in answered {
            let reply = self.happenings.answer(&question);
            self.reply(source, reply);
        }
    }
}

/// Who should do what where gossip did not send something.
pub(crate) fn refusal(why: &FireError) -> Refusal {
    match why {
        FireError::TooMany => Refusal::Busy,
        FireError::Leaving => Refusal::Stopping,
        FireError::TooLong(_) => Refusal::Invalid(why.to_string()),
    }
}

/// A filter that can be asked; none of a part matches everything.
struct Filter {
    node: Option<Regex>,
    service: Option<Regex>,
    tag: Option<Regex>,
}

impl Filter {
    /// The error is a sentence for whoever wrote the filter.
    fn new(filter: &EventFilter) -> Result<Filter, String> {
        Ok(Filter {
            node: compile("node", &filter.node)?,
            service: compile("service", &filter.service)?,
            tag: compile("tag", &filter.tag)?,
        })
    }

    /// Whether it is for this node with these services. As in Consul, an expression need not match the whole name.
    fn matches<'a>(&self, node: &str, mut services: impl Iterator<Item = &'a Service>) -> bool {
        let fits = |expression: &Option<Regex>, text: &str| expression.as_ref().is_none_or(|one| one.is_match(text));
        let no_matter = self.service.is_none() && self.tag.is_none();
        let tagged = |service: &Service| self.tag.is_none() || service.tags.iter().any(|tag| fits(&self.tag, tag));
        fits(&self.node, node)
            && (no_matter || services.any(|service| fits(&self.service, &service.name) && tagged(service)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_as_consul_understands_them() {
        let web = Service { name: "web-api".into(), tags: vec!["v1".into(), "blue".into()], ..Service::default() };
        for (node, service, tag, matches) in [
            ("", "", "", true),
            ("n1", "", "", true),
            ("^n$", "", "", false),
            ("n", "web", "", true),
            ("", "^api", "", false),
            ("", "web", "^blue$", true),
            ("", "web", "green", false),
            ("other", "web", "blue", false),
        ] {
            let filter = EventFilter { node: node.into(), service: service.into(), tag: tag.into() };
            let filter = Filter::new(&filter).unwrap();
            assert_eq!(filter.matches("n1", [&web].into_iter()), matches, "{node} {service} {tag}");
        }
        for bad in ["(", "a{99999}{99999}"] {
            let filter = EventFilter { service: bad.into(), ..EventFilter::default() };
            assert!(Filter::new(&filter).err().unwrap().starts_with("invalid service filter"), "{bad}");
        }
    }
}
