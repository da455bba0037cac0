//! A key is held by one session at a time, and whoever holds it later has a greater fencing token.
//!
//! Seen from both sides. What servers hold is what the log says ([`crate::model`]): between a grant and the release or the end of the session
//! nobody else gets the key. And what clients believe must not overlap: from the moment a client is told that it holds a key until it asks to
//! let go, or its session may have ended, no other client is granted it. Whoever asks to end a hold may have been heard before the holder hears
//! of its grant: so what was asked and not answered by the time that the holder asked counts as well.

use super::{Checked, Violation};
use crate::model::KeyState;
use quorate_protocol::{LogIndex, SessionId, Time};
use std::collections::BTreeMap;

const PROPERTY: &str = "lock_has_one_owner";

/// What clients were told about who holds what.
#[derive(Debug, Default)]
pub struct LockHasOneOwner {
    holds: BTreeMap<String, Vec<Hold>>,
    /// Until when each session certainly lives.
    lives: BTreeMap<SessionId, Time>,
    /// What was asked to end holds, by its request, and when that was answered.
    endings: BTreeMap<u64, (Ending, Option<Time>)>,
    grants: u64,
}

/// What takes keys from those who hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// From this session, or from whoever it is.
    pub session: Option<SessionId>,
    /// This key, or all.
    pub key: Option<String>,
}

impl Ending {
    fn concerns(&self, key: &str, session: SessionId) -> bool {
        self.session.is_none_or(|of| of == session) && self.key.as_ref().is_none_or(|of| of == key)
    }
}

/// A grant that a client was told of.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Of this key.
    pub key: String,
    /// To this session.
    pub session: SessionId,
    /// With this fencing token.
    pub token: LogIndex,
    /// When the client asked.
    pub asked: Time,
}

#[derive(Debug)]
struct Hold {
    session: SessionId,
    token: LogIndex,
    told: Time,
    /// When somebody asked for something that may end it.
    ends: Option<Time>,
}

impl LockHasOneOwner {
    /// A client is told that it holds a key.
    ///
    /// # Errors
    /// When another one certainly holds it, or a token did not grow.
    pub fn granted(&mut self, now: Time, grant: &Grant) -> Checked {
        let Grant { key, session, token, asked } = grant;
        self.grants += 1;
        let may_have_ended = |(ending, answered): &(Ending, Option<Time>)| {
            ending.concerns(key, *session) && answered.is_none_or(|answered| answered >= *asked)
        };
        let ends = self.endings.values().any(may_have_ended).then_some(now);
        let holds = self.holds.entry(key.clone()).or_default();
        for hold in holds.iter().filter(|hold| hold.told <= *asked) {
            let grows = if hold.session == *session { hold.token <= *token } else { hold.token < *token };
            if !grows {
                let seen = format!("{key} was granted with token {token} after token {} had been told", hold.token);
                return Violation::seen(PROPERTY, seen);
            }
            let lives = self.lives.get(&hold.session).copied().unwrap_or_default();
            let until = hold.ends.map_or(lives, |ends| ends.min(lives));
            if hold.session != *session && now <= until {
                let seen = format!(
                    "{key} is granted to {session} (token {token}) while {} holds it (token {}, until {until:?} at least)",
                    hold.session, hold.token
                );
                return Violation::seen(PROPERTY, seen);
            }
        }
        match holds.iter_mut().find(|hold| hold.token == *token) {
            // Acquired again by its holder: what was to end it has not.
            Some(hold) if hold.session == *session => {}
            Some(hold) => {
                let seen = format!("{key} was granted twice with token {token}: to {} and {session}", hold.session);
                return Violation::seen(PROPERTY, seen);
            }
            None => holds.push(Hold { session: *session, token: *token, told: now, ends }),
        }
        Ok(())
    }

    /// A session certainly lives until then.
    pub fn lives(&mut self, session: SessionId, until: Time) {
        let lives = self.lives.entry(session).or_default();
        *lives = until.max(*lives);
    }

    /// Somebody asks for what ends holds.
    pub fn asked_to_end(&mut self, now: Time, request: u64, ending: &Ending) {
        for (key, holds) in &mut self.holds {
            holds.iter_mut().filter(|hold| ending.concerns(key, hold.session)).for_each(|hold| hold.end(now));
        }
        self.endings.insert(request, (ending.clone(), None));
    }

    /// A request was answered: if it was to end holds, it has ended those that it could, and will end no more.
    pub fn answered(&mut self, now: Time, request: u64) {
        if let Some((_, answered)) = self.endings.get_mut(&request) {
            *answered = Some(now);
        }
    }

    /// Sessions may end without anybody asking: a node goes.
    pub fn believe_nothing(&mut self) {
        self.lives.clear();
    }

    /// How many grants clients were told of.
    pub fn grants(&self) -> u64 {
        self.grants
    }
}

impl Hold {
    fn end(&mut self, now: Time) {
        self.ends.get_or_insert(now);
    }
}

/// Whether a server holds the locks that the log says.
///
/// # Errors
/// When one is held by somebody else, by nobody, or under another token.
pub fn check(
    agent: usize,
    at: LogIndex,
    keys: &BTreeMap<String, KeyState>,
    expected: &BTreeMap<String, KeyState>,
) -> Checked {
    for (key, state) in keys {
        let Some(expected) = expected.get(key) else { continue };
        let lock = |state: &KeyState| (state.holder, state.token, state.count);
        if lock(state) != lock(expected) {
            let seen = format!(
                "at index {at} agent {agent} has {key} held by {:?} (token {}, count {}), and the log says {:?} ({}, {})",
                state.holder, state.token, state.count, expected.holder, expected.token, expected.count
            );
            return Violation::seen(PROPERTY, seen);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    fn grant(session: u8, token: u64, asked: u64) -> Grant {
        Grant { key: "k".into(), session: id(session), token: LogIndex(token), asked: Time::from_nanos(asked) }
    }

    /// Session 1 holds the key since 2 with token 5, and lives until 20 at least; 2 lives too.
    fn held() -> LockHasOneOwner {
        let mut check = LockHasOneOwner::default();
        check.lives(id(1), Time::from_nanos(20));
        check.lives(id(2), Time::from_nanos(50));
        check.granted(Time::from_nanos(2), &grant(1, 5, 1)).expect("it is free");
        check
    }

    #[test]
    fn two_owners_are_seen() {
        let at = Time::from_nanos;
        assert!(held().granted(at(9), &grant(2, 8, 3)).is_err());
        assert_eq!(held().granted(at(21), &grant(2, 8, 3)), Ok(()), "the first may have ended meanwhile");
        assert_eq!(held().granted(at(9), &grant(1, 5, 3)), Ok(()), "again");
        let release = Ending { session: Some(id(1)), key: Some("k".into()) };
        let mut check = held();
        check.asked_to_end(at(4), 1, &release);
        assert_eq!(check.granted(at(9), &grant(2, 8, 3)), Ok(()), "it was asked to let go");
        assert_eq!(check.grants(), 2);
        let mut check = held();
        check.asked_to_end(at(4), 1, &Ending { session: None, key: Some("other".into()) });
        check.asked_to_end(at(4), 2, &Ending { session: Some(id(2)), key: None });
        assert!(check.granted(at(9), &grant(2, 8, 3)).is_err());
        check.believe_nothing();
        assert_eq!(check.granted(at(9), &grant(2, 8, 3)), Ok(()));
    }

    #[test]
    fn what_was_asked_before_a_grant_was_told_may_have_ended_it() {
        let at = Time::from_nanos;
        let delete = Ending { session: None, key: Some("k".into()) };
        let mut check = LockHasOneOwner::default();
        check.lives(id(1), at(50));
        check.asked_to_end(at(3), 7, &delete);
        let mut unanswered = held_from(check, at(8), 4);
        assert_eq!(unanswered.granted(at(12), &grant(2, 9, 10)), Ok(()), "nobody knows whether it is gone");

        for (answered, ends) in [(5, true), (3, false)] {
            let mut check = LockHasOneOwner::default();
            check.lives(id(1), at(50));
            check.asked_to_end(at(2), 7, &delete);
            check.answered(at(answered), 7);
            let mut check = held_from(check, at(8), 4);
            assert_eq!(check.granted(at(12), &grant(2, 9, 10)).is_ok(), ends, "it was over at {answered}");
        }
    }

    /// Session 1 is told then that it holds the key, for which it had asked before.
    fn held_from(mut check: LockHasOneOwner, told: Time, asked: u64) -> LockHasOneOwner {
        check.granted(told, &grant(1, 5, asked)).expect("it is free");
        check
    }

    #[test]
    fn tokens_that_do_not_grow_are_seen() {
        let at = Time::from_nanos;
        assert!(held().granted(at(30), &grant(2, 4, 25)).is_err(), "a smaller one");
        assert!(held().granted(at(30), &grant(2, 5, 1)).is_err(), "the same one");
        assert!(held().granted(at(30), &grant(1, 4, 25)).is_err(), "a smaller one for the same");
    }

    #[test]
    fn a_lock_that_the_log_does_not_explain_is_seen() {
        let state = |holder: Option<u8>, token| KeyState {
            value: 1,
            created: LogIndex(1),
            modified: LogIndex(1),
            count: 1,
            holder: holder.map(id),
            token: LogIndex(token),
            ttl: None,
        };
        let compare = |seen, expected| {
            let one = |state| BTreeMap::from([("k".to_owned(), state)]);
            check(0, LogIndex(9), &one(seen), &one(expected))
        };
        assert_eq!(compare(state(Some(1), 5), state(Some(1), 5)), Ok(()));
        assert!(compare(state(Some(2), 5), state(Some(1), 5)).is_err());
        assert!(compare(state(None, 5), state(Some(1), 5)).is_err());
        assert!(compare(state(Some(1), 6), state(Some(1), 5)).is_err());
    }
}
