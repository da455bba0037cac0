//! What probes over HTTP/2 share: a connection to `host:port`, with TLS or without.

use super::{tcp, tls};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use quorate_protocol::check::TlsUse;
use tokio::io::{AsyncRead, AsyncWrite};

/// The protocol's name in TLS (RFC 9113, section 3.2).
const ALPN: &[u8] = b"h2";

/// Any stream of bytes.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The side of a connection that must be polled for the other to go on.
pub(super) type Driver = Connection<Box<dyn Stream>, Bytes>;

/// An HTTP/2 connection, and the way to ask on it.
pub(super) struct Http2 {
    pub(super) requests: SendRequest<Bytes>,
    pub(super) driver: Driver,
}

/// Connects to `host:port`.
///
/// # Errors
/// A sentence for people.
pub(super) async fn connect(address: &str, use_tls: &TlsUse) -> Result<Http2, String> {
    let stream: Box<dyn Stream> = if use_tls.on {
        Box::new(tls::connect(address, use_tls, &[ALPN]).await?)
    } else {
        Box::new(tcp::connect(address).await.map_err(|error| format!("dial tcp {address}: {}", tcp::in_words(&error)))?)
    };
    let (requests, driver) = h2::client::handshake(stream).await.map_err(|error| format!("HTTP/2: {error}"))?;
    Ok(Http2 { requests, driver })
}

/// What `exchange` gives, or why the connection ended before.
///
/// # Errors
/// A sentence for people.
pub(super) async fn until<T>(
    driver: Driver,
    exchange: impl Future<Output = Result<T, h2::Error>>,
) -> Result<T, String> {
    let mut driver = Box::pin(driver);
    tokio::select! {
        biased;
        given = exchange => given.map_err(|error| error.to_string()),
        ended = &mut driver => Err(ended.map_or_else(|error| error.to_string(), |()| "the server hung up".to_owned())),
    }
}
