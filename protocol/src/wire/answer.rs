//! What is said to a query, in datagrams of [`kind::REPLY`](super::gossip::kind::REPLY):
//!
//! ```text
//! packet  = sender:identity (1 reply | 2 to:address reply)       the second to be passed on
//! reply   = query:16 from:16 (0 | 1 answer:rest)                 it arrived, or its answer
//! address = (4 ip:4 | 6 ip:16) port:u16
//! ```
//!
//! The packet is written in `gossip/src/queries.rs`.

use super::WireError;
use super::gossip::Reader;
use crate::query::{MAX_QUERY, QueryReply};
use crate::{EventId, NodeId};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// A reply on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPacket {
    /// Where it is to be passed on to; none: the receiver asked.
    pub to: Option<SocketAddr>,
    /// What is said.
    pub reply: QueryReply,
}

const DIRECT: u8 = 1;
const RELAYED: u8 = 2;

impl AnswerPacket {
    /// Positional bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        match self.to {
            None => bytes.push(DIRECT),
            Some(to) => {
                bytes.push(RELAYED);
                put_address(&mut bytes, to);
            }
        }
        bytes.extend_from_slice(&self.reply.query.0);
        bytes.extend_from_slice(&self.reply.from.0);
        bytes.push(u8::from(self.reply.answer.is_some()));
        bytes.extend(self.reply.answer.iter().flatten());
        bytes
    }

    /// Reads what [`AnswerPacket::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] when the bytes end early, exceed a limit or make no sense.
    pub fn decode(bytes: &[u8]) -> Result<AnswerPacket, WireError> {
        let mut reader = Reader(bytes);
        let to = match reader.byte()? {
            DIRECT => None,
            RELAYED => Some(read_address(&mut reader)?),
            other => return Err(WireError::Malformed(format!("replies of kind {other} are unknown"))),
        };
        let (query, from) = (EventId(reader.array()?), NodeId(reader.array()?));
        let answer = match (reader.byte()?, reader.0) {
            (0, []) => None,
            (1, answer) if answer.len() <= MAX_QUERY => Some(Bytes::copy_from_slice(answer)),
            (1, answer) => return Err(WireError::TooLong { length: answer.len(), limit: MAX_QUERY }),
            _ => return Err(WireError::Malformed("neither an answer nor none".to_owned())),
        };
        Ok(AnswerPacket { to, reply: QueryReply { query, from, answer } })
    }
}

pub(super) fn put_address(bytes: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes.push(4);
            bytes.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(6);
            bytes.extend_from_slice(&ip.octets());
        }
    }
    bytes.extend_from_slice(&address.port().to_be_bytes());
}

pub(super) fn read_address(reader: &mut Reader<'_>) -> Result<SocketAddr, WireError> {
    let ip = match reader.byte()? {
        4 => IpAddr::from(reader.array::<4>()?),
        6 => IpAddr::from(reader.array::<16>()?),
        other => return Err(WireError::Malformed(format!("address family {other} is unknown"))),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(reader.array()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gossip::MAX_SEALED;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn replies_survive_the_wire(
            id: [u8; 16], to: Option<(IpAddr, u16)>, answer: Option<Vec<u8>>,
        ) {
            let to = to.map(|(ip, port)| SocketAddr::new(ip, port));
            let reply = QueryReply { query: EventId(id), from: NodeId(id), answer: answer.map(Bytes::from) };
            let packet = AnswerPacket { to, reply };
            prop_assert_eq!(AnswerPacket::decode(&packet.encode()), Ok(packet));
        }

        #[test]
        fn noise_is_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
            let _ = AnswerPacket::decode(&bytes);
        }
    }

    fn packet(length: Option<usize>) -> AnswerPacket {
        let answer = length.map(|length| vec![7; length].into());
        let to = Some("[2001:db8::1]:8301".parse().unwrap());
        AnswerPacket { to, reply: QueryReply { query: EventId([3; 16]), from: NodeId([1; 16]), answer } }
    }

    #[test]
    fn version_1_is_as_committed() {
        let hex = |packet: AnswerPacket| packet.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let direct = AnswerPacket { to: None, ..packet(Some(2)) };
        let golden: Vec<&str> = include_str!("../../golden/query-answer-v1.hex").lines().collect();
        assert_eq!([hex(packet(None)), hex(direct)], *golden);
    }

    #[test]
    fn the_longest_answer_fits_a_datagram_and_a_longer_one_is_refused() {
        // A sender with an IPv6 address takes 47 bytes.
        assert!(packet(Some(MAX_QUERY)).encode().len() + 47 < MAX_SEALED);
        let longer = packet(Some(MAX_QUERY + 1)).encode();
        assert_eq!(AnswerPacket::decode(&longer), Err(WireError::TooLong { length: 1025, limit: 1024 }));
        for cut in 0..packet(None).encode().len() {
            assert!(AnswerPacket::decode(&packet(None).encode()[..cut]).is_err(), "{cut}");
        }
    }
}
