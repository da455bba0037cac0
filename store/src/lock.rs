//! Locks: who holds a key, and how a hold begins and ends.
//!
//! ```text
//!             acquire: count + 1, token = log index
//!   free ───────────────────────────────────────────▶ held by a session
//!    ▲  ◀─────────────────────────────────────────── │
//!    │          release, or a delete of the key      │ the session is invalidated
//!    │                                               ▼
//!    └──────────────── the delay is over ─────── nobody's, and cannot be acquired (lock delay)
//! ```

use crate::edit::Edit;
use crate::kv::{check_pair, lock_of};
use crate::planted::Bug;
use quorate_protocol::{Lock, Outcome, Pair, Row, SessionId, Timer};

impl Edit<'_> {
    /// Sets a key and holds it for a session. Whoever holds it already keeps its token, and its count.
    pub(crate) fn acquire(&mut self, pair: &Pair, session: SessionId) -> Outcome {
        if let Err(why) = check_pair(pair) {
            return Outcome::Refused(why);
        }
        if self.state.sessions.get(session).is_none() {
            return Outcome::Refused(format!("invalid session \"{session}\""));
        }
        let existing = self.state.kv.entry(&pair.key).cloned();
        let lock = lock_of(existing.as_ref());
        let regrant = self.state.planted.has(Bug::LockRegranted);
        let lock = match lock.session {
            Some(holder) if holder == session => lock,
            Some(_) if !regrant => return Outcome::Held { by: lock.session },
            _ if self.state.timers.get(&Timer::LockDelay(pair.key.clone())).is_some() => {
                return Outcome::Held { by: None };
            }
            _ => Lock { count: lock.count.saturating_add(1), session: Some(session), token: self.index },
        };
        self.set(pair, existing, lock);
        Outcome::Acquired { token: lock.token }
    }

    /// As [`Edit::acquire`], but a session that holds the key already changes nothing.
    pub(crate) fn acquire_once(&mut self, pair: &Pair, session: SessionId) -> Outcome {
        match lock_of(self.state.kv.entry(&pair.key)) {
            Lock { session: Some(holder), token, .. } if holder == session => Outcome::Holds { token },
            _ => self.acquire(pair, session),
        }
    }

    /// Sets a key and lets go of it. There is no lock delay after it: whoever releases has finished.
    pub(crate) fn release(&mut self, pair: &Pair, session: SessionId) -> Outcome {
        if let Err(why) = check_pair(pair) {
            return Outcome::Refused(why);
        }
        let existing = self.state.kv.entry(&pair.key).cloned();
        let lock = lock_of(existing.as_ref());
        if lock.session != Some(session) {
            return Outcome::Held { by: lock.session };
        }
        self.set(pair, existing, Lock { session: None, ..lock });
        Outcome::Done
    }

    /// The key stays as it is and is held by nobody. Its TTL runs on: nobody has set the key.
    pub(crate) fn let_go(&mut self, key: &str) {
        let Some(row) = self.state.kv.entry(key).cloned() else { return };
        let mut value = row.value.clone();
        value.lock.session = None;
        let unheld = Row { value, create_index: row.create_index, modify_index: self.index };
        self.place_entry(unheld, row.modify_index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, on, pair, session, session_id};
    use quorate_protocol::{Behavior, KvWrite, LogIndex, Session};
    use std::time::Duration;

    /// A node with two sessions that let go at once when they end, and one with a lock delay.
    fn scene() -> Scene {
        let mut scene = Scene::new();
        scene.done(on("n1", None));
        scene.session(session(1, "n1"));
        scene.session(session(2, "n1"));
        scene.session(Session { lock_delay: Duration::from_secs(15), ..session(3, "n1") });
        scene
    }

    fn acquired(token: u64) -> Outcome {
        Outcome::Acquired { token: LogIndex(token) }
    }

    fn held_by(session: u8) -> Outcome {
        Outcome::Held { by: Some(session_id(session)) }
    }

    /// Count, holder and token.
    fn lock(scene: &Scene, key: &str) -> (u64, Option<SessionId>, u64) {
        let lock = scene.entry(key).unwrap().lock;
        (lock.count, lock.session, lock.token.0)
    }

    #[test]
    fn what_is_acquired_once_is_not_set_again() {
        let mut scene = scene();
        let once = |value: &str| KvWrite::AcquireOnce { pair: pair("a", value), session: session_id(1) };
        assert_eq!(scene.kv(once("v")), acquired(6));
        scene.kv(KvWrite::Put { pair: pair("a", "written since"), cas: None });
        assert_eq!(scene.kv(once("v")), Outcome::Holds { token: LogIndex(6) });
        assert!(scene.touched.is_empty());
        assert_eq!(scene.entry("a").unwrap().value.value, "written since");
        scene.release("a", 1);
        assert_eq!(scene.kv(once("v")), acquired(10), "it is not held any more");
    }

    #[test]
    fn one_holder_at_a_time() {
        let mut scene = scene();
        assert_eq!(scene.acquire("a", 1), acquired(6));
        assert_eq!(lock(&scene, "a"), (1, Some(session_id(1)), 6));
        assert_eq!(scene.acquire("a", 2), held_by(1));
        assert!(scene.touched.is_empty());
        assert_eq!(scene.release("a", 2), held_by(1), "it is not his to release");
        assert_eq!(scene.release("a", 1), Outcome::Done);
        assert_eq!(lock(&scene, "a"), (1, None, 6), "held by nobody; the count stays");
        assert_eq!(scene.release("a", 1), Outcome::Held { by: None }, "nothing to release");
        assert_eq!(scene.release("b", 1), Outcome::Held { by: None });
        assert!(scene.entry("b").is_none());
        assert_eq!(scene.acquire("a", 2), acquired(12), "at once: there is no lock delay after a release");
        assert_eq!(lock(&scene, "a"), (2, Some(session_id(2)), 12));
    }

    #[test]
    fn the_holder_may_acquire_again_and_keeps_its_token() {
        let mut scene = scene();
        assert_eq!(scene.acquire("a", 1), acquired(6));
        assert_eq!(scene.acquire("a", 1), acquired(6));
        assert!(scene.touched.is_empty(), "the same value again changes nothing");
        let other_value = KvWrite::Acquire { pair: pair("a", "w"), session: session_id(1) };
        assert_eq!(scene.kv(other_value), acquired(6));
        let row = scene.entry("a").unwrap();
        assert_eq!((&row.value.value[..], row.modify_index.0, row.lock.count), (&b"w"[..], 8, 1));
    }

    #[test]
    fn tokens_rise_even_when_the_key_is_deleted_in_between() {
        let mut scene = scene();
        assert_eq!(scene.acquire("a", 1), acquired(6));
        scene.delete("a");
        assert_eq!(scene.acquire("a", 2), acquired(8));
        assert_eq!(lock(&scene, "a").0, 1, "the count begins anew, as Consul's LockIndex does: it is no token");
    }

    #[test]
    fn a_plain_write_leaves_the_lock_as_it_is() {
        let mut scene = scene();
        scene.acquire("a", 1);
        assert_eq!(scene.put("a", "w"), Outcome::Done);
        assert_eq!(lock(&scene, "a"), (1, Some(session_id(1)), 6));
        assert_eq!(scene.acquire("a", 2), held_by(1));
    }

    #[test]
    fn a_session_that_is_not_there_holds_nothing() {
        let mut scene = scene();
        let Outcome::Refused(why) = scene.acquire("a", 9) else { panic!("it holds") };
        assert_eq!(why, "invalid session \"09090909-0909-0909-0909-090909090909\"");
        assert!(scene.entry("a").is_none());
        let nameless = KvWrite::Acquire { pair: pair("", "v"), session: session_id(1) };
        assert_eq!(scene.kv(nameless), Outcome::Refused("Missing key name".to_owned()));
        let nameless = KvWrite::Release { pair: pair("", "v"), session: session_id(1) };
        assert_eq!(scene.kv(nameless), Outcome::Refused("Missing key name".to_owned()));
    }

    #[test]
    fn after_its_holder_was_invalidated_a_key_cannot_be_acquired_for_a_while() {
        let mut scene = scene();
        scene.acquire("a", 3);
        scene.destroy(3);
        let ended = scene.store.applied_index().0;
        let delay = Timer::LockDelay("a".to_owned());
        assert_eq!((lock(&scene, "a").1, scene.armed(&delay)), (None, Some((ended, 15))));
        assert_eq!(scene.acquire("a", 1), Outcome::Held { by: None });
        scene.put("a", "w");
        scene.delete("a");
        assert_eq!(scene.acquire("a", 1), Outcome::Held { by: None }, "nor by deleting it");
        scene.expire(&delay, ended);
        assert!(matches!(scene.touched.timers(), [(timer, None)] if *timer == delay));
        assert!(matches!(scene.acquire("a", 1), Outcome::Acquired { .. }));
        assert_eq!(scene.armed(&delay), None);
    }

    #[test]
    fn keys_go_with_a_session_that_wants_it_so() {
        let mut scene = scene();
        let delay = Duration::from_secs(5);
        scene.session(Session { behavior: Behavior::Delete, lock_delay: delay, ..session(4, "n1") });
        for key in ["a", "b"] {
            scene.acquire(key, 4);
        }
        scene.acquire("c", 1);
        scene.delete("b");
        scene.destroy(4);
        assert_eq!((scene.entry("a"), scene.entry("c").is_some()), (None, true));
        assert_eq!(scene.acquire("a", 1), Outcome::Held { by: None }, "the delay counts for keys that are gone too");
        assert!(matches!(scene.acquire("b", 1), Outcome::Acquired { .. }), "it was not held any more");
    }
}
