//! `PUT`: puts a snapshot back.

use super::archive::{Damaged, Reader};
use crate::body;
use crate::call::{Call, Written};
use crate::error::Error;
use crate::headers;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use quorate_protocol::{Outcome, RestoreWrite, Write};

/// The largest chunk beside the largest value: stores cut at about 256 KiB, and after the row that passes it.
const CHUNK_BESIDE_A_VALUE: usize = 1024 * 1024;

impl From<Damaged> for Error {
    fn from(Damaged(sentence): Damaged) -> Error {
        Error::Refused(sentence)
    }
}

/// The chunks are brought to the store as they arrive, and nothing of them counts before the commit, which comes after the last checksum.
pub(super) async fn restore(call: Call, mut body: Body) -> Result<Response, Error> {
    let mut restore = Restore { call, id: 0, chunks: 0 };
    restore.id = restore.call.unique();
    let written = match restore.bring(&mut body).await {
        Ok(()) => restore.write(RestoreWrite::Commit { id: restore.id }).await,
        Err(error) => Err(error),
    };
    match written {
        Ok(written) => {
            let mut response = ().into_response();
            headers::write_log_index(written.index, response.headers_mut());
            Ok(response)
        }
        Err(error) => {
            restore.abandon().await;
            // The client may still be writing, and reads only then.
            let _ = body::drain(&mut body, 0).await;
            Err(error)
        }
    }
}

struct Restore {
    call: Call,
    id: u64,
    /// How many were brought; the first is preceded by the beginning.
    chunks: u64,
}

impl Restore {
    /// Reads the archive to its end.
    async fn bring(&mut self, body: &mut Body) -> Result<(), Error> {
        let chunk_at_most = self.call.config().max_value_size.saturating_add(CHUNK_BESIDE_A_VALUE);
        let mut reader = Reader::new(chunk_at_most);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|why| Error::BadRequest(format!("the request's body broke off: {why}")))?;
            let Ok(mut arrived) = frame.into_data() else { continue };
            while !arrived.is_empty() {
                reader.take(&mut arrived)?;
                self.bring_chunks(&mut reader).await?;
            }
        }
        reader.end()?;
        self.bring_chunks(&mut reader).await?;
        Ok(reader.finish()?)
    }

    async fn bring_chunks(&mut self, reader: &mut Reader) -> Result<(), Error> {
        while let Some(bytes) = reader.chunk()? {
            self.bring_chunk(bytes).await?;
        }
        Ok(())
    }

    async fn bring_chunk(&mut self, bytes: Bytes) -> Result<(), Error> {
        let (id, number) = (self.id, self.chunks);
        self.chunks = number.saturating_add(1);
        if number == 0 {
            self.write(RestoreWrite::Begin { id }).await?;
        }
        self.write(RestoreWrite::Chunk { id, number, bytes }).await?;
        Ok(())
    }

    /// As good as it can: the next restore drops what this one brought in any case.
    async fn abandon(&self) {
        if self.chunks > 0 {
            let _ = self.write(RestoreWrite::Abandon { id: self.id }).await;
        }
    }

    async fn write(&self, step: RestoreWrite) -> Result<Written, Error> {
        let written = self.call.write(self.call.dc(), Write::Restore(step)).await?;
        if written.outcome == Outcome::Done { Ok(written) } else { Err(Error::WrongReply) }
    }
}
