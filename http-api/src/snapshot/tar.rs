//! The little of tar that a snapshot needs: headers of plain files (POSIX.1-1988, ustar), and nothing that waits.

/// Everything in a tar comes in blocks of this many bytes.
pub(super) const BLOCK: usize = 512;

/// Sizes that eleven octal digits cannot say are written in binary, as GNU tar does.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// A file in a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Its name.
    pub(super) name: String,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// What a block that should be a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A file follows.
    File(Header),
    /// Nothing follows.
    End,
}

/// How many zeros fill the last block of so many bytes.
pub(super) fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0)
}

/// The block before a plain file.
pub(super) fn write(name: &str, size: u64, modified: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = block.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &number(size));
    put(136, &number(modified));
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum = checksum(&block);
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}

/// Reads a header; the sentence says why it is none.
pub(super) fn read(block: &[u8; BLOCK]) -> Result<Block, String> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(Block::End);
    }
    if octal(&block[148..156]) != Some(u64::from(checksum(block))) {
        return Err("a header of the tar in it is damaged".to_owned());
    }
    // GNU tar and Go write plain files as '0', the oldest programs as zero.
    if !matches!(block[156], b'0' | 0) {
        return Err("the tar in it holds something other than a plain file".to_owned());
    }
    let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    let size = match block[124] {
        0x80 => {
            let (high, low) = block[125..136].split_at(3);
            let low = <[u8; 8]>::try_from(low).map(u64::from_be_bytes).ok();
            low.filter(|_| high == [0; 3])
        }
        _ => octal(&block[124..136]),
    };
    size.map(|size| Block::File(Header { name, size })).ok_or_else(|| "a size in the tar in it is damaged".to_owned())
}

/// Eleven octal digits and a zero; or the number in binary, marked by its first byte.
fn number(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if number <= OCTAL_MAX {
        field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&number.to_be_bytes());
    }
    field
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// The sum of all bytes, with spaces where the sum itself is.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let byte = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    block.iter().enumerate().map(byte).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for size in [0, 1, 511, 512, OCTAL_MAX, OCTAL_MAX + 1, 1 << 50, u64::MAX] {
            let block = write("state.bin", size, 1_764_057_966);
            let file = Header { name: "state.bin".to_owned(), size };
            assert_eq!(read(&block), Ok(Block::File(file)), "{size}");
        }
        assert_eq!(read(&[0; BLOCK]), Ok(Block::End));
        for (size, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size), zeros);
        }
    }

    #[test]
    fn a_damaged_header_is_none() {
        let block = write("state.bin", 1000, 0);
        for at in 0..BLOCK {
            let mut damaged = block;
            damaged[at] ^= 1;
            let read = read(&damaged);
            assert!(read.is_err() || (148..156).contains(&at) && read == super::read(&block), "{at}: {read:?}");
        }
        let mut link = write("x", 0, 0);
        link[156] = b'2';
        assert!(read(&link).is_err());
    }
}
