//! What ends by itself (a session that is not renewed, a key with a TTL, a lock delay) never ends before its time has passed since the entry it
//! counts from was first applied anywhere, and under a steady leader not much later.

use super::{Checked, Violation};
use quorate_protocol::{Armed, LogIndex, Time, Timer};
use std::collections::BTreeMap;
use std::time::Duration;

const PROPERTY: &str = "ttl_never_fires_early";

/// The world's clocks run at most a hundredth fast or slow.
const DRIFT: u32 = 100;
/// A twentieth later than asked is allowed.
const LATE: u32 = 20;
/// What the end itself takes to be written into the log, on disks and in a network that are as they should be.
const COMMIT: Duration = Duration::from_secs(1);

/// Since when the world has been without trouble, and what has ended.
#[derive(Debug, Default)]
pub struct TtlNeverFiresEarly {
    /// Who has led without a break and since when.
    steady: Option<(usize, Time)>,
    ended: u64,
}

impl TtlNeverFiresEarly {
    /// Something ended by itself. The entry that it counted from was first applied at that time.
    ///
    /// # Errors
    /// When that is not long enough ago.
    pub fn ended(&mut self, now: Time, timer: &Timer, armed: Armed, counted_from: Option<Time>) -> Checked {
        self.ended += 1;
        let Some(from) = counted_from else {
            return Violation::seen(PROPERTY, format!("{timer:?} counted from {}, which nobody applied", armed.since));
        };
        let least = armed.after - armed.after / (DRIFT + 1);
        if now.since(from) >= least {
            return Ok(());
        }
        let seen =
            format!("{timer:?} ended {:?} after {}, which it had {:?}", now.since(from), armed.since, armed.after);
        Violation::seen(PROPERTY, seen)
    }

    /// Looks for what should have ended. `leader` leads and is not stopped; its process has applied entries since that time.
    ///
    /// # Errors
    /// When something is overdue.
    pub fn look(
        &mut self,
        now: Time,
        leader: Option<(usize, Time)>,
        timers: &BTreeMap<Timer, Armed>,
        applied_at: impl Fn(LogIndex) -> Option<Time>,
    ) -> Checked {
        let Some((leader, started)) = leader else {
            self.steady = None;
            return Ok(());
        };
        let since = match self.steady {
            Some((same, since)) if same == leader => since.max(started),
            _ => now,
        };
        self.steady = Some((leader, since));
        for (timer, armed) in timers {
            // A server that started or got a snapshot since counts from then: never early, so later.
            let Some(from) = applied_at(armed.since).map(|from| from.max(started)) else { continue };
            let due = from + armed.after + armed.after / LATE;
            if now > due.max(since) + COMMIT {
                let seen = format!(
                    "{timer:?} has had {:?} since {} and counts on {:?} later",
                    armed.after,
                    armed.since,
                    now.since(from)
                );
                return Violation::seen(PROPERTY, seen);
            }
        }
        Ok(())
    }

    /// How many things ended by themselves.
    pub fn count(&self) -> u64 {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARMED: Armed = Armed { since: LogIndex(7), after: Duration::from_secs(10) };

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn an_early_end_is_seen() {
        let mut check = TtlNeverFiresEarly::default();
        let key = Timer::Key("k".into());
        assert_eq!(check.ended(at(11_000), &key, ARMED, Some(at(1000))), Ok(()));
        assert_eq!(check.ended(at(10_910), &key, ARMED, Some(at(1000))), Ok(()), "by a clock that runs fast");
        assert!(check.ended(at(10_890), &key, ARMED, Some(at(1000))).is_err());
        assert!(check.ended(at(60_000), &key, ARMED, None).is_err());
        assert_eq!(check.count(), 4);
    }

    #[test]
    fn a_late_end_is_seen_under_a_steady_leader() {
        let timers = BTreeMap::from([(Timer::Key("k".into()), ARMED)]);
        let look = |check: &mut TtlNeverFiresEarly, now, leader| {
            check.look(at(now), leader, &timers, |index| (index == LogIndex(7)).then_some(at(1000)))
        };
        let mut check = TtlNeverFiresEarly::default();
        assert_eq!(look(&mut check, 2000, Some((0, at(0)))), Ok(()));
        assert_eq!(look(&mut check, 12_400, Some((0, at(0)))), Ok(()), "5 % and a moment to write it");
        assert!(look(&mut check, 12_600, Some((0, at(0)))).is_err());
        let mut check = TtlNeverFiresEarly::default();
        assert_eq!(look(&mut check, 60_000, None), Ok(()), "nobody is there to write it");
        assert_eq!(look(&mut check, 60_100, Some((0, at(0)))), Ok(()), "it has only just begun to lead");
        assert!(look(&mut check, 61_200, Some((0, at(0)))).is_err());
        let mut check = TtlNeverFiresEarly::default();
        assert_eq!(look(&mut check, 2000, Some((0, at(1900)))), Ok(()));
        assert_eq!(look(&mut check, 13_000, Some((0, at(1900)))), Ok(()), "a process that started later");
    }
}
