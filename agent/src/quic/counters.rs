//! What happened, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that is counted.
        #[derive(Debug, Clone, Copy)]
        pub(super) enum Counter {
            $($(#[$doc])* $variant,)*
        }

        /// The names, in the order of the variants.
        const NAMES: &[&str] = &[$($name,)*];
    };
}

counters! {
    /// Gossip datagrams handed to the engine.
    DatagramsReceived = "datagrams_received",
    /// Gossip datagrams dropped because the engine's queue was full.
    DatagramsDropped = "datagrams_dropped",
    /// Packets handed to QUIC.
    QuicPacketsReceived = "quic_packets_received",
    /// Receives that failed.
    ReceiveErrors = "receive_errors",
    /// Gossip datagrams sent.
    DatagramsSent = "datagrams_sent",
    /// Gossip datagrams dropped because the socket was full.
    DatagramsUnsent = "datagrams_unsent",
    /// Gossip datagrams that the system refused to send.
    SendErrors = "datagram_send_errors",
    /// Gossip datagrams dropped because they look like QUIC.
    DatagramsMarkedQuic = "datagrams_marked_quic",
    /// Connections accepted and introduced.
    ConnectionsAccepted = "connections_accepted",
    /// Connections dialled and introduced.
    ConnectionsDialled = "connections_dialled",
    /// Introduced connections that ended.
    ConnectionsClosed = "connections_closed",
    /// Newcomers turned away because there are too many.
    ConnectionsRefused = "connections_refused",
    /// Handshakes that failed: wrong secret, no certificate, not QUIC.
    HandshakesFailed = "handshakes_failed",
    /// Handshakes and greetings that took too long.
    HandshakeTimeouts = "handshake_timeouts",
    /// Greetings that were malformed or of no common version.
    HellosRefused = "hellos_refused",
    /// Connections closed because somebody else than expected was there.
    IdMismatches = "id_mismatches",
    /// Connections to this agent itself, closed.
    SelfConnections = "self_connections",
    /// Connections closed because nothing was heard on them any more.
    ConnectionsStalled = "connections_stalled",
    /// Connections closed because the peer has restarted since.
    ConnectionsOutlived = "connections_outlived",
    /// Connections closed because the peer has several newer ones.
    ConnectionsSurplus = "connections_surplus",
    /// Dials that failed, for whatever reason.
    DialsFailed = "dials_failed",
    /// Messages handed to the engine.
    MessagesReceived = "messages_received",
    /// Frames that were too long, cut off or malformed; each closes its connection.
    FramesRefused = "frames_refused",
    /// Messages written to a connection.
    MessagesSent = "messages_sent",
    /// Messages that are longer than a frame may be.
    MessagesTooLong = "messages_too_long",
    /// Gossip messages dropped from a full queue, oldest first.
    GossipDropped = "messages_dropped_gossip",
    /// Raft messages dropped from a full queue, oldest first.
    RaftDropped = "messages_dropped_raft",
    /// Requests and replies refused by a full queue.
    RequestsDropped = "messages_dropped_request",
    /// Messages dropped because their destination could not be reached.
    MessagesUnreachable = "messages_dropped_unreachable",
    /// Messages dropped because all queues together, or their number, are at the limit, or because of closing.
    MessagesRefused = "messages_dropped_limit",
    /// Messages that were being written when their connection broke.
    MessagesBroken = "messages_dropped_broken",
    /// Closings that gave up on queued messages.
    CloseTimeouts = "close_timeouts",
}

/// A number for every [`Counter`].
#[derive(Debug)]
pub(super) struct Counters([AtomicU64; NAMES.len()]);

impl Counters {
    pub(super) fn new() -> Counters {
        Counters([const { AtomicU64::new(0) }; NAMES.len()])
    }

    pub(super) fn add(&self, counter: Counter) {
        self.add_many(counter, 1);
    }

    pub(super) fn add_many(&self, counter: Counter, count: u64) {
        if let Some(number) = self.0.get(counter as usize) {
            number.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        NAMES.iter().copied().zip(self.0.iter().map(|number| number.load(Ordering::Relaxed))).collect()
    }
}
