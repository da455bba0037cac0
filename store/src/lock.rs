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
use crate::kv::check_pair;
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
        let lock = self.state.kv.entry(&pair.key).map_or_else(Lock::default, |row| row.lock);
        let regrant = self.state.planted.has(Bug::LockRegranted);
        let lock = match lock.session {
            Some(holder) if holder == session => lock,
            Some(_) if !regrant => return Outcome::Held { by: lock.session },
            _ if self.state.timers.get(&Timer::LockDelay(pair.key.clone())).is_some() => {
                return Outcome::Held { by: None };
            }
            _ => Lock { count: lock.count.saturating_add(1), session: Some(session), token: self.index },
        };
        self.set(pair, lock);
        Outcome::Acquired { token: lock.token }
    }

    /// Sets a key and lets go of it. There is no lock delay after it: whoever releases has finished.
    pub(crate) fn release(&mut self, pair: &Pair, session: SessionId) -> Outcome {
        if let Err(why) = check_pair(pair) {
            return Outcome::Refused(why);
        }
        let lock = self.state.kv.entry(&pair.key).map_or_else(Lock::default, |row| row.lock);
        if lock.session != Some(session) {
            return Outcome::Held { by: lock.session };
        }
        self.set(pair, Lock { session: None, ..lock });
        Outcome::Done
    }

    /// The key stays as it is and is held by nobody. Its TTL runs on: nobody has set the key.
    pub(crate) fn let_go(&mut self, key: &str) {
        let Some(row) = self.state.kv.entry(key).cloned() else { return };
        let mut value = row.value.clone();
        value.lock.session = None;
        self.place_entry(Row { value, create_index: row.create_index, modify_index: self.index });
    }
}
