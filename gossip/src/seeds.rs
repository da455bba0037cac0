//! Whom to ask for the cluster.

use quorate_protocol::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// The most addresses remembered; operators name a handful.
const MAX_SEEDS: usize = 256;
/// The most questions waiting for an answer; the oldest is given up.
const MAX_ASKED: usize = 1024;

/// Addresses that were given to join through. They are never forgotten: whenever this agent is alone it asks them again.
pub(crate) struct Seeds {
    known: BTreeSet<SocketAddr>,
    /// Those of which one must answer.
    waiting: BTreeSet<SocketAddr>,
    asked: BTreeMap<u64, SocketAddr>,
    first_wait: Duration,
    longest_wait: Duration,
    wait: Duration,
    next_round: Option<Time>,
}

impl Seeds {
    pub(crate) const fn new(first_wait: Duration, longest_wait: Duration) -> Seeds {
        Seeds {
            known: BTreeSet::new(),
            waiting: BTreeSet::new(),
            asked: BTreeMap::new(),
            first_wait,
            longest_wait,
            wait: first_wait,
            next_round: None,
        }
    }

    /// Adds seeds, of which one must answer.
    pub(crate) fn add(&mut self, addresses: impl Iterator<Item = SocketAddr>) {
        for address in addresses {
            if self.known.len() < MAX_SEEDS || self.known.contains(&address) {
                self.known.insert(address);
                self.waiting.insert(address);
            }
        }
        self.wait = self.first_wait;
    }

    /// Nobody else is alive: any seed may answer.
    pub(crate) fn ask_all_again(&mut self) {
        self.waiting.clone_from(&self.known);
        self.wait = self.first_wait;
    }

    /// Whom to ask now, if it is time for a round, and when the round after it is.
    pub(crate) fn round(&mut self, now: Time) -> Option<(Vec<SocketAddr>, Time)> {
        if self.waiting.is_empty() || self.next_round.is_some_and(|at| at > now) {
            return None;
        }
        let next = now + self.wait;
        self.wait = (self.wait * 2).min(self.longest_wait);
        self.next_round = Some(next);
        Some((self.waiting.iter().copied().collect(), next))
    }

    /// All seeds.
    pub(crate) fn known(&self) -> impl Iterator<Item = SocketAddr> {
        self.known.iter().copied()
    }

    /// Notes a question.
    pub(crate) fn asked(&mut self, exchange: u64, address: SocketAddr) {
        if self.asked.len() >= MAX_ASKED {
            self.asked.pop_first();
        }
        self.asked.insert(exchange, address);
    }

    /// The seed that answered, if this was a question to one. One answer is enough.
    pub(crate) fn answered(&mut self, exchange: u64) -> Option<SocketAddr> {
        let address = self.asked.remove(&exchange)?;
        if self.waiting.contains(&address) {
            self.waiting.clear();
            self.next_round = None;
        }
        Some(address)
    }

    /// The seed asked turned out to be this agent itself.
    pub(crate) fn is_self(&mut self, exchange: u64) {
        if let Some(address) = self.asked.remove(&exchange) {
            self.known.remove(&address);
            self.waiting.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn asks_ever_more_rarely_until_one_answers_and_again_when_alone() {
        let mut seeds = Seeds::new(Duration::from_secs(1), Duration::from_secs(3));
        seeds.add([address(1), address(2)].into_iter());
        let mut now = Time::ZERO;
        for wait in [1, 2, 3, 3] {
            let (asked, next) = seeds.round(now).unwrap();
            assert_eq!((asked.len(), next.since(now)), (2, Duration::from_secs(wait)));
            assert!(seeds.round(now).is_none(), "not twice");
            now = next;
        }
        seeds.asked(7, address(2));
        assert_eq!(seeds.answered(7), Some(address(2)));
        assert_eq!(seeds.answered(7), None);
        assert!(seeds.round(now).is_none());
        seeds.ask_all_again();
        assert_eq!(seeds.round(now).unwrap().0.len(), 2);
        seeds.asked(8, address(1));
        seeds.is_self(8);
        seeds.ask_all_again();
        assert_eq!(seeds.round(now + Duration::from_secs(9)).unwrap().0, [address(2)]);
    }

    #[test]
    fn an_answer_of_another_seed_does_not_end_a_later_join() {
        let mut seeds = Seeds::new(Duration::from_secs(1), Duration::from_secs(3));
        seeds.add([address(1)].into_iter());
        seeds.asked(1, address(1));
        seeds.answered(1);
        seeds.add([address(2)].into_iter());
        seeds.asked(2, address(1));
        assert_eq!(seeds.answered(2), Some(address(1)));
        assert_eq!(seeds.round(Time::ZERO).unwrap().0, [address(2)]);
    }
}
