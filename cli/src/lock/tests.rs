//! What takes a TTL to see, with short ones.

use super::*;
use crate::lock::tests::scripted::keys::Keys;
use std::io;

#[path = "../../tests/scripted"]
#[allow(dead_code)]
mod scripted {
    pub(super) mod agent;
    pub(super) mod keys;
}

/// Runs `lock p <script>` with a TTL of 1.5 s: short, and long enough for a busy machine to renew in.
fn run(keys: &Keys, script: &str) -> Result<(), String> {
    let address = keys.serve();
    let env = |_: &str| None;
    let (mut out, mut err) = (io::sink(), io::sink());
    let mut surroundings =
        Surroundings { input: &mut io::empty(), out: &mut out, err: &mut err, err_is_terminal: false, env: &env };
    let matches = command().get_matches_from(["lock", "--http-addr", &address, "--monitor-retry=1000", "p", script]);
    let mut lock = Lock::wanted(&matches, &surroundings).map_err(|failure| format!("{failure:?}"))?;
    lock.times = Times {
        ttl: Duration::from_millis(1500),
        renew_every: Duration::from_millis(300),
        grace: Duration::from_millis(30),
        pause: Duration::from_millis(10),
    };
    lock.run(&mut surroundings).map_err(|failure| format!("{failure:?}"))
}

#[test]
fn renewals_keep_a_command_alive_for_longer_than_a_ttl() {
    let keys = Keys::default();
    assert_eq!(run(&keys, "sleep 2"), Ok(()));
    assert!(keys.state().renewals > 1);
    let renewals = keys.state().renewals;
    assert_eq!(run(&Keys::default(), "sleep 0.1"), Ok(()));
    assert_eq!(keys.state().renewals, renewals, "nobody renews what is over");
}

#[test]
fn a_session_that_cannot_be_renewed_for_a_ttl_counts_as_lost() {
    let keys = Keys::default();
    // What watches sees nothing: the failure lies between us and whoever renews.
    keys.change(|state| state.renewing_fails = true);
    let begun = Instant::now();
    let failure = run(&keys, "sleep 600").unwrap_err();
    assert!(failure.contains("could not be renewed for 1.5s"), "{failure}");
    assert!(begun.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn a_session_that_ended_is_a_lock_lost() {
    let keys = Keys::default();
    let ending = keys.clone();
    let end = thread::spawn(move || {
        ending.until(|state| state.renewals > 0);
        ending.change(|state| state.sessions.clear());
    });
    let failure = run(&keys, "sleep 600").unwrap_err();
    assert!(failure.contains("its session has ended"), "{failure}");
    end.join().unwrap();
}

#[test]
fn who_does_not_end_when_asked_is_killed() {
    let keys = Keys::default();
    keys.change(|state| state.renewing_fails = true);
    let failure = run(&keys, "trap '' TERM; while true; do sleep 600; done").unwrap_err();
    assert!(failure.contains("The command was stopped"), "{failure}");
}

#[test]
fn servers_that_fail_for_a_moment_change_nothing() {
    let keys = Keys::default();
    let failing = keys.clone();
    let fail = thread::spawn(move || {
        failing.until(|state| state.renewals > 0);
        failing.change(|state| (state.renewing_fails, state.watching_fails) = (true, true));
        failing.until(|state| state.failures > 1);
        failing.change(|state| (state.renewing_fails, state.watching_fails) = (false, false));
    });
    assert_eq!(run(&keys, "sleep 1"), Ok(()));
    fail.join().unwrap();
}
