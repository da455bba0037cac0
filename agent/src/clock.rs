//! The one clock of the process.

use quorate_protocol::Time;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest that a timer is set for; what is due later is looked at again then.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Turns the system's clock into the engine's [`Time`].
///
/// It goes on while the machine is suspended (`CLOCK_BOOTTIME`): a leader that slept must not believe that its lease still holds.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: since_boot() }
    }

    /// Now, for the engine.
    pub fn now(&self) -> Time {
        Time::ZERO + since_boot().saturating_sub(self.start)
    }

    /// How long until then, for the runtime's timers.
    pub fn until(&self, time: Time) -> Duration {
        time.since(self.now()).min(FAR)
    }
}

/// Elsewhere than on Linux the monotonic clock itself goes on.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;

fn since_boot() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(CLOCK);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}

/// Milliseconds since 1970, for generations of agents.
pub fn wall_clock_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
