//! The file of a snapshot: a gzip'd tar of `meta.json`, `state.bin` and `SHA256SUMS`, as Consul has it.
//!
//! It is read once from front to back with little memory, however large it is. Trusted is nothing: names, sizes and checksums come
//! from a file that anybody may have written.

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// Tar's unit: a header is one, and what follows is filled up to whole ones.
const BLOCK: usize = 512;
/// Members that are held in memory are small: a description and a few checksums.
const HELD_MAX: u64 = 1 << 20;
/// There are three; newer versions may add some.
const MEMBERS_MAX: usize = 64;
const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

/// What a whole snapshot is.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) meta: Meta,
    /// In the file's order.
    pub(super) members: Vec<Member>,
    /// How many chunks the state has; none if it is not cut into chunks, as Quorate's is.
    pub(super) chunks: Option<u64>,
}

/// What a snapshot says of itself. More may be there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Meta {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) version: u64,
    /// Consul's have none.
    #[serde(default)]
    pub(super) datacenter: String,
    #[serde(default)]
    pub(super) created: String,
}

/// A file in the archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Archive {
    /// Reads a snapshot to its end and checks that it is whole: every checksum of gzip, tar and `SHA256SUMS`, every member there and
    /// listed, nothing behind it. The error completes "it is not whole: …".
    pub(super) fn verify(file: impl BufRead) -> Result<Archive, String> {
        let mut gzip = GzDecoder::new(file);
        let mut found = Found::default();
        while let Some(header) = Header::next(&mut gzip)? {
            found.read(&header, &mut gzip)?;
        }
        // To the end, where gzip's own checksum is.
        let rest = io::copy(&mut gzip, &mut io::sink()).map_err(broken)?;
        if rest % BLOCK as u64 != 0 {
            return Err("the tar does not end where it should".to_owned());
        }
        if !gzip.into_inner().fill_buf().map_err(broken)?.is_empty() {
            return Err("something follows its end".to_owned());
        }
        found.checked()
    }
}

fn broken(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it breaks off".to_owned(),
        _ => format!("it cannot be unpacked ({error})"),
    }
}

/// What a tar says of a member before it.
struct Header {
    name: String,
    size: u64,
}

impl Header {
    /// The next member's; none at the end, which is a block of zeros. (POSIX ustar.)
    fn next(from: &mut impl Read) -> Result<Option<Header>, String> {
        let mut block = [0; BLOCK];
        from.read_exact(&mut block).map_err(broken)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let field = |start: usize, length: usize| block.get(start..start + length).unwrap_or_default();
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
        };
        let octal = |bytes: &[u8]| {
            let digits = text(bytes);
            u64::from_str_radix(digits.trim(), 8).map_err(|_| "a tar header has no readable number".to_owned())
        };
        // The sum is taken with its own field full of spaces.
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum::<u64>()
            - field(148, 8).iter().map(|byte| u64::from(*byte)).sum::<u64>()
            + 8 * u64::from(b' ');
        if octal(field(148, 8))? != sum {
            return Err("the checksum of a tar header is wrong".to_owned());
        }
        let (name, kind) = (text(field(0, 100)), field(156, 1));
        if kind != b"0" && kind != [0] {
            return Err(format!("it holds {name:?}, which is no plain file"));
        }
        let size = match field(124, 12) {
            // What eleven octal digits cannot say is written in binary, as GNU tar does.
            [0x80, 0, 0, 0, size @ ..] => size.iter().fold(0, |size, byte| (size << 8) | u64::from(*byte)),
            digits => octal(digits)?,
        };
        Ok(Some(Header { name, size }))
    }
}

#[derive(Default)]
struct Found {
    members: Vec<Member>,
    digests: BTreeMap<String, String>,
    meta: Option<Vec<u8>>,
    sums: Option<Vec<u8>>,
    chunks: Option<Chunks>,
}

impl Found {
    fn read(&mut self, header: &Header, from: &mut impl Read) -> Result<(), String> {
        let Header { name, size } = header;
        if self.members.len() == MEMBERS_MAX || self.members.iter().any(|member| member.name == *name) {
            return Err(format!("it holds too much: {name:?}"));
        }
        let mut digest = Sha256::new();
        let mut held = Vec::new();
        let holds = name == META || name == SUMS;
        if holds && *size > HELD_MAX {
            return Err(format!("{name} is too large: {size} bytes"));
        }
        let mut chunks = Chunks::default();
        let (mut left, mut buffer) = (*size, vec![0; 64 << 10]);
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = from.read(buffer.get_mut(..room).unwrap_or_default()).map_err(broken)?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
            digest.update(bytes);
            if holds {
                held.extend_from_slice(bytes);
            } else if name == STATE {
                chunks.read(bytes);
            }
            left -= bytes.len() as u64;
        }
        let mut padding = [0; BLOCK];
        let filled = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if filled > 0 {
            from.read_exact(padding.get_mut(filled..).unwrap_or_default()).map_err(broken)?;
        }
        match name.as_str() {
            META => self.meta = Some(held),
            SUMS => self.sums = Some(held),
            STATE => self.chunks = Some(chunks),
            _ => {}
        }
        self.digests.insert(name.clone(), digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        self.members.push(Member { name: name.clone(), bytes: *size });
        Ok(())
    }

    fn checked(mut self) -> Result<Archive, String> {
        let missing = |name: &str| format!("there is no {name} in it");
        let sums = String::from_utf8(self.sums.take().ok_or_else(|| missing(SUMS))?)
            .map_err(|_| format!("{SUMS} is not text"))?;
        self.digests.remove(SUMS);
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").ok_or_else(|| format!("a line of {SUMS} is no checksum"))?;
            match self.digests.remove(name) {
                Some(digest) if digest.eq_ignore_ascii_case(sum) => {}
                Some(_) => return Err(format!("the checksum of {name} is wrong")),
                None => return Err(missing(name)),
            }
        }
        if let Some(name) = self.digests.keys().next() {
            return Err(format!("{name} has no checksum"));
        }
        let chunks = self.chunks.ok_or_else(|| missing(STATE))?;
        let meta = serde_json::from_slice(&self.meta.ok_or_else(|| missing(META))?)
            .map_err(|error| format!("{META} cannot be read ({error})"))?;
        Ok(Archive { meta, members: self.members, chunks: chunks.whole() })
    }
}

/// Counts the chunks of a state: each is a length, a big-endian `u32`, and as many bytes.
#[derive(Default)]
struct Chunks {
    begun: u64,
    /// Bytes of the present chunk that are still to come.
    left: u64,
    /// What has come of the next length.
    length: Vec<u8>,
}

impl Chunks {
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len() as u64);
                self.left -= skipped;
                bytes = bytes.get(usize::try_from(skipped).unwrap_or(bytes.len())..).unwrap_or_default();
                continue;
            }
            self.length.push(*first);
            bytes = rest;
            if let [a, b, c, d] = self.length.as_slice() {
                self.left = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
                self.begun += 1;
                self.length.clear();
            }
        }
    }

    /// How many there are, if the last one ends where the state does.
    fn whole(&self) -> Option<u64> {
        (self.left == 0 && self.length.is_empty()).then_some(self.begun)
    }
}

#[cfg(test)]
#[path = "../../tests/scripted/archive.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod written;

#[cfg(test)]
mod tests {
    use super::written::{META, STATE, archive};
    use super::*;

    fn seen(bytes: &[u8]) -> Option<String> {
        Archive::verify(bytes).ok().map(|archive| format!("{archive:?}"))
    }

    /// The time and the system in gzip's header mean nothing, nor do the bits that fill up the last byte of what it packed; every
    /// other bit is noticed.
    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let whole = archive(META, STATE);
        let expected = seen(&whole);
        let mut unnoticed = 0;
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            if let Some(seen) = seen(&flipped) {
                assert_eq!(Some(seen), expected, "bit {at} changes what is seen");
                unnoticed += 1;
            }
        }
        let (meaningless, flags, fill) = (6 * 8, 4, 7);
        assert!(unnoticed <= meaningless + flags + fill, "{unnoticed}");
        for length in 0..whole.len() {
            assert_eq!(seen(&whole[..length]), None, "{length} of {}", whole.len());
        }
        assert_eq!(seen(&[whole, vec![0]].concat()), None, "something follows");
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_are_read() {
        for (size, field) in [(0o77_777_777_777, b"77777777777\0"), (1 << 33, b"\x80\0\0\0\0\0\0\x02\0\0\0\0")] {
            let mut block = written::tar(&[("state.bin", b"")])[..BLOCK].to_vec();
            block[124..136].copy_from_slice(field);
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let header = Header::next(&mut block.as_slice()).unwrap().unwrap();
            assert_eq!((header.name.as_str(), header.size), ("state.bin", size));
        }
    }

    #[test]
    fn chunks_are_counted_however_they_are_cut() {
        let state = [&[0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 9]].concat();
        for size in 1..=state.len() {
            let mut chunks = Chunks::default();
            state.chunks(size).for_each(|bytes| chunks.read(bytes));
            assert_eq!(chunks.whole(), Some(3), "{size}");
        }
        for end in [1, 3, 5, 6, state.len() - 1] {
            let mut chunks = Chunks::default();
            chunks.read(&state[..end]);
            assert_eq!(chunks.whole(), None, "{end}");
        }
    }
}
