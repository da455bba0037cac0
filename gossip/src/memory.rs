//! What was heard lately, so that nothing is heard twice.

use crate::lamport::LamportClock;
use quorate_protocol::EventId;
use quorate_protocol::wire::gossip::MAX_EVENTS;
use std::collections::BTreeMap;

/// The last pieces of news of one kind, in Lamport's order.
///
/// * Each is news at most once: whatever was forgotten is older than all that is remembered, and what is older than they is no news.
/// * Members that heard the same remember the same, so their digests are equal.
pub(crate) struct Memory<T> {
    clock: LamportClock,
    recent: BTreeMap<(u64, EventId), T>,
    /// The latest that was forgotten.
    forgotten: Option<(u64, EventId)>,
    digest: u64,
}

/// What a piece of news is to this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// To be delivered and passed on.
    News,
    /// Delivered before.
    Known,
    /// To be counted under this name and forgotten.
    Refused(&'static str),
}

impl<T> Memory<T> {
    pub(crate) fn new() -> Memory<T> {
        Memory { clock: LamportClock::default(), recent: BTreeMap::new(), forgotten: None, digest: 0 }
    }

    /// The time of the next piece of ours.
    pub(crate) const fn tick(&mut self) -> u64 {
        self.clock.tick()
    }

    pub(crate) const fn clock(&self) -> u64 {
        self.clock.time()
    }

    /// Takes in the clock of another. Returns false if it is not to be believed.
    pub(crate) const fn witness(&mut self, clock: u64) -> bool {
        self.clock.witness(clock)
    }

    pub(crate) fn contains(&self, ltime: u64, id: EventId) -> bool {
        self.recent.contains_key(&(ltime, id))
    }

    pub(crate) fn get(&self, ltime: u64, id: EventId) -> Option<&T> {
        self.recent.get(&(ltime, id))
    }

    pub(crate) fn learn(&mut self, ltime: u64, id: EventId, piece: T) -> Heard {
        let place = (ltime, id);
        if self.recent.contains_key(&place) {
            return Heard::Known;
        }
        if !self.clock.witness(ltime) {
            return Heard::Refused("news_clock_leapt");
        }
        if self.forgotten.is_some_and(|forgotten| place <= forgotten) {
            return Heard::Refused("news_too_old");
        }
        self.digest ^= digest(id);
        self.recent.insert(place, piece);
        if self.recent.len() > MAX_EVENTS
            && let Some((oldest, _)) = self.recent.pop_first()
        {
            self.digest ^= digest(oldest.1);
            self.forgotten = Some(oldest);
            if oldest == place {
                return Heard::Refused("news_too_old");
            }
        }
        Heard::News
    }

    /// Over the ids of all that is remembered.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.recent.values()
    }
}

/// Ids are random, so that their folded bits are as good as a hash.
fn digest(id: EventId) -> u64 {
    id.0.chunks(8).fold(0, |digest, half| digest ^ half.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> EventId {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        EventId(id)
    }

    #[test]
    fn each_is_news_once_whatever_the_order() {
        let mut memory = Memory::new();
        for (ltime, n, heard) in [
            (5, 1, Heard::News),
            (5, 1, Heard::Known),
            (5, 2, Heard::News),
            (3, 1, Heard::News),
            (3, 1, Heard::Known),
            (u64::MAX, 1, Heard::Refused("news_clock_leapt")),
        ] {
            assert_eq!(memory.learn(ltime, id(n), ()), heard, "{ltime} {n}");
        }
        assert_eq!(memory.tick(), 6);
    }

    #[test]
    fn what_was_forgotten_is_never_news_again() {
        let mut memory = Memory::new();
        let last = MAX_EVENTS as u64 + 10;
        for n in 1..=last {
            assert_eq!(memory.learn(n, id(n), n), Heard::News);
        }
        assert_eq!(memory.all().copied().collect::<Vec<_>>(), (11..=last).collect::<Vec<_>>());
        for n in 1..=10 {
            assert_eq!(memory.learn(n, id(n), n), Heard::Refused("news_too_old"));
        }
        assert_eq!(memory.learn(11, id(11), 11), Heard::Known);
        assert_eq!(memory.learn(5, id(99), 5), Heard::Refused("news_too_old"), "nor what is older than they");
    }

    #[test]
    fn digests_are_equal_where_what_is_remembered_is() {
        let (mut a, mut b) = (Memory::new(), Memory::new());
        let last = 2 * MAX_EVENTS as u64;
        (1..=last).for_each(|n| assert_eq!(a.learn(n, id(n), ()), Heard::News));
        (MAX_EVENTS as u64 / 2..=last).rev().for_each(|n| assert!(b.learn(n, id(n), ()) != Heard::Known));
        assert_eq!(a.digest(), b.digest());
        b.learn(last + 1, id(0), ());
        assert!(a.digest() != b.digest());
    }
}
