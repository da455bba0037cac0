//! The data directory: private, whose it is, one agent at a time, and how to replace a file in it without ever losing it.

use super::DiskError;
use quorate_protocol::NodeId;
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Only the owner may list and enter.
const DIRECTORY_MODE: u32 = 0o700;
/// Only the owner may read and write.
const FILE_MODE: u32 = 0o600;
/// The longest of the small text files here.
const MAX_TEXT: u64 = 128;

/// The data directory, held against other agents until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Makes the directory where there is none, makes it private, and takes it for this agent.
///
/// # Errors
/// [`DiskError::InUse`] while another agent has it.
pub fn lock(data_dir: &Path) -> Result<Lock, DiskError> {
    make_private_directory(data_dir)?;
    let path = data_dir.join("lock");
    let mut file = open_private(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let process = read_text(&path)?.and_then(|text| text.trim().parse().ok());
            return Err(DiskError::InUse { path: data_dir.into(), process });
        }
        Err(TryLockError::Error(cause)) => return Err(DiskError::system("lock", path)(cause)),
    }
    // For people and for the message above; the lock itself is what counts.
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(DiskError::system("write", path))?;
    Ok(Lock { _file: file })
}

/// Whose directory this is; a new directory becomes the wanted node's, or that of a node drawn at random.
///
/// # Errors
/// [`DiskError::Foreign`] where it is another node's than wanted.
pub fn node_id(data_dir: &Path, wanted: Option<NodeId>) -> Result<NodeId, DiskError> {
    make_private_directory(data_dir)?;
    let path = data_dir.join("node-id");
    if let Some(text) = read_text(&path)? {
        make_private_file(&path)?;
        let owner = text.trim().parse().map_err(|error| DiskError::DamagedFile {
            path: path.clone(),
            what: format!("{error}"),
            remedy: "Write the node's id into it (other agents show it under /v1/catalog/nodes), or move the whole data directory \
                     aside to start as a new node",
        })?;
        return match wanted {
            Some(wanted) if wanted != owner => Err(DiskError::Foreign { path: data_dir.into(), owner, wanted }),
            _ => Ok(owner),
        };
    }
    let id = match wanted {
        Some(wanted) => wanted,
        None => {
            let mut bytes = [0; 16];
            let no_dice = |_| io::Error::other("the system has no randomness");
            SystemRandom::new()
                .fill(&mut bytes)
                .map_err(no_dice)
                .map_err(DiskError::system("draw an id for", &path))?;
            NodeId::from_random(bytes)
        }
    };
    replace(&path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

/// A number that is greater at every start, and near the wall clock (milliseconds since 1970) so that it also grows when the directory
/// was lost. It is on disk before this returns.
///
/// # Errors
/// [`DiskError`] when it cannot be read or written.
pub fn generation(data_dir: &Path, wall_clock_millis: u64) -> Result<u64, DiskError> {
    let path = data_dir.join("generation");
    let last = match read_text(&path)? {
        None => 0,
        Some(text) => text.trim().parse::<u64>().map_err(|error| DiskError::DamagedFile {
            path: path.clone(),
            what: format!("it should hold a number: {error}"),
            remedy: "Remove it if the clock of this host is right: the next number is then taken from the clock",
        })?,
    };
    let next = last.saturating_add(1).max(wall_clock_millis);
    replace(&path, format!("{next}\n").as_bytes())?;
    Ok(next)
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

/// Opens a file for reading and writing, made where there is none, and private.
pub(super) fn open_private(path: &Path) -> Result<File, DiskError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(DiskError::system("open", path))?;
    make_private_file(path)?;
    Ok(file)
}

/// Replaces a file's content: after a crash at any moment it is the old or the new one, in full.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let new = path.with_extension("new");
    let mut file = open_private(&new)?;
    file.set_len(0)
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all())
        .map_err(DiskError::system("write", &new))?;
    fs::rename(&new, path).map_err(DiskError::system("rename to its place", &new))?;
    // The name is in the directory, which has to be flushed as well.
    path.parent().map_or(Ok(()), sync_directory)
}

/// Flushes which files a directory has.
pub(super) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(DiskError::system("flush the directory", path))
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

fn read_text(path: &Path) -> Result<Option<String>, DiskError> {
    Ok(read_at_most(path, MAX_TEXT)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_id_is_drawn_once_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let id = node_id(&dir, None).unwrap();
        assert_eq!(node_id(&dir, None).unwrap(), id);
        assert_eq!(node_id(&dir, Some(id)).unwrap(), id);
        assert_ne!(node_id(&root.path().join("c"), None).unwrap(), id);
        assert_eq!((mode(&dir), mode(&dir.join("node-id"))), (0o700, 0o600));
    }

    #[test]
    fn another_nodes_directory_is_refused_by_both_names() {
        let dir = tempfile::tempdir().unwrap();
        let (owner, wanted) = (NodeId([1; 16]), NodeId([2; 16]));
        assert_eq!(node_id(dir.path(), Some(owner)).unwrap(), owner);
        let error = node_id(dir.path(), Some(wanted)).unwrap_err().to_string();
        assert!(error.contains(&owner.to_string()) && error.contains(&wanted.to_string()), "{error}");
        assert!(error.contains("-data-dir"), "{error}");
    }

    #[test]
    fn a_damaged_id_is_not_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["", "abc", "00000000-0000-4000-8000-00000000000g"] {
            fs::write(dir.path().join("node-id"), content).unwrap();
            assert!(matches!(node_id(dir.path(), None), Err(DiskError::DamagedFile { .. })), "{content:?}");
        }
    }

    #[test]
    fn generations_grow_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let story = [(1000, 1000), (1000, 1001), (5, 1002), (2000, 2000), (0, 2001)];
        for (clock, expected) in story {
            assert_eq!(generation(dir.path(), clock).unwrap(), expected);
        }
        fs::write(dir.path().join("generation"), "12x").unwrap();
        assert!(matches!(generation(dir.path(), 1), Err(DiskError::DamagedFile { .. })));
    }

    #[test]
    fn one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("-data-dir"), "{error}");
        drop(held);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn what_others_could_read_is_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let id = node_id(dir.path(), None).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(dir.path().join("node-id"), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(node_id(dir.path(), None).unwrap(), id);
        assert_eq!((mode(dir.path()), mode(&dir.path().join("node-id"))), (0o700, 0o600));
    }
}
