//! File operations: private files, atomic replacement, and what must be flushed for a name to survive. Every change to a file or a
//! directory goes through here, so that the tests can write down each of them and crash after any (`recorder`).

use super::DiskError;
#[cfg(test)]
use super::recorder;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only the owner may list and enter.
const DIRECTORY_MODE: u32 = 0o700;
/// Only the owner may read and write.
const FILE_MODE: u32 = 0o600;

/// A file that only its owner may read, open for reading and writing.
#[derive(Debug)]
pub(super) struct PrivateFile {
    file: File,
    path: PathBuf,
}

impl PrivateFile {
    /// Opens it, made where there is none.
    pub(super) fn open(path: &Path) -> Result<PrivateFile, DiskError> {
        #[cfg(test)]
        recorder::create(path).map_err(DiskError::system("open", path))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)
            .map_err(DiskError::system("open", path))?;
        make_private_file(path)?;
        Ok(PrivateFile { file, path: path.into() })
    }

    /// Opens it and empties it.
    pub(super) fn create(path: &Path) -> Result<PrivateFile, DiskError> {
        let file = PrivateFile::open(path)?;
        file.cut(0)?;
        Ok(file)
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        #[cfg(test)]
        recorder::write(&self.path, bytes, offset).map_err(DiskError::system("write", &self.path))?;
        self.file.write_all_at(bytes, offset).map_err(DiskError::system("write", &self.path))
    }

    /// Makes it so long.
    pub(super) fn cut(&self, length: u64) -> Result<(), DiskError> {
        #[cfg(test)]
        recorder::cut(&self.path, length).map_err(DiskError::system("cut", &self.path))?;
        self.file.set_len(length).map_err(DiskError::system("cut", &self.path))
    }

    /// Returns when content and length are on disk.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        #[cfg(test)]
        recorder::sync(&self.path).map_err(DiskError::system("flush", &self.path))?;
        // Times do not matter, and leaving them out saves a write of the file system's journal.
        self.file.sync_data().map_err(DiskError::system("flush", &self.path))
    }

    pub(super) fn length(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(DiskError::system("look at", &self.path))
    }

    /// For what is none of the above: locks and space.
    pub(super) fn system_file(&self) -> &File {
        &self.file
    }

    /// Gives it another name in its directory; that is on disk when this returns.
    pub(super) fn rename(&mut self, to: &Path) -> Result<(), DiskError> {
        rename(&self.path, to)?;
        self.path = to.into();
        Ok(())
    }
}

/// Gives a file or directory another name in the same directory; that is on disk when this returns.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    #[cfg(test)]
    recorder::rename(from, to).map_err(DiskError::system("rename", from))?;
    fs::rename(from, to).map_err(DiskError::system("rename", from))?;
    // The name is in the directory, which has to be flushed as well.
    to.parent().map_or(Ok(()), sync_directory)
}

/// Removes a file, if it is there; that is on disk when this returns.
pub(super) fn remove(path: &Path) -> Result<(), DiskError> {
    if !path.exists() {
        return Ok(());
    }
    #[cfg(test)]
    recorder::remove(path).map_err(DiskError::system("remove", path))?;
    fs::remove_file(path).map_err(DiskError::system("remove", path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Replaces a file's content: after a crash at any moment it is the old or the new one, in full.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let mut file = PrivateFile::create(&path.with_extension("new"))?;
    file.write_at(content, 0)?;
    file.sync()?;
    file.rename(path)
}

/// Flushes which files a directory has.
pub(super) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    #[cfg(test)]
    recorder::sync_directory(path).map_err(DiskError::system("flush the directory", path))?;
    File::open(path).and_then(|directory| directory.sync_all()).map_err(DiskError::system("flush the directory", path))
}

/// Makes a directory where there is none, and private where it is not.
pub(super) fn make_private_directory(path: &Path) -> Result<(), DiskError> {
    if !path.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(DiskError::system("make the directory", path))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent)?;
        }
    }
    set_mode(path, DIRECTORY_MODE)
}

/// Makes a file that exists private where it is not.
pub(super) fn make_private_file(path: &Path) -> Result<(), DiskError> {
    set_mode(path, FILE_MODE)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), DiskError> {
    let metadata = fs::metadata(path).map_err(DiskError::system("look at", path))?;
    if metadata.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "others could reach this; it is now private");
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(DiskError::system("make private", path))
}

/// A file's content, at most `limit` bytes of it; none where there is no such file.
pub(super) fn read_at_most(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::system("open", path)(error)),
    };
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content).map_err(DiskError::system("read", path))?;
    Ok(Some(content))
}

/// The names in a directory, in order; those that are no text are nobody's here.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, DiskError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(DiskError::system("list", directory))? {
        names.extend(entry.map_err(DiskError::system("list", directory))?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
