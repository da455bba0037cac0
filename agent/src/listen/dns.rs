//! The DNS door: hickory-server with one UDP socket per core and one TCP listener per address.

use super::ListenError;
use hickory_server::Server;
use quorate_dns::Dns;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A TCP client that says nothing for so long is sent away.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers queued per TCP connection before its reader waits.
const TCP_QUEUE: usize = 64;
/// Bytes that the kernel holds per UDP socket, so that a burst of questions is answered late rather than dropped.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Listens on these addresses.
///
/// # Errors
/// [`ListenError`] where one of them cannot be listened on.
pub fn listen(dns: Dns, addresses: &[SocketAddr]) -> Result<Server<Dns>, ListenError> {
    let mut server = Server::new(dns);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for &address in addresses {
        let refused = |cause| ListenError::new("ports.dns", "-dns-port", address, cause);
        // The TCP listener first: it has no reuse-port, so a second agent on the same port is noticed.
        let tcp = tcp_listener(address).map_err(refused)?;
        server.register_listener(tcp, TCP_IDLE, TCP_QUEUE);
        for _ in 0..cores {
            server.register_socket(udp_socket(address).map_err(refused)?);
        }
    }
    Ok(server)
}

fn tcp_listener(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    tokio::net::TcpListener::from_std(socket.into())
}

fn udp_socket(address: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // The kernel may grant less; that is its choice.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    socket.bind(&address.into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}
