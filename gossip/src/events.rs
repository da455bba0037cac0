//! User events as a member remembers them, and how many each may send.

use crate::allowance::Allowance;
use crate::memory::{Heard, Memory};
use quorate_protocol::wire::gossip::RecentEvents;
use quorate_protocol::{EventId, NodeId, Time, UserEvent};

/// What one agent may send out: far more than people and scripts do, far less than gossip carries.
pub(crate) const EVENTS_PER_SECOND: u32 = 16;
const BURST: u32 = 64;
/// What is believed of another's events. More than it may send, since delays bunch them together.
const HEARD_PER_SECOND: u32 = 2 * EVENTS_PER_SECOND;
const HEARD_BURST: u32 = 4 * BURST;

/// The user events that this member heard lately.
pub(crate) struct Events {
    memory: Memory<UserEvent>,
    sent: Allowance,
    heard: Allowance,
    /// Whether the next exchange tells of events from before this member joined.
    expects_old_ones: bool,
}

impl Events {
    pub(crate) fn new() -> Events {
        Events {
            memory: Memory::new(),
            sent: Allowance::new(EVENTS_PER_SECOND, BURST),
            heard: Allowance::new(HEARD_PER_SECOND, HEARD_BURST),
            expects_old_ones: false,
        }
    }

    /// The Lamport time of an event of our own, unless there were too many lately.
    pub(crate) fn next_time(&mut self, now: Time, own: NodeId) -> Option<u64> {
        self.sent.take(now, own).then(|| self.memory.tick())
    }

    /// An event that was heard lately.
    pub(crate) fn get(&self, ltime: u64, id: EventId) -> Option<&UserEvent> {
        self.memory.get(ltime, id)
    }

    /// Whether one more of this origin is believed now; if so it is counted.
    pub(crate) fn may_be_heard(&mut self, now: Time, origin: NodeId) -> bool {
        self.heard.take(now, origin)
    }

    /// Takes in an event that came in a datagram.
    pub(crate) fn hear(&mut self, now: Time, event: &UserEvent) -> Heard {
        if self.memory.contains(event.ltime, event.id) {
            return Heard::Known;
        }
        if !self.may_be_heard(now, event.origin) {
            return Heard::Refused("news_rate_exceeded");
        }
        self.learn(event)
    }

    /// Takes in an event, however many there are.
    pub(crate) fn learn(&mut self, event: &UserEvent) -> Heard {
        self.memory.learn(event.ltime, event.id, event.clone())
    }

    pub(crate) const fn clock(&self) -> u64 {
        self.memory.clock()
    }

    /// Takes in the clock of another.
    pub(crate) const fn witness(&mut self, clock: u64) -> bool {
        self.memory.witness(clock)
    }

    /// This member joins. What happened before is not to be delivered (as with Serf's join that ignores old events): it was for those who
    /// were there.
    pub(crate) const fn expect_old_ones(&mut self) {
        self.expects_old_ones = true;
    }

    /// Whether the events that an exchange brings are from before this member joined.
    pub(crate) const fn are_old(&mut self) -> bool {
        std::mem::replace(&mut self.expects_old_ones, false)
    }

    /// What is told of them; the events themselves where the other has not the same.
    pub(crate) fn summary(&self, others: Option<&RecentEvents>) -> RecentEvents {
        let differs = others.is_some_and(|others| others.digest != self.digest());
        let events = if differs { self.all() } else { Vec::new() };
        RecentEvents { clock: self.clock(), digest: self.digest(), events }
    }

    pub(crate) const fn digest(&self) -> u64 {
        self.memory.digest()
    }

    pub(crate) fn all(&self) -> Vec<UserEvent> {
        self.memory.all().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_protocol::EventFilter;
    use std::time::Duration;

    fn event(ltime: u64, origin: u8) -> UserEvent {
        let mut id = [origin; 16];
        id[..8].copy_from_slice(&ltime.to_be_bytes());
        UserEvent {
            id: EventId(id),
            ltime,
            origin: NodeId([origin; 16]),
            name: "e".to_owned(),
            payload: Bytes::new(),
            filter: EventFilter::default(),
        }
    }

    #[test]
    fn those_who_differ_are_told_and_those_who_do_not_are_not() {
        let (mut a, mut b) = (Events::new(), Events::new());
        assert!(a.summary(Some(&b.summary(None))).events.is_empty());
        for ltime in 1..=3 {
            a.learn(&event(ltime, 1));
        }
        b.learn(&event(3, 1));
        let told = a.summary(Some(&b.summary(None)));
        assert_eq!(told.events.len(), 3);
        for event in &told.events {
            b.learn(event);
        }
        assert_eq!(a.summary(None), b.summary(None));
        assert!(b.summary(Some(&told)).events.is_empty());
    }

    #[test]
    fn a_chatterbox_is_cut_off_and_the_others_are_heard() {
        let mut events = Events::new();
        let heard = (1..1000).filter(|ltime| events.hear(Time::ZERO, &event(*ltime, 1)) == Heard::News).count();
        assert_eq!(heard, HEARD_BURST as usize);
        assert_eq!(events.hear(Time::ZERO, &event(1, 2)), Heard::News);
        assert_eq!((0..1000).filter(|_| events.next_time(Time::ZERO, NodeId([9; 16])).is_some()).count(), 64);
        let later = Time::ZERO + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| events.next_time(later, NodeId([9; 16])).is_some()).count(), 16);
    }
}
