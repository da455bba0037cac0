//! Every die of the simulated world, rolled from one seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Whose dice they are. Each part of the world has its own stream, so that a change of one part (a client that asks
/// once more) does not change what the others roll: a failing seed stays a failing seed for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What is drawn once: identities, clocks, who dies in the end.
    World = 1,
    /// Delays, losses and duplicates.
    Network = 2,
    /// Faults: what, whom, when and for how long.
    Faults = 3,
    /// What clients ask.
    Clients = 4,
    /// How long disks take and what they lose; the agent's number is added.
    Disk = 1000,
}

/// A seeded generator with the few throws that the world needs.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of one part of the world; `nth` tells parts of one kind apart.
    pub fn new(seed: u64, stream: Stream, nth: usize) -> Dice {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream as u64 + nth as u64);
        Dice(generator)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// True with this probability, from 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        self.fraction() < probability
    }

    /// A number below `limit`; 0 where the limit is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The bias of the remainder is far below anything that matters to a simulation.
        if limit == 0 { 0 } else { (self.number() % limit as u64) as usize }
    }

    /// A length of time, evenly from `low` to `high`.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let width = high.saturating_sub(low).as_nanos() as u64;
        low + Duration::from_nanos((self.fraction() * width as f64) as u64)
    }

    /// A length of time with this mean, now and then several times as long.
    pub fn around(&mut self, mean: Duration) -> Duration {
        // The product of two even throws: skewed as waiting times are, and without a logarithm, whose last bit may differ from
        // one machine to the next and with it the trace.
        let factor = 4.0 * self.fraction() * self.fraction();
        mean.mul_f64(factor)
    }

    /// One of these, if there is one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let nth = self.below(from.len());
        from.get(nth).copied()
    }

    /// Puts them in random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.below(last + 1);
            list.swap(last, other);
        }
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_throws_and_streams_differ() {
        let throws = |seed, stream| -> Vec<u64> {
            let mut dice = Dice::new(seed, stream, 0);
            (0..8).map(|_| dice.number()).collect()
        };
        assert_eq!(throws(7, Stream::Network), throws(7, Stream::Network));
        assert_ne!(throws(7, Stream::Network), throws(8, Stream::Network));
        assert_ne!(throws(7, Stream::Network), throws(7, Stream::Faults));
    }

    #[test]
    fn throws_stay_in_their_range() {
        let mut dice = Dice::new(1, Stream::World, 0);
        let (low, high) = (Duration::from_millis(2), Duration::from_millis(5));
        let mut heads = 0;
        for _ in 0..10_000 {
            assert!((low..=high).contains(&dice.between(low, high)));
            assert!(dice.below(3) < 3);
            assert!(dice.around(low) <= low * 4);
            heads += usize::from(dice.chance(0.05));
        }
        assert!((300..700).contains(&heads), "{heads}");
        assert_eq!(dice.below(0), 0);
        assert!(!dice.chance(0.0));
    }
}
