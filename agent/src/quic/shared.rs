//! What all tasks of a transport share.

use super::Inbound;
use super::counters::Counters;
use super::outbox::Outboxes;
use super::peers::Peers;
use super::socket::Socket;
use quinn::{ClientConfig, Endpoint, VarInt};
use quorate_protocol::NodeId;
use quorate_protocol::wire::hello::Hello;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

/// How far closing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Not at all.
    Running,
    /// Nothing new is taken; what is queued goes out.
    Flushing,
    /// Everything ends.
    Closed,
}

pub(super) struct Shared {
    /// Who this agent is.
    pub(super) id: NodeId,
    /// What it says first on a connection.
    pub(super) hello: Hello,
    pub(super) endpoint: Endpoint,
    pub(super) client: ClientConfig,
    /// As `client`, with keep-alive.
    pub(super) client_for_raft: ClientConfig,
    pub(super) socket: Arc<Socket>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) counters: Arc<Counters>,
    /// The introduced connections.
    pub(super) peers: Mutex<Peers>,
    /// Woken whenever a link was added or a dial ended.
    pub(super) peers_changed: Notify,
    /// Addresses that are being dialled: one dial each.
    pub(super) dialling: Mutex<BTreeSet<SocketAddr>>,
    pub(super) outboxes: Mutex<Outboxes>,
    /// Woken whenever an outbox ends.
    pub(super) outbox_ended: Notify,
    /// Unauthenticated handshakes that may still begin.
    pub(super) handshakes: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    runtime: tokio::runtime::Handle,
}

impl Shared {
    #[allow(clippy::too_many_arguments)] // Called once, by `endpoint::open`.
    pub(super) fn new(
        id: NodeId,
        hello: Hello,
        endpoint: Endpoint,
        client: ClientConfig,
        client_for_raft: ClientConfig,
        socket: Arc<Socket>,
        inbound: mpsc::Sender<Inbound>,
        counters: Arc<Counters>,
        runtime: tokio::runtime::Handle,
    ) -> Shared {
        Shared {
            id,
            hello,
            endpoint,
            client,
            client_for_raft,
            socket,
            inbound,
            counters,
            peers: Mutex::new(Peers::default()),
            peers_changed: Notify::new(),
            dialling: Mutex::new(BTreeSet::new()),
            outboxes: Mutex::new(Outboxes::default()),
            outbox_ended: Notify::new(),
            handshakes: Arc::new(Semaphore::new(super::limits::MAX_HANDSHAKES)),
            phase: watch::Sender::new(Phase::Running),
            runtime,
        }
    }

    /// Runs a task on the transport's runtime, from whatever thread.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Moves on; never back.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let later = *current < phase;
            *current = phase.max(*current);
            later
        });
    }

    /// Returns once the phase is at least this.
    pub(super) async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.phase.subscribe().wait_for(|current| *current >= phase).await;
    }

    /// Ends everything at once.
    pub(super) fn close(&self) {
        self.enter(Phase::Closed);
        self.endpoint.close(code::GOING_AWAY, b"the agent is stopping");
    }
}

/// A lock whose holder panicked still guards consistent values here: every critical section is a few assignments.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a connection was closed, on the wire. Numbers are only appended.
pub(super) mod code {
    use super::VarInt;

    /// The agent stops.
    pub const GOING_AWAY: VarInt = VarInt::from_u32(0);
    /// Somebody else was expected here.
    pub const WRONG_AGENT: VarInt = VarInt::from_u32(1);
    /// The greeting was malformed, or no version is common.
    pub const BAD_HELLO: VarInt = VarInt::from_u32(2);
    /// A frame was malformed or too long.
    pub const BAD_FRAME: VarInt = VarInt::from_u32(3);
    /// There is a better connection between the two.
    pub const SUPERSEDED: VarInt = VarInt::from_u32(4);
    /// Nothing was heard for too long.
    pub const STALLED: VarInt = VarInt::from_u32(5);
    /// An agent dialled itself.
    pub const SELF: VarInt = VarInt::from_u32(6);
    /// A stream was given up in the middle of a frame.
    pub const ABANDONED: VarInt = VarInt::from_u32(7);
}
