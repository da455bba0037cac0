//! Bodies, read with a limit on what is declared and on what arrives.

use crate::error::Error;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;

/// Bytes of a refused body that are read and dropped so that the client gets to see the refusal: many write the whole
/// body before they read. Whoever sends more finds the connection closed.
const DRAINED_AT_MOST: u64 = 8 * 1024 * 1024;

/// Bytes that are set aside because a client says that it will send them. Most values are smaller and are never moved.
const RESERVED_AT_MOST: usize = 64 * 1024;

/// What a body may be, and where that is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Bytes.
    pub(crate) bytes: usize,
    /// The page or key that says so.
    pub(crate) hint: &'static str,
}

/// The whole body.
///
/// # Errors
/// [`Error::TooLarge`] with nothing kept; [`Error::BadRequest`] if it breaks off.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body, limit: Limit) -> Result<Bytes, Error> {
    let declared: Option<u64> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let allowed = u64::try_from(limit.bytes).unwrap_or(u64::MAX);
    if let Some(size) = declared.filter(|size| *size > allowed) {
        // A client that waits for `100 Continue` has sent nothing yet: reading now would ask for it.
        let unread = headers.contains_key(header::EXPECT) || drain(&mut body, 0).await.is_none();
        return Err(Error::TooLarge { size, limit: limit.bytes, hint: limit.hint, unread });
    }
    let promised = declared.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    let mut collected = Vec::with_capacity(promised.min(RESERVED_AT_MOST));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::BadRequest(format!("the request's body broke off: {error}")))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if collected.len().saturating_add(chunk.len()) > limit.bytes {
            let seen = u64::try_from(collected.len().saturating_add(chunk.len())).unwrap_or(u64::MAX);
            drop(collected);
            let whole = drain(&mut body, seen).await;
            let size = whole.unwrap_or(DRAINED_AT_MOST);
            return Err(Error::TooLarge { size, limit: limit.bytes, hint: limit.hint, unread: whole.is_none() });
        }
        collected.extend_from_slice(&chunk);
    }
    // A value lives as long as its key: exactly its bytes, and nothing of the buffers that they came in.
    Ok(Bytes::from(collected.into_boxed_slice()))
}

/// Reads and drops the rest; the size of the whole, or none if it does not end soon.
pub(crate) async fn drain(body: &mut Body, mut seen: u64) -> Option<u64> {
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame.ok()?.into_data() {
            seen = seen.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        }
        if seen > DRAINED_AT_MOST {
            return None;
        }
    }
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_takes_exactly_the_memory_of_its_bytes() {
        for (declared, size) in
            [(None, 10), (Some(10), 10), (Some(100_000), 100_000), (Some(400_000), 7), (None, 70_000)]
        {
            let mut headers = HeaderMap::new();
            if let Some(declared) = declared {
                headers.insert(header::CONTENT_LENGTH, header::HeaderValue::from(declared));
            }
            // What came from the network lies in a larger buffer that others use too.
            let buffer = Bytes::from(vec![7; size + 4096]);
            let limit = Limit { bytes: 512 * 1024, hint: "" };
            let body = read(&headers, Body::from(buffer.slice(100..100 + size)), limit).await.unwrap();
            assert_eq!(body.len(), size);
            assert!(!buffer.as_ptr_range().contains(&body.as_ptr()), "copied out");
            assert_eq!(Vec::from(body).capacity(), size);
        }
    }
}
