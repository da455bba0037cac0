//! One file of the log: a fixed number of sectors, filled with zeros and flushed before anything is written into them.
//!
//! ```text
//!  log-<sequence>:  │ header │ batch 8 │ batch 9 ····· │ batch 10 │ 0 0 0 0 0 …
//!  spare:           │ 0 0 0 0 …            becomes the next one, header and first batch in it
//! ```
//!
//! As the space is there already, a batch costs one flush of its own sectors and nothing of the file system's. The sector after the last
//! batch is where the next one begins: no sector is written twice, but for the last batch at a start (see [`Segment::settle`]).

use super::DiskError;
use super::files::{PrivateFile, remove};
use super::record::{State, take};
use super::sector::{self, SECTOR, Sector, sectors_for};
use std::fs;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"QLOG";
const VERSION: u8 = 1;
/// Zeros are written and flushed in such pieces, so that no commit waits for more than one of them.
const PIECE: usize = 1024 * 1024;

/// The name of the file that becomes the next segment.
const SPARE: &str = "spare";

/// Where a segment is.
pub(super) fn path_of(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("log-{sequence:016x}"))
}

/// Which segment has this name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Makes the file that becomes the next segment.
pub(super) fn prepare(directory: &Path, size: u64) -> Result<(), DiskError> {
    let file = PrivateFile::create(&directory.join(SPARE))?;
    let size = size.next_multiple_of(SECTOR as u64);
    let zeros = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let length = (size - at).min(PIECE as u64);
        file.write_at(zeros.get(..length as usize).unwrap_or(&zeros), at)?;
        file.sync()?;
        at += length;
    }
    Ok(())
}

/// Removes the file that would have become the next segment: what is in it was never acknowledged.
pub(super) fn discard_spare(directory: &Path) -> Result<(), DiskError> {
    remove(&directory.join(SPARE))
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    file: PrivateFile,
    sequence: u64,
    /// In sectors.
    size: u64,
    /// In sectors, the header included.
    used: u64,
    /// Reused from batch to batch.
    buffer: Vec<u8>,
}

impl Segment {
    /// Makes the spare file the next segment. Header and first batch are durable before the file gets its name, and the name when this
    /// returns. A batch that is too long for it makes it longer.
    pub(super) fn begin(
        directory: &Path,
        sequence: u64,
        header: &State,
        first: Option<&[u8]>,
    ) -> Result<Segment, DiskError> {
        let mut file = PrivateFile::open(&directory.join(SPARE))?;
        let needed = 1 + first.map_or(0, |content| sectors_for(content.len()));
        let size = (file.length()? / SECTOR as u64).max(needed);
        let mut content = MAGIC.to_vec();
        content.push(VERSION);
        content.extend_from_slice(&size.to_be_bytes());
        header.encode(&mut content);
        let mut buffer = Vec::new();
        sector::write(&mut buffer, sequence, 0, sequence, &content);
        if let Some(first) = first {
            sector::write(&mut buffer, sequence, 1, header.batches + 1, first);
        }
        file.write_at(&buffer, 0)?;
        file.sync()?;
        file.rename(&path_of(directory, sequence))?;
        Ok(Segment { file, sequence, size, used: needed, buffer })
    }

    /// Goes on with a segment as it was found.
    pub(super) fn resume(directory: &Path, found: &Found) -> Result<Segment, DiskError> {
        let file = PrivateFile::open(&path_of(directory, found.sequence))?;
        Ok(Segment { file, sequence: found.sequence, size: found.size, used: found.used, buffer: Vec::new() })
    }

    /// Which one it is.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether a batch fits.
    pub(super) fn has_room_for(&self, content: &[u8]) -> bool {
        self.used + sectors_for(content.len()) <= self.size
    }

    /// Appends a batch, which fits; it is durable when this returns.
    pub(super) fn append(&mut self, number: u64, content: &[u8]) -> Result<(), DiskError> {
        self.buffer.clear();
        sector::write(&mut self.buffer, self.sequence, self.used, number, content);
        self.file.write_at(&self.buffer, self.used * SECTOR as u64)?;
        self.file.sync()?;
        self.used += sectors_for(content.len());
        Ok(())
    }

    /// Makes what was found last what is on disk. The run before may have ended by a flush that failed, and then memory and disk differ
    /// without anybody noticing: so the last batch is written once more, and zeros over what is left of a torn one, lest its parts are
    /// taken for those of the next.
    pub(super) fn settle(&mut self, found: &Found) -> Result<(), DiskError> {
        self.buffer.clear();
        let mut from = self.used;
        if let Some(Batch { number, content }) = found.batches.last() {
            from -= sectors_for(content.len());
            sector::write(&mut self.buffer, self.sequence, from, *number, content);
        }
        if found.torn_to.is_some() {
            tracing::info!(
                segment = self.sequence,
                "a write that a crash tore, and that was never acknowledged, is cut off"
            );
        }
        let sectors = found.torn_to.unwrap_or(self.used) - from;
        self.buffer.resize(sectors as usize * SECTOR, 0);
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_at(&self.buffer, from * SECTOR as u64)?;
        self.file.sync()
    }
}

/// A batch as it was found.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) content: Vec<u8>,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) sequence: u64,
    /// The state when it was begun.
    pub(super) header: State,
    /// In order, without a gap.
    pub(super) batches: Vec<Batch>,
    /// Behind the batches there are parts of one more, up to this sector.
    pub(super) torn_to: Option<u64>,
    /// In sectors.
    size: u64,
    used: u64,
}

/// Reads a segment and looks at every sector of it.
pub(super) fn read(directory: &Path, sequence: u64) -> Result<Found, DiskError> {
    let path = path_of(directory, sequence);
    let bytes = fs::read(&path).map_err(DiskError::reading(&path))?;
    let sectors: Vec<_> =
        (0..).zip(bytes.chunks(SECTOR)).map(|(place, bytes)| sector::read(sequence, place, bytes)).collect();
    let (size, header) = read_header(&path, sequence, &sectors)?;
    if bytes.len() as u64 != size * SECTOR as u64 {
        let what = format!("it is {} bytes long, and was made with {}", bytes.len(), size * SECTOR as u64);
        return Err(DiskError::Damaged { path, what });
    }
    let mut found = Found { sequence, header, batches: Vec::new(), torn_to: None, size, used: 1 };
    let mut number = header.batches;
    loop {
        number += 1;
        let rest = sectors.get(found.used as usize..).unwrap_or_default();
        let Some(content) = whole_batch(number, rest) else { break };
        found.used += sectors_for(content.len());
        found.batches.push(Batch { number, content });
    }
    found.torn_to = parts_of_one_more(&path, number, found.used, &sectors)?;
    Ok(found)
}

fn read_header(path: &Path, sequence: u64, sectors: &[Sector<'_>]) -> Result<(u64, State), DiskError> {
    let damaged = |what: &str| DiskError::Damaged { path: path.into(), what: what.into() };
    let Some(Sector::Sound { number, part: 0, is_last: true, content }) = sectors.first() else {
        return Err(damaged("its header is not what was written"));
    };
    let rest = content.strip_prefix(MAGIC).filter(|_| *number == sequence);
    let (version, mut rest) =
        rest.and_then(<[u8]>::split_first).ok_or_else(|| damaged("it does not begin with a header"))?;
    if *version != VERSION {
        return Err(DiskError::Newer { path: path.into(), what: format!("its version is {version}") });
    }
    let size = take(&mut rest).map(u64::from_be_bytes).map_err(|error| damaged(&error.to_string()))?;
    let state = State::decode(&mut rest).map_err(|error| damaged(&error.to_string()))?;
    Ok((size, state))
}

/// The batch that begins with the first of these sectors; none where not all of it is there.
fn whole_batch(expected: u64, sectors: &[Sector<'_>]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    for (at, sector) in (0..).zip(sectors) {
        match sector {
            Sector::Sound { number, part, is_last, content } if *number == expected && *part == at => {
                whole.extend_from_slice(content);
                if *is_last {
                    return Some(whole);
                }
            }
            _ => return None,
        }
    }
    None
}

/// Behind the last whole batch there may be blank sectors and parts of the next one: a crash tore it. Anything else is damage.
/// Returns where its parts end; none where there are none.
fn parts_of_one_more(path: &Path, expected: u64, from: u64, sectors: &[Sector<'_>]) -> Result<Option<u64>, DiskError> {
    let mut end = None;
    for (place, sector) in (0..).zip(sectors).skip(from as usize) {
        match sector {
            Sector::Blank => {}
            Sector::Sound { number, part, .. } if *number == expected && u64::from(*part) == place - from => {
                end = Some(place + 1);
            }
            Sector::Sound { number, .. } => {
                let what = format!(
                    "sector {place} holds a part of batch {number}, and batch {expected} before it is not whole"
                );
                return Err(DiskError::Damaged { path: path.into(), what });
            }
            Sector::Damaged => {
                let what =
                    format!("sector {place} is not what was written; batch {expected} or none should stand there");
                return Err(DiskError::Damaged { path: path.into(), what });
            }
        }
    }
    Ok(end)
}
