//! Every bound of the mesh, with its reason.

use std::time::Duration;

/// Segments of the QUIC handshake, certificate and greeting included, all take less than this or never come.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);

/// A connection without traffic is dropped: most pairs of agents speak rarely (RFC 9308, 3.2).
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// Only on connections dialled for Raft: others may come and go.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Packets that want an answer, and none at all for this long: the path is dead. QUIC's own probes back off exponentially, so that
/// after a healed partition the next one may be far away; a fresh connection is there within a moment.
pub(super) const STALLED: Duration = Duration::from_secs(4);

/// How often a connection is looked at for a stall.
pub(super) const STALL_CHECK: Duration = Duration::from_secs(1);

/// The round trip assumed before the first measurement; it paces repeated handshake packets, hence how soon a peer that has just
/// come up is noticed. Agents mostly share a network.
pub(super) const INITIAL_RTT: Duration = Duration::from_millis(100);

/// The first pause after a failed dial, and the longest; it doubles in between. The longest stays below what a request waits.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long an own dial goes on although the peer has come in by itself: long enough to know which of two crossing dials stays.
pub(super) const TIE: Duration = Duration::from_millis(250);

/// How long closing waits for queues to empty, and then again for peers to hear that connections close.
pub(super) const CLOSE: Duration = Duration::from_secs(1);

/// Connections at once, dialled and accepted, about 40 KiB each: a mesh of thousands. Beyond it, newcomers are refused.
pub(super) const MAX_CONNECTIONS: usize = 4096;

/// Unauthenticated handshakes at once. Beyond it, newcomers are refused.
pub(super) const MAX_HANDSHAKES: usize = 256;

/// From this many handshakes at once, newcomers must prove their address first (RFC 9000, 8.1.2).
pub(super) const RETRY_FROM: usize = 32;

/// Live connections to one peer: one each way, as many from before a change of keys, and one more while a lost one has not been noticed.
pub(super) const MAX_LINKS_PER_PEER: usize = 5;

/// Streams that a peer may have open: two destinations (by identity, by address) times four lanes, and as many being replaced.
pub(super) const MAX_STREAMS: u32 = 16;

/// Bytes in flight on one stream before the receiver must have read some.
pub(super) const STREAM_WINDOW: u32 = 2 * 1024 * 1024;

/// Bytes in flight on one connection, each way.
pub(super) const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Destinations with a queue at once.
pub(super) const MAX_OUTBOXES: usize = 4096;

/// Messages queued for one destination in one lane.
pub(super) const MAX_QUEUED: usize = 1024;

/// Bytes queued for one destination in one lane: two of the longest frames.
pub(super) const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// Bytes queued for all destinations together. What would exceed it is dropped.
pub(super) const MAX_QUEUED_BYTES_TOTAL: usize = 512 * 1024 * 1024;

/// Memory set aside when a frame begins. It grows with what really arrives, never with what was announced.
pub(super) const FRAME_START: usize = 64 * 1024;

/// How long connections from before a change of keys go on. Whoever did not hear of the change learns of it by the next exchange of full
/// state, half a minute later in a small cluster; what it sends until then still arrives.
pub(super) const OLD_KEYS: Duration = Duration::from_secs(60);

/// The socket's buffers, in bytes, as far as the system allows: a burst of gossip while the process is busy should not be lost.
pub(super) const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
