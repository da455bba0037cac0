//! How many commits there must be: a number beside the database that tells when the database has lost some.
//!
//! The database keeps two roots, the last commit's and the one before, and where the last is unreadable it may take the one before: right
//! after a crash in the middle of a commit, wrong when that commit was acknowledged and a bit has rotted since. And a database file that
//! was removed looks like a new one. So the number of each commit is written here before it is acknowledged. It is not flushed for each:
//! after a power cut it may lag, and then proves less, but it is never ahead of what was flushed.

use super::DiskError;
use super::directory::{open_private, sync_directory};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Slots are written in turn, each in a sector of its own, so that a torn write spoils one at most.
const SLOT: usize = 512;

/// The file with the number.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    path: PathBuf,
}

impl Witness {
    /// Opens it, and tells the least number of commits there must be. Where there is none it is made and flushed, saying 0.
    pub(super) fn open(path: &Path) -> Result<(Witness, u64), DiskError> {
        let is_new = !path.exists();
        let file = open_private(path)?;
        let mut witness = Witness { file, path: path.into() };
        if is_new {
            for commits in [1, 0] {
                witness.write_slot(commits, 0)?;
            }
            witness.file.sync_all().map_err(DiskError::system("flush", path))?;
            path.parent().map_or(Ok(()), sync_directory)?;
            return Ok((witness, 0));
        }
        let mut content = Vec::new();
        (&mut witness.file).take(2 * SLOT as u64).read_to_end(&mut content).map_err(DiskError::system("read", path))?;
        let newest = content.chunks(SLOT).filter_map(read_slot).max();
        match newest {
            Some(commits) => Ok((witness, commits)),
            None => Err(DiskError::DamagedLog {
                path: path.into(),
                what: "neither of the two places that count commits is readable".into(),
            }),
        }
    }

    /// Notes that there are so many commits.
    pub(super) fn record(&mut self, commits: u64) -> Result<(), DiskError> {
        self.write_slot(commits, commits)
    }

    fn write_slot(&mut self, turn: u64, commits: u64) -> Result<(), DiskError> {
        let mut slot = [0; SLOT];
        let number = commits.to_be_bytes();
        let written = number.into_iter().chain(crc32fast::hash(&number).to_be_bytes());
        slot.iter_mut().zip(written).for_each(|(to, from)| *to = from);
        let offset = (turn % 2) * SLOT as u64;
        self.file.write_all_at(&slot, offset).map_err(DiskError::system("write", &self.path))
    }
}

fn read_slot(slot: &[u8]) -> Option<u64> {
    let (number, rest) = slot.split_first_chunk::<8>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    (crc32fast::hash(number) == u32::from_be_bytes(*checksum)).then_some(u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_and_survives_one_spoilt_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        let (mut witness, commits) = Witness::open(&path).unwrap();
        assert_eq!(commits, 0);
        for commits in 1..=5 {
            witness.record(commits).unwrap();
            assert_eq!(Witness::open(&path).unwrap().1, commits);
        }
        let good = std::fs::read(&path).unwrap();
        for (place, left) in [(SLOT, 4), (SLOT + 9, 4), (0, 5)] {
            let mut torn = good.clone();
            torn[place] ^= 1;
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Witness::open(&path).unwrap().1, left);
        }
        for content in [Vec::new(), vec![1; 2 * SLOT], good[..5].to_vec()] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(Witness::open(&path), Err(DiskError::DamagedLog { .. })));
        }
    }
}
