//! Damage of every kind in every place: a start finds exactly what was acknowledged, or names the damage.

use super::super::log::inspect;
use super::super::snapshot::{Origin, choose};
use super::super::{LOCAL, generation, node_id, open_log, sector, witness};
use super::*;

/// Everything a start reads, read without changing anything of the log.
fn look(dir: &Path) -> Result<Recovered, DiskError> {
    let id = node_id(dir, None)?;
    let found = inspect(dir, id)?;
    let snapshot = choose(&dir.join("raft"), found.outline.first())?.snapshot;
    Ok(Recovered { id, hard_state: found.state.hard_state, snapshot, entries: found.entries, rejoin: false })
}

/// A directory with some of everything, as after a kill: not closed in order.
fn some_of_everything(dir: &Path) -> Recovered {
    node_id(dir, Some(ME)).unwrap();
    generation(dir, 1000).unwrap();
    LOCAL.save(dir, b"services and checks").unwrap();
    let options = Options { segment_size: 6 * 512, ..small() };
    let (_, mut log) = RaftLog::open(dir, ME, &options).unwrap();
    log.commit(&[persist(1, run(1, 1..=6))]).unwrap();
    log.commit(&[persist(2, run(2, 5..=7))]).unwrap();
    let covered = [run(1, 1..=4), run(2, 5..=5)].concat();
    save(&log, snapshot(&covered)).unwrap();
    log.commit(&[persist(2, run(2, 8..=9))]).unwrap();
    log.commit(&[compacting(3, 4)]).unwrap();
    log.commit(&[persist(3, run(3, 10..=10))]).unwrap();
    Recovered {
        id: ME,
        hard_state: hard_state(3),
        snapshot: Some(snapshot(&covered)),
        entries: [run(1, 4..=4), run(2, 5..=9), run(3, 10..=10)].concat(),
        rejoin: false,
    }
}

fn is_one_of_the_logs(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "witness")
        || path.parent().is_some_and(|directory| directory.ends_with("raft"))
}

/// What a start makes of the directory is the truth or a refusal; says whether it is a refusal.
fn refuses(dir: &Path, changed: &Path, truth: &Recovered, at: &dyn Fn() -> String) -> bool {
    let name = changed.file_name().unwrap().to_str().unwrap();
    let found = match name {
        // Counted up, so that it is written again and the caller has to put it back.
        "generation" => generation(dir, 0).map(|number| assert_eq!(number, 1001, "{}", at())),
        "local" => {
            LOCAL.load(dir).map(|local| assert_eq!(local.as_deref(), Some(&b"services and checks"[..]), "{}", at()))
        }
        _ => look(dir).map(|found| assert_eq!(&found, truth, "{}", at())),
    };
    match found {
        Ok(()) => false,
        Err(DiskError::Damaged { .. } | DiskError::DamagedFile { .. }) => true,
        Err(other) => panic!("{}: {other}", at()),
    }
}

#[test]
fn no_flipped_bit_in_any_file_goes_unnoticed() {
    let dir = directory();
    let truth = some_of_everything(dir.path());
    assert_eq!(look(dir.path()).unwrap(), truth);
    for (path, good) in files(dir.path()).into_iter().filter(|(path, _)| !path.ends_with("spare")) {
        // Either of the witness's two places is enough.
        let is_needed = !path.ends_with("witness");
        let mut bad = good.clone();
        for bit in 0..good.len() * 8 {
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            let at = || format!("bit {} of byte {} of {}", bit % 8, bit / 8, path.display());
            assert!(refuses(dir.path(), &path, &truth, &at) || !is_needed, "{} was not seen", at());
            bad[bit / 8] ^= 1 << (bit % 8);
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn no_cut_in_any_file_goes_unnoticed() {
    let dir = directory();
    let truth = some_of_everything(dir.path());
    for (path, good) in files(dir.path()).into_iter().filter(|(path, _)| !path.ends_with("spare")) {
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            refuses(dir.path(), &path, &truth, &|| format!("{} cut to {length}", path.display()));
        }
        if is_one_of_the_logs(&path) {
            fs::remove_file(&path).unwrap();
            assert!(
                refuses(dir.path(), &path, &truth, &|| format!("{} removed", path.display())),
                "{} removed",
                path.display()
            );
        }
        fs::write(&path, &good).unwrap();
    }
    fs::remove_dir_all(dir.path().join("raft")).unwrap();
    assert!(refusal(dir.path()).contains("the log is gone, although 5 batches or more were written"));
}

/// The witness is flushed with each segment that is begun, so that none of them can vanish unnoticed, even if the power goes.
#[test]
fn the_newest_segment_cannot_vanish_in_a_power_cut() {
    let dir = directory();
    let recorder = Recorder::watch(dir.path());
    let (_, mut log) = open(dir.path());
    (1..=12).for_each(|index| log.commit(&[persist(1, run(1, index..=index))]).unwrap());
    drop(log);
    let there = directory();
    leave(&recorder.ops(), Crash::Lose, dir.path(), there.path());
    assert_eq!(open(there.path()).0.entries, run(1, 1..=12));
    leave(&recorder.ops(), Crash::Lose, dir.path(), there.path());
    fs::remove_file(there.path().join("raft/log-0000000000000002")).unwrap();
    assert!(refusal(there.path()).contains("batch 8 was written, and it holds only those up to 7"));
}

/// A full start with every 61st of all flips, on a copy: it also finds the truth, or begins anew as another node.
#[test]
fn a_start_on_damage_finds_the_truth_or_begins_anew() {
    let dir = directory();
    let truth = some_of_everything(dir.path());
    let all = files(dir.path());
    let mut begun_anew = 0;
    for (changed, good) in all.iter().filter(|(path, _)| is_one_of_the_logs(path) && !path.ends_with("spare")) {
        for bit in (0..good.len() * 8).step_by(61) {
            let there = directory();
            fs::create_dir(there.path().join("raft")).unwrap();
            for (path, content) in &all {
                let mut content = content.clone();
                if path == changed {
                    content[bit / 8] ^= 1 << (bit % 8);
                }
                fs::write(there.path().join(path.strip_prefix(dir.path()).unwrap()), content).unwrap();
            }
            let (found, _) = open_log(there.path(), ME, &small()).unwrap();
            if found.rejoin {
                begun_anew += 1;
                assert_eq!((found.entries.len(), found.snapshot, found.hard_state), (0, None, HardState::default()));
                assert_ne!(found.id, ME);
            } else {
                assert_eq!(found, truth, "bit {bit} of {}", changed.display());
            }
        }
    }
    assert!(begun_anew > 100, "only {begun_anew}");
}

/// Two batches are acknowledged, and a third of four sectors is under way. Returns the segment before and after, and where the third begins.
fn third_batch(dir: &Path) -> (PathBuf, Vec<u8>, Vec<u8>, usize) {
    let (_, mut log) = RaftLog::open(dir, ME, &Options { segment_size: 16 * 512, ..small() }).unwrap();
    log.commit(&[persist(1, run(1, 1..=2))]).unwrap();
    log.commit(&[persist(1, run(1, 3..=4))]).unwrap();
    let path = dir.join("raft/log-0000000000000001");
    let before = fs::read(&path).unwrap();
    let noted = fs::read(witness::path_in(dir)).unwrap();
    log.commit(&[persist(2, run(2, 5..=22))]).unwrap();
    drop(log);
    let after = fs::read(&path).unwrap();
    fs::write(witness::path_in(dir), noted).unwrap();
    let begins = (0..before.len()).step_by(512).find(|at| before[*at..at + 512] != after[*at..at + 512]).unwrap();
    (path, before, after, begins)
}

#[test]
fn a_torn_last_batch_is_cut_off_and_never_mixed_with_the_next() {
    let dir = directory();
    let (path, before, after, begins) = third_batch(dir.path());
    let sectors = (begins..after.len()).step_by(512).filter(|at| after[*at..at + 512] != before[*at..at + 512]).count();
    assert!(sectors >= 3, "{sectors}");
    for kept in 0..1_u32 << sectors {
        let mut torn = before.clone();
        for sector in (0..sectors).filter(|sector| kept & 1 << sector != 0) {
            let at = begins + sector * 512;
            torn[at..at + 512].copy_from_slice(&after[at..at + 512]);
        }
        fs::write(&path, &torn).unwrap();
        let noted = fs::read(witness::path_in(dir.path())).unwrap();
        let (found, log) = open(dir.path());
        let whole = kept + 1 == 1 << sectors;
        assert_eq!(found.entries.len(), if whole { 22 } else { 4 }, "kept {kept:b}");
        drop(log);
        assert_eq!(fs::read(&path).unwrap() == before, !whole, "nothing of it is left");
        // It was acknowledged if the witness says so.
        fs::write(&path, &torn).unwrap();
        witness::Witness::open(dir.path()).unwrap().record(3).unwrap();
        if !whole {
            assert!(refusal(dir.path()).contains("batch 3 was written, and it holds only those up to 2"));
        }
        fs::write(witness::path_in(dir.path()), noted).unwrap();
    }
}

#[test]
fn rot_is_not_taken_for_a_torn_batch() {
    let dir = directory();
    let (path, _, after, begins) = third_batch(dir.path());
    let refused = |bad: Vec<u8>, expected: &str| {
        fs::write(&path, bad).unwrap();
        let refusal = refusal(dir.path());
        assert!(refusal.contains(expected) && refusal.contains("log-0000000000000001"), "{refusal}");
    };
    let mut rotten = after.clone();
    rotten[begins + 600] ^= 1;
    refused(rotten, "sector 4 is not what was written; batch 3 or none should stand there");
    let mut early = after.clone();
    early[begins - 512..begins].fill(0);
    refused(early, "sector 3 holds a part of batch 3, and batch 2 before it is not whole");
    let mut moved = after.clone();
    moved.copy_within(begins..begins + 512, begins + 512);
    refused(moved, "sector 4 is not what was written");
    let mut header = after.clone();
    header[100] ^= 1;
    refused(header, "its header is not what was written");
    refused(after[..after.len() - 512].to_vec(), "bytes long, and was made with");
    let mut longer = after;
    longer.extend([0; 512]);
    refused(longer, "bytes long, and was made with");
}

#[test]
fn a_damaged_snapshot_is_done_without_if_the_log_joins_the_one_before() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    log.commit(&[persist(1, run(1, 1..=9))]).unwrap();
    let shelf = log.shelf();
    let put = |index| {
        let Snapshot { meta, chunks } = snapshot(&run(1, 1..=index));
        shelf.put(Origin::Own, &meta, chunks.into_iter(), || true).unwrap()
    };
    // The one before is still there: the crash came before it was removed.
    put(4);
    log.commit(&[compacting(1, 3)]).unwrap();
    put(7);
    drop(log);
    let newest = dir.path().join("raft/snapshot-00000000000000000007-1");
    let good = fs::read(&newest).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 8;
    fs::write(&newest, &bad).unwrap();
    for _ in 0..2 {
        let (found, _) = open(dir.path());
        assert_eq!((&found.snapshot, history(&found)), (&Some(snapshot(&run(1, 1..=4))), run(1, 1..=9)));
    }
    let names = raft_files(dir.path());
    assert!(names.contains(&"damaged-snapshot-00000000000000000007-1".to_owned()), "{names:?}");
    // With the log begun behind the one before, nothing makes up for it.
    let (_, mut log) = open(dir.path());
    save(&log, snapshot(&run(1, 1..=8))).unwrap();
    assert_eq!(
        raft_files(dir.path()).iter().filter(|name| name.contains("snapshot")).count(),
        1,
        "all others are gone"
    );
    log.commit(&[compacting(1, 7)]).unwrap();
    drop(log);
    let newest = dir.path().join("raft/snapshot-00000000000000000008-1");
    let mut bad = fs::read(&newest).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&newest, &bad).unwrap();
    let refusal = refusal(dir.path());
    assert!(
        refusal
            .contains("snapshot-00000000000000000008-1 is damaged: its end, after 8 chunks, is not what was written"),
        "{refusal}"
    );
}

#[test]
fn a_snapshot_is_read_again_before_it_counts() {
    let dir = directory();
    let (_, mut log) = open(dir.path());
    log.commit(&[persist(1, run(1, 1..=9))]).unwrap();
    save(&log, snapshot(&run(1, 1..=4))).unwrap();
    let Snapshot { meta, chunks } = snapshot(&run(1, 1..=8));
    let draft = dir.path().join("raft/snapshot-own.new");
    // The disk spoils what was written already, while the last part is on its way.
    let spoilt = chunks.into_iter().enumerate().inspect(|(number, _)| {
        if *number == 7 {
            let mut bytes = fs::read(&draft).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&draft, bytes).unwrap();
        }
    });
    let refused = log.shelf().put(Origin::Own, &meta, spoilt.map(|(_, chunk)| chunk), || true).unwrap_err();
    assert!(refused.to_string().contains("snapshot-own.new is damaged: the checksum of chunk 6 is wrong"), "{refused}");
    drop(log);
    assert_eq!(open(dir.path()).0.snapshot, Some(snapshot(&run(1, 1..=4))));
}

#[test]
fn what_a_newer_build_wrote_is_refused_and_not_put_aside() {
    let dir = directory();
    drop(open(dir.path()));
    let path = dir.path().join("raft/log-0000000000000001");
    let mut bytes = fs::read(&path).unwrap();
    let sector::Sector::Sound { content, .. } = sector::read(1, 0, &bytes[..512]) else { panic!("no header") };
    let mut content = content.to_vec();
    content[4] += 1;
    let mut header = Vec::new();
    sector::write(&mut header, 1, 0, 1, &content);
    bytes[..512].copy_from_slice(&header);
    fs::write(&path, &bytes).unwrap();
    let error = open_log(dir.path(), ME, &small()).map(|(recovered, _)| recovered).unwrap_err();
    assert!(matches!(error, DiskError::Newer { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
