//! What every member is to hear: user events and queries. They go out in datagrams of their own at each gossip interval, so that neither they nor changes of
//! members take the other's room.

use crate::backlog::Backlog;
use crate::events::{EVENTS_PER_SECOND, Events};
use crate::identity::Identity;
use crate::large::{LargeEvents, digest_of};
use crate::machine::{Due, Gossip, Output};
use crate::memory::Heard;
use crate::queries::Queries;
use bytes::{Buf, Bytes};
use quorate_protocol::event::{MAX_EVENT, check_event};
use quorate_protocol::query::MAX_QUERY;
use quorate_protocol::wire::WireError;
use quorate_protocol::wire::gossip::{GossipMessage, MAX_EVENTS, MAX_SEALED, RecentEvents, kind};
use quorate_protocol::wire::news::News;
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{EventFilter, EventId, Time, UserEvent};
use rand::RngExt;
use rand::seq::IteratorRandom;

/// Datagrams to one member in one round: a burst of events leaves within a few rounds, and a member sends at most 150 kB/s for it.
const PACKETS_AT_ONCE: usize = 4;

/// Why an event or a query was not sent out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FireError {
    /// It is too long: send a reference to what it is about instead.
    #[error(
        "too long ({0}): an event may have {MAX_EVENT} bytes with its name, a query {MAX_QUERY} with its name and filters"
    )]
    TooLong(WireError),
    /// Too many were sent out by this agent lately: send it later.
    #[error("this agent sent out too many lately ({EVENTS_PER_SECOND} a second are possible): try again in a second")]
    TooMany,
    /// This member left, or is about to.
    #[error("this agent is leaving")]
    Leaving,
}

/// What is passed on to everybody.
pub(crate) struct Announcements {
    pub(crate) events: Events,
    pub(crate) queries: Queries,
    pub(crate) large: LargeEvents,
    backlog: Backlog,
    /// Whether the next round is planned.
    round_is_set: bool,
}

impl Announcements {
    pub(crate) fn new() -> Announcements {
        Announcements {
            events: Events::new(),
            queries: Queries::new(),
            large: LargeEvents::default(),
            backlog: Backlog::default(),
            round_is_set: false,
        }
    }
}

impl Gossip {
    /// Sends out a user event; it is delivered here as well ([`Output::UserEvent`]).
    ///
    /// # Errors
    /// [`FireError`] that says what to do; nothing was sent.
    pub fn fire_event(
        &mut self,
        now: Time,
        name: String,
        payload: Bytes,
        filter: EventFilter,
    ) -> Result<UserEvent, FireError> {
        check_event(&name, &payload, &filter).map_err(FireError::TooLong)?;
        if !self.is_running() {
            return Err(FireError::Leaving);
        }
        let ltime = self.news.events.next_time(now, self.me.id).ok_or(FireError::TooMany)?;
        let id = EventId::from_random(self.rng.random());
        let event = UserEvent { id, ltime, origin: self.me.id, name, payload, filter };
        self.news.events.learn(&event);
        self.deliver_and_pass_on(now, event.clone());
        Ok(event)
    }

    /// Takes in a datagram of news; its sender holds a key.
    pub(crate) fn handle_news(&mut self, now: Time, packet: &[u8]) {
        let mut rest = packet;
        let Ok(sender) = Identity::decode(&mut rest) else { return self.count("news_malformed") };
        while rest.has_remaining() {
            let length = rest.try_get_u16().map_or(usize::MAX, usize::from);
            let Some((item, behind)) = rest.split_at_checked(length) else { return self.count("news_malformed") };
            rest = behind;
            match News::decode(item) {
                Ok(News::Event(event)) => {
                    let heard = self.news.events.hear(now, &event);
                    self.take_event(now, event, heard);
                }
                Ok(News::Digest(told)) => self.hear_digest(now, sender, told),
                Ok(News::Query(query)) => self.hear_query(now, query),
                Err(_) => self.count("news_malformed"),
            }
        }
    }

    /// Takes in what the question for our full state says of events, and tells what we know of them, with the events themselves if the
    /// other knows other ones.
    pub(crate) fn exchange_events(&mut self, now: Time, others: RecentEvents) -> RecentEvents {
        self.witness(others.clock);
        let ours = self.news.events.summary(Some(&others));
        self.take_events(now, others.events);
        ours
    }

    /// Takes in what the answer to our question says of events. What it shows that the other lacks is sent after it.
    pub(crate) fn merge_events(&mut self, now: Time, from: Origin, others: RecentEvents) {
        self.witness(others.clock);
        let deliver = !self.news.events.are_old();
        for event in others.events.into_iter().take(MAX_EVENTS) {
            self.learn_event(now, event, deliver);
        }
        if self.news.events.digest() != others.digest {
            let label = self.seal.label().to_owned();
            let message = GossipMessage::Events { label, events: self.news.events.all() };
            self.outputs.push_back(Output::Message { to: from.into(), message });
        }
    }

    fn witness(&mut self, clock: u64) {
        if !self.news.events.witness(clock) {
            self.count("news_clock_leapt");
        }
    }

    /// Takes in events that another saw us lack.
    pub(crate) fn take_events(&mut self, now: Time, events: Vec<UserEvent>) {
        for event in events.into_iter().take(MAX_EVENTS) {
            self.learn_event(now, event, true);
        }
    }

    fn learn_event(&mut self, now: Time, event: UserEvent, deliver: bool) {
        if check_event(&event.name, &event.payload, &event.filter).is_err() {
            return self.count("message_bad_event");
        }
        if !self.is_as_told(&event) {
            return;
        }
        let heard = self.news.events.learn(&event);
        if deliver {
            self.take_event(now, event, heard);
        }
    }

    fn take_event(&mut self, now: Time, event: UserEvent, heard: Heard) {
        match heard {
            Heard::News => self.deliver_and_pass_on(now, event),
            Heard::Known => {}
            Heard::Refused(reason) => self.count(reason),
        }
    }

    fn deliver_and_pass_on(&mut self, now: Time, event: UserEvent) {
        let news = if event.fits_datagram() {
            News::Event(event.clone()).encode()
        } else {
            News::Digest(digest_of(&event)).encode()
        };
        self.outputs.push_back(Output::UserEvent(event));
        self.announce(now, news);
    }

    /// Has everybody hear a piece of news.
    pub(crate) fn announce(&mut self, now: Time, news: Vec<u8>) {
        if !self.news.backlog.push(news) {
            self.count("news_backlog_full");
        }
        if !std::mem::replace(&mut self.news.round_is_set, true) {
            // Almost at once; a crowd that hears the same does not speak in the same moment.
            let wait = (self.timing.gossip_interval / 8).mul_f64(self.rng.random::<f64>());
            self.timers.set(now + wait, Due::News);
        }
    }

    /// Sends what waits to a few members.
    pub(crate) fn news_round(&mut self, now: Time) {
        let members = self.swim.alive() + 1;
        let times = u32::from(self.timing.repetitions(members));
        let targets = self.table.living().sample(&mut self.rng, self.timing.gossip_fanout);
        if targets.is_empty() {
            self.news.backlog.clear();
        }
        let head = self.packet_head();
        for to in targets {
            for news in self.news.backlog.take(PACKETS_AT_ONCE, MAX_SEALED - 1 - head.len(), times) {
                self.send_sealed(to.address, kind::NEWS, &[head.as_slice(), &news].concat());
            }
        }
        self.news.round_is_set = !self.news.backlog.is_empty();
        if self.news.round_is_set {
            self.timers.set(now + self.timing.gossip_interval, Due::News);
        }
    }

    /// How datagrams other than SWIM's begin: their replay window is found by who sent them.
    pub(crate) fn packet_head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(Identity::MAX_LEN);
        let encoded = self.swim.identity().encode(&mut head);
        debug_assert!(encoded.is_ok(), "a vector has room");
        head
    }
}
