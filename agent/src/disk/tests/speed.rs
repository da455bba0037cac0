//! How long a commit takes, beside the least that this file system needs for any: one write and one flush.
//!
//! ```text
//! cargo test -p quorate-agent --lib disk::tests::speed -- --ignored --nocapture
//! ```

use super::*;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const ROUNDS: u64 = 1000;

#[test]
#[ignore = "a measurement, for people"]
fn how_long_a_commit_takes() {
    // Where `cargo` builds, as a directory in memory flushes nothing.
    let root = std::env::current_exe().unwrap();
    for entries in [1, 64] {
        let dir = tempfile::tempdir_in(root.parent().unwrap()).unwrap();
        let (_, mut log) = RaftLog::open(dir.path(), ME, &Options::new(true)).unwrap();
        let mut next = 1;
        show(&format!("segment log, {entries} entries of 256 bytes"), || {
            let entries = (next..next + entries).map(|index| LogEntry {
                term: Term(1),
                index: LogIndex(index),
                payload: Payload::Command(vec![7; 256].into()),
            });
            let entries: Vec<_> = entries.collect();
            next += entries.len() as u64;
            let begun = Instant::now();
            log.commit(&[persist(1, entries)]).unwrap();
            begun.elapsed()
        });
        let bytes = vec![7; if entries == 1 { 4096 } else { 5 * 4096 }];
        let appended = fs::File::create(dir.path().join("appended")).unwrap();
        let mut at = 0;
        show(&format!("append of {} bytes and fdatasync", bytes.len()), || {
            let begun = Instant::now();
            appended.write_all_at(&bytes, at).unwrap();
            appended.sync_data().unwrap();
            at += bytes.len() as u64;
            begun.elapsed()
        });
    }
}

fn show(what: &str, mut round: impl FnMut() -> Duration) {
    let mut times: Vec<_> = (0..ROUNDS).map(|_| round()).collect();
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100];
    println!("{what}: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", at(50), at(90), at(99), times[times.len() - 1]);
}
