//! What a server holds at an index, and what it says of a write, is what the log says: keys with their indexes, sessions, and what ends by
//! itself. The log is read a second time by [`crate::model`], which shares no line with the store.

use super::{Checked, Violation};
use crate::model::{Expectation, State};
use quorate_protocol::{LogIndex, Outcome};
use std::collections::BTreeMap;
use std::fmt::Debug;

const PROPERTY: &str = "state_follows_log";

/// Compares what a server holds at an index with what the log says.
///
/// # Errors
/// When they differ.
pub fn check(agent: usize, at: LogIndex, state: &State, expected: &State) -> Checked {
    let differs = differs("key", &state.keys, &expected.keys)
        .or_else(|| differs("session", &state.sessions, &expected.sessions))
        .or_else(|| differs("timer", &state.timers, &expected.timers));
    match differs {
        Some(differs) => {
            Violation::seen(PROPERTY, format!("at index {at} agent {agent} differs from the log: {differs}"))
        }
        None => Ok(()),
    }
}

/// Compares what a client is told of its write with what the log says.
///
/// # Errors
/// When it is told something else.
pub fn told(index: LogIndex, outcome: &Outcome, expected: &Expectation) -> Checked {
    if expected.is(outcome) {
        return Ok(());
    }
    Violation::seen(PROPERTY, format!("the write at {index} is told {outcome:?}, and the log says {expected:?}"))
}

fn differs<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) -> Option<String> {
    if found == expected {
        return None;
    }
    let key = found.keys().chain(expected.keys()).find(|key| found.get(key) != expected.get(key))?;
    Some(format!("{what} {key:?} is {:?}, expected {:?}", found.get(key), expected.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{Armed, SessionId, Timer};
    use std::time::Duration;

    #[test]
    fn every_part_is_compared() {
        let timer = (Timer::Key("k".into()), Armed { since: LogIndex(3), after: Duration::from_secs(1) });
        let (mut with_timer, mut with_session) = (State::default(), State::default());
        with_timer.timers.extend([timer]);
        let session = (SessionId([1; 16]), quorate_protocol::Session::default());
        with_session.sessions.extend([session]);
        for (one, other) in [(&with_timer, &with_session), (&with_timer, &State::default())] {
            assert_eq!(check(0, LogIndex(5), one, one), Ok(()));
            assert!(check(0, LogIndex(5), one, other).is_err());
            assert!(check(0, LogIndex(5), other, one).is_err());
        }
    }

    #[test]
    fn a_wrong_answer_is_seen() {
        assert_eq!(told(LogIndex(1), &Outcome::Done, &Expectation::Done), Ok(()));
        assert!(told(LogIndex(1), &Outcome::Done, &Expectation::Unmatched(LogIndex(3))).is_err());
        let held = Expectation::Held(Some(SessionId([1; 16])));
        assert!(told(LogIndex(1), &Outcome::Held { by: None }, &held).is_err());
        assert!(told(LogIndex(1), &Outcome::Acquired { token: LogIndex(1) }, &held).is_err());
    }
}
