//! Snapshots as files: written beside, flushed, read again and compared, and only then given their name.
//!
//! ```text
//!  snapshot-<index>-<term>:  "QSNP" 1 │ length 4, meta │ checksum 4 │ chunk, chunk, … │ end
//!  chunk: length 4 │ checksum 4 of its number, length and bytes │ bytes
//!  end:   ff ff ff ff │ how many chunks 8 │ checksum 4 of everything before
//! ```

use super::DiskError;
use super::files::{PrivateFile, names_in, remove, rename};
use super::record::take;
use bytes::Bytes;
use quorate_protocol::raft::SnapshotMeta;
use quorate_protocol::wire::log::{decode_snapshot_meta, encode_snapshot_meta};
use quorate_protocol::{LogIndex, Term};
use quorate_raft::Snapshot;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const MAGIC: &[u8; 4] = b"QSNP";
const VERSION: u8 = 1;
const END: u32 = u32::MAX;
/// So much is written between two flushes, so that no commit of the log waits for a whole snapshot's flush.
const BETWEEN_FLUSHES: u64 = 4 * 1024 * 1024;
/// Far more than a configuration of servers takes.
const MAX_META: u32 = 64 * 1024;

/// Which snapshot, as its name says: the newest is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    index: LogIndex,
    term: Term,
}

impl Name {
    fn of(meta: &SnapshotMeta) -> Name {
        Name { index: meta.index, term: meta.term }
    }

    fn parse(name: &str) -> Option<Name> {
        let (index, term) = name.strip_prefix("snapshot-")?.split_once('-')?;
        Some(Name { index: LogIndex(index.parse().ok()?), term: Term(term.parse().ok()?) })
    }

    fn path_in(self, directory: &Path) -> PathBuf {
        directory.join(format!("snapshot-{:020}-{}", self.index.0, self.term.0))
    }
}

/// Who writes a snapshot. Both may at once, so their unfinished files have different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From this server's store, on the snapshots' thread.
    Own,
    /// From the leader, on the disk's thread.
    Leader,
}

impl Origin {
    fn draft(self) -> &'static str {
        match self {
            Origin::Own => "snapshot-own.new",
            Origin::Leader => "snapshot-leader.new",
        }
    }
}

/// The snapshots in a directory.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    newest: Mutex<Option<Name>>,
}

impl Shelf {
    /// Of what is in the directory. A snapshot that cannot be read is put aside if what stands below it, the one before or the log from
    /// its first entry on, makes up for it; `begins` is where the log begins.
    pub(super) fn open(directory: &Path, begins: LogIndex) -> Result<(Shelf, Option<Snapshot>), DiskError> {
        let shelf = |newest| Shelf { directory: directory.into(), newest: Mutex::new(newest) };
        let Chosen { snapshot, unreadable } = choose(directory, begins)?;
        for (path, error) in unreadable {
            tracing::error!(%error, "a snapshot is damaged; the log still joins the one before, which is used instead");
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            rename(&path, &directory.join(format!("damaged-{name}")))?;
        }
        for origin in [Origin::Own, Origin::Leader] {
            remove(&directory.join(origin.draft()))?;
        }
        Ok((shelf(snapshot.as_ref().map(|found| Name::of(&found.meta))), snapshot))
    }

    /// The last entry that a snapshot covers.
    pub(super) fn covered(&self) -> LogIndex {
        self.newest().map_or(LogIndex::ZERO, |name| name.index)
    }

    /// Writes a snapshot, and leaves those before it where they are. A newer one that has come meanwhile is as good, and stays.
    /// False when `is_wanted` ended it.
    pub(super) fn put(
        &self,
        origin: Origin,
        meta: &SnapshotMeta,
        chunks: impl Iterator<Item = Bytes>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<bool, DiskError> {
        let draft = self.directory.join(origin.draft());
        let Some(checksum) = write(&draft, meta, chunks, is_wanted)? else {
            return remove(&draft).map(|()| false);
        };
        // From the disk, not from memory: this is the moment to find out that it does not keep what it was given.
        let found = read(&draft, |_| ())?;
        if (&found.meta, found.checksum) != (meta, checksum) {
            return Err(DiskError::Damaged { path: draft, what: "it is another one than was written just now".into() });
        }
        let name = Name::of(meta);
        let mut newest = self.newest();
        if newest.is_some_and(|newest| newest >= name) {
            return remove(&draft).map(|()| true);
        }
        rename(&draft, &name.path_in(&self.directory))?;
        *newest = Some(name);
        Ok(true)
    }

    /// Removes all but the newest.
    pub(super) fn tidy(&self) -> Result<(), DiskError> {
        let newest = self.newest();
        for name in names_in(&self.directory)? {
            let parsed = Name::parse(name.strip_prefix("damaged-").unwrap_or(&name));
            if parsed.is_some_and(|parsed| name.starts_with("damaged-") || Some(parsed) < *newest) {
                remove(&self.directory.join(name))?;
            }
        }
        Ok(())
    }

    fn newest(&self) -> MutexGuard<'_, Option<Name>> {
        // What it guards is one assignment.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The snapshot to begin with, and those above it that cannot be read.
pub(super) struct Chosen {
    pub(super) snapshot: Option<Snapshot>,
    unreadable: Vec<(PathBuf, DiskError)>,
}

impl Chosen {
    /// Whether there is one, readable or not.
    pub(super) fn is_any(&self) -> bool {
        self.snapshot.is_some() || !self.unreadable.is_empty()
    }
}

/// Looks for the newest snapshot that can be read. Changes nothing.
pub(super) fn choose(directory: &Path, begins: LogIndex) -> Result<Chosen, DiskError> {
    let mut names: Vec<_> = names_in(directory)?.iter().filter_map(|name| Name::parse(name)).collect();
    names.sort_unstable();
    let mut unreadable = Vec::new();
    for name in names.into_iter().rev() {
        let path = name.path_in(directory);
        if name.index.next() < begins {
            break;
        }
        match load(&path, name) {
            Ok(snapshot) => return Ok(Chosen { snapshot: Some(snapshot), unreadable }),
            Err(error @ DiskError::Damaged { .. }) => unreadable.push((path, error)),
            Err(other) => return Err(other),
        }
    }
    if begins == LogIndex(1) {
        return Ok(Chosen { snapshot: None, unreadable });
    }
    Err(unreadable.pop().map_or_else(
        || DiskError::Damaged {
            path: directory.into(),
            what: format!(
                "the log begins with entry {begins}, and the snapshot that covers those before it is missing"
            ),
        },
        |(_, error)| error,
    ))
}

fn load(path: &Path, name: Name) -> Result<Snapshot, DiskError> {
    let mut chunks = Vec::new();
    let found = read(path, |chunk| chunks.push(chunk))?;
    if Name::of(&found.meta) != name {
        let what = format!("it is the one at entry {}, term {}", found.meta.index, found.meta.term);
        return Err(DiskError::Damaged { path: path.into(), what });
    }
    Ok(Snapshot { meta: found.meta, chunks })
}

/// Writes a snapshot into a new file. Returns its checksum; none when it is no longer wanted.
fn write(
    path: &Path,
    meta: &SnapshotMeta,
    chunks: impl Iterator<Item = Bytes>,
    is_wanted: impl Fn() -> bool,
) -> Result<Option<u32>, DiskError> {
    let mut draft = Draft { file: PrivateFile::create(path)?, at: 0, unflushed: 0, whole: crc32fast::Hasher::new() };
    let encoded = encode_snapshot_meta(meta);
    let mut head = MAGIC.to_vec();
    head.push(VERSION);
    head.extend_from_slice(&(encoded.len() as u32).to_be_bytes());
    head.extend_from_slice(&encoded);
    head.extend_from_slice(&crc32fast::hash(&head).to_be_bytes());
    draft.write(&head)?;
    let mut count: u64 = 0;
    for chunk in chunks {
        if !is_wanted() {
            return Ok(None);
        }
        let Some(length) = u32::try_from(chunk.len()).ok().filter(|length| *length != END) else {
            let cause = io::Error::other(format!("a chunk of {} bytes is too long", chunk.len()));
            return Err(DiskError::system("write", path)(cause));
        };
        let mut head = length.to_be_bytes().to_vec();
        head.extend_from_slice(&chunk_checksum(count, &chunk).to_be_bytes());
        draft.write(&head)?;
        draft.write(&chunk)?;
        count += 1;
    }
    let mut end = END.to_be_bytes().to_vec();
    end.extend_from_slice(&count.to_be_bytes());
    draft.whole.update(&end);
    let checksum = draft.whole.clone().finalize();
    end.extend_from_slice(&checksum.to_be_bytes());
    draft.file.write_at(&end, draft.at)?;
    draft.file.sync()?;
    forget_pages(draft.file.system_file());
    Ok(Some(checksum))
}

/// A snapshot's file as it grows.
struct Draft {
    file: PrivateFile,
    at: u64,
    unflushed: u64,
    whole: crc32fast::Hasher,
}

impl Draft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_at(bytes, self.at)?;
        self.whole.update(bytes);
        self.at += bytes.len() as u64;
        self.unflushed += bytes.len() as u64;
        if self.unflushed > BETWEEN_FLUSHES {
            self.file.sync()?;
            self.unflushed = 0;
        }
        Ok(())
    }
}

/// Makes the system read the file from the disk when it is read next.
fn forget_pages(file: &File) {
    #[cfg(target_os = "linux")]
    // Where it does not obey, what memory holds is verified instead.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

fn chunk_checksum(number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_be_bytes());
    hasher.update(&(bytes.len() as u32).to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// What a snapshot's file says of itself, beside its chunks.
struct Verified {
    meta: SnapshotMeta,
    checksum: u32,
}

/// Reads a snapshot's file and verifies everything in it.
fn read(path: &Path, mut each: impl FnMut(Bytes)) -> Result<Verified, DiskError> {
    let damaged = |what: String| DiskError::Damaged { path: path.into(), what };
    let file = File::open(path).map_err(DiskError::system("open", path))?;
    let length = file.metadata().map_err(DiskError::system("look at", path))?.len();
    let mut source = Source {
        path,
        reader: BufReader::with_capacity(256 * 1024, file),
        left: length,
        whole: crc32fast::Hasher::new(),
    };
    let head = source.take(9)?;
    let mut rest = head.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as it should".into()))?;
    let ends_early = |_| damaged("it ends too early".into());
    let [version] = take(&mut rest).map_err(ends_early)?;
    let meta_length = take(&mut rest).map(u32::from_be_bytes).map_err(ends_early)?;
    if meta_length > MAX_META {
        return Err(damaged(format!("its head claims {meta_length} bytes")));
    }
    let encoded = source.take(u64::from(meta_length))?;
    let expected = crc32fast::hash(&[head.as_slice(), encoded.as_slice()].concat());
    if source.number()? != expected {
        return Err(damaged("the checksum of its head is wrong".into()));
    }
    let newer = |what: String| DiskError::Newer { path: path.into(), what };
    if version != VERSION {
        return Err(newer(format!("its version is {version}")));
    }
    let meta = decode_snapshot_meta(&encoded).map_err(|error| newer(error.to_string()))?;
    let mut number: u64 = 0;
    loop {
        let length = source.number()?;
        if length == END {
            break;
        }
        let expected = source.number()?;
        let bytes = source.take(u64::from(length))?;
        if chunk_checksum(number, &bytes) != expected {
            return Err(damaged(format!("the checksum of chunk {number} is wrong")));
        }
        each(bytes.into());
        number += 1;
    }
    let count = source.take(8)?;
    let checksum = source.whole.clone().finalize();
    if count != number.to_be_bytes() || source.number()? != checksum || source.left > 0 {
        return Err(damaged(format!("its end, after {number} chunks, is not what was written")));
    }
    Ok(Verified { meta, checksum })
}

/// A snapshot's file as it is read; never more is taken than is there.
struct Source<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    left: u64,
    whole: crc32fast::Hasher,
}

impl Source<'_> {
    fn take(&mut self, length: u64) -> Result<Vec<u8>, DiskError> {
        if length > self.left {
            let what = format!("it ends {} bytes too early", length - self.left);
            return Err(DiskError::Damaged { path: self.path.into(), what });
        }
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes).map_err(DiskError::reading(self.path))?;
        self.whole.update(&bytes);
        self.left -= length;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, DiskError> {
        let bytes = self.take(4)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
    }
}
