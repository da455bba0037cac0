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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, pair};
    use quorate_protocol::{KvWrite, Pair};

    fn put(scene: &mut Scene, ttl: Option<u64>) -> u64 {
        let pair = Pair { ttl: ttl.map(Duration::from_secs), ..pair("a", "v") };
        assert_eq!(scene.kv(KvWrite::Put { pair, cas: None }), Outcome::Done);
        scene.store.applied_index().0
    }

    #[test]
    fn a_key_with_a_ttl_ends_unless_it_is_set_again() {
        let (mut scene, timer) = (Scene::new(), Timer::Key("a".to_owned()));
        let first = put(&mut scene, Some(5));
        assert_eq!(scene.armed(&timer), Some((first, 5)));
        let again = put(&mut scene, Some(5));
        assert_eq!(scene.armed(&timer), Some((again, 5)));
        assert_eq!(scene.entry("a").unwrap().modify_index.0, again, "beginning its TTL anew is a change");
        scene.expire(&timer, first);
        assert!(scene.touched.is_empty() && scene.entry("a").is_some(), "it was set since the clock rang");
        scene.expire(&timer, again);
        assert_eq!((scene.entry("a"), scene.armed(&timer)), (None, None));
        assert!(matches!(scene.touched.timers(), [(one, None)] if *one == timer));
    }

    #[test]
    fn a_write_without_a_ttl_lets_the_key_stay() {
        let (mut scene, timer) = (Scene::new(), Timer::Key("a".to_owned()));
        let first = put(&mut scene, Some(5));
        put(&mut scene, None);
        assert!(matches!(scene.touched.timers(), [(one, None)] if *one == timer));
        scene.expire(&timer, first);
        assert!(scene.entry("a").is_some_and(|row| row.ttl.is_none()));
        put(&mut scene, Some(7));
        scene.delete("a");
        assert_eq!(scene.armed(&timer), None, "it goes with the key");
    }

    #[test]
    fn a_ttl_is_more_than_nothing_and_less_than_for_ever() {
        let mut scene = Scene::new();
        for ttl in [Duration::ZERO, Duration::MAX] {
            let pair = Pair { ttl: Some(ttl), ..pair("a", "v") };
            let Outcome::Refused(why) = scene.kv(KvWrite::Put { pair, cas: None }) else { panic!("{ttl:?}") };
            assert!(
                why.ends_with("it must be more than 0 and at most 87600 hours, or be left out for a key that stays"),
                "{why}"
            );
        }
        assert!(scene.store.view().timers().is_empty());
    }
}
