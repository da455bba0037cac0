//! The data directory: whose it is, one agent at a time, and how often it was started from.

use super::DiskError;
use super::files::{PrivateFile, make_private_directory, make_private_file, read_at_most, replace};
use quorate_protocol::NodeId;
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::TryLockError;
use std::io;
use std::path::Path;

/// The longest of the small text files here.
const MAX_TEXT: u64 = 128;

/// The data directory, held against other agents until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: PrivateFile,
}

/// Makes the directory where there is none, makes it private, and takes it for this agent.
///
/// # Errors
/// [`DiskError::InUse`] while another agent has it.
pub fn lock(data_dir: &Path) -> Result<Lock, DiskError> {
    make_private_directory(data_dir)?;
    let path = data_dir.join("lock");
    let file = PrivateFile::open(&path)?;
    match file.system_file().try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let process = read_text(&path)?.and_then(|text| text.trim().parse().ok());
            return Err(DiskError::InUse { path: data_dir.into(), process });
        }
        Err(TryLockError::Error(cause)) => return Err(DiskError::system("lock", path)(cause)),
    }
    // For people and for the message above; the lock itself is what counts.
    file.cut(0)?;
    file.write_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
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
        let damaged = |what: String| DiskError::DamagedFile {
            path: path.clone(),
            what,
            remedy: "Write the node's id into it (other agents show it under /v1/catalog/nodes), or move the whole data directory \
                     aside to start as a new node",
        };
        // A person who writes the id needs no checksum: no part of an id is one.
        let alone = text.trim().parse();
        let owner =
            alone.or_else(|_| unseal_text(&text)?.parse().map_err(|error| format!("{error}"))).map_err(damaged)?;
        return match wanted {
            Some(wanted) if wanted != owner => Err(DiskError::Foreign { path: data_dir.into(), owner, wanted }),
            _ => Ok(owner),
        };
    }
    let id = wanted.map_or_else(|| draw_id(&path), Ok)?;
    replace(&path, seal_text(&id.to_string()).as_bytes())?;
    Ok(id)
}

/// Makes the directory that of another node, drawn at random.
pub(super) fn replace_node_id(data_dir: &Path) -> Result<NodeId, DiskError> {
    let path = data_dir.join("node-id");
    let id = draw_id(&path)?;
    replace(&path, seal_text(&id.to_string()).as_bytes())?;
    Ok(id)
}

fn draw_id(path: &Path) -> Result<NodeId, DiskError> {
    let mut bytes = [0; 16];
    let no_dice = |_| io::Error::other("the system has no randomness");
    SystemRandom::new().fill(&mut bytes).map_err(no_dice).map_err(DiskError::system("draw an id for", path))?;
    Ok(NodeId::from_random(bytes))
}

/// A number that is greater at every start, and near the wall clock (milliseconds since 1970) so that it also grows when the directory
/// was lost. It is on disk before this returns.
///
/// # Errors
/// [`DiskError`] when it cannot be read or written.
pub fn generation(data_dir: &Path, wall_clock_millis: u64) -> Result<u64, DiskError> {
    let path = data_dir.join("generation");
    let damaged = |what: String| DiskError::DamagedFile {
        path: path.clone(),
        what,
        remedy: "Remove it if the clock of this host is right: the next number is then taken from the clock",
    };
    let last = match read_text(&path)? {
        None => 0,
        Some(text) => {
            let number = unseal_text(&text).map_err(damaged)?;
            number.parse::<u64>().map_err(|error| damaged(format!("it should hold a number: {error}")))?
        }
    };
    let next = last.saturating_add(1).max(wall_clock_millis);
    replace(&path, seal_text(&next.to_string()).as_bytes())?;
    Ok(next)
}

fn read_text(path: &Path) -> Result<Option<String>, DiskError> {
    Ok(read_at_most(path, MAX_TEXT)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The text and its checksum, which tells a flipped digit from the one that was written.
fn seal_text(text: &str) -> String {
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// Reads what [`seal_text`] wrote.
fn unseal_text(text: &str) -> Result<&str, String> {
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(content), Some(checksum), None) if checksum == format!("{:08x}", crc32fast::hash(content.as_bytes())) => {
            Ok(content)
        }
        _ => Err("it should hold one word and that word's checksum".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

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
