//! The clock of one agent: it starts with the process and runs a little fast or slow.

use quorate_protocol::Time;

const MILLION: u128 = 1_000_000;

/// Translates between the world's time and an agent's.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Time,
    /// How much faster than the world it runs, in millionths.
    drift: i32,
}

impl Clock {
    /// A clock that shows zero at `started` and runs `drift` millionths fast (negative: slow).
    pub const fn new(started: Time, drift: i32) -> Clock {
        Clock { started, drift }
    }

    /// When its process started, by the world's time.
    pub const fn started(&self) -> Time {
        self.started
    }

    /// What it shows at a moment of the world; zero before it started.
    pub fn local(&self, world: Time) -> Time {
        let passed = u128::from(world.as_nanos().saturating_sub(self.started.as_nanos()));
        narrow(passed * self.rate() / MILLION)
    }

    /// The first moment of the world at which it shows at least `local`.
    pub fn world(&self, local: Time) -> Time {
        let passed = (u128::from(local.as_nanos()) * MILLION).div_ceil(self.rate());
        narrow(passed + u128::from(self.started.as_nanos()))
    }

    fn rate(&self) -> u128 {
        (MILLION as i128 + i128::from(self.drift)).max(1) as u128
    }
}

fn narrow(nanos: u128) -> Time {
    Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_fast_clock_shows_more_and_a_deadline_is_never_early() {
        let started = Time::from_nanos(3_000_000_000);
        for drift in [-10_000, -1, 0, 1, 10_000] {
            let clock = Clock::new(started, drift);
            assert_eq!(clock.local(started), Time::ZERO);
            for nanos in [1, 999, 1_000_000_007, 77_777_777_777] {
                let due = Time::from_nanos(nanos);
                let world = clock.world(due);
                assert!(clock.local(world) >= due, "drift {drift}, {nanos} ns");
                assert!(clock.local(world - Duration::from_nanos(2)) < due, "drift {drift}, {nanos} ns");
            }
        }
        let minute = started + Duration::from_secs(60);
        assert_eq!(Clock::new(started, 10_000).local(minute), Time::from_nanos(60_600_000_000));
        assert_eq!(Clock::new(started, 0).local(Time::ZERO), Time::ZERO);
        assert_eq!(Clock::new(started, 0).world(Time::NEVER), Time::NEVER);
    }
}
