//! What ends by itself: which timers are armed, and their ends when the leader's clock says so.

use crate::edit::Edit;
use imbl::OrdMap;
use quorate_protocol::{Armed, LogIndex, Outcome, Timer};
use std::ops::Bound;
use std::time::Duration;

/// The timers that are armed.
///
/// * One of a session for every session with a TTL, one of a key for every key with a TTL, and no others of these kinds.
/// * One of a lock delay for every key that was taken from a session that ended, until the delay is over, whether the key still
///   exists or not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers(OrdMap<Timer, Armed>);

impl Timers {
    pub fn get(&self, timer: &Timer) -> Option<Armed> {
        self.0.get(timer).copied()
    }

    pub fn insert(&mut self, timer: Timer, armed: Armed) {
        self.0.insert(timer, armed);
    }

    pub fn after(&self, after: Bound<Timer>) -> impl Iterator<Item = (&Timer, &Armed)> + use<'_> {
        self.0.range::<_, Timer>((after, Bound::Unbounded))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Timer, &Armed)> {
        self.0.iter()
    }
}

impl Edit<'_> {
    /// Lets a timer count from this write on, in place of whatever it counted from before.
    pub(crate) fn arm(&mut self, timer: Timer, after: Duration) {
        self.state.timers.insert(timer.clone(), Armed { since: self.index, after });
        self.touch_timer(timer);
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        if self.state.timers.0.remove(&timer).is_some() {
            self.touch_timer(timer);
        }
    }

    /// Ends what ends by itself. One that was armed anew since the leader's clock rang is not due, and one that is gone has
    /// ended otherwise.
    pub(crate) fn expire(&mut self, timer: &Timer, since: LogIndex) -> Outcome {
        if self.state.timers.get(timer).is_some_and(|armed| armed.since == since) {
            self.disarm(timer.clone());
            match timer {
                Timer::Session(id) => self.end_session(*id),
                Timer::Key(key) => self.remove_key(key),
                Timer::LockDelay(_) => {}
            }
        }
        Outcome::Done
    }
}
