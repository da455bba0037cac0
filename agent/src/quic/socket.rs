//! The one UDP socket, sorted into gossip and QUIC.

use super::Inbound;
use super::counters::{Counter, Counters};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::sync::mpsc;

/// QUIC's fixed bit (RFC 9000, 17.2): set in every packet of version 1 as long as nobody greases it, clear in gossip.
const QUIC_BIT: u8 = 0x40;

/// Failed receives in one go before other tasks get a turn.
const RECEIVE_ATTEMPTS: usize = 16;

/// A UDP socket that keeps gossip for the engine and shows quinn only QUIC.
#[derive(Debug)]
pub(super) struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    inbound: mpsc::Sender<Inbound>,
    counters: Arc<Counters>,
}

impl Socket {
    /// Takes over a bound socket. Must be called inside a tokio runtime.
    pub(super) fn new(
        socket: std::net::UdpSocket,
        inbound: mpsc::Sender<Inbound>,
        counters: Arc<Counters>,
    ) -> io::Result<Socket> {
        let state = UdpSocketState::new((&socket).into())?;
        let io = tokio::net::UdpSocket::from_std(socket)?;
        let local = io.local_addr()?;
        Ok(Socket { io, state, local, inbound, counters })
    }

    /// Where it is bound.
    pub(super) fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Sends a gossip datagram or drops it.
    pub(super) fn send_datagram(&self, to: SocketAddr, bytes: &[u8]) {
        if bytes.first().is_none_or(|first| first & QUIC_BIT != 0) {
            self.counters.add(Counter::DatagramsMarkedQuic);
            return;
        }
        let transmit =
            Transmit { destination: self.to_wire(to), ecn: None, contents: bytes, segment_size: None, src_ip: None };
        // Straight to the system: tokio's idea of whether the socket is writable lags behind, and nobody is to be woken later.
        let sent = self.state.try_send((&self.io).into(), &transmit);
        self.counters.add(match sent.map_err(|error| error.kind()) {
            Ok(()) => Counter::DatagramsSent,
            Err(io::ErrorKind::WouldBlock) => Counter::DatagramsUnsent,
            Err(_) => Counter::SendErrors,
        });
    }

    /// The address as this socket's family writes it.
    pub(super) fn to_wire(&self, address: SocketAddr) -> SocketAddr {
        match (self.local, address.ip()) {
            (SocketAddr::V6(_), IpAddr::V4(ip)) => {
                SocketAddr::V6(SocketAddrV6::new(ip.to_ipv6_mapped(), address.port(), 0, 0))
            }
            _ => address,
        }
    }

    /// Takes gossip out of one receive.
    fn sort(&self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let from = from_wire(meta.addr);
        let mut quic = 0;
        take_gossip(buffer, meta, |segment| match segment {
            Segment::Quic => quic += 1,
            Segment::Gossip(bytes) => {
                let datagram = Inbound::Datagram { from, bytes: bytes.to_vec() };
                self.counters.add(match self.inbound.try_send(datagram) {
                    Ok(()) => Counter::DatagramsReceived,
                    Err(_) => Counter::DatagramsDropped,
                });
            }
        });
        self.counters.add_many(Counter::QuicPacketsReceived, quic);
    }
}

/// The address as everybody else writes it: an IPv4 peer of a dual-stack socket is an IPv4 peer.
pub(super) fn from_wire(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// One datagram of a receive.
enum Segment<'a> {
    /// Stays in the buffer.
    Quic,
    /// Was taken out.
    Gossip(&'a [u8]),
}

/// Shows every datagram of a receive, which may hold several of `meta.stride` bytes (and a shorter last one), and leaves only those of
/// QUIC in the buffer, moved together.
fn take_gossip(buffer: &mut [u8], meta: &mut RecvMeta, mut show: impl FnMut(Segment<'_>)) {
    let length = meta.len.min(buffer.len());
    let stride = meta.stride.max(1);
    let mut kept = 0;
    let mut start = 0;
    while start < length {
        let end = start.saturating_add(stride).min(length);
        if buffer.get(start).is_some_and(|first| first & QUIC_BIT != 0) {
            buffer.copy_within(start..end, kept);
            kept += end - start;
            show(Segment::Quic);
        } else if let Some(bytes) = buffer.get(start..end) {
            show(Segment::Gossip(bytes));
        }
        start = end;
    }
    meta.len = kept;
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritePoller { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), transmit))
    }

    /// A receive that held only gossip comes back with length 0, which quinn passes over.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..RECEIVE_ATTEMPTS {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta)) {
                Ok(count) => {
                    for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
                        self.sort(buffer, meta);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Handed to quinn, it would end the endpoint; for a datagram socket it is only a datagram less.
                Err(_) => self.counters.add(Counter::ReceiveErrors),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// Waits until the socket takes more; each of quinn's tasks has its own.
struct WritePoller {
    socket: Arc<Socket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl std::fmt::Debug for WritePoller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WritePoller").field("waiting", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

impl UdpPoller for WritePoller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let socket = &this.socket;
        let waiting = this.waiting.get_or_insert_with(|| {
            let socket = socket.clone();
            Box::pin(async move { socket.io.writable().await })
        });
        let writable = ready!(waiting.as_mut().poll(cx));
        this.waiting = None;
        Poll::Ready(writable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams by their first byte, `stride` long but for the last; what gossip gets and what QUIC keeps.
    #[track_caller]
    fn check(stride: usize, datagrams: &[(u8, usize)], gossip: &[(u8, usize)], quic: &[(u8, usize)]) {
        let bytes = |list: &[(u8, usize)]| -> Vec<u8> {
            list.iter().flat_map(|(first, length)| std::iter::repeat_n(*first, *length)).collect()
        };
        let mut buffer = bytes(datagrams);
        let mut meta = RecvMeta { len: buffer.len(), stride, ..RecvMeta::default() };
        let mut seen = Vec::new();
        take_gossip(&mut buffer, &mut meta, |segment| {
            if let Segment::Gossip(bytes) = segment {
                seen.push((bytes[0], bytes.len()));
            }
        });
        assert_eq!(seen, gossip);
        assert_eq!(buffer[..meta.len], bytes(quic));
    }

    #[test]
    fn gossip_is_taken_out_of_coalesced_receives() {
        const G: u8 = 0x01;
        const Q: u8 = 0xc3;
        const S: u8 = 0x40;
        check(0, &[], &[], &[]);
        check(5, &[(G, 5)], &[(G, 5)], &[]);
        check(5, &[(Q, 5)], &[], &[(Q, 5)]);
        check(5, &[(G, 5), (0x80, 5), (G, 2)], &[(G, 5), (0x80, 5), (G, 2)], &[]);
        check(5, &[(Q, 5), (S, 5), (Q, 2)], &[], &[(Q, 5), (S, 5), (Q, 2)]);
        check(5, &[(G, 5), (Q, 5), (G, 5), (S, 3)], &[(G, 5), (G, 5)], &[(Q, 5), (S, 3)]);
        check(5, &[(Q, 5), (G, 5), (S, 5), (G, 1)], &[(G, 5), (G, 1)], &[(Q, 5), (S, 5)]);
    }
}
