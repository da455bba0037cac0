//! The one clock of the process.

use quorate_protocol::Time;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Turns the system's monotonic clock into the engine's [`Time`] and back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Now, for the engine.
    pub fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// When that will be, for the runtime's timers; far away for what never comes.
    pub fn instant(&self, time: Time) -> Instant {
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.start + time.since(Time::ZERO).min(FAR)
    }
}

/// Milliseconds since 1970, for generations of agents.
pub fn wall_clock_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
