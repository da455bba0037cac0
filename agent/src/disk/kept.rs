//! What an agent keeps besides its log, each in a file of its own, as bytes that the engine understands.
//!
//! A magic word, a version, a checksum of the rest, the rest.

use super::error::DiskError;
use super::files::{make_private_file, read_at_most, replace};
use std::path::Path;

const VERSION: u8 = 1;
/// Far more than an agent can have registered.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// A file that is replaced as a whole.
pub struct KeptFile {
    name: &'static str,
    magic: &'static [u8; 4],
    /// What to do where it is damaged.
    remedy: &'static str,
}

/// The agent's own services and checks.
pub const LOCAL: KeptFile = KeptFile {
    name: "local",
    magic: b"QLOC",
    remedy: "Remove it to start without the services and checks that were registered through the API, then register them again",
};

/// The keys, once an operator changed them.
pub const KEYRING: KeptFile = KeptFile {
    name: "keyring",
    magic: b"QKEY",
    remedy: "Remove it and start with -encrypt=KEY, the key that `quorate keyring -list` shows as primary elsewhere",
};

impl KeptFile {
    /// Keeps the bytes in place of those kept before; they are on disk when this returns.
    ///
    /// # Errors
    /// [`DiskError`]; what was kept before is still there.
    pub fn save(&self, data_dir: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let path = data_dir.join(self.name);
        let mut content = Vec::with_capacity(9 + bytes.len());
        content.extend_from_slice(self.magic);
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
    pub fn load(&self, data_dir: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        let path = data_dir.join(self.name);
        let Some(content) = read_at_most(&path, MAX_FILE)? else { return Ok(None) };
        make_private_file(&path)?;
        let damaged =
            |what: &str| DiskError::DamagedFile { path: path.clone(), what: what.into(), remedy: self.remedy };
        let rest = content.strip_prefix(self.magic).ok_or_else(|| damaged("it does not begin as it should"))?;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_any_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(LOCAL.load(dir.path()).unwrap(), None);
        for bytes in [&b"first"[..], b"", b"second, and longer"] {
            LOCAL.save(dir.path(), bytes).unwrap();
            assert_eq!(LOCAL.load(dir.path()).unwrap().as_deref(), Some(bytes));
        }
        let good = std::fs::read(dir.path().join("local")).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            std::fs::write(dir.path().join("local"), &bad).unwrap();
            assert!(matches!(LOCAL.load(dir.path()), Err(DiskError::DamagedFile { .. })), "bit at {place}");
            std::fs::write(dir.path().join("local"), &good[..place]).unwrap();
            assert!(matches!(LOCAL.load(dir.path()), Err(DiskError::DamagedFile { .. })), "cut at {place}");
        }
    }

    #[test]
    fn nobody_else_may_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        KEYRING.save(dir.path(), b"secret").unwrap();
        let path = dir.path().join("keyring");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(KEYRING.load(dir.path()).unwrap().as_deref(), Some(&b"secret"[..]));
        assert_eq!(mode(), 0o600, "made private again");
    }
}
