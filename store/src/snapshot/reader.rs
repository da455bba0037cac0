//! Reading chunks: everything is checked before anything is used.

use super::record::{End, Place, Record};
use super::{CHECKSUM, HEADER, LENGTH, VERSION, add_checksum};

/// Why chunks are no snapshot. The chunks are to be thrown away, and another snapshot is to be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The chunk was cut off.
    #[error("chunk {chunk} of the snapshot ends too early")]
    Truncated {
        /// Which.
        chunk: u64,
    },
    /// It was written by another version.
    #[error("version {0} of a snapshot is not understood by this build")]
    Version(u8),
    /// Its bytes are not those that were written.
    #[error("chunk {chunk} of the snapshot is damaged: its checksum does not match")]
    Checksum {
        /// Which.
        chunk: u64,
    },
    /// Chunks are missing, doubled or in another order, or there is more after the last one.
    #[error("chunk {chunk} of the snapshot is not the one that follows")]
    Order {
        /// Where another one was expected.
        chunk: u64,
    },
    /// The last chunk is missing.
    #[error("the snapshot ends after {chunks} chunks without its last one")]
    Incomplete {
        /// How many there are.
        chunks: u64,
    },
    /// The chunks are whole but do not belong together.
    #[error("the chunks of the snapshot are not of the same snapshot")]
    Mixed,
    /// The bytes are as they were written, but make no sense: whoever wrote them is at fault.
    #[error("chunk {chunk} of the snapshot makes no sense: {what}")]
    Malformed {
        /// Which.
        chunk: u64,
        /// What is wrong.
        what: String,
    },
}

/// Whether these are the bytes of the chunk with this number as they were written; gives its records and its checksum.
pub(crate) fn check_chunk(number: u64, bytes: &[u8]) -> Result<(&[u8], u32), SnapshotError> {
    let truncated = SnapshotError::Truncated { chunk: number };
    if bytes.len() < HEADER + CHECKSUM {
        return Err(truncated);
    }
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(truncated.clone())?;
    let checksum = u32::from_be_bytes(*checksum);
    let (version, rest) = content.split_first().ok_or(truncated.clone())?;
    if *version != VERSION {
        return Err(SnapshotError::Version(*version));
    }
    if crc32fast::hash(content) != checksum {
        return Err(SnapshotError::Checksum { chunk: number });
    }
    let (found, records) = rest.split_first_chunk::<8>().ok_or(truncated)?;
    if u64::from_be_bytes(*found) != number {
        return Err(SnapshotError::Order { chunk: number });
    }
    Ok((records, checksum))
}

/// Reads the chunks of one snapshot in order.
///
/// It holds one record at a time, and none is longer than the chunk it came in.
pub(crate) struct Reader {
    chunks: u64,
    sum: u32,
    last: Place,
    end: Option<End>,
}

impl Reader {
    pub fn new() -> Reader {
        Reader { chunks: 0, sum: 0, last: Place::Start, end: None }
    }

    /// Reads all of them, and hands out each record with the number of its bytes.
    pub fn read<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
        mut each: impl FnMut(Record, usize) -> Result<(), String>,
    ) -> Result<End, SnapshotError> {
        let mut reader = Reader::new();
        for chunk in chunks {
            reader.chunk(chunk, &mut each)?;
        }
        reader.end.ok_or(SnapshotError::Incomplete { chunks: reader.chunks })
    }

    fn chunk(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Record, usize) -> Result<(), String>,
    ) -> Result<(), SnapshotError> {
        let number = self.chunks;
        if self.end.is_some() {
            return Err(SnapshotError::Order { chunk: number });
        }
        let (mut records, checksum) = check_chunk(number, bytes)?;
        self.chunks = number.saturating_add(1);
        while !records.is_empty() {
            let (record, length, rest) = split_record(records).map_err(|what| malformed(number, what))?;
            records = rest;
            self.record(number, &record)?;
            match record {
                Record::End(end) => self.end = Some(end),
                record => each(record, length).map_err(|what| malformed(number, what))?,
            }
        }
        match self.end {
            Some(end) if end.sum != self.sum || end.chunks != self.chunks => Err(SnapshotError::Mixed),
            _ => {
                self.sum = add_checksum(self.sum, checksum);
                Ok(())
            }
        }
    }

    fn record(&mut self, chunk: u64, record: &Record) -> Result<(), SnapshotError> {
        let place = record.place();
        if place <= self.last {
            return Err(malformed(chunk, format!("{place:?} comes after {:?}", self.last)));
        }
        self.last = place;
        Ok(())
    }
}

fn malformed(chunk: u64, what: String) -> SnapshotError {
    SnapshotError::Malformed { chunk, what }
}

/// The first record with its length in bytes, and what follows it.
fn split_record(records: &[u8]) -> Result<(Record, usize, &[u8]), String> {
    let cut_off = || "a record is cut off".to_owned();
    let (length, rest) = records.split_first_chunk::<LENGTH>().ok_or_else(cut_off)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut_off())?;
    let (record, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
    let record = rmp_serde::from_slice(record).map_err(|error| error.to_string())?;
    Ok((record, length, rest))
}
