//! What all tasks of a transport share.

use super::Inbound;
use super::counters::Counters;
use super::endpoint::Clients;
use super::outbox::Outboxes;
use super::peers::Peers;
use super::socket::Socket;
use quinn::{Endpoint, VarInt};
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
    /// What it insists on when it dials.
    pub(super) clients: Mutex<Clients>,
    /// Part of its name in certificates.
    pub(super) datacenter: String,
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
    /// How often the keys changed.
    keys: watch::Sender<u64>,
    runtime: tokio::runtime::Handle,
}

impl Shared {
    #[allow(clippy::too_many_arguments)] // Called once, by `endpoint::open`.
    pub(super) fn new(
        id: NodeId,
        hello: Hello,
        endpoint: Endpoint,
        clients: Clients,
        datacenter: String,
        socket: Arc<Socket>,
        inbound: mpsc::Sender<Inbound>,
        counters: Arc<Counters>,
        runtime: tokio::runtime::Handle,
    ) -> Shared {
        Shared {
            id,
            hello,
            endpoint,
            clients: Mutex::new(clients),
            datacenter,
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
            keys: watch::Sender::new(0),
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

    /// How often the keys changed so far.
    pub(super) fn keys(&self) -> u64 {
        *self.keys.borrow()
    }

    /// Notes that the keys changed; returns how often they did.
    pub(super) fn keys_changed(&self) -> u64 {
        self.keys.send_modify(|keys| *keys += 1);
        self.keys()
    }

    /// Returns once the keys changed more often than this.
    pub(super) async fn keys_past(&self, keys: u64) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.keys.subscribe().wait_for(|current| *current > keys).await;
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
