//! SWIM packets as bytes.
//!
//! ```text
//! packet   = sender:identity incarnation:u16 receiver:identity message [count:u16 member* (length:u16 rumour)*]
//! identity = id:16 (4 address:4 | 6 address:16) port:u16 generation:u64 renewal:u32
//! message  = 1 ping | 2 ack  n:u8
//!          | 3 ping-req | 4 indirect ping | 5 indirect ack | 6 forwarded ack  n:u8 identity
//!          | 7 announce | 8 feed | 9 gossip | 10 broadcast | 11 turn undead
//! member   = identity incarnation:u16 (1 alive | 2 suspect | 3 down)
//! ```
//!
//! Numbers are big-endian. The version stands in the envelope. The sender comes first, so that its replay window is found before
//! anything else is read.

use crate::identity::{Identity, NoRoom, NotAnIdentity};
use bytes::{Buf, BufMut, TryGetError};
use foca::{Header, Member, Message, State};

/// Positional, version 1.
pub(crate) struct Codec;

/// Why a packet could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    Identity(#[from] NotAnIdentity),
    #[error("the bytes end too early")]
    Truncated,
    #[error("message kind or state {0} is unknown")]
    Unknown(u8),
}

impl From<TryGetError> for CodecError {
    fn from(_: TryGetError) -> CodecError {
        CodecError::Truncated
    }
}

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, mut buffer: impl BufMut) -> Result<(), CodecError> {
        header.src.encode(&mut buffer)?;
        reserve(&buffer, 2)?;
        buffer.put_u16(header.src_incarnation);
        header.dst.encode(&mut buffer)?;
        encode_message(&header.message, buffer)
    }

    fn decode_header(&mut self, mut buffer: impl Buf) -> Result<Header<Identity>, CodecError> {
        Ok(Header {
            src: Identity::decode(&mut buffer)?,
            src_incarnation: buffer.try_get_u16()?,
            dst: Identity::decode(&mut buffer)?,
            message: decode_message(buffer)?,
        })
    }

    fn encode_member(&mut self, member: &Member<Identity>, mut buffer: impl BufMut) -> Result<(), CodecError> {
        reserve(&buffer, Identity::MAX_LEN + 3)?;
        member.id().encode(&mut buffer)?;
        buffer.put_u16(member.incarnation());
        buffer.put_u8(Codec::state_byte(member.state()));
        Ok(())
    }

    fn decode_member(&mut self, mut buffer: impl Buf) -> Result<Member<Identity>, CodecError> {
        let id = Identity::decode(&mut buffer)?;
        let incarnation = buffer.try_get_u16()?;
        let state = match buffer.try_get_u8()? {
            1 => State::Alive,
            2 => State::Suspect,
            3 => State::Down,
            other => return Err(CodecError::Unknown(other)),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

impl Codec {
    /// The last byte of a member.
    pub(crate) const fn state_byte(state: State) -> u8 {
        match state {
            State::Alive => 1,
            State::Suspect => 2,
            State::Down => 3,
        }
    }
}

fn reserve(buffer: &impl BufMut, length: usize) -> Result<(), NoRoom> {
    if buffer.remaining_mut() < length { Err(NoRoom) } else { Ok(()) }
}

fn encode_message(message: &Message<Identity>, mut buffer: impl BufMut) -> Result<(), CodecError> {
    reserve(&buffer, 2)?;
    let indirect = match *message {
        Message::Ping(number) => return put_two(buffer, 1, number),
        Message::Ack(number) => return put_two(buffer, 2, number),
        Message::PingReq { target, probe_number } => (3, probe_number, target),
        Message::IndirectPing { origin, probe_number } => (4, probe_number, origin),
        Message::IndirectAck { target, probe_number } => (5, probe_number, target),
        Message::ForwardedAck { origin, probe_number } => (6, probe_number, origin),
        Message::Announce => return put_one(buffer, 7),
        Message::Feed => return put_one(buffer, 8),
        Message::Gossip => return put_one(buffer, 9),
        Message::Broadcast => return put_one(buffer, 10),
        Message::TurnUndead => return put_one(buffer, 11),
    };
    let (kind, number, other) = indirect;
    buffer.put_u8(kind);
    buffer.put_u8(number);
    Ok(other.encode(buffer)?)
}

fn put_one(mut buffer: impl BufMut, kind: u8) -> Result<(), CodecError> {
    buffer.put_u8(kind);
    Ok(())
}

fn put_two(mut buffer: impl BufMut, kind: u8, number: u8) -> Result<(), CodecError> {
    buffer.put_u8(kind);
    put_one(buffer, number)
}

fn decode_message(mut buffer: impl Buf) -> Result<Message<Identity>, CodecError> {
    let kind = buffer.try_get_u8()?;
    let probe_number = if kind <= 6 { buffer.try_get_u8()? } else { 0 };
    Ok(match kind {
        1 => Message::Ping(probe_number),
        2 => Message::Ack(probe_number),
        3 => Message::PingReq { target: Identity::decode(&mut buffer)?, probe_number },
        4 => Message::IndirectPing { origin: Identity::decode(&mut buffer)?, probe_number },
        5 => Message::IndirectAck { target: Identity::decode(&mut buffer)?, probe_number },
        6 => Message::ForwardedAck { origin: Identity::decode(&mut buffer)?, probe_number },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::Broadcast,
        11 => Message::TurnUndead,
        other => return Err(CodecError::Unknown(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec as _;
    use proptest::prelude::*;
    use quorate_protocol::NodeId;
    use std::net::{IpAddr, SocketAddr};

    fn identities() -> impl Strategy<Value = Identity> {
        (any::<[u8; 16]>(), any::<IpAddr>(), any::<u16>(), any::<u64>(), any::<u32>()).prop_map(
            |(id, ip, port, generation, renewal)| Identity {
                id: NodeId(id),
                address: SocketAddr::new(ip, port),
                generation,
                renewal,
            },
        )
    }

    fn messages() -> impl Strategy<Value = Message<Identity>> {
        (1u8..=11, any::<u8>(), identities()).prop_map(|(kind, probe_number, other)| match kind {
            1 => Message::Ping(probe_number),
            2 => Message::Ack(probe_number),
            3 => Message::PingReq { target: other, probe_number },
            4 => Message::IndirectPing { origin: other, probe_number },
            5 => Message::IndirectAck { target: other, probe_number },
            6 => Message::ForwardedAck { origin: other, probe_number },
            7 => Message::Announce,
            8 => Message::Feed,
            9 => Message::Gossip,
            10 => Message::Broadcast,
            _ => Message::TurnUndead,
        })
    }

    proptest! {
        #[test]
        fn headers_and_members_survive(
            src in identities(), dst in identities(), message in messages(), incarnation: u16, state in 0..3u8,
        ) {
            let header = Header { src, src_incarnation: incarnation, dst, message };
            let state = [State::Alive, State::Suspect, State::Down][usize::from(state)];
            let member = Member::new(src, incarnation, state);
            let mut bytes = Vec::new();
            Codec.encode_header(&header, &mut bytes).unwrap();
            let header_len = bytes.len();
            Codec.encode_member(&member, &mut bytes).unwrap();

            let mut rest = bytes.as_slice();
            prop_assert_eq!(Codec.decode_header(&mut rest).unwrap(), header);
            prop_assert_eq!(Codec.decode_member(&mut rest).unwrap(), member);
            prop_assert!(rest.is_empty());
            for length in 0..header_len {
                prop_assert!(Codec.decode_header(&bytes[..length]).is_err());
            }
        }

        #[test]
        fn noise_is_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Codec.decode_header(bytes.as_slice());
            let _ = Codec.decode_member(bytes.as_slice());
        }

        #[test]
        fn a_full_packet_stays_as_it_was(id in identities(), room in 0usize..50) {
            let mut bytes = Vec::new();
            let written = Codec.encode_member(&Member::alive(id), (&mut bytes).limit(room));
            prop_assert!(written.is_ok() || bytes.is_empty());
        }
    }
}
