//! The agent's own services and checks, as bytes that the engine understands.
//!
//! A magic word, a version, a checksum of the rest, the rest.

use super::error::DiskError;
use super::files::{make_private_file, read_at_most, replace};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"QLOC";
const VERSION: u8 = 1;
/// Far more than an agent can have registered.
const MAX_FILE: u64 = 64 * 1024 * 1024;

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("local")
}

/// Keeps the bytes in place of those kept before; they are on disk when this returns.
///
/// # Errors
/// [`DiskError`]; what was kept before is still there.
pub fn save_local(data_dir: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let path = path_in(data_dir);
    let mut content = Vec::with_capacity(9 + bytes.len());
    content.extend_from_slice(MAGIC);
    content.push(VERSION);
    content.extend_from_slice(&crc32fast::hash(bytes).to_be_bytes());
    content.extend_from_slice(bytes);
    if content.len() as u64 > MAX_FILE {
        let cause = std::io::Error::other(format!("{} bytes are more than {MAX_FILE}", content.len()));
        return Err(DiskError::system("write", path)(cause));
    }
    replace(&path, &content)
}

/// What was kept last; none where nothing was.
///
/// # Errors
/// [`DiskError::DamagedFile`] where it is not what was written.
pub fn load_local(data_dir: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    let path = path_in(data_dir);
    let Some(content) = read_at_most(&path, MAX_FILE)? else { return Ok(None) };
    make_private_file(&path)?;
    let damaged = |what: &str| DiskError::DamagedFile {
        path: path.clone(),
        what: what.into(),
        remedy: "Remove it to start without the services and checks that were registered through the API, then register them again",
    };
    let rest = content.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as it should"))?;
    let (version, rest) = rest.split_first().ok_or_else(|| damaged("it ends too early"))?;
    if *version != VERSION {
        return Err(DiskError::DamagedFile {
            path: path.clone(),
            what: format!("its version {version} is not the version {VERSION} that this build reads"),
            remedy: "If a newer build wrote it, start that one",
        });
    }
    let (checksum, bytes) = rest.split_first_chunk().ok_or_else(|| damaged("it ends too early"))?;
    if u32::from_be_bytes(*checksum) != crc32fast::hash(bytes) {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(Some(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_any_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load_local(dir.path()).unwrap(), None);
        for bytes in [&b"first"[..], b"", b"second, and longer"] {
            save_local(dir.path(), bytes).unwrap();
            assert_eq!(load_local(dir.path()).unwrap().as_deref(), Some(bytes));
        }
        let good = std::fs::read(path_in(dir.path())).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            std::fs::write(path_in(dir.path()), &bad).unwrap();
            assert!(matches!(load_local(dir.path()), Err(DiskError::DamagedFile { .. })), "bit at {place}");
            std::fs::write(path_in(dir.path()), &good[..place]).unwrap();
            assert!(matches!(load_local(dir.path()), Err(DiskError::DamagedFile { .. })), "cut at {place}");
        }
    }
}
