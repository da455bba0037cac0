//! Space kept free for the moment when there is none left.
//!
//! A file of fixed size holds space that nobody else can take. While there is less free than that beside it, the disk is *low*: new
//! proposals are to be refused, unless they make room, and what is under way still finds room. If a write fails all the same,
//! the process ends; its next start gives the reserve back to the file system, so that it can write its small files, take a snapshot and
//! delete the log behind it. The reserve is made anew once there is space for twice its size.

use super::DiskError;
use super::files::{PrivateFile, remove};
use rustix::fs::{FallocateFlags, StatVfs, fallocate, statvfs};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// On a small file system, the reserve is this part of it.
const PART: u64 = 20;

/// What the file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes free for this process, the reserve not counted.
    pub free: u64,
    /// Whether that is too little to take anything new.
    pub low: bool,
}

/// The file that holds the space.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    directory: PathBuf,
    size: u64,
    /// Bytes that the file holds.
    held: u64,
    /// The file system cannot promise space: it is only watched.
    is_refused: bool,
}

impl Reserve {
    /// Looks at the space there is: takes the reserve, or gives it back where there is too little.
    pub(super) fn open(data_dir: &Path, wanted: u64) -> Result<Reserve, DiskError> {
        let total = look_at(data_dir)?;
        let size = wanted.min(total.f_blocks * total.f_frsize / PART);
        let path = data_dir.join("reserve");
        let held = fs::metadata(&path).map_or(0, |metadata| metadata.blocks() * 512).min(size);
        let mut reserve = Reserve { path, directory: data_dir.into(), size, held, is_refused: false };
        if reserve.look()?.low {
            remove(&reserve.path)?;
            reserve.held = 0;
            tracing::warn!(
                directory = %data_dir.display(),
                "the disk is nearly full: its reserve is given back, and only what makes room is taken until there is space"
            );
        }
        Ok(reserve)
    }

    /// What there is. Takes the reserve where it is not held and there is space for it.
    pub(super) fn look(&mut self) -> Result<Space, DiskError> {
        let now = look_at(&self.directory)?;
        let free = now.f_bavail * now.f_frsize;
        // As much again as the reserve must be there, wherever the reserve is at the moment.
        let low = free + self.held < 2 * self.size;
        if !low && self.held < self.size && !self.is_refused {
            self.take();
        }
        Ok(Space { free, low })
    }

    fn take(&mut self) {
        let taken = PrivateFile::open(&self.path).map_err(|error| error.to_string()).and_then(|file| {
            fallocate(file.system_file(), FallocateFlags::empty(), 0, self.size).map_err(|error| error.to_string())
        });
        match taken {
            Ok(()) => self.held = self.size,
            Err(error) => {
                self.is_refused = true;
                tracing::warn!(error, path = %self.path.display(), "no space could be reserved; it is only watched");
            }
        }
    }
}

fn look_at(directory: &Path) -> Result<StatVfs, DiskError> {
    statvfs(directory).map_err(|error| DiskError::system("look at the space of", directory)(error.into()))
}
