//! Disks that are full or fail.

use super::super::{OnFailure, Reports, Space, open as open_disk, space::Reserve};
use super::*;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Where what a disk says goes.
fn reports() -> (Reports, Receiver<u64>, Receiver<String>) {
    let (persisted, acknowledged) = channel();
    let (failure, failed) = channel();
    let reports = Reports {
        persisted: Box::new(move |number| persisted.send(number).unwrap_or_default()),
        snapshot_saved: Box::new(|_| ()),
        failed: Arc::new(move |error: &DiskError| failure.send(error.to_string()).unwrap_or_default()) as OnFailure,
    };
    (reports, acknowledged, failed)
}

fn numbered(number: u64) -> Persist {
    Persist { number, ..persist(1, run(1, number..=number)) }
}

#[test]
fn after_the_first_operation_that_fails_nothing_is_acknowledged() {
    for good in 0.. {
        let dir = directory();
        drop(open(dir.path()));
        let recorder = Recorder::watch(dir.path());
        let (reports, acknowledged, failed) = reports();
        recorder.fail_after(good);
        let found = open_disk(dir.path(), ME, &small(), reports);
        let Ok((_, disk)) = found else { continue };
        (1..=30).for_each(|number| {
            disk.persist(numbered(number));
        });
        disk.close();
        drop(recorder);
        let acknowledged = acknowledged.iter().last().unwrap_or(0);
        let failures: Vec<_> = failed.iter().collect();
        let found = open(dir.path()).0.entries.len() as u64;
        assert!(found >= acknowledged, "{acknowledged} were acknowledged, {found} found; {failures:?}");
        if failures.is_empty() {
            assert_eq!((acknowledged, found), (30, 30));
            break;
        }
        assert_eq!(failures.len(), 1);
        assert!(acknowledged < 30 && failures[0].contains("the test says so"), "{acknowledged}, {failures:?}");
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_ends_it_too() {
    let dir = directory();
    let recorder = Recorder::watch(dir.path());
    let (saved, kept) = channel();
    let (reports, _acknowledged, failed) = reports();
    let reports = Reports { snapshot_saved: Box::new(move |index| saved.send(index).unwrap()), ..reports };
    let (_, disk) = open_disk(dir.path(), ME, &small(), reports).unwrap();
    let Snapshot { meta, chunks } = snapshot(&run(1, 1..=3));
    disk.save_snapshot(meta, chunks.into_iter());
    assert_eq!(kept.recv(), Ok(LogIndex(3)));
    recorder.fail_after(recorder.ops().len() + 4);
    let Snapshot { meta, chunks } = snapshot(&run(1, 1..=9));
    disk.save_snapshot(meta, chunks.into_iter());
    let failure = failed.recv().unwrap();
    assert!(failure.contains("snapshot-own.new") && failure.contains("the test says so"), "{failure}");
    assert!(kept.recv().is_err(), "nothing more is saved");
    disk.close();
    drop(recorder);
    assert_eq!(open(dir.path()).0.snapshot, Some(snapshot(&run(1, 1..=3))), "the one before is still there");
}

/// The name of the test that runs as a child.
const CHILD: &str = "disk::tests::full::in_a_process_that_may_not_write_large_files";
const DIRECTORY: &str = "QUORATE_TEST_DIRECTORY";

#[test]
#[ignore = "runs as a child of the test below"]
fn in_a_process_that_may_not_write_large_files() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let (reports, acknowledged, failed) = reports();
    let (_, disk) = open_disk(Path::new(&dir), ME, &Options { segment_size: 32 * 1024, ..small() }, reports).unwrap();
    for number in 1..=20 {
        disk.persist(numbered(number));
        assert_eq!(acknowledged.recv(), Ok(number));
    }
    // Longer than a segment, and than a file may be.
    disk.persist(Persist { number: 21, ..persist(1, run(1, 21..=2000)) });
    disk.persist(Persist { number: 22, ..persist(1, run(1, 2001..=2001)) });
    disk.close();
    println!("\nacknowledged after that: {:?}", acknowledged.iter().collect::<Vec<_>>());
    println!("failed {}", failed.iter().collect::<Vec<_>>().join("; "));
}

/// The kernel's own refusal, without being root: the size of files is limited, and a write is cut short there.
#[test]
fn a_write_that_the_system_cuts_short_ends_it_and_the_next_start_finds_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    // In blocks of 512 bytes: 48 KiB. The signal that comes with the refusal is ignored.
    let script = "trap '' XFSZ; ulimit -f 96; exec \"$@\"";
    let this = std::env::current_exe().unwrap();
    let child = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(this)
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env(DIRECTORY, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("\nacknowledged after that: []\n"), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("failed cannot write") && said.contains("File too large"), "{said}");
    assert_eq!(open(dir.path()).0.entries, run(1, 1..=20));
}

#[test]
fn a_disk_that_fills_is_low_before_it_is_full_and_the_next_start_has_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "none"]).arg(dir.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: only root may mount a small file system");
        return;
    }
    let _mounted = Mounted(dir.path().into());
    let options = Options { segment_size: 256 * 1024, reserve: 64 * 1024 * 1024, ..small() };
    let (reports, acknowledged, failed) = reports();
    let (_, disk) = open_disk(dir.path(), ME, &options, reports).unwrap();
    // A twentieth of the file system is reserved.
    assert_eq!(fs::metadata(dir.path().join("reserve")).unwrap().len(), 16 * 1024 * 1024 / 20);
    let filler = dir.path().join("filler");
    disk.persist(numbered(1));
    assert_eq!(acknowledged.recv().unwrap(), 1);
    let mut reserve = Reserve::open(dir.path(), options.reserve).unwrap();
    let Space { free, low } = reserve.look().unwrap();
    assert!(!low, "{free}");
    fs::write(&filler, vec![1; (free - 400 * 1024) as usize]).unwrap();
    assert!(reserve.look().unwrap().low);
    // What is under way still finds room, and what is written all the same ends it at last, with nothing lost.
    let long = |number: u64| {
        let payload = Payload::Command(vec![7; 20_000].into());
        let entry = LogEntry { term: Term(1), index: LogIndex(number), payload };
        Persist { number, ..persist(1, vec![entry]) }
    };
    let mut number = 1;
    let why = loop {
        disk.persist(long(number + 1));
        if acknowledged.recv().is_err() {
            break failed.recv().unwrap();
        }
        number += 1;
    };
    assert!(why.contains("No space left on device"), "{why}");
    assert!(number > 20, "{number}");
    disk.close();
    let (reports, _acknowledged, failed) = self::reports();
    let (found, disk) = open_disk(dir.path(), ME, &options, reports).unwrap();
    assert!(found.entries.len() as u64 >= number);
    assert!(!dir.path().join("reserve").exists(), "it is given back");
    // Room to tidy up: a snapshot, and the log behind it deleted.
    let meta = SnapshotMeta { index: LogIndex(number), term: Term(1), ..SnapshotMeta::default() };
    disk.save_snapshot(meta, std::iter::once(Bytes::from(vec![1; 100_000])));
    disk.persist(persist(2, Vec::new()));
    disk.close();
    assert_eq!(failed.iter().collect::<Vec<_>>(), Vec::<String>::new());
    fs::remove_file(filler).unwrap();
    let mut reserve = Reserve::open(dir.path(), options.reserve).unwrap();
    assert!(!reserve.look().unwrap().low);
    assert!(dir.path().join("reserve").exists(), "there is space for it again");
}

/// Taken down at the end, however that comes.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
