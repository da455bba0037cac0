//! User events that are too long for a datagram: datagrams tell of them, and whoever hears of one gets it over a stream from whoever told.
//!
//! What is told is a hash, so nobody can slip in another event on the way. Whoever has it tells of it in turn, so its origin is not asked by
//! all. What comes from nobody comes with the next exchange of full state.

use crate::identity::Identity;
use crate::machine::{Due, Gossip, Output};
use quorate_protocol::wire::gossip::GossipMessage;
use quorate_protocol::wire::news::EventDigest;
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{EventId, Time, UserEvent};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Events that are under way to this member at once; of more it learns by the exchange of full state.
const MAX_WANTED: usize = 64;
/// The most members remembered that have one of them.
const MAX_HOLDERS: usize = 4;
/// How long one of them has to send it before the next is asked: a handshake and a retransmission.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked for.
const TRIES: u32 = 5;

/// What was told of and has not come.
#[derive(Default)]
pub(crate) struct LargeEvents {
    wanted: BTreeMap<EventId, Wanted>,
}

struct Wanted {
    told: EventDigest,
    /// Who has it, the one to ask next first.
    holders: VecDeque<Identity>,
    asked_at: Time,
    tries: u32,
}

/// The digest of an event.
pub(crate) fn digest_of(event: &UserEvent) -> EventDigest {
    let mut hash = Sha256::new();
    for part in [event.name.as_bytes(), &event.payload, event.filter.node.as_bytes()]
        .into_iter()
        .chain([event.filter.service.as_bytes(), event.filter.tag.as_bytes()])
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    EventDigest { id: event.id, ltime: event.ltime, origin: event.origin, hash: hash.finalize().into() }
}

impl Gossip {
    /// Takes in that there is an event, from a member that has it.
    pub(crate) fn hear_digest(&mut self, now: Time, holder: Identity, told: EventDigest) {
        if self.news.events.get(told.ltime, told.id).is_some() {
            return;
        }
        if let Some(wanted) = self.news.large.wanted.get_mut(&told.id) {
            if wanted.holders.len() < MAX_HOLDERS && !wanted.holders.contains(&holder) {
                wanted.holders.push_back(holder);
            }
            return;
        }
        if self.news.large.wanted.len() >= MAX_WANTED {
            return self.count("large_events_overflow");
        }
        if !self.news.events.may_be_heard(now, told.origin) {
            return self.count("news_rate_exceeded");
        }
        let is_first = self.news.large.wanted.is_empty();
        self.news.large.wanted.insert(told.id, Wanted { told, holders: [holder].into(), asked_at: now, tries: 1 });
        self.ask_for_event(holder, told);
        if is_first {
            self.timers.set(now + PATIENCE, Due::LargeEvents);
        }
    }

    fn ask_for_event(&mut self, holder: Identity, told: EventDigest) {
        let label = self.seal.label().to_owned();
        self.send_message(holder, GossipMessage::WantEvent { label, id: told.id, ltime: told.ltime });
    }

    /// Asks others for what has not come.
    pub(crate) fn ask_for_late_events(&mut self, now: Time) {
        let mut asked = Vec::new();
        let mut given_up = 0;
        self.news.large.wanted.retain(|_, wanted| {
            if now.since(wanted.asked_at) < PATIENCE {
                return true;
            }
            if wanted.tries >= TRIES {
                given_up += 1;
                return false;
            }
            wanted.holders.rotate_left(1);
            wanted.tries += 1;
            wanted.asked_at = now;
            asked.extend(wanted.holders.front().map(|holder| (*holder, wanted.told)));
            true
        });
        (0..given_up).for_each(|_| self.count("large_event_never_came"));
        asked.into_iter().for_each(|(holder, told)| self.ask_for_event(holder, told));
        if !self.news.large.wanted.is_empty() {
            self.timers.set(now + PATIENCE, Due::LargeEvents);
        }
    }

    /// Sends an event that another was told of.
    pub(crate) fn give_event(&mut self, to: Origin, ltime: u64, id: EventId) {
        let Some(event) = self.news.events.get(ltime, id).cloned() else { return };
        let message = GossipMessage::Events { label: self.seal.label().to_owned(), events: vec![event] };
        self.outputs.push_back(Output::Message { to: to.into(), message });
    }

    /// Whether an event is what was told of it, if anything was; it is wanted no more.
    pub(crate) fn is_as_told(&mut self, event: &UserEvent) -> bool {
        match self.news.large.wanted.get(&event.id) {
            Some(wanted) if wanted.told != digest_of(event) => {
                self.count("large_event_not_as_told");
                false
            }
            Some(_) => self.news.large.wanted.remove(&event.id).is_some(),
            None => true,
        }
    }
}
