//! H2PING checks: a PING frame that is acknowledged (RFC 9113, section 6.7) is passing.

use super::http2::{Http2, connect, until};
use h2::Ping;
use quorate_protocol::Status;
use quorate_protocol::check::TlsUse;
use std::time::Duration;

/// Pings `host:port` once.
pub(super) async fn probe(address: &str, tls: &TlsUse, timeout: Duration) -> (Status, String) {
    match tokio::time::timeout(timeout, ping(address, tls)).await {
        Ok(Ok(())) => (Status::Passing, "HTTP2 ping was successful".to_owned()),
        Ok(Err(why)) => (Status::Critical, format!("Failed to ping {address}: {why}")),
        Err(_) => (Status::Critical, format!("Failed to ping {address}: no answer within {timeout:?}")),
    }
}

async fn ping(address: &str, tls: &TlsUse) -> Result<(), String> {
    // Whoever drops the requests closes the connection before the answer.
    let Http2 { requests: _requests, mut driver } = connect(address, tls).await?;
    let mut pings = driver.ping_pong().ok_or("this connection pings already")?;
    until(driver, pings.ping(Ping::opaque())).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_http2_server_is_passing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while connection.accept().await.is_some() {}
        });
        let result = probe(&address, &TlsUse::default(), TIMEOUT).await;
        assert_eq!(result, (Status::Passing, "HTTP2 ping was successful".to_owned()));
        serving.await.unwrap();
        let refused = format!("Failed to ping {address}: dial tcp {address}: connect: connection refused");
        assert_eq!(probe(&address, &TlsUse::default(), TIMEOUT).await, (Status::Critical, refused));
    }

    #[tokio::test]
    async fn whoever_speaks_something_else_or_nothing_is_critical() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (status, output) = probe(&address, &TlsUse::default(), Duration::from_millis(50)).await;
        assert_eq!(status, Status::Critical);
        assert!(output.contains("no answer within 50ms"), "{output}");
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
        let (status, output) = probe(&address, &TlsUse::default(), TIMEOUT).await;
        assert_eq!(status, Status::Critical);
        assert!(output.starts_with(&format!("Failed to ping {address}: ")), "{output}");
        serving.abort();
    }
}
