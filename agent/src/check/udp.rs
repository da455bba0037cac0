//! UDP checks: a port that nobody listens on is critical.

use super::tcp::in_words;
use quorate_protocol::Status;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout_at;

/// Sends an empty datagram to `host:port` and waits for an answer. Silence is passing, since most protocols do not answer what they do not
/// understand; what a closed port makes the host answer (ICMP "port unreachable") is critical.
pub(super) async fn probe(address: &str, timeout: Duration) -> (Status, String) {
    let deadline = tokio::time::Instant::now() + timeout;
    let silence = Ok(Ok(()));
    let answered = match timeout_at(deadline, connect(address)).await {
        Ok(Ok(socket)) => match socket.send(&[]).await {
            Ok(_) => {
                timeout_at(deadline, socket.recv(&mut [0; 1])).await.map_or(silence, |answer| Ok(answer.map(drop)))
            }
            Err(error) => Ok(Err(error)),
        },
        Ok(Err(error)) => Ok(Err(error)),
        Err(late) => Err(late),
    };
    match answered {
        Ok(Ok(())) => (Status::Passing, format!("UDP connect {address}: Success")),
        Ok(Err(error)) => (Status::Critical, format!("dial udp {address}: {}", in_words(&error))),
        Err(_) => (Status::Critical, format!("dial udp {address}: no address was found within {timeout:?}")),
    }
}

/// A socket that hears from this address alone, and of what goes wrong on the way there.
async fn connect(address: &str) -> io::Result<UdpSocket> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let to = lookup_host(address).await?.next().ok_or_else(nowhere)?;
    let any: SocketAddr =
        if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn whoever_answers_is_passing_and_a_closed_port_critical() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let answering = async {
            let (_, from) = server.recv_from(&mut [0; 16]).await.unwrap();
            server.send_to(b"pong", from).await.unwrap();
        };
        let (result, ()) = tokio::join!(probe(&address, TIMEOUT), answering);
        assert_eq!(result, (Status::Passing, format!("UDP connect {address}: Success")));
        drop(server);
        let output = format!("dial udp {address}: connect: connection refused");
        assert_eq!(probe(&address, TIMEOUT).await, (Status::Critical, output));
    }

    #[tokio::test]
    async fn silence_is_passing() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        assert_eq!(probe(&address, Duration::from_millis(20)).await.0, Status::Passing);
    }

    #[tokio::test]
    async fn nonsense_is_critical_and_says_so() {
        for address in ["", "no port", "127.0.0.1:99999"] {
            let (status, output) = probe(address, TIMEOUT).await;
            assert_eq!(status, Status::Critical);
            assert!(output.starts_with(&format!("dial udp {address}: ")), "{output}");
        }
    }
}
