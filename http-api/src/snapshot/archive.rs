//! The file that a snapshot is kept in: a gzipped tar of `meta.json` (what it is), `state.bin` (the chunks, each after its length as four bytes,
//! the highest first) and `SHA256SUMS` (as `sha256sum -c` takes it), in this order. Consul's has the same names, so its tools can save and
//! verify ours; what is in `state.bin` is each one's own.
//!
//! Neither direction waits or holds more than a few chunks: [`Writer`] hands out bytes as it is fed chunks, [`Reader`] hands out chunks as it
//! is fed bytes.

use super::tar::{self, BLOCK, Block};
use crate::json::time::{rfc3339, unix_seconds};
use bytes::{Buf, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};
use quorate_protocol::SnapshotDescription;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::time::SystemTime;

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

/// What `Format` says in every `meta.json` of Quorate's.
const FORMAT: &str = "quorate";
/// What this version writes, and the only one that it reads.
const FORMAT_VERSION: u32 = 1;

/// The largest file in the archive other than the state.
const SMALL_FILE_AT_MOST: u64 = 16 * 1024;
/// Compressed bytes taken at once, so that a hostile stream, which deflate lets grow about a thousandfold, fills little memory.
const TAKEN_AT_ONCE: usize = 4 * 1024;
/// The length before each chunk.
const LENGTH_BYTES: usize = 4;

/// How large `state.bin` is with a chunk of so many bytes in it.
pub(super) fn framed_size(chunk: usize) -> u64 {
    u64::try_from(chunk.saturating_add(LENGTH_BYTES)).unwrap_or(u64::MAX)
}

/// What a snapshot is. The first five fields are those of Consul's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Meta {
    version: u32,
    #[serde(rename = "ID")]
    id: String,
    index: u64,
    term: u64,
    size: u64,
    format: String,
    format_version: u32,
    datacenter: String,
    created: String,
}

impl Default for Meta {
    /// What is not said: nothing that is ours.
    fn default() -> Meta {
        let none = String::new;
        Meta {
            version: 0,
            id: none(),
            index: 0,
            term: 0,
            size: 0,
            format: none(),
            format_version: 0,
            datacenter: none(),
            created: none(),
        }
    }
}

/// Makes an archive.
pub(super) struct Writer {
    gzip: GzEncoder<Vec<u8>>,
    modified: u64,
    meta_sum: String,
    state_hash: Sha256,
    size: u64,
    left: u64,
}

impl Writer {
    /// Begins one whose `state.bin` will be of exactly this size, since tar says it first.
    ///
    /// # Errors
    /// None that writing to memory can have.
    pub(super) fn new(
        snapshot: &SnapshotDescription,
        size: u64,
        datacenter: &str,
        now: SystemTime,
    ) -> io::Result<Writer> {
        let modified = unix_seconds(now);
        let (index, term) = (snapshot.index.0, snapshot.term.0);
        let meta = Meta {
            version: 1,
            id: format!("{term}-{index}-{modified}"),
            index,
            term,
            size,
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            datacenter: datacenter.to_owned(),
            created: rfc3339(now),
        };
        let meta = serde_json::to_vec(&meta)?;
        let mut writer = Writer {
            gzip: GzEncoder::new(Vec::new(), Compression::fast()),
            modified,
            meta_sum: hex(Sha256::digest(&meta).as_slice()),
            state_hash: Sha256::new(),
            size,
            left: size,
        };
        writer.file(META, &meta)?;
        writer.gzip.write_all(&tar::write(STATE, size, modified))?;
        Ok(writer)
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// If the chunks are larger than was said.
    pub(super) fn chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(framed_size(chunk.len())).ok_or_else(other_size)?;
        let length = u32::try_from(chunk.len()).map_err(|_| other_size())?.to_be_bytes();
        for bytes in [&length[..], chunk] {
            self.state_hash.update(bytes);
            self.gzip.write_all(bytes)?;
        }
        Ok(())
    }

    /// What is ready to be sent.
    pub(super) fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(self.gzip.get_mut()))
    }

    /// Ends it; the rest of its bytes.
    ///
    /// # Errors
    /// If the chunks are smaller than was said.
    pub(super) fn finish(mut self) -> io::Result<Bytes> {
        if self.left > 0 {
            return Err(other_size());
        }
        self.pad(self.size)?;
        let state_sum = hex(self.state_hash.finalize_reset().as_slice());
        let sums = format!("{}  {META}\n{state_sum}  {STATE}\n", self.meta_sum);
        self.file(SUMS, sums.as_bytes())?;
        self.gzip.write_all(&[0; 2 * BLOCK])?;
        self.gzip.finish().map(Bytes::from)
    }

    fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.gzip.write_all(&tar::write(name, size, self.modified))?;
        self.gzip.write_all(content)?;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.gzip.write_all([0; BLOCK].get(..tar::padding(size)).unwrap_or_default())
    }
}

fn other_size() -> io::Error {
    io::Error::other("the snapshot's chunks changed while they were read")
}

/// Why an archive cannot be read, for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damaged(pub(super) String);

fn damaged(why: impl Into<String>) -> Damaged {
    Damaged(format!("failed to read snapshot: {}", why.into()))
}

/// Takes an archive apart.
pub(super) struct Reader {
    gunzip: GzDecoder<Vec<u8>>,
    unzipped: BytesMut,
    at: At,
    meta_sum: String,
    state_hash: Sha256,
    chunk_at_most: usize,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the header of a file.
    Header(File),
    /// In a small file.
    Small(File, u64),
    /// In the state, with so many bytes of it left.
    State { left: u64, size: u64 },
    /// In the zeros after a file of this size.
    Padding(File, u64),
    /// After the last file: only zeros follow.
    End,
}

/// The files, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Meta,
    State,
    Sums,
}

impl File {
    fn name(self) -> &'static str {
        match self {
            File::Meta => META,
            File::State => STATE,
            File::Sums => SUMS,
        }
    }
}

impl Reader {
    /// Begins, refusing chunks that are larger.
    pub(super) fn new(chunk_at_most: usize) -> Reader {
        Reader {
            gunzip: GzDecoder::new(Vec::new()),
            unzipped: BytesMut::new(),
            at: At::Header(File::Meta),
            meta_sum: String::new(),
            state_hash: Sha256::new(),
            chunk_at_most,
        }
    }

    /// Takes the first bytes of what arrived, and leaves the rest: first ask for the chunks that came with them.
    ///
    /// # Errors
    /// If they are not gzip.
    pub(super) fn take(&mut self, arrived: &mut Bytes) -> Result<(), Damaged> {
        let some = arrived.split_to(arrived.len().min(TAKEN_AT_ONCE));
        self.gunzip.write_all(&some).map_err(not_gzip)?;
        self.collect();
        Ok(())
    }

    /// Nothing more arrives; what is still inside comes out.
    ///
    /// # Errors
    /// If the archive is not whole.
    pub(super) fn end(&mut self) -> Result<(), Damaged> {
        self.gunzip.try_finish().map_err(not_gzip)?;
        self.collect();
        Ok(())
    }

    fn collect(&mut self) {
        self.unzipped.extend_from_slice(self.gunzip.get_ref());
        self.gunzip.get_mut().clear();
    }

    /// The next chunk, if all of it is here.
    ///
    /// # Errors
    /// If something is not as it must be.
    pub(super) fn chunk(&mut self) -> Result<Option<Bytes>, Damaged> {
        loop {
            match self.at {
                At::Header(file) => {
                    let Some(block) = self.unzipped.first_chunk::<BLOCK>() else { return Ok(None) };
                    self.at = enter(file, tar::read(block).map_err(damaged)?)?;
                    self.unzipped.advance(BLOCK);
                }
                At::Small(file, size) => {
                    let whole = usize::try_from(size).unwrap_or(usize::MAX);
                    if self.unzipped.len() < whole {
                        return Ok(None);
                    }
                    let content = self.unzipped.split_to(whole);
                    self.small(file, &content)?;
                    self.at = At::Padding(file, size);
                }
                At::State { left: 0, size } => self.at = At::Padding(File::State, size),
                At::State { left, size } => {
                    let Some(chunk) = self.framed(left)? else { return Ok(None) };
                    self.at = At::State { left: left.saturating_sub(framed_size(chunk.len())), size };
                    return Ok(Some(chunk));
                }
                At::Padding(file, size) => {
                    let zeros = tar::padding(size);
                    if self.unzipped.len() < zeros {
                        return Ok(None);
                    }
                    self.unzipped.advance(zeros);
                    self.at = match file {
                        File::Meta => At::Header(File::State),
                        File::State => At::Header(File::Sums),
                        File::Sums => At::End,
                    };
                }
                At::End => {
                    if self.unzipped.iter().any(|byte| *byte != 0) {
                        return Err(damaged("there is something after its end"));
                    }
                    self.unzipped.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Whether all was read and every sum was right.
    ///
    /// # Errors
    /// If it was not.
    pub(super) fn finish(self) -> Result<(), Damaged> {
        if self.at == At::End { Ok(()) } else { Err(damaged("it breaks off before its end")) }
    }

    fn small(&mut self, file: File, content: &[u8]) -> Result<(), Damaged> {
        match file {
            File::Meta => {
                let meta: Meta = serde_json::from_slice(content).map_err(|why| damaged(format!("{META}: {why}")))?;
                if meta.format != FORMAT {
                    return Err(damaged("another program made it; Quorate restores what Quorate saved"));
                }
                if meta.format_version != FORMAT_VERSION {
                    let version = meta.format_version;
                    return Err(damaged(format!("it has format version {version}, this is version {FORMAT_VERSION}")));
                }
                self.meta_sum = hex(Sha256::digest(content).as_slice());
                Ok(())
            }
            File::State => Err(damaged("its state has no place here")),
            File::Sums => self.check_sums(content),
        }
    }

    fn check_sums(&mut self, content: &[u8]) -> Result<(), Damaged> {
        let state_sum = hex(self.state_hash.finalize_reset().as_slice());
        let text = String::from_utf8_lossy(content);
        for (name, sum) in [(META, &self.meta_sum), (STATE, &state_sum)] {
            let mut lines = text.lines().filter_map(|line| line.split_once("  "));
            if !lines.any(|(said, of)| of == name && said == sum) {
                let sentence = format!("failed checking integrity of snapshot: hash check failed for \"{name}\"");
                return Err(Damaged(sentence));
            }
        }
        Ok(())
    }

    /// A chunk after its length, in exactly the memory of its bytes.
    fn framed(&mut self, left: u64) -> Result<Option<Bytes>, Damaged> {
        let Some(length) = self.unzipped.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > self.chunk_at_most || framed_size(length) > left {
            return Err(damaged("a part of its state has an impossible length"));
        }
        if self.unzipped.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let framed = self.unzipped.split_to(LENGTH_BYTES + length);
        self.state_hash.update(&framed);
        Ok(framed.get(LENGTH_BYTES..).map(Bytes::copy_from_slice))
    }
}

/// What follows the header of a file that must be this one.
fn enter(file: File, block: Block) -> Result<At, Damaged> {
    let header = match block {
        Block::File(header) if header.name == file.name() => header,
        Block::File(header) => {
            let (wanted, name) = (file.name(), header.name.escape_debug().to_string());
            return Err(damaged(format!("the file {name} is where {wanted} should be")));
        }
        Block::End => return Err(damaged(format!("{} is missing", file.name()))),
    };
    match file {
        File::State if header.size > 0 => Ok(At::State { left: header.size, size: header.size }),
        File::State => Err(damaged("it holds no state")),
        File::Meta | File::Sums if header.size > SMALL_FILE_AT_MOST => {
            Err(damaged(format!("{} is larger than {SMALL_FILE_AT_MOST} bytes", file.name())))
        }
        File::Meta | File::Sums => Ok(At::Small(file, header.size)),
    }
}

fn not_gzip(why: io::Error) -> Damaged {
    match why.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it breaks off before its end"),
        io::ErrorKind::WriteZero => damaged("there is something after its end"),
        _ => Damaged(format!("failed to decompress snapshot: {why}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
