//! Frames on a stream: a big-endian `u32` length, then that many bytes.

use super::limits;
use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, WriteError};

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The connection or stream was given up; nobody is to blame.
    #[error("the stream ended: {0}")]
    Ended(#[from] ReadError),
    /// The stream was finished in the middle of a frame.
    #[error("the stream was finished in the middle of a frame")]
    Truncated,
    /// A longer frame was announced than may be.
    #[error("a frame of {length} bytes was announced, {limit} are allowed")]
    TooLong { length: usize, limit: usize },
}

/// The next frame; none at the orderly end of the stream. Memory grows with what arrives, not with what is announced.
///
/// Not cancel safe: what was read is lost.
pub(super) async fn read(stream: &mut RecvStream, limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let mut header = [0; 4];
    let mut filled = 0;
    while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await? {
            Some(count) => filled += count,
            None if filled == 0 => return Ok(None),
            None => return Err(FrameError::Truncated),
        }
    }
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let mut frame = Vec::with_capacity(length.min(limits::FRAME_START));
    while frame.len() < length {
        match stream.read_chunk(length - frame.len(), true).await? {
            Some(chunk) => frame.extend_from_slice(&chunk.bytes),
            None => return Err(FrameError::Truncated),
        }
    }
    Ok(Some(frame))
}

/// Writes a frame. Its length must fit a `u32`, which every limit here ensures.
///
/// Not cancel safe: a part may have been written, after which the stream can only be reset.
pub(super) async fn write(stream: &mut SendStream, frame: Bytes) -> Result<(), WriteError> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    stream.write_all_chunks(&mut [Bytes::copy_from_slice(&length.to_be_bytes()), frame]).await
}
