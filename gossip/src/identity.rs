//! Who speaks, as SWIM tells members apart.

use bytes::{Buf, BufMut, TryGetError};
use quorate_protocol::NodeId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One life of one agent. It travels in every packet, so it is small; names and tags are in records.
///
/// A member that was declared down cannot come back under the same identity (SWIM's down is final), so a living one renews it. A
/// restart has a higher generation, which stands above the renewals, and wherever the address: the newest life of an id wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) generation: u64,
    pub(crate) renewal: u32,
}

impl Identity {
    /// The most bytes it takes (with an IPv6 address).
    pub(crate) const MAX_LEN: usize = 16 + 1 + 16 + 2 + 8 + 4;

    /// Its place among the lives of one id. The address decides between two agents that run at once with a copied id.
    pub(crate) const fn order(&self) -> (u64, u32, SocketAddr) {
        (self.generation, self.renewal, self.address)
    }

    const fn encoded_len(&self) -> usize {
        match self.address {
            SocketAddr::V4(_) => Self::MAX_LEN - 12,
            SocketAddr::V6(_) => Self::MAX_LEN,
        }
    }

    /// Appends it, or nothing if there is no room.
    pub(crate) fn encode(&self, mut buffer: impl BufMut) -> Result<(), NoRoom> {
        if buffer.remaining_mut() < self.encoded_len() {
            return Err(NoRoom);
        }
        buffer.put_slice(&self.id.0);
        match self.address.ip() {
            IpAddr::V4(ip) => {
                buffer.put_u8(4);
                buffer.put_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                buffer.put_u8(6);
                buffer.put_slice(&ip.octets());
            }
        }
        buffer.put_u16(self.address.port());
        buffer.put_u64(self.generation);
        buffer.put_u32(self.renewal);
        Ok(())
    }

    /// Reads one and advances past it.
    pub(crate) fn decode(buffer: &mut impl Buf) -> Result<Identity, NotAnIdentity> {
        let mut id = [0; 16];
        buffer.try_copy_to_slice(&mut id)?;
        let ip = match buffer.try_get_u8()? {
            4 => IpAddr::V4(Ipv4Addr::from_bits(buffer.try_get_u32()?)),
            6 => IpAddr::V6(Ipv6Addr::from_bits(buffer.try_get_u128()?)),
            family => return Err(NotAnIdentity::Family(family)),
        };
        let address = SocketAddr::new(ip, buffer.try_get_u16()?);
        Ok(Identity { id: NodeId(id), address, generation: buffer.try_get_u64()?, renewal: buffer.try_get_u32()? })
    }
}

/// The packet is full.
#[derive(Debug, thiserror::Error)]
#[error("the packet is full")]
pub(crate) struct NoRoom;

/// The bytes are no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnIdentity {
    #[error("address family {0} is unknown")]
    Family(u8),
    #[error("the bytes end too early")]
    Truncated,
}

impl From<TryGetError> for NotAnIdentity {
    fn from(_: TryGetError) -> NotAnIdentity {
        NotAnIdentity::Truncated
    }
}

impl foca::Identity for Identity {
    /// The node id, not the socket address: a member may come back elsewhere, and another may take its old address.
    type Addr = NodeId;

    fn renew(&self) -> Option<Identity> {
        self.renewal.checked_add(1).map(|renewal| Identity { renewal, ..*self })
    }

    fn addr(&self) -> NodeId {
        self.id
    }

    fn win_addr_conflict(&self, adversary: &Identity) -> bool {
        self.order() > adversary.order()
    }
}
