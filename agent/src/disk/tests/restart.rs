//! What a start finds after an orderly end.

use super::super::{Reports, open as open_disk, open_log};
use super::*;
use std::sync::Arc;
use std::sync::mpsc::channel;

#[test]
fn a_restart_finds_exactly_what_was_committed() {
    let dir = directory();
    let (found, mut log) = open(dir.path());
    assert_eq!(found, Recovered { id: ME, ..Recovered::default() });
    log.commit(&[persist(1, run(1, 1..=2)), persist(1, run(1, 3..=3))]).unwrap();
    log.commit(&[persist(2, Vec::new())]).unwrap();
    drop(log);
    let (found, mut log) = open(dir.path());
    assert_eq!((found.hard_state, found.entries), (hard_state(2), run(1, 1..=3)));
    // A new leader's entries replace a tail, twice in one batch.
    log.commit(&[persist(3, run(3, 2..=4)), persist(4, run(4, 3..=3))]).unwrap();
    drop(log);
    let (found, _) = open(dir.path());
    assert_eq!((found.hard_state, found.entries), (hard_state(4), entries(&[(1, 1), (2, 3), (3, 4)])));
}

#[test]
fn the_log_goes_on_in_as_many_segments_as_it_needs() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    for index in 1..=40 {
        log.commit(&[persist(index, run(index, index..=index))]).unwrap();
    }
    // One that is longer than a segment.
    log.commit(&[persist(41, run(41, 41..=140))]).unwrap();
    log.commit(&[persist(42, run(42, 141..=141))]).unwrap();
    drop(log);
    assert!(raft_files(dir.path()).len() > 6);
    let mut expected: Vec<_> = (1..=40).map(|index| entry(index, index)).collect();
    expected.extend(run(41, 41..=140));
    expected.extend(run(42, 141..=141));
    for _ in 0..2 {
        let (found, _) = open(dir.path());
        assert_eq!((found.hard_state, &found.entries), (hard_state(42), &expected));
    }
}

#[test]
fn what_was_cut_in_an_earlier_segment_stays_cut() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    (1..=20).for_each(|index| log.commit(&[persist(1, run(1, index..=index))]).unwrap());
    log.commit(&[persist(2, run(2, 3..=3))]).unwrap();
    (0..10).for_each(|_| log.commit(&[persist(2, Vec::new())]).unwrap());
    drop(log);
    assert_eq!(open(dir.path()).0.entries, entries(&[(1, 1), (2, 1), (3, 2)]));
}

#[test]
fn a_gap_is_refused_and_nothing_of_its_batch_is_written() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    log.commit(&[persist(1, run(1, 1..=1))]).unwrap();
    for bad in [run(1, 4..=4), run(1, 0..=0), entries(&[(2, 1), (4, 1)])] {
        let refused = log.commit(&[persist(8, run(1, 2..=2)), persist(9, bad)]);
        assert!(matches!(refused, Err(DiskError::Gap { .. })), "{refused:?}");
    }
    let refused = log.commit(&[persist(8, run(1, 2..=5)), compacting(8, 3)]);
    assert!(matches!(refused, Err(DiskError::Uncovered { first: 3, covered: 0 })), "{refused:?}");
    drop(log);
    let (found, _) = open(dir.path());
    assert_eq!((found.hard_state, found.entries), (hard_state(1), run(1, 1..=1)));
}

#[test]
fn another_nodes_log_is_refused_and_not_put_aside() {
    let dir = directory();
    drop(open(dir.path()));
    let stranger = NodeId([2; 16]);
    let error = open_log(dir.path(), stranger, &small()).map(|(recovered, _)| recovered).unwrap_err();
    assert!(matches!(error, DiskError::Foreign { owner: ME, wanted, .. } if wanted == stranger), "{error}");
}

#[test]
fn entries_that_a_snapshot_covers_are_deleted_with_their_segments() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    (1..=40).for_each(|index| log.commit(&[persist(1, run(1, index..=index))]).unwrap());
    let before = raft_files(dir.path()).len();
    save(&log, snapshot(&run(1, 1..=30))).unwrap();
    log.commit(&[compacting(1, 25)]).unwrap();
    let after = raft_files(dir.path());
    assert!(after.len() < before, "{before} before, then {after:?}");
    drop(log);
    let (found, mut log) = open(dir.path());
    assert_eq!(found.snapshot, Some(snapshot(&run(1, 1..=30))));
    assert_eq!(found.entries, run(1, 25..=40));
    // Everything, and more entries then.
    save(&log, snapshot(&run(1, 1..=40))).unwrap();
    log.commit(&[compacting(2, 41)]).unwrap();
    log.commit(&[persist(3, run(3, 41..=41))]).unwrap();
    drop(log);
    let (found, _) = open(dir.path());
    assert_eq!((found.hard_state, &found.entries), (hard_state(3), &run(3, 41..=41)));
    assert_eq!(history(&found), [run(1, 1..=40), run(3, 41..=41)].concat());
    assert_eq!(raft_files(dir.path()).iter().filter(|name| name.starts_with("snapshot")).count(), 1);
}

#[test]
fn a_leaders_snapshot_replaces_a_log_that_lags_or_contradicts() {
    for old in [Vec::new(), run(1, 1..=3), run(1, 1..=9)] {
        let dir = directory();
        let (_, mut log) = open(dir.path());
        log.commit(&[persist(1, old)]).unwrap();
        let next = Persist { entries: run(4, 7..=8), ..receiving(4, snapshot(&run(3, 1..=6))) };
        log.commit(&[next]).unwrap();
        drop(log);
        let (found, _) = open(dir.path());
        assert_eq!((found.hard_state, &found.entries), (hard_state(4), &run(4, 7..=8)));
        assert_eq!(history(&found), [run(3, 1..=6), run(4, 7..=8)].concat());
    }
}

#[test]
fn what_follows_a_leaders_snapshot_in_the_log_stays() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    log.commit(&[persist(1, run(1, 1..=9))]).unwrap();
    log.commit(&[receiving(1, snapshot(&run(1, 1..=6)))]).unwrap();
    drop(log);
    let (found, mut log) = open(dir.path());
    assert_eq!((&found.entries, history(&found)), (&run(1, 7..=9), run(1, 1..=9)));
    // Also if it comes in the same write, from before the snapshot's entry or from behind it.
    for (next, covered) in [(10..=15, 13), (17..=18, 16)] {
        log.commit(&[Persist { entries: run(1, next), ..receiving(1, snapshot(&run(1, 1..=covered))) }]).unwrap();
    }
    drop(log);
    let (found, _) = open(dir.path());
    assert_eq!((&found.entries, history(&found)), (&run(1, 17..=18), run(1, 1..=18)));
}

#[test]
fn an_own_snapshot_may_be_ahead_of_the_log() {
    // What the others committed was applied and saved before this server's own disk had it; then it crashed.
    for log_then in [run(1, 1..=3), run(1, 1..=9)] {
        let dir = directory();
        let (_, mut log) = open(dir.path());
        log.commit(&[persist(1, log_then)]).unwrap();
        let ahead = [run(1, 1..=3), run(2, 4..=6)].concat();
        save(&log, snapshot(&ahead)).unwrap();
        drop(log);
        for _ in 0..2 {
            let (found, _) = open(dir.path());
            assert_eq!((&found.entries, history(&found)), (&Vec::new(), ahead.clone()));
            assert_eq!(found.hard_state, HardState { term: Term(2), vote: None }, "a vote in term 2 would be on disk");
        }
        let (_, mut log) = open(dir.path());
        log.commit(&[persist(2, run(2, 7..=7))]).unwrap();
        drop(log);
        assert_eq!(open(dir.path()).0.entries, run(2, 7..=7));
    }
}

#[test]
fn an_older_snapshot_that_is_finished_late_replaces_nothing() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    log.commit(&[persist(1, run(1, 1..=9))]).unwrap();
    save(&log, snapshot(&run(1, 1..=8))).unwrap();
    save(&log, snapshot(&run(1, 1..=5))).unwrap();
    drop(log);
    assert_eq!(open(dir.path()).0.snapshot, Some(snapshot(&run(1, 1..=8))));
}

#[test]
fn the_newest_of_the_snapshots_that_wait_is_written_and_reported() {
    let dir = directory();
    let (saved, kept) = channel();
    let reports = Reports {
        persisted: Box::new(|_| ()),
        snapshot_saved: Box::new(move |index| saved.send(index).unwrap()),
        failed: Arc::new(|error| panic!("{error}")),
    };
    let (_, disk) = open_disk(dir.path(), ME, &small(), reports).unwrap();
    disk.persist(persist(1, run(1, 1..=9)));
    let (go, gate) = channel::<()>();
    let Snapshot { meta, chunks } = snapshot(&run(1, 1..=3));
    let (begun, has_begun) = channel();
    let slow = chunks.into_iter().inspect(move |_| {
        let _ = begun.send(());
        let _ = gate.recv();
    });
    disk.save_snapshot(meta, slow);
    has_begun.recv().unwrap();
    for index in [5, 7] {
        let Snapshot { meta, chunks } = snapshot(&run(1, 1..=index));
        disk.save_snapshot(meta, chunks.into_iter());
    }
    drop(go);
    assert_eq!([kept.recv().unwrap(), kept.recv().unwrap()], [LogIndex(3), LogIndex(7)]);
    disk.close();
    assert!(kept.recv().is_err());
    assert_eq!(open(dir.path()).0.snapshot, Some(snapshot(&run(1, 1..=7))));
}

#[test]
fn closing_writes_what_was_handed_over_and_gives_up_a_snapshot() {
    let dir = directory();
    let reports = Reports {
        persisted: Box::new(|_| ()),
        snapshot_saved: Box::new(|index| panic!("{index} was not finished")),
        failed: Arc::new(|error| panic!("{error}")),
    };
    let (_, disk) = open_disk(dir.path(), ME, &small(), reports).unwrap();
    (1..=50).for_each(|number| disk.persist(persist(number, Vec::new())));
    let (begun, has_begun) = channel();
    let endless = std::iter::repeat_with(move || {
        let _ = begun.send(());
        Bytes::from_static(b"more")
    });
    disk.save_snapshot(snapshot(&run(1, 1..=3)).meta, endless);
    has_begun.recv().unwrap();
    disk.close();
    assert_eq!(open(dir.path()).0.hard_state.term, Term(50));
    assert_eq!(raft_files(dir.path()), ["log-0000000000000001"]);
}

#[test]
fn a_snapshot_may_be_longer_than_what_is_flushed_at_once() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    log.commit(&[persist(1, run(1, 1..=9))]).unwrap();
    let chunks: Vec<_> = (1..=5).map(|byte| Bytes::from(vec![byte; 3 * 1024 * 1024])).collect();
    let large = Snapshot { chunks, ..snapshot(&run(1, 1..=4)) };
    save(&log, large.clone()).unwrap();
    drop(log);
    assert_eq!(open(dir.path()).0.snapshot, Some(large));
}
