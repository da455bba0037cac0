//! How much each member may send out.

use quorate_protocol::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most members whose allowances are counted at once: only those count that lately sent something.
const MAX_ORIGINS: usize = 4096;

/// A rate and a burst per member (the generic cell rate algorithm of ITU-T I.371: a leaky bucket in one number, the time at which the
/// bucket will be empty).
pub(crate) struct Allowance {
    interval: Duration,
    burst: u32,
    empty_at: BTreeMap<NodeId, Time>,
}

impl Allowance {
    /// So many a second in the long run, and so many at once.
    pub(crate) fn new(per_second: u32, burst: u32) -> Allowance {
        Allowance { interval: Duration::from_secs(1) / per_second.max(1), burst, empty_at: BTreeMap::new() }
    }

    /// Whether this member may send one more; if so it is counted.
    pub(crate) fn take(&mut self, now: Time, origin: NodeId) -> bool {
        if !self.empty_at.contains_key(&origin) && self.empty_at.len() >= MAX_ORIGINS {
            self.empty_at.retain(|_, empty_at| *empty_at > now);
            if self.empty_at.len() >= MAX_ORIGINS {
                return false;
            }
        }
        let empty_at = self.empty_at.get(&origin).copied().unwrap_or(now).max(now) + self.interval;
        if empty_at.since(now) > self.interval * self.burst {
            return false;
        }
        self.empty_at.insert(origin, empty_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_at_once_and_then_the_rate() {
        let mut allowance = Allowance::new(10, 5);
        let (a, b) = (NodeId([1; 16]), NodeId([2; 16]));
        let mut now = Time::ZERO;
        let mut burst = |now, who| (0..20).filter(|_| allowance.take(now, who)).count();
        assert_eq!((burst(now, a), burst(now, b)), (5, 5));
        now = now + Duration::from_millis(250);
        assert_eq!(burst(now, a), 2);
        now = now + Duration::from_secs(60);
        assert_eq!(burst(now, a), 5);
    }

    #[test]
    fn those_who_were_quiet_are_not_counted() {
        let mut allowance = Allowance::new(10, 5);
        let id = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(n as u64).to_be_bytes());
            NodeId(id)
        };
        assert!((0..MAX_ORIGINS).all(|n| allowance.take(Time::ZERO, id(n))));
        assert!(!allowance.take(Time::ZERO, id(MAX_ORIGINS)));
        assert!(allowance.take(Time::ZERO + Duration::from_secs(1), id(MAX_ORIGINS)));
        assert_eq!(allowance.empty_at.len(), 1);
    }
}
