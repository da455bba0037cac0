//! Each datagram is believed once.

use quorate_protocol::{NodeId, Time};
use std::collections::BTreeMap;

/// How far a datagram may lag behind its sender's newest: more than any network reorders, 128 bytes per sender.
const WINDOW: u64 = 1024;
/// The most senders remembered, 3 MB. Beyond it the one heard longest ago is forgotten, and its old datagrams could be replayed; SWIM's
/// incarnations make that harmless for liveness.
const MAX_SENDERS: usize = 16_384;

/// Whether a datagram was seen before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Not yet.
    Fresh,
    /// It was, or it is too old to tell.
    Seen,
}

/// A window of counters per sender, as in RFC 4303, 3.4.3; a newer generation of the sender starts a new one and ends the old for good.
#[derive(Default)]
pub(crate) struct ReplayGuard {
    senders: BTreeMap<NodeId, Window>,
}

impl ReplayGuard {
    /// Judges an authentic datagram and remembers it.
    pub(crate) fn admit(&mut self, now: Time, sender: NodeId, generation: u64, counter: u64) -> Replay {
        if !self.senders.contains_key(&sender) && self.senders.len() >= MAX_SENDERS {
            let oldest = self.senders.iter().min_by_key(|(_, window)| window.last).map(|(id, _)| *id);
            oldest.map(|id| self.senders.remove(&id));
        }
        let window = self.senders.entry(sender).or_insert_with(|| Window::new(generation));
        if generation > window.generation {
            *window = Window::new(generation);
        }
        window.last = now;
        if generation == window.generation && window.admit(counter) { Replay::Fresh } else { Replay::Seen }
    }

    pub(crate) fn forget(&mut self, sender: NodeId) {
        self.senders.remove(&sender);
    }
}

struct Window {
    generation: u64,
    highest: u64,
    /// Bit `counter % WINDOW` for the last `WINDOW` counters up to the highest.
    seen: [u64; (WINDOW / 64) as usize],
    last: Time,
}

impl Window {
    const fn new(generation: u64) -> Window {
        Window { generation, highest: 0, seen: [0; (WINDOW / 64) as usize], last: Time::ZERO }
    }

    fn admit(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let skipped = counter - self.highest;
            if skipped >= WINDOW {
                self.seen = [0; (WINDOW / 64) as usize];
            } else {
                (self.highest + 1..=counter).for_each(|passed| self.set(passed, false));
            }
            self.highest = counter;
        } else if self.highest - counter >= WINDOW || self.is_set(counter) {
            return false;
        }
        self.set(counter, true);
        true
    }

    fn is_set(&self, counter: u64) -> bool {
        let bit = counter % WINDOW;
        self.seen.get((bit / 64) as usize).is_none_or(|word| word >> (bit % 64) & 1 == 1)
    }

    fn set(&mut self, counter: u64, on: bool) {
        let bit = counter % WINDOW;
        if let Some(word) = self.seen.get_mut((bit / 64) as usize) {
            let mask = 1 << (bit % 64);
            *word = if on { *word | mask } else { *word & !mask };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: NodeId = NodeId([1; 16]);

    #[test]
    fn once_each_in_any_order_within_the_window() {
        let mut guard = ReplayGuard::default();
        let mut admit = |generation, counter| guard.admit(Time::ZERO, A, generation, counter);
        for (generation, counter, expected) in [
            (1, 5, Replay::Fresh),
            (1, 5, Replay::Seen),
            (1, 3, Replay::Fresh),
            (1, 3, Replay::Seen),
            (1, 2000, Replay::Fresh),
            (1, 976, Replay::Seen),
            (1, 977, Replay::Fresh),
            (1, u64::MAX, Replay::Fresh),
            (1, 2000, Replay::Seen),
            (2, 1, Replay::Fresh),
            (1, u64::MAX, Replay::Seen),
            (1, 1, Replay::Seen),
            (2, 1, Replay::Seen),
        ] {
            assert_eq!(admit(generation, counter), expected, "{generation} {counter}");
        }
    }

    proptest! {
        #[test]
        fn never_twice(counters in prop::collection::vec(0u64..3000, 0..400)) {
            let mut guard = ReplayGuard::default();
            let mut admitted = BTreeSet::new();
            let mut highest = 0;
            for counter in counters {
                let fresh = guard.admit(Time::ZERO, A, 1, counter) == Replay::Fresh;
                prop_assert!(!fresh || admitted.insert(counter), "{} twice", counter);
                prop_assert!(fresh || admitted.contains(&counter) || highest - counter >= WINDOW);
                highest = highest.max(counter);
            }
        }
    }

    #[test]
    fn senders_are_bounded() {
        let mut guard = ReplayGuard::default();
        for n in 0..MAX_SENDERS as u64 + 10 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            guard.admit(Time::from_nanos(n), NodeId(id), 1, 1);
        }
        assert_eq!(guard.senders.len(), MAX_SENDERS);
        assert!(!guard.senders.contains_key(&NodeId([0; 16])), "the oldest goes first");
    }
}
