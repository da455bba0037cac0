//! A connection from dial or accept to its end: handshake, greeting, then reading every lane.

use super::Inbound;
use super::counters::Counter;
use super::frame::{self, FrameError};
use super::limits;
use super::shared::{Phase, Shared, code, lock};
use super::{identity, socket};
use quinn::{Connection, ConnectionStats, Incoming, RecvStream};
use quorate_protocol::NodeId;
use quorate_protocol::wire::hello::{Hello, MAX_HELLO};
use quorate_protocol::wire::stream::{MAX_FRAME, Message, Origin};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// The server name in a dial. Nothing is proved by it: the certificate's own name is what counts.
const SERVER_NAME: &str = "quorate";

/// An authenticated, introduced connection.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Who is at the other end, by its certificate.
    pub(super) id: NodeId,
    /// What it said of itself.
    pub(super) hello: Hello,
    /// The address that was dialled, where this side dialled.
    pub(super) dialled: Option<SocketAddr>,
    /// Which of the two dialled.
    pub(super) dialler: NodeId,
    /// When it was introduced.
    pub(super) since: Instant,
    /// How often this agent's keys had changed when it began.
    pub(super) keys: u64,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The address cannot be dialled at all.
    #[error("it cannot be dialled: {0}")]
    Dial(#[from] quinn::ConnectError),
    /// The handshake failed, or the connection ended during the greeting.
    #[error("the handshake failed: {0} (do both agents have the same gossip key, and right clocks?)")]
    Handshake(#[from] quinn::ConnectionError),
    /// Nothing answered in time.
    #[error("no answer within {} s", limits::HANDSHAKE.as_secs())]
    TimedOut,
    /// The certificate names nobody. It was verified, so another build made it.
    #[error("its certificate names no agent")]
    Nameless,
    /// Somebody else is there.
    #[error("{found} is there instead of {expected}")]
    WrongAgent { expected: NodeId, found: NodeId },
    /// It is this agent.
    #[error("it is this agent itself")]
    Myself,
    /// The greeting cannot be read.
    #[error("its greeting is unreadable: {0}")]
    Hello(String),
    /// No version is common.
    #[error("it speaks versions {0} to {1} of the wire, this agent {2} to {3}: upgrade the older one")]
    Version(u8, u8, u8, u8),
}

/// Dials, within [`limits::HANDSHAKE`].
pub(super) async fn dial(
    shared: &Arc<Shared>,
    address: SocketAddr,
    expected: Option<NodeId>,
    for_raft: bool,
) -> Result<Arc<Link>, LinkError> {
    // Before the handshake: where the keys change meanwhile, it counts as made under the old ones.
    let keys = shared.keys();
    let client = lock(&shared.clients).of(for_raft);
    let introduction = async {
        let to = shared.socket.to_wire(address);
        let connection = shared.endpoint.connect_with(client, to, SERVER_NAME)?.await?;
        let id = authenticate(shared, &connection, expected)?;
        let (mut send, mut receive) = connection.open_bi().await?;
        let failed = |error: &dyn std::fmt::Display| LinkError::Hello(error.to_string());
        frame::write(&mut send, shared.hello.encode().into()).await.map_err(|error| failed(&error))?;
        let hello = read_hello(shared, &connection, &mut receive).await?;
        Ok(Link { connection, id, hello, dialled: Some(address), dialler: shared.id, since: Instant::now(), keys })
    };
    let link = introduce(shared, introduction, Counter::ConnectionsDialled).await;
    if link.is_err() {
        shared.counters.add(Counter::DialsFailed);
    }
    link
}

/// Accepts connections until the endpoint closes.
pub(super) async fn accept_all(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        let permit = shared.handshakes.clone().try_acquire_owned();
        let (Ok(permit), true) = (permit, shared.endpoint.open_connections() < limits::MAX_CONNECTIONS) else {
            shared.counters.add(Counter::ConnectionsRefused);
            incoming.refuse();
            continue;
        };
        let busy = shared.handshakes.available_permits() < limits::MAX_HANDSHAKES - limits::RETRY_FROM;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            // An error means only that this newcomer has been asked already, which was just ruled out.
            let _ = incoming.retry();
            continue;
        }
        let task = shared.clone();
        shared.spawn(async move {
            let from = socket::from_wire(incoming.remote_address());
            match accept(&task, incoming).await {
                Ok(_) => {}
                Err(error) => tracing::debug!(%from, %error, "a connection was turned away"),
            }
            drop(permit);
        });
    }
}

async fn accept(shared: &Arc<Shared>, incoming: Incoming) -> Result<Arc<Link>, LinkError> {
    let keys = shared.keys();
    let introduction = async {
        let connection = incoming.accept()?.await?;
        let id = authenticate(shared, &connection, None)?;
        let (mut send, mut receive) = connection.accept_bi().await?;
        let hello = read_hello(shared, &connection, &mut receive).await?;
        let failed = |error: &dyn std::fmt::Display| LinkError::Hello(error.to_string());
        frame::write(&mut send, shared.hello.encode().into()).await.map_err(|error| failed(&error))?;
        Ok(Link { connection, id, hello, dialled: None, dialler: id, since: Instant::now(), keys })
    };
    introduce(shared, introduction, Counter::ConnectionsAccepted).await
}

/// Bounds an introduction in time, makes its link known and starts to read from it.
async fn introduce(
    shared: &Arc<Shared>,
    introduction: impl Future<Output = Result<Link, LinkError>>,
    counter: Counter,
) -> Result<Arc<Link>, LinkError> {
    let outcome = tokio::time::timeout(limits::HANDSHAKE, introduction).await.unwrap_or(Err(LinkError::TimedOut));
    let link = Arc::new(outcome.inspect_err(|error| {
        match error {
            LinkError::TimedOut | LinkError::Handshake(quinn::ConnectionError::TimedOut) => {
                shared.counters.add(Counter::HandshakeTimeouts);
            }
            LinkError::Handshake(_) | LinkError::Nameless => shared.counters.add(Counter::HandshakesFailed),
            LinkError::WrongAgent { .. } => shared.counters.add(Counter::IdMismatches),
            LinkError::Myself => shared.counters.add(Counter::SelfConnections),
            LinkError::Hello(_) | LinkError::Version(..) => shared.counters.add(Counter::HellosRefused),
            LinkError::Dial(_) => {}
        };
    })?);
    shared.counters.add(counter);
    lock(&shared.peers).add(link.clone(), &shared.counters);
    shared.spawn(read_all(shared.clone(), link.clone()));
    shared.peers_changed.notify_waiters();
    Ok(link)
}

/// Who is at the other end, by the certificate that the handshake has verified.
fn authenticate(shared: &Shared, connection: &Connection, expected: Option<NodeId>) -> Result<NodeId, LinkError> {
    let certificates = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let found = certificates.as_deref().and_then(|chain| chain.first()).and_then(identity::named);
    let refuse = |code, reason: &[u8], error| {
        connection.close(code, reason);
        Err(error)
    };
    match (found, expected) {
        (None, _) => refuse(code::WRONG_AGENT, b"the certificate names no agent", LinkError::Nameless),
        (Some(found), Some(expected)) if found != expected => {
            refuse(code::WRONG_AGENT, b"another agent was expected here", LinkError::WrongAgent { expected, found })
        }
        (Some(found), _) if found == shared.id => refuse(code::SELF, b"this is the same agent", LinkError::Myself),
        (Some(found), _) => Ok(found),
    }
}

async fn read_hello(shared: &Shared, connection: &Connection, stream: &mut RecvStream) -> Result<Hello, LinkError> {
    let refuse = |reason: &[u8], error| {
        connection.close(code::BAD_HELLO, reason);
        Err(error)
    };
    let frame = match frame::read(stream, MAX_HELLO).await {
        Ok(Some(frame)) => frame,
        // The other side may have refused us, and its reason says more than that the stream ended.
        Ok(None) | Err(FrameError::Ended(_)) => match connection.close_reason() {
            Some(reason) => return Err(reason.into()),
            None => return refuse(b"no greeting", LinkError::Hello("it is missing".into())),
        },
        Err(error) => return refuse(b"unreadable greeting", LinkError::Hello(error.to_string())),
    };
    let hello = match Hello::decode(&frame) {
        Ok(hello) => hello,
        Err(error) => return refuse(b"unreadable greeting", LinkError::Hello(error.to_string())),
    };
    if hello.common_version().is_none() {
        let (theirs, ours) = (&hello, &shared.hello);
        let error = LinkError::Version(theirs.version_min, theirs.version_max, ours.version_min, ours.version_max);
        return refuse(b"no common version", error);
    }
    Ok(hello)
}

/// Reads every stream that the peer opens until the connection ends, and sees to it that a dead one does end.
async fn read_all(shared: Arc<Shared>, link: Arc<Link>) {
    let mut streams = JoinSet::new();
    let mut stall = Stall::default();
    let mut look = tokio::time::interval(limits::STALL_CHECK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            stream = link.connection.accept_uni() => match stream {
                // The peer cannot have more streams open than quinn was told to allow.
                Ok(stream) => drop(streams.spawn(read_stream(shared.clone(), link.clone(), stream))),
                Err(reason) => {
                    tracing::debug!(peer = %link.id, name = link.hello.name, %reason, "a connection ended");
                    break;
                }
            },
            Some(_) = streams.join_next() => {}
            now = look.tick() => if stall.observe(now.into_std(), &link.connection.stats()) {
                shared.counters.add(Counter::ConnectionsStalled);
                link.connection.close(code::STALLED, b"nothing was heard any more");
            },
        }
    }
    shared.counters.add(Counter::ConnectionsClosed);
    lock(&shared.peers).remove(&link);
    // What has arrived in full is still worth reading, and ends by itself.
    while streams.join_next().await.is_some() {}
}

/// Reads one stream's messages until it ends. Waiting for the engine's queue holds back the peer through QUIC's flow control.
async fn read_stream(shared: Arc<Shared>, link: Arc<Link>, mut stream: RecvStream) {
    let from = Origin { id: link.id, address: link.hello.address };
    let refuse = |error: &dyn std::fmt::Display| {
        tracing::warn!(peer = %link.id, name = link.hello.name, %error, "an agent sent a frame that cannot be read");
        shared.counters.add(Counter::FramesRefused);
        link.connection.close(code::BAD_FRAME, b"a frame cannot be read");
    };
    loop {
        let frame = match frame::read(&mut stream, MAX_FRAME).await {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(FrameError::Ended(_)) => return,
            Err(error) => return refuse(&error),
        };
        match Message::decode(&frame) {
            Ok(message) => {
                let handed_over = tokio::select! {
                    sent = shared.inbound.send(Inbound::Message { from, message }) => sent.is_ok(),
                    () = shared.reached(Phase::Closed) => false,
                };
                if !handed_over {
                    return;
                }
                shared.counters.add(Counter::MessagesReceived);
            }
            Err(error) => return refuse(&error),
        }
    }
}

/// Notices that packets which must be answered are not.
#[derive(Default)]
struct Stall {
    /// Datagrams received.
    heard: u64,
    /// Frames sent that must be acknowledged, when `heard` last changed.
    asked: u64,
    /// When it was first seen that some of them are newer than `heard`.
    since: Option<Instant>,
}

impl Stall {
    fn observe(&mut self, now: Instant, stats: &ConnectionStats) -> bool {
        let sent = &stats.frame_tx;
        self.observe_counts(now, sent.stream + sent.ping, stats.udp_rx.datagrams)
    }

    fn observe_counts(&mut self, now: Instant, asked: u64, heard: u64) -> bool {
        if heard != self.heard {
            *self = Stall { heard, asked, since: None };
            return false;
        }
        let unanswered: Option<Duration> =
            (asked > self.asked).then(|| now.saturating_duration_since(*self.since.get_or_insert(now)));
        unanswered.is_some_and(|length| length >= limits::STALLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unanswered_silence_is_a_stall() {
        let start = Instant::now();
        let mut stall = Stall::default();
        // (seconds, frames that want an answer, datagrams heard, stalled)
        let story = [
            (0, 5, 3, false),
            (60, 5, 3, false), // nothing asked, nothing heard
            (61, 6, 3, false), // asked
            (62, 6, 4, false), // answered
            (63, 7, 4, false), // asked
            (66, 9, 4, false), // asked again
            (67, 9, 4, true),
        ];
        for (second, asked, heard, expected) in story {
            let now = start + Duration::from_secs(second);
            assert_eq!(stall.observe_counts(now, asked, heard), expected, "at {second} s");
        }
    }
}
