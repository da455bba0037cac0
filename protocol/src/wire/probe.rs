//! What members say about probes, in the tail of SWIM packets beside [`Rumour`](super::gossip::Rumour)s.
//!
//! ```text
//! accusation = 3 subject:16 generation:u64 renewal:u32 incarnation:u16 accuser:16     passed on by all
//! nack       = 5 subject:16 probe:u8                                                  to one member, not passed on
//! ```

use super::WireError;
use super::gossip::Reader;
use crate::NodeId;

/// The first byte of an [`Accusation`].
pub const ACCUSATION: u8 = 3;
/// The first byte of a [`Nack`].
pub const NACK: u8 = 5;

/// A member's own probe of another failed. Unlike SWIM's suspicion, which says only that somebody suspects, it says who: what several
/// found independently is more than what one repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accusation {
    /// Who did not answer.
    pub subject: NodeId,
    /// The subject's generation.
    pub generation: u64,
    /// The subject's renewal within it.
    pub renewal: u32,
    /// The subject's incarnation; a higher one refutes.
    pub incarnation: u16,
    /// Whose probe failed.
    pub accuser: NodeId,
}

/// A member that was asked to probe another says that it got no answer either, but is there itself: whoever asked is not cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack {
    /// Who did not answer.
    pub subject: NodeId,
    /// The number of the asker's probe.
    pub probe: u8,
}

/// Either of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeWord {
    /// See [`Accusation`].
    Accusation(Accusation),
    /// See [`Nack`].
    Nack(Nack),
}

impl ProbeWord {
    /// Whether these bytes begin as one.
    pub fn is_one(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(&(ACCUSATION | NACK)))
    }

    /// Positional bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        match self {
            ProbeWord::Accusation(said) => {
                bytes.push(ACCUSATION);
                bytes.extend_from_slice(&said.subject.0);
                bytes.extend_from_slice(&said.generation.to_be_bytes());
                bytes.extend_from_slice(&said.renewal.to_be_bytes());
                bytes.extend_from_slice(&said.incarnation.to_be_bytes());
                bytes.extend_from_slice(&said.accuser.0);
            }
            ProbeWord::Nack(said) => {
                bytes.push(NACK);
                bytes.extend_from_slice(&said.subject.0);
                bytes.push(said.probe);
            }
        }
        bytes
    }

    /// Reads what [`ProbeWord::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] when the bytes end early, go on too long or are of no known kind.
    pub fn decode(bytes: &[u8]) -> Result<ProbeWord, WireError> {
        let mut reader = Reader(bytes);
        let kind = reader.byte()?;
        let subject = NodeId(reader.array()?);
        let word = match kind {
            ACCUSATION => ProbeWord::Accusation(Accusation {
                subject,
                generation: u64::from_be_bytes(reader.array()?),
                renewal: u32::from_be_bytes(reader.array()?),
                incarnation: u16::from_be_bytes(reader.array()?),
                accuser: NodeId(reader.array()?),
            }),
            NACK => ProbeWord::Nack(Nack { subject, probe: reader.byte()? }),
            other => return Err(WireError::Malformed(format!("words of kind {other} about probes are unknown"))),
        };
        if reader.0.is_empty() {
            Ok(word)
        } else {
            Err(WireError::Malformed(format!("{} bytes follow a word about a probe", reader.0.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gossip::{GossipMessage, StreamAck, StreamPing};
    use crate::wire::stream::Message;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    proptest! {
        #[test]
        fn noise_is_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(word) = ProbeWord::decode(&bytes) {
                prop_assert_eq!(word.encode(), bytes);
            }
        }
    }

    #[test]
    fn words_of_version_1_are_as_committed() {
        let accusation = ProbeWord::Accusation(Accusation {
            subject: NodeId([1; 16]),
            generation: 1_700_000_000_000,
            renewal: 3,
            incarnation: 5,
            accuser: NodeId([2; 16]),
        });
        let nack = ProbeWord::Nack(Nack { subject: NodeId([1; 16]), probe: 9 });
        let ping = GossipMessage::Ping(StreamPing { generation: 1_700_000_000_000, renewal: 3, incarnation: 4 });
        let ack = StreamAck { generation: 1_700_000_000_000, renewal: 3, incarnation: 5 };
        let ack = Message::Gossip(GossipMessage::Ack(ack));
        let written =
            [accusation.encode(), nack.encode(), Message::Gossip(ping).encode(), ack.encode()].map(|bytes| hex(&bytes));
        let golden: Vec<&str> = include_str!("../../golden/gossip-probe-v1.hex").lines().collect();
        assert_eq!(written.as_slice(), golden.as_slice());
        for word in [accusation, nack] {
            let bytes = word.encode();
            assert_eq!(ProbeWord::decode(&bytes), Ok(word));
            for length in 0..bytes.len() {
                assert!(ProbeWord::decode(&bytes[..length]).is_err());
            }
            assert!(ProbeWord::decode(&[bytes, vec![0]].concat()).is_err());
        }
        assert_eq!(Message::decode(&ack.encode()), Ok(ack));
    }
}
