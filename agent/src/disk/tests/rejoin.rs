//! A server that cannot trust its state comes back as another node, or not at all.

use super::super::{node_id, open_log, quarantine};
use super::*;

fn start(dir: &Path) -> (Recovered, RaftLog) {
    let id = node_id(dir, None).unwrap();
    open_log(dir, id, &small()).unwrap()
}

fn with_some_entries(dir: &Path) -> NodeId {
    let (found, mut log) = start(dir);
    assert!(!found.rejoin);
    log.commit(&[persist(1, run(1, 1..=3))]).unwrap();
    found.id
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_server_begins_anew_and_waits_until_it_is_added() {
    let dir = directory();
    let first = with_some_entries(dir.path());
    let log = dir.path().join("raft/log-0000000000000001");
    flip(&log, 700);
    let damaged = fs::read(&log).unwrap();
    let (found, log) = start(dir.path());
    let second = found.id;
    assert_eq!(found, Recovered { id: second, rejoin: true, ..Recovered::default() });
    assert_ne!(second, first);
    assert_eq!(
        fs::read(dir.path().join("raft.damaged-1/log-0000000000000001")).unwrap(),
        damaged,
        "it is kept for people"
    );
    drop(log);
    // Until it has something from the others it is still to wait, also after votes.
    let (found, mut log) = start(dir.path());
    assert_eq!((found.id, found.rejoin), (second, true));
    log.commit(&[persist(7, Vec::new())]).unwrap();
    drop(log);
    let (found, mut log) = start(dir.path());
    assert_eq!((found.rejoin, found.hard_state), (true, hard_state(7)));
    log.commit(&[receiving(8, snapshot(&run(8, 1..=5)))]).unwrap();
    drop(log);
    let (found, log) = start(dir.path());
    assert_eq!((found.id, found.rejoin, history(&found)), (second, false, run(8, 1..=5)));
    drop(log);
    // Once more.
    flip(&dir.path().join("raft/log-0000000000000001"), 100);
    let (found, _) = start(dir.path());
    assert!(found.rejoin && found.id != second && dir.path().join("raft.damaged-2").is_dir());
}

#[test]
fn a_server_that_quarantined_itself_begins_anew_although_nothing_is_damaged() {
    let dir = directory();
    let first = with_some_entries(dir.path());
    quarantine(dir.path(), "its state differs from that of a majority at entry 1024").unwrap();
    let (found, mut log) = start(dir.path());
    assert!(found.rejoin && found.id != first && found.entries.is_empty());
    log.commit(&[persist(1, run(1, 1..=1))]).unwrap();
    drop(log);
    let (found, _) = start(dir.path());
    assert_eq!((found.rejoin, found.entries), (false, run(1, 1..=1)));
}

#[test]
fn a_server_that_nobody_can_teach_refuses_and_changes_nothing() {
    let dir = directory();
    let id = with_some_entries(dir.path());
    let alone = Options { may_rejoin: false, ..small() };
    let refused = |expected: &str| {
        let before = files(dir.path());
        let error = open_log(dir.path(), id, &alone).map(|(recovered, _)| recovered).unwrap_err();
        assert!(matches!(error, DiskError::NotRepaired { .. }), "{error}");
        assert!(error.to_string().contains(expected) && error.to_string().contains("-bootstrap-expect 1"), "{error}");
        assert_eq!(files(dir.path()), before);
    };
    quarantine(dir.path(), "it differs").unwrap();
    refused("it differs");
    fs::remove_file(dir.path().join("quarantine")).unwrap();
    flip(&dir.path().join("raft/log-0000000000000001"), 700);
    refused("log-0000000000000001 is damaged: sector 1 is not what was written");
}

#[test]
fn a_server_without_its_log_does_not_come_back_as_the_same_one() {
    let dir = directory();
    let first = with_some_entries(dir.path());
    fs::remove_dir_all(dir.path().join("raft")).unwrap();
    let (found, _) = start(dir.path());
    assert!(found.rejoin && found.id != first);
}

#[test]
fn a_crash_while_it_begins_anew_leaves_either_the_old_server_or_a_new_one() {
    let dir = directory();
    let recorder = Recorder::watch(dir.path());
    let first = with_some_entries(dir.path());
    let begun = recorder.ops().len();
    quarantine(dir.path(), "the test says so").unwrap();
    let decided = recorder.ops().len();
    let (found, log) = start(dir.path());
    assert!(found.rejoin && found.id != first);
    drop(log);
    let ops = recorder.ops();
    assert!(ops.len() > decided + 10);
    for done in begun..=ops.len() {
        let there = directory();
        leave(&ops[..done], Crash::Kill, dir.path(), there.path());
        let (found, _) = start(there.path());
        let at = || format!("after {:?}", ops.get(done - 1));
        if found.id == first {
            assert_eq!((found.rejoin, found.entries), (false, run(1, 1..=3)), "{}", at());
            assert!(done < decided, "{}", at());
        } else {
            assert_eq!(found, Recovered { id: found.id, rejoin: true, ..Recovered::default() }, "{}", at());
        }
    }
}
