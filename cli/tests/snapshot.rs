//! `snapshot`: a file is whole or is refused, and only a whole one gets its name.

// Helpers of tests may panic as tests do, and the scripted agent needs a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scripted;

use scripted::agent::Said;
use scripted::archive::{META, STATE, archive, gzip, sum, tar};
use scripted::directory::Directory;
use scripted::{Run, quorate, quorate_told};
use std::os::unix::fs::PermissionsExt;

const INSPECTED: &str = "ID            2-8419-17\nIndex         8419\nTerm          2\nVersion       1\nDatacenter    dc1\nCreated       2026-11-25T08:00:00Z\nState chunks  2\n\n\
                         Member      Bytes\nmeta.json   156\nstate.bin   20\nSHA256SUMS  152\nTotal       328\n";

#[test]
fn a_snapshot_is_saved_inspected_and_restored() {
    let directory = Directory::new("snapshot");
    let (file, whole) = (directory.file("backup.snap"), archive(META, STATE));
    let saved = quorate_told(&format!("snapshot save {file}"), vec![Said::new(200, &whole)]);
    assert_eq!((saved.code, saved.err.as_str()), (0, ""), "{saved:?}");
    assert_eq!(saved.out, "Saved and verified snapshot to index 8419\n");
    assert_eq!(saved.asked, ["GET /v1/snapshot"]);
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    assert_eq!(directory.names(), ["backup.snap"]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let inspected = quorate(&format!("snapshot inspect {file}"), &[]);
    assert_eq!((inspected.code, inspected.out.as_str()), (0, INSPECTED), "{inspected:?}");

    let restored = quorate(&format!("snapshot restore {file}"), &[(200, "")]);
    assert_eq!((restored.code, restored.out.as_str()), (0, "Restored snapshot\n"), "{restored:?}");
    assert_eq!(restored.asked, [format!("PUT /v1/snapshot {}", String::from_utf8_lossy(&whole))]);
}

#[test]
fn people_see_how_far_it_is() {
    let directory = Directory::new("progress");
    let (file, whole) = (directory.file("backup.snap"), archive(META, STATE));
    let watched = Run { watched: true, ..Run::default() };
    // The agent tells how large the state is before it is packed. All of this one comes at once.
    let said = Said::new(200, &whole).with("X-Quorate-Snapshot-Size", STATE.len());
    let saved = watched.told(&format!("snapshot save {file}"), vec![said]);
    assert!(saved.err.contains("\rSaving: [##########") && saved.err.ends_with("\r\x1b[K"), "{saved:?}");
    let restored = watched.told(&format!("snapshot restore {file}"), vec![Said::new(200, "")]);
    assert!(restored.err.contains("\rRestoring: [##########"), "{restored:?}");
    let untold = watched.told(&format!("snapshot save {file}"), vec![Said::new(200, &whole)]);
    assert!(untold.err.contains("\rSaving: 0.0 MiB"), "{untold:?}");
    assert_eq!((saved.code, restored.code, untold.code), (0, 0, 0));
}

#[test]
fn what_is_not_whole_does_not_replace_what_is() {
    let directory = Directory::new("replace");
    let whole = archive(META, STATE);
    let file = directory.with("backup.snap", &whole);
    let cut = whole[..whole.len() - 9].to_vec();
    for (answer, why) in [
        (Said::new(200, cut), "not whole: it breaks off"),
        (Said::new(200, "<html>"), "not whole"),
        (Said::new(500, "No cluster leader"), "No cluster leader"),
    ] {
        let ended = quorate_told(&format!("snapshot save {file}"), vec![answer]);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
        assert!(ended.err.contains(why), "'{why}' in {}", ended.err);
        assert_eq!(std::fs::read(&file).unwrap(), whole);
        assert_eq!(directory.names(), ["backup.snap"], "nothing half is left");
    }
    // A directory is found out before the servers are troubled.
    let place = directory.file("");
    for (line, next) in
        [("save", "Name a file in it"), ("restore", "Name a readable file"), ("inspect", "Name a readable file")]
    {
        let ended = quorate(&format!("snapshot {line} {place}"), &[]);
        assert!(ended.code == 1 && ended.err.contains("is a directory") && ended.err.contains(next), "{ended:?}");
        assert!(ended.asked.is_empty() && directory.names() == ["backup.snap"], "{ended:?}");
    }
    let nowhere = quorate("snapshot save /no/such/place/backup.snap", &[]);
    assert!(nowhere.code == 1 && nowhere.err.contains("can be written") && nowhere.asked.is_empty(), "{nowhere:?}");
}

#[test]
fn the_servers_never_see_a_damaged_file() {
    let directory = Directory::new("damaged");
    let mut damaged = archive(META, STATE);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let file = directory.with("backup.snap", &damaged);
    let ended = quorate(&format!("snapshot restore {file}"), &[]);
    assert!(ended.code == 1 && ended.err.contains("not a whole snapshot") && ended.asked.is_empty(), "{ended:?}");
    let refused = directory.with("whole.snap", &archive(META, STATE));
    let ended = quorate(&format!("snapshot restore {refused}"), &[(500, "the snapshot is of another version")]);
    assert!(ended.code == 1 && ended.err.contains("the snapshot is of another version"), "{ended:?}");
    let none = quorate("snapshot restore /no/such/file", &[]);
    assert!(none.code == 1 && none.err.contains("Name a readable file"), "{none:?}");
}

#[test]
fn what_is_no_snapshot_says_why() {
    let directory = Directory::new("hostile");
    let sums = format!("{}  meta.json\n{}  state.bin\n", sum(META), sum(STATE));
    let sums = sums.as_bytes();
    let wrong = format!("{}  meta.json\n{}  state.bin\n", sum(META), sum(META));
    let stranger = format!("{}  ../evil\n", sum(META));
    let (meta, state) = (("meta.json", META), ("state.bin", STATE));
    let huge = vec![b' '; (1 << 20) + 1];
    let mut link = tar(&[meta]);
    link[156] = b'2';
    // Its header's sum counts the kind too: '2' is two more than '0'.
    let digits = u32::from_str_radix(std::str::from_utf8(&link[148..154]).unwrap(), 8).unwrap() + 2;
    link[148..154].copy_from_slice(format!("{digits:06o}").as_bytes());
    let mut odd = tar(&[meta]);
    odd[124..135].copy_from_slice(b"zzzzzzzzzzz");
    let many: Vec<(String, &[u8])> = (0..70).map(|i| (format!("m{i}"), &b""[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    for (tar, why) in [
        (tar(&[]), "no SHA256SUMS"),
        (tar(&[meta, state]), "no SHA256SUMS"),
        (tar(&[meta, ("SHA256SUMS", sums)]), "no state.bin"),
        (tar(&[("SHA256SUMS", b"")]), "no state.bin"),
        (tar(&[meta, state, ("SHA256SUMS", b"")]), "meta.json has no checksum"),
        (tar(&[meta, state, ("more", b""), ("SHA256SUMS", sums)]), "more has no checksum"),
        (tar(&[meta, state, ("SHA256SUMS", wrong.as_bytes())]), "checksum of state.bin is wrong"),
        (tar(&[meta, state, ("SHA256SUMS", stranger.as_bytes())]), "no ../evil"),
        (tar(&[meta, state, ("SHA256SUMS", b"?")]), "is no checksum"),
        (tar(&[meta, state, ("SHA256SUMS", b"\xff")]), "not text"),
        (tar(&[meta, meta]), "too much"),
        (tar(&many), "too much"),
        (tar(&[("meta.json", &huge)]), "too large"),
        (link, "no plain file"),
        (odd, "checksum of a tar header"),
        (vec![0; 700], "does not end where it should"),
        (vec![1; 511], "breaks off"),
    ] {
        let file = directory.with("bad.snap", &gzip(&tar));
        let ended = quorate(&format!("snapshot inspect {file}"), &[]);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{why}: {ended:?}");
        assert!(ended.err.contains(why) && ended.err.contains("bad.snap"), "'{why}' in {}", ended.err);
    }
    let file = directory.with("list.snap", &archive(b"[]", STATE));
    assert!(quorate(&format!("snapshot inspect {file}"), &[]).err.contains("meta.json cannot be read"));
}

/// Consul's state is not in chunks: what can be said of it is said.
#[test]
fn a_snapshot_of_consul_can_be_inspected() {
    let directory = Directory::new("consul");
    let file =
        directory.with("consul.snap", &archive(br#"{"Version":1,"ID":"2-9-1","Index":9,"Term":2}"#, b"\x92\xa3abc"));
    let ended = quorate(&format!("snapshot inspect {file}"), &[]);
    assert!(ended.code == 0 && ended.out.contains("Created       -\nState chunks  unknown"), "{ended:?}");
}
