//! `lock` with real processes: who runs when, what they find, and what is left.

// Helpers of tests may panic as tests do, and the scripted agent needs a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scripted;

use scripted::directory::Directory;
use scripted::keys::Keys;
use scripted::{Ended, Run};
use std::thread;

/// What marks the keys of Consul's locks and semaphores.
const LOCK: u64 = 0x2ddc_cbc0_58a5_0c18;
const SEMAPHORE: u64 = 0xe0f6_9a2b_aa41_4de0;

fn lock(keys: &Keys, words: &[&str]) -> Ended {
    Run::default().at(&keys.serve(), &[&["lock"], words].concat())
}

/// Nothing is left: no key under the prefix, no session.
fn nothing_is_left(keys: &Keys) {
    let state = keys.state();
    assert!(state.keys.keys().all(|key| !key.starts_with("p/")), "{state:?}");
    assert!(state.sessions.is_empty(), "{state:?}");
}

#[test]
fn a_command_runs_while_the_lock_is_held() {
    let (keys, directory) = (Keys::default(), Directory::new("lock"));
    let out = directory.file("out");
    let script = format!("echo $CONSUL_LOCK_HELD $QUORATE_LOCK_SESSION $QUORATE_LOCK_TOKEN > {out}");
    let ended = lock(&keys, &["-verbose", "/p/", &script]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(
        ended.out,
        format!(
            "Setting up the lock at p/.lock\nAttempting lock acquisition\nStarting handler '{script}'\n\
             Child terminated, releasing lock\nCleanup succeeded\n"
        )
    );
    assert_eq!(directory.read("out"), "true our-session-0 1\n");
    nothing_is_left(&keys);
    let made = keys.state().made.clone();
    assert_eq!(made, [format!(r#"{{"Name":"Lock for '{script}' at 'p'","TTL":"15000ms","Behavior":"release"}}"#)]);
    // Without -verbose it says nothing, and a later hold has a greater token.
    let again = lock(&keys, &["-name=mine", "p", &script]);
    assert_eq!((again.code, again.out.as_str()), (0, ""));
    assert!(keys.state().made[1].contains(r#""Name":"mine""#));
    let token = |line: String| line.trim().rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(token(directory.read("out")) > 1);
}

#[test]
fn what_the_command_ends_in() {
    let keys = Keys::default();
    for (options, command, code, err) in [
        (&[][..], "exit 3", 0, "The command failed: exit status: 3.\n"),
        (&["-child-exit-code"], "exit 3", 2, "The command failed: exit status: 3.\n"),
        (&["-child-exit-code"], "true", 0, ""),
        (&["-child-exit-code"], "kill -9 $$", 2, "The command failed: signal: 9 (SIGKILL).\n"),
    ] {
        let ended = lock(&keys, &[options, &["p", command]].concat());
        assert_eq!((ended.code, ended.err.as_str()), (code, err), "{command}");
        nothing_is_left(&keys);
    }
    let none = lock(&keys, &["-shell=false", "p", "/no/such/program"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("Error starting '/no/such/program'"), "{none:?}");
    nothing_is_left(&keys);
}

#[test]
fn the_words_of_the_command_are_its_own() {
    let (keys, directory) = (Keys::default(), Directory::new("words"));
    let out = directory.file("out");
    let script = format!("printf '%s.' \"$@\" > {out}");
    let ended = lock(&keys, &["-shell=false", "p", "sh", "-c", &script, "zero", "-la", "-verbose", "--", "--x"]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", ""), "{ended:?}");
    assert_eq!(directory.read("out"), "-la.-verbose.--.--x.");
    for (words, why) in [
        (&["p"][..], "<COMMAND>"),
        (&["/", "true"], "Name the lock"),
        (&["-n=0", "p", "true"], "0"),
        (&["-stale", "p", "true"], "leave out -stale"),
    ] {
        let ended = lock(&keys, words);
        assert_eq!(ended.code, 1);
        assert!(ended.err.contains(why), "{ended:?}");
    }
}

#[test]
fn a_lock_that_is_not_free_in_time_runs_nothing() {
    for impatient in [false, true] {
        for option in ["-timeout=20ms", "-try=20ms"] {
            let keys = Keys::default();
            keys.change(|state| {
                state.impatient = impatient;
                state.set("p/.lock", "", LOCK, "theirs");
            });
            let ended = lock(&keys, &[option, "p", "echo", "never"]);
            assert_eq!((ended.code, ended.out.as_str()), (1, ""));
            assert!(ended.err.contains("not free in time"), "{ended:?}");
            assert!(keys.state().sessions.is_empty());
            assert_eq!(keys.state().keys["p/.lock"].session, "theirs");
        }
    }
}

#[test]
fn whoever_waits_runs_when_the_holder_lets_go() {
    let keys = Keys::default();
    keys.change(|state| state.set("p/.lock", "", LOCK, "theirs"));
    let waiting = {
        let keys = keys.clone();
        thread::spawn(move || lock(&keys, &["-verbose", "p", "true"]))
    };
    keys.until(|state| !state.sessions.is_empty());
    keys.change(|state| state.set("p/.lock", "", LOCK, ""));
    let ended = waiting.join().unwrap();
    assert!(ended.code == 0 && ended.out.contains("Starting handler"), "{ended:?}");
    nothing_is_left(&keys);
}

#[test]
fn keys_of_others_are_left_alone() {
    let keys = Keys::default();
    keys.change(|state| state.set("p/.lock", "precious", 7, ""));
    for n in ["1", "2"] {
        let ended = lock(&keys, &["-n", n, "p", "true"]);
        assert_eq!(ended.code, 1);
        assert!(ended.err.contains("Choose another prefix"), "{ended:?}");
        assert_eq!(keys.state().keys["p/.lock"].value, "precious");
    }
    keys.change(|state| state.set("p/.lock", r#"{"Limit":3,"Holders":{}}"#, SEMAPHORE, ""));
    let ended = lock(&keys, &["-n", "2", "p", "true"]);
    assert!(ended.code == 1 && ended.err.contains("is for 3 holders, and -n says 2"), "{ended:?}");
}

#[test]
fn a_lost_lock_stops_the_command_and_what_it_started() {
    let (keys, directory) = (Keys::default(), Directory::new("lost"));
    let (started, out) = (directory.fifo("started"), directory.file("out"));
    let script = format!("trap 'echo stopped > {out}; kill $!; exit 7' TERM; sleep 600 & echo > {started}; wait");
    let running = {
        let keys = keys.clone();
        thread::spawn(move || lock(&keys, &["p", &script]))
    };
    // Opened for writing when the command runs.
    directory.read("started");
    keys.change(|state| state.set("p/.lock", "", LOCK, "theirs"));
    let ended = running.join().unwrap();
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("The lock was lost: somebody took it"), "{ended:?}");
    assert_eq!(directory.read("out"), "stopped\n");
    assert_eq!(keys.state().keys["p/.lock"].session, "theirs", "it is theirs now");
}

#[test]
fn servers_that_fail_for_longer_than_they_may_stop_the_command() {
    let (keys, directory) = (Keys::default(), Directory::new("failing"));
    let started = directory.fifo("started");
    let script = format!("echo > {started}; sleep 600");
    let running = {
        let keys = keys.clone();
        thread::spawn(move || lock(&keys, &["-monitor-retry=0", "p", &script]))
    };
    directory.read("started");
    keys.until(|state| !state.keys.is_empty());
    // Whether the watch has begun or begins now: it fails at once.
    keys.change(|state| {
        state.watching_fails = true;
        state.set("other", "", 0, "");
    });
    let ended = running.join().unwrap();
    assert!(
        ended.code == 1 && ended.err.contains("could not be watched") && ended.err.contains("No cluster leader"),
        "{ended:?}"
    );
}

#[test]
fn a_semaphore_has_as_many_holders_as_it_says() {
    let (keys, directory) = (Keys::default(), Directory::new("semaphore"));
    let out = directory.file("out");
    let script = format!("echo $QUORATE_LOCK_TOKEN > {out}");
    // Alone.
    let ended = lock(&keys, &["-n", "2", "-verbose", "p", &script]);
    assert!(ended.code == 0 && ended.out.ends_with("Cleanup succeeded\n"), "{ended:?}");
    nothing_is_left(&keys);
    assert!(keys.state().made[0].contains(r#""Behavior":"delete""#), "{:?}", keys.state().made);
    let first: u64 = directory.read("out").trim().parse().unwrap();

    // With one other alive and one dead, whose place it takes.
    let two = r#"{"Limit":2,"Holders":{"alive":true,"dead":true}}"#;
    keys.change(|state| {
        state.set("p/alive", "", SEMAPHORE, "alive");
        state.set("p/.lock", two, SEMAPHORE, "");
    });
    let ended = lock(&keys, &["-n", "2", "-verbose", "p", &script]);
    assert!(ended.code == 0 && ended.out.ends_with("Cleanup aborted, lock in use\n"), "{ended:?}");
    assert!(directory.read("out").trim().parse::<u64>().unwrap() > first, "a later hold has a greater token");
    assert_eq!(keys.state().keys["p/.lock"].value, r#"{"Limit":2,"Holders":{"alive":true}}"#);
    assert_eq!(keys.state().keys.len(), 2, "only the other's");

    // Full, until one dies.
    keys.change(|state| {
        state.set("p/other", "", SEMAPHORE, "other");
        state.set("p/.lock", r#"{"Limit":2,"Holders":{"alive":true,"other":true}}"#, SEMAPHORE, "");
    });
    let full = lock(&keys, &["-n=2", "-timeout=20ms", "p", "true"]);
    assert!(full.code == 1 && full.err.contains("not free in time"), "{full:?}");
    let waiting = {
        let keys = keys.clone();
        thread::spawn(move || lock(&keys, &["-n=2", "p", "true"]))
    };
    keys.until(|state| state.keys.keys().any(|key| key.starts_with("p/our-session-")));
    keys.change(|state| state.delete("p/other"));
    assert_eq!(waiting.join().unwrap().code, 0);
}

#[test]
fn standard_input_is_only_passed_if_asked_for() {
    let (keys, directory) = (Keys::default(), Directory::new("stdin"));
    let out = directory.file("out");
    // Without it there is nothing to read: the end comes at once.
    let ended = lock(&keys, &["p", &format!("cat > {out}")]);
    assert_eq!((ended.code, directory.read("out").as_str()), (0, ""));
}
