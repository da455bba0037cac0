//! Lamport's clock: order without clocks on walls.

/// A clock that is this much ahead of ours, once we have heard anybody, belongs to nobody honest: no cluster counts that far while a
/// member is away. It keeps one bad sender from using up the numbers.
const MAX_JUMP: u64 = 1 << 32;
/// No clock passes this, jump by jump.
const MAX_TIME: u64 = 1 << 62;

/// Counts what was sent and heard (Lamport, "Time, Clocks, and the Ordering of Events", 1978).
#[derive(Debug, Default)]
pub(crate) struct LamportClock(u64);

impl LamportClock {
    /// The time of the next event of ours.
    pub(crate) const fn tick(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    /// Never behind what was heard. Returns false, and stays, if that time is not to be believed.
    pub(crate) const fn witness(&mut self, time: u64) -> bool {
        if time > MAX_TIME || (self.0 > 0 && time > self.0 + MAX_JUMP) {
            return false;
        }
        if time > self.0 {
            self.0 = time;
        }
        true
    }

    pub(crate) const fn time(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_is_heard_and_believes_no_leap() {
        let mut clock = LamportClock::default();
        for (heard, believed, time) in [
            (MAX_TIME + 1, false, 0),
            (1 << 40, true, 1 << 40),
            (7, true, 1 << 40),
            ((1 << 40) + MAX_JUMP + 1, false, 1 << 40),
            ((1 << 40) + MAX_JUMP, true, (1 << 40) + MAX_JUMP),
            (u64::MAX, false, (1 << 40) + MAX_JUMP),
        ] {
            assert_eq!(clock.witness(heard), believed, "{heard}");
            assert_eq!(clock.time(), time, "{heard}");
        }
        assert_eq!(clock.tick(), (1 << 40) + MAX_JUMP + 1);
    }
}
