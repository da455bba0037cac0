//! TCP checks: a connection that is made is passing; one with TLS, once the server has shown its certificate.

use super::tls;
use quorate_protocol::Status;
use quorate_protocol::check::TlsUse;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connects to `host:port` and hangs up. Every address of the host is tried in turn.
pub(super) async fn probe(address: &str, use_tls: &TlsUse, timeout: Duration) -> (Status, String) {
    match tokio::time::timeout(timeout, dial(address, use_tls)).await {
        Ok(Ok(())) => (Status::Passing, format!("TCP connect {address}: Success")),
        Ok(Err(why)) => (Status::Critical, why),
        Err(_) => (Status::Critical, format!("dial tcp {address}: i/o timeout after {timeout:?}")),
    }
}

async fn dial(address: &str, use_tls: &TlsUse) -> Result<(), String> {
    if use_tls.on {
        return tls::connect(address, use_tls, &[]).await.map(drop);
    }
    connect(address).await.map(drop).map_err(|error| format!("dial tcp {address}: {}", in_words(&error)))
}

/// A connection to the first address that takes one.
pub(super) async fn connect(address: &str) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// The words that Consul's users know where there are some.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_listener_is_passing_and_its_absence_critical() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        assert_eq!(
            probe(&address, &TlsUse::default(), TIMEOUT).await,
            (Status::Passing, format!("TCP connect {address}: Success"))
        );
        let by_name = address.replace("127.0.0.1", "localhost");
        assert_eq!(probe(&by_name, &TlsUse::default(), TIMEOUT).await.0, Status::Passing);
        drop(server);
        let output = format!("dial tcp {address}: connect: connection refused");
        assert_eq!(probe(&address, &TlsUse::default(), TIMEOUT).await, (Status::Critical, output));
    }

    #[tokio::test]
    async fn nonsense_is_critical_and_says_so() {
        for address in ["", "no port", "localhost:http", "127.0.0.1:99999"] {
            let (status, output) = probe(address, &TlsUse::default(), TIMEOUT).await;
            assert_eq!(status, Status::Critical);
            assert!(output.starts_with(&format!("dial tcp {address}: ")), "{output}");
        }
    }
}
