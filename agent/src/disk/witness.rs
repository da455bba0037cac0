//! How many batches there must be: a number beside the log that tells when the log has lost some.
//!
//! A batch that vanished as a whole, because its sectors were never written although the disk said so, or with the file they were in, looks
//! like one that was never made. So the number of each batch is written here before it is acknowledged. It is flushed only when a new segment
//! is begun: after a power cut it may lag, and then proves less, but it is never ahead of what was flushed. It stands outside of `raft/`,
//! so that it also misses a log that is gone altogether.

use super::DiskError;
use super::files::{PrivateFile, read_at_most, replace};
use std::path::{Path, PathBuf};

/// Slots are written in turn, each in a sector of its own, so that a torn write spoils one at most.
const SLOT: usize = 512;

/// The file with the number.
#[derive(Debug)]
pub(super) struct Witness {
    file: PrivateFile,
}

impl Witness {
    /// Opens it, or makes one that says 0; that is on disk when this returns.
    pub(super) fn open(data_dir: &Path) -> Result<Witness, DiskError> {
        let path = path_in(data_dir);
        if !path.exists() {
            replace(&path, &[slot(0), slot(0)].concat())?;
        }
        Ok(Witness { file: PrivateFile::open(&path)? })
    }

    /// Notes that there are so many batches.
    pub(super) fn record(&self, batches: u64) -> Result<(), DiskError> {
        self.file.write_at(&slot(batches), (batches % 2) * SLOT as u64)
    }

    /// Makes what was noted last survive a power cut.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        self.file.sync()
    }
}

fn slot(batches: u64) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    let number = batches.to_be_bytes();
    let written = number.into_iter().chain(crc32fast::hash(&number).to_be_bytes());
    slot.iter_mut().zip(written).for_each(|(to, from)| *to = from);
    slot
}

/// Where it is.
pub(super) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("witness")
}

/// The least number of batches that there must be; none where there is no witness.
pub(super) fn read(data_dir: &Path) -> Result<Option<u64>, DiskError> {
    let path = path_in(data_dir);
    let Some(content) = read_at_most(&path, 2 * SLOT as u64)? else { return Ok(None) };
    match content.chunks(SLOT).filter_map(read_slot).max() {
        Some(batches) => Ok(Some(batches)),
        None => {
            Err(DiskError::Damaged { path, what: "neither of the two places that count batches is readable".into() })
        }
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
        let path = path_in(dir.path());
        assert_eq!(read(dir.path()).unwrap(), None);
        let witness = Witness::open(dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(0));
        for batches in 1..=5 {
            witness.record(batches).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(batches));
        }
        let good = std::fs::read(&path).unwrap();
        for (place, left) in [(SLOT, 4), (SLOT + 9, 4), (0, 5)] {
            let mut torn = good.clone();
            torn[place] ^= 1;
            std::fs::write(&path, torn).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(left));
        }
        for content in [Vec::new(), vec![1; 2 * SLOT], good[..5].to_vec()] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(read(dir.path()), Err(DiskError::Damaged { .. })));
        }
    }
}
