//! What is due when.

use quorate_protocol::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// Timers by moment, those of one moment in the order they were set.
///
/// They run on the time that this agent was awake: after a pause of its own all of them fire that much later.
pub(crate) struct Timers<T> {
    /// By moment less `slept`.
    queue: BTreeMap<(Time, u64), T>,
    set: u64,
    slept: Duration,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { queue: BTreeMap::new(), set: 0, slept: Duration::ZERO }
    }
}

impl<T> Timers<T> {
    pub(crate) fn set(&mut self, at: Time, timer: T) {
        self.set += 1;
        self.queue.insert((at - self.slept, self.set), timer);
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((at, _), _)| *at + self.slept)
    }

    /// Takes all that is due, earliest first.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<T> {
        let later = self.queue.split_off(&(now - self.slept, u64::MAX));
        std::mem::replace(&mut self.queue, later).into_values().collect()
    }

    /// Puts all of them off.
    pub(crate) fn shift(&mut self, slept: Duration) {
        self.slept += slept;
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_ones_come_in_order() {
        let mut timers = Timers::default();
        for (at, name) in [(3, "c"), (1, "a"), (2, "b"), (1, "a2")] {
            timers.set(Time::from_nanos(at), name);
        }
        assert_eq!(timers.next(), Some(Time::from_nanos(1)));
        assert_eq!(timers.take_due(Time::from_nanos(2)), ["a", "a2", "b"]);
        assert_eq!(timers.take_due(Time::from_nanos(2)), [""; 0]);
        assert_eq!(timers.next(), Some(Time::from_nanos(3)));
    }

    #[test]
    fn a_pause_puts_all_of_them_off() {
        let mut timers = Timers::default();
        timers.set(Time::from_nanos(10), "before");
        timers.shift(Duration::from_nanos(100));
        timers.set(Time::from_nanos(105), "after");
        assert_eq!(timers.next(), Some(Time::from_nanos(105)));
        assert_eq!(timers.take_due(Time::from_nanos(109)), ["after"]);
        assert_eq!(timers.take_due(Time::from_nanos(110)), ["before"]);
    }
}
