//! `lock` when somebody wants it to end. Alone in its program, because a signal is for all of a process.

// Helpers of tests may panic as tests do, and the scripted agent needs a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scripted;

use rustix::process::{Signal, getpid, kill_process};
use scripted::Run;
use scripted::directory::Directory;
use scripted::keys::Keys;
use std::thread;

#[test]
fn a_signal_stops_the_command_and_releases_the_lock() {
    let (keys, directory) = (Keys::default(), Directory::new("signal"));
    let (started, out) = (directory.fifo("started"), directory.file("out"));
    let run = |script: String| {
        let address = keys.serve();
        thread::spawn(move || Run::default().at(&address, &["lock", "p", &script]))
    };
    let running = run(format!("trap 'echo stopped > {out}; kill $!; exit' TERM; sleep 600 & echo > {started}; wait"));
    directory.read("started");
    kill_process(getpid(), Signal::TERM).unwrap();
    let ended = running.join().unwrap();
    assert!(ended.code == 1 && ended.err.contains("Interrupted by SIGTERM"), "{ended:?}");
    assert_eq!(directory.read("out"), "stopped\n");
    assert!(keys.state().keys.is_empty() && keys.state().sessions.is_empty());

    // While it waits, too; and then nothing has run.
    keys.change(|state| state.set("p/.lock", "", 0x2ddc_cbc0_58a5_0c18, "theirs"));
    let waiting = run("echo never".to_owned());
    keys.until(|state| !state.sessions.is_empty());
    kill_process(getpid(), Signal::INT).unwrap();
    let ended = waiting.join().unwrap();
    assert!(ended.code == 1 && ended.err.contains("Interrupted by SIGINT while waiting"), "{ended:?}");
    assert!(keys.state().sessions.is_empty());
}
