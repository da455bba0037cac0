//! Sectors: the smallest piece that a disk writes whole or not at all.
//!
//! Every sector vouches for itself: a checksum over where it stands, which batch it is a part of, and what it carries. The log is written
//! into space that was filled with zeros and flushed before, so a batch that was torn by a crash consists of sound sectors and blank
//! ones. A sector that is neither has changed since it was written, and that is how rot in the very last batch is told from a torn one.
//!
//! ```text
//!  checksum 4 │ batch 8 │ part 4 │ length 2, top bit: the last part │ content, then zeros
//! ```

/// Its length. Disks with larger ones write several of ours at once, which is as good.
pub(super) const SECTOR: usize = 512;
const HEAD: usize = 18;
/// What one carries.
const ROOM: usize = SECTOR - HEAD;
const LAST: u16 = 1 << 15;

/// What a sector holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sector<'a> {
    /// Zeros: it was not written yet.
    Blank,
    /// As it was written.
    Sound {
        /// The batch that it is a part of.
        number: u64,
        /// Which part, from 0.
        part: u32,
        /// Whether the batch ends with it.
        is_last: bool,
        /// What it carries.
        content: &'a [u8],
    },
    /// Neither.
    Damaged,
}

/// How many sectors so many bytes take.
pub(super) fn sectors_for(length: usize) -> u64 {
    length.div_ceil(ROOM).max(1) as u64
}

/// Appends a batch as sectors that stand in a segment from `place` on.
pub(super) fn write(out: &mut Vec<u8>, segment: u64, place: u64, number: u64, content: &[u8]) {
    let parts = sectors_for(content.len());
    for part in 0..parts {
        let from = (part as usize * ROOM).min(content.len());
        let rest = content.get(from..).unwrap_or_default();
        let piece = rest.get(..ROOM).unwrap_or(rest);
        let last = if part + 1 == parts { LAST } else { 0 };
        let mut head = [0; HEAD - 4];
        let fields = number.to_be_bytes().into_iter().chain((part as u32).to_be_bytes());
        let fields = fields.chain((piece.len() as u16 | last).to_be_bytes());
        head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        let end = out.len() + SECTOR;
        let padding = [0; ROOM];
        let padding = padding.get(piece.len()..).unwrap_or_default();
        out.extend_from_slice(&checksum(segment, place + part, [&head, piece, padding]).to_be_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(piece);
        out.resize(end, 0);
    }
}

/// Reads the sector at a place of a segment.
pub(super) fn read(segment: u64, place: u64, sector: &[u8]) -> Sector<'_> {
    if sector == [0; SECTOR] {
        return Sector::Blank;
    }
    sound(segment, place, sector).unwrap_or(Sector::Damaged)
}

fn sound(segment: u64, place: u64, sector: &[u8]) -> Option<Sector<'_>> {
    let (expected, rest) = sector.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*expected) != checksum(segment, place, [rest, &[], &[]]) {
        return None;
    }
    let (number, rest) = rest.split_first_chunk()?;
    let (part, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = u16::from_be_bytes(*length);
    Some(Sector::Sound {
        number: u64::from_be_bytes(*number),
        part: u32::from_be_bytes(*part),
        is_last: length & LAST != 0,
        content: rest.get(..usize::from(length & !LAST))?,
    })
}

fn checksum(segment: u64, place: u64, pieces: [&[u8]; 3]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_be_bytes());
    hasher.update(&place.to_be_bytes());
    pieces.iter().for_each(|piece| hasher.update(piece));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_in_parts() {
        for length in [0, 1, ROOM - 1, ROOM, ROOM + 1, 5 * ROOM, 5 * ROOM + 7] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut out = vec![9; 3];
            write(&mut out, 4, 10, 77, &content);
            let sectors = out.split_off(3);
            assert_eq!(sectors.len() as u64, sectors_for(length) * SECTOR as u64);
            let mut found = Vec::new();
            for (at, sector) in sectors.chunks(SECTOR).enumerate() {
                let Sector::Sound { number: 77, part, is_last, content } = read(4, 10 + at as u64, sector) else {
                    panic!("sector {at} of {length} bytes")
                };
                assert_eq!((part as usize, is_last), (at, (at + 1) * SECTOR == sectors.len()));
                found.extend_from_slice(content);
            }
            assert_eq!(found, content);
        }
    }

    #[test]
    fn a_sector_is_sound_only_as_written_and_where_it_was_written() {
        let mut sector = Vec::new();
        write(&mut sector, 4, 10, 77, b"content");
        assert_eq!(read(4, 11, &sector), Sector::Damaged, "in another place");
        assert_eq!(read(5, 10, &sector), Sector::Damaged, "in another segment");
        assert_eq!(read(4, 10, &[0; SECTOR]), Sector::Blank);
        for bit in 0..SECTOR * 8 {
            let mut bad = sector.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(4, 10, &bad), Sector::Damaged, "bit {bit}");
            let mut blank = [0; SECTOR];
            blank[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(4, 10, &blank), Sector::Damaged, "bit {bit} of a blank one");
        }
    }
}
