//! How well this agent itself is: Lifeguard's local health (LHA-Probe).
//!
//! An agent that is starved or cut off finds everybody else silent. The worse it is by its own lights, the longer it waits before it
//! accuses anybody, and the less it asks.

use std::time::Duration;

/// The worst score: probes then take eight times as long (memberlist's `AwarenessMaxMultiplier`).
const WORST: u32 = 7;

/// The score, from 0 (well) to 7.
///
/// | what happened | change |
/// |---|---|
/// | a probe was answered | -1 |
/// | a probe failed, and a helper said that it is there but got no answer either | 0: it is not us |
/// | a probe failed, and none of the helpers said anything at all | +1 for each of them |
/// | a probe failed and nobody could be asked to help | +1 |
/// | somebody suspected us | +1 |
/// | timers fired late by a noticeable time | +1, and +1 for each whole probe period of it |
#[derive(Debug, Default)]
pub(crate) struct LocalHealth(u32);

impl LocalHealth {
    pub(crate) fn better(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    pub(crate) fn worse(&mut self, by: usize) {
        self.0 = self.0.saturating_add(u32::try_from(by).unwrap_or(WORST)).min(WORST);
    }

    /// Whether it cannot be worse.
    pub(crate) const fn is_worst(&self) -> bool {
        self.0 == WORST
    }

    pub(crate) const fn score(&self) -> u32 {
        self.0
    }

    /// How long a probe's wait of this length is for an agent that is no better than this.
    pub(crate) fn stretch(&self, wait: Duration) -> Duration {
        wait * (self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bounds_and_stretches() {
        let mut health = LocalHealth::default();
        let wait = Duration::from_millis(500);
        assert_eq!(health.stretch(wait), wait);
        health.worse(2);
        assert_eq!((health.score(), health.stretch(wait)), (2, wait * 3));
        health.worse(usize::MAX);
        assert_eq!((health.score(), health.stretch(wait)), (7, wait * 8));
        for _ in 0..9 {
            health.better();
        }
        assert_eq!(health.score(), 0);
    }
}
