//! Everything between agents, on one UDP port: sealed gossip datagrams and QUIC.
//!
//! ```text
//!             ┌─ socket ──── first byte: 0x40 clear ──▶ Inbound::Datagram ─┐
//!  UDP port ──┤                         0x40 set                            ├─▶ the engine's queue
//!             └──────────────▶ quinn ─▶ link ─ lane by lane ─▶ Inbound::Message ┘
//!
//!  send ─▶ outbox, one per destination ─▶ link, one per peer (dialled or accepted) ─▶ quinn ─▶ UDP port
//! ```
//!
//! * [`Transport`] is the door. [`identity`] turns the gossip secret into certificates, [`socket`] sorts what arrives,
//!   [`link`] is an introduced connection, [`peers`] knows which link leads to whom, [`rekey`] changes the keys, [`outbox`] queues, dials and writes.
//! * Nothing unauthenticated changes anything but a counter: a peer is believed after its certificate was verified against the
//!   authority that the gossip secret stands for.
//! * Every queue has a bound, in [`limits`], and what is dropped is counted, in [`counters`].

mod counters;
mod endpoint;
mod frame;
mod identity;
mod limits;
mod link;
mod outbox;
mod peers;
mod rekey;
mod shared;
mod socket;
#[cfg(test)]
mod tests;

pub use endpoint::BindError;

use quorate_protocol::NodeId;
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use shared::Shared;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a [`Transport`] needs to know.
#[derive(Clone)]
pub struct Config {
    /// The UDP address to listen on; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Where others reach this agent; port 0 stands for the port that was bound.
    pub advertise: SocketAddr,
    /// Who this agent is.
    pub id: NodeId,
    /// Its name, for other agents' logs.
    pub name: String,
    /// Its datacenter, part of its certificate.
    pub datacenter: String,
    /// The gossip keys, the primary first. From each an authority is derived that signs every agent's certificate.
    pub secrets: Vec<Vec<u8>>,
}

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A sealed gossip datagram from anybody: only unsealing it proves anything.
    Datagram {
        /// The address in its IP header.
        from: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A message from an authenticated agent. Messages of one lane arrive in the order they were sent.
    Message {
        /// Who sent it.
        from: Origin,
        /// What it says.
        message: Message,
    },
}

/// The agent's end of the mesh. Clones share it; it stops when the last one is dropped or [`Transport::close`]d.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
    _stop: Arc<StopOnDrop>,
}

impl Transport {
    /// Listens. What arrives goes to `inbound`: datagrams are dropped while it is full, messages wait (and, through QUIC's flow
    /// control, so does their sender).
    ///
    /// Must be called inside a tokio runtime, which then runs everything here.
    ///
    /// # Errors
    /// [`BindError`], a sentence that names the address, the cause and what to do.
    pub fn bind(config: Config, inbound: mpsc::Sender<Inbound>) -> Result<Transport, BindError> {
        let shared = endpoint::open(config, inbound)?;
        shared.spawn(link::accept_all(shared.clone()));
        Ok(Transport { _stop: Arc::new(StopOnDrop(shared.clone())), shared })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.socket.local_address()
    }

    /// Sends a gossip datagram now, or drops it where the socket is full. Never waits.
    ///
    /// The first byte must leave 0x40 clear, else the receiver would take it for QUIC: such bytes are dropped and counted.
    pub fn send_datagram(&self, to: SocketAddr, bytes: Vec<u8>) {
        self.shared.socket.send_datagram(to, &bytes);
    }

    /// Queues a message; never waits. A connection is found or dialled behind the scenes.
    ///
    /// Delivery is not promised. A full queue drops its oldest message in the gossip and Raft lanes, where newer ones supersede it,
    /// and refuses the newest in the request lane, where the older ones have been waited for longer.
    pub fn send(&self, to: Destination, message: Message) {
        outbox::send(&self.shared, to, &message);
    }

    /// Makes connections under these keys from now on, the first of them the primary. Those that are open write out what they have begun,
    /// and end; no message is lost by it.
    ///
    /// # Errors
    /// A sentence; the keys stay as they were.
    pub fn set_keys(&self, secrets: &[Vec<u8>]) -> Result<(), String> {
        rekey::set_keys(&self.shared, secrets).map_err(|error| error.to_string())
    }

    /// What happened so far, by name.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counters.snapshot()
    }

    /// Writes out what is queued, for at most a second, then closes every connection and lets go of the port.
    pub async fn close(&self) {
        outbox::flush(&self.shared).await;
        self.shared.close();
        // QUIC lingers to answer stragglers (RFC 9000, 10.2); peers that hear nothing find out by themselves.
        let _ = tokio::time::timeout(limits::CLOSE, self.shared.endpoint.wait_idle()).await;
    }
}

/// Ends the tasks, which keep [`Shared`] alive, once nobody can reach them.
struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
