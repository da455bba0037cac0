//! Finding one's coordinate from round-trip times: Vivaldi (Dabek, Cox, Kaashoek, Morris, "Vivaldi: A Decentralized Network Coordinate
//! System", SIGCOMM 2004) with heights, adjustments and a latency filter as in Serf (Ledlie, Gardner, Seltzer, "Network Coordinates in the
//! Wild", NSDI 2007; Lee, Ooi, Lim, Ho, "On Suitability of Euclidean Embedding for Host-Based Network Coordinate Systems", 2010).

use quorate_protocol::NodeId;
use quorate_protocol::coordinate::{Coordinate, DIMENSIONS, MAX_ERROR};
use rand::{Rng, RngExt};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How much one measurement moves the error, and how much the place (the paper's ce and cc).
const ERROR_GAIN: f64 = 0.25;
const PLACE_GAIN: f64 = 0.25;
/// Measurements over which distances from here are seen to be off.
const ADJUSTMENT_SAMPLES: usize = 20;
/// No access link is shorter, in seconds.
const MIN_HEIGHT: f64 = 10e-6;
/// Of so many measurements of one member the median counts: a lone delay moves nobody.
const FILTERED: usize = 3;
/// Two places that are closer, in seconds, have no direction.
const TOGETHER: f64 = 1e-6;
/// Farther out, the origin pulls as strongly as other members do: the whole cloud does not drift.
const GRAVITY: f64 = 150.0;
/// No round trip takes longer that says anything about distance.
const MAX_RTT: Duration = Duration::from_secs(10);
/// The most members whose measurements are filtered at once; all of a large pool.
const MAX_FILTERED: usize = 16_384;

/// This member's coordinate, and what it needs to move.
pub(crate) struct Vivaldi {
    here: Coordinate,
    off_by: VecDeque<f64>,
    latest: BTreeMap<NodeId, VecDeque<f64>>,
}

/// The middle of the world, where everybody begins.
const ORIGIN: Coordinate =
    Coordinate { place: [0.0; DIMENSIONS], height: MIN_HEIGHT, error: MAX_ERROR, adjustment: 0.0 };

impl Vivaldi {
    pub(crate) const fn new() -> Vivaldi {
        Vivaldi { here: ORIGIN, off_by: VecDeque::new(), latest: BTreeMap::new() }
    }

    pub(crate) const fn here(&self) -> Coordinate {
        self.here
    }

    /// A probe of `other`, which is `there`, took `rtt`. Returns the counter to increase where that says nothing.
    pub(crate) fn measured(
        &mut self,
        other: NodeId,
        there: &Coordinate,
        rtt: Duration,
        dice: &mut impl Rng,
    ) -> Result<(), &'static str> {
        if there.check().is_err() {
            return Err("coordinate_refused");
        }
        if rtt > MAX_RTT {
            return Err("coordinate_rtt_refused");
        }
        if !self.latest.contains_key(&other) && self.latest.len() >= MAX_FILTERED {
            return Err("coordinate_filter_full");
        }
        let rtt = median(self.latest.entry(other).or_default(), rtt.as_secs_f64()).max(TOGETHER);
        self.approach(there, rtt, dice);
        self.adjust(there, rtt);
        self.fall(dice);
        if self.here.check().is_err() {
            *self = Vivaldi::new();
            return Err("coordinate_reset");
        }
        Ok(())
    }

    /// Forgets a member that is no more.
    pub(crate) fn forget(&mut self, other: NodeId) {
        self.latest.remove(&other);
    }

    /// Moves toward or away from the other, by as much as that is the more certain of the two.
    fn approach(&mut self, there: &Coordinate, rtt: f64, dice: &mut impl Rng) {
        let distance = self.here.distance(there).as_secs_f64();
        let wrongness = (distance - rtt).abs() / rtt;
        let weight = self.here.error / (self.here.error + there.error).max(TOGETHER);
        let gain = ERROR_GAIN * weight;
        self.here.error = (gain * wrongness + self.here.error * (1.0 - gain)).min(MAX_ERROR);
        self.push(PLACE_GAIN * weight * (rtt - distance), there, dice);
    }

    /// What measurements differ from places by, on the whole: not every network is a space.
    fn adjust(&mut self, there: &Coordinate, rtt: f64) {
        if self.off_by.len() >= ADJUSTMENT_SAMPLES {
            self.off_by.pop_front();
        }
        self.off_by.push_back(rtt - self.here.raw_distance(there));
        // Both ends of a distance add theirs, so each is a half; samples that are still missing count as zero.
        self.here.adjustment = self.off_by.iter().sum::<f64>() / (2.0 * ADJUSTMENT_SAMPLES as f64);
    }

    /// Falls toward the origin.
    fn fall(&mut self, dice: &mut impl Rng) {
        let out = self.here.distance(&ORIGIN).as_secs_f64() / GRAVITY;
        self.push(-(out * out), &ORIGIN, dice);
    }

    /// Moves by so many seconds away from the other.
    fn push(&mut self, force: f64, from: &Coordinate, dice: &mut impl Rng) {
        let mut direction = [0.0; DIMENSIONS];
        direction.iter_mut().zip(self.here.place.iter().zip(&from.place)).for_each(|(d, (a, b))| *d = a - b);
        let apart = length(&direction);
        if apart > TOGETHER {
            direction.iter_mut().for_each(|d| *d /= apart);
            let height = (self.here.height + from.height) * force / apart + self.here.height;
            self.here.height = height.max(MIN_HEIGHT);
        } else {
            // Whoever is at the same place goes some way, or they would stay together for ever.
            direction.iter_mut().for_each(|d| *d = dice.random::<f64>() - 0.5);
            let long = length(&direction).max(TOGETHER);
            direction.iter_mut().for_each(|d| *d /= long);
        }
        self.here.place.iter_mut().zip(direction).for_each(|(place, d)| *place += d * force);
    }
}

fn length(vector: &[f64; DIMENSIONS]) -> f64 {
    vector.iter().map(|d| d * d).sum::<f64>().sqrt()
}

/// Adds a measurement; the median of the last ones.
fn median(latest: &mut VecDeque<f64>, rtt: f64) -> f64 {
    if latest.len() >= FILTERED {
        latest.pop_front();
    }
    latest.push_back(rtt);
    let mut sorted: Vec<f64> = latest.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(rtt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn id(n: usize) -> NodeId {
        NodeId([u8::try_from(n).unwrap(); 16])
    }

    /// Members that measure each other in random pairs, with noise; the mean relative error of all estimates after that.
    fn converge(members: usize, rounds: usize, rtt: impl Fn(usize, usize) -> f64) -> f64 {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let mut all: Vec<Vivaldi> = (0..members).map(|_| Vivaldi::new()).collect();
        for _ in 0..rounds * members {
            let (a, b) = (dice.random_range(0..members), dice.random_range(0..members));
            if a != b {
                let there = all[b].here();
                let noise = 1.0 + 0.1 * dice.random::<f64>();
                let took = Duration::from_secs_f64(rtt(a, b) * noise);
                assert_eq!(all[a].measured(id(b), &there, took, &mut dice), Ok(()));
            }
        }
        let pairs = (0..members).flat_map(|a| (0..members).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let errors: Vec<f64> = pairs
            .map(|(a, b)| (all[a].here().distance(&all[b].here()).as_secs_f64() - rtt(a, b)).abs() / rtt(a, b))
            .collect();
        errors.iter().sum::<f64>() / errors.len() as f64
    }

    #[test]
    fn estimates_come_near_on_a_line_in_two_datacenters_and_around_a_hub() {
        for (shape, error) in [
            ("a line", converge(10, 400, |a, b| 0.01 * a.abs_diff(b) as f64)),
            ("two datacenters", converge(20, 400, |a, b| if (a < 10) == (b < 10) { 0.001 } else { 0.1 })),
            ("a hub", converge(12, 400, |a, b| 0.005 * (a + b) as f64)),
        ] {
            // Noise alone makes a twentieth; a millisecond beside a hundred is found less well.
            assert!(error < 0.3, "{shape}: {error}");
        }
    }

    #[test]
    fn a_lone_delay_and_nonsense_move_nobody() {
        let mut dice = ChaCha8Rng::seed_from_u64(2);
        let mut here = Vivaldi::new();
        let there = Coordinate { place: [0.005; DIMENSIONS], error: 0.1, ..ORIGIN };
        for _ in 0..200 {
            here.measured(id(1), &there, Duration::from_millis(20), &mut dice).unwrap();
        }
        let before = here.here();
        assert_eq!(here.measured(id(1), &there, Duration::from_secs(5), &mut dice), Ok(()));
        assert!(before.raw_distance(&here.here()) - 2.0 * before.height < 0.001);
        let before = here.here();
        let nowhere = Coordinate { place: [f64::NAN; DIMENSIONS], ..there };
        assert_eq!(here.measured(id(1), &nowhere, Duration::from_millis(20), &mut dice), Err("coordinate_refused"));
        assert_eq!(here.measured(id(1), &there, Duration::from_secs(11), &mut dice), Err("coordinate_rtt_refused"));
        assert_eq!(here.here(), before);
    }

    #[test]
    fn one_that_lies_does_not_carry_the_others_out_of_the_world() {
        let mut dice = ChaCha8Rng::seed_from_u64(3);
        let mut here = Vivaldi::new();
        for n in 0..10_000 {
            let place = [if n % 2 == 0 { 60.0 } else { -60.0 }; DIMENSIONS];
            let lie = Coordinate { place, error: 0.0, ..ORIGIN };
            let _ = here.measured(id(1), &lie, Duration::from_secs(n % 10), &mut dice);
            assert_eq!(here.here().check(), Ok(()));
        }
    }
}
