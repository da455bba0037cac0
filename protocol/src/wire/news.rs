//! What every member is to hear, as it travels in datagrams of [`kind::NEWS`](super::gossip::kind::NEWS):
//!
//! ```text
//! packet = sender:identity (length:u16 news)*
//! news   = 1 id:16 ltime:u64 origin:16 name:short node:short service:short tag:short payload:rest     a user event
//! short  = length:u8 text
//! ```
//!
//! The packet is written in `gossip/src/news.rs`. These have datagrams of their own, so that neither a storm of events nor one of changed members takes the other's room.

use super::WireError;
use super::gossip::{Reader, put_short};
use crate::event::{MAX_EVENT, check_event};
use crate::{EventFilter, EventId, NodeId, UserEvent};
use bytes::Bytes;

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A user event.
    Event(UserEvent),
}

const EVENT: u8 = 1;

impl News {
    /// Positional bytes. An event must have passed [`check_event`]; longer texts are cut by the width of their length.
    pub fn encode(&self) -> Vec<u8> {
        let News::Event(event) = self;
        let mut bytes = Vec::with_capacity(64 + MAX_EVENT);
        bytes.push(EVENT);
        bytes.extend_from_slice(&event.id.0);
        bytes.extend_from_slice(&event.ltime.to_be_bytes());
        bytes.extend_from_slice(&event.origin.0);
        let EventFilter { node, service, tag } = &event.filter;
        for text in [&event.name, node, service, tag] {
            put_short(&mut bytes, text);
        }
        bytes.extend_from_slice(&event.payload);
        bytes
    }

    /// Reads what [`News::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] when the bytes end early, exceed a limit or are of no known kind.
    pub fn decode(bytes: &[u8]) -> Result<News, WireError> {
        let mut reader = Reader(bytes);
        match reader.byte()? {
            EVENT => {
                let id = EventId(reader.array()?);
                let ltime = u64::from_be_bytes(reader.array()?);
                let origin = NodeId(reader.array()?);
                let name = reader.short_text()?;
                let [node, service, tag] = [reader.short_text()?, reader.short_text()?, reader.short_text()?];
                let filter = EventFilter { node, service, tag };
                check_event(&name, reader.0, &filter)?;
                let payload = Bytes::copy_from_slice(reader.0);
                Ok(News::Event(UserEvent { id, ltime, origin, name, payload, filter }))
            }
            other => Err(WireError::Malformed(format!("news of kind {other} is unknown"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gossip::MAX_SEALED;
    use proptest::prelude::*;

    fn events() -> impl Strategy<Value = UserEvent> {
        let payload = prop::collection::vec(any::<u8>(), 0..200);
        let filter = ("[a-z.]{0,20}", "[a-z.]{0,20}", "[a-z.]{0,20}");
        (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 16]>(), ".{1,40}", payload, filter).prop_map(
            |(id, ltime, origin, name, payload, (node, service, tag))| UserEvent {
                id: EventId(id),
                ltime,
                origin: NodeId(origin),
                name,
                payload: payload.into(),
                filter: EventFilter { node, service, tag },
            },
        )
    }

    proptest! {
        #[test]
        fn events_survive_the_wire(event in events()) {
            let payload = event.payload.len();
            let bytes = News::Event(event.clone()).encode();
            prop_assert_eq!(News::decode(&bytes), Ok(News::Event(event)));
            for length in 0..bytes.len() - payload {
                prop_assert!(News::decode(&bytes[..length]).is_err());
            }
        }

        #[test]
        fn noise_is_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
            let _ = News::decode(&bytes);
        }
    }

    fn event() -> UserEvent {
        UserEvent {
            id: EventId([3; 16]),
            ltime: 7,
            origin: NodeId([1; 16]),
            name: "deploy".to_owned(),
            payload: Bytes::from_static(b"v2"),
            filter: EventFilter { node: "^web".to_owned(), ..EventFilter::default() },
        }
    }

    #[test]
    fn version_1_is_as_committed() {
        let hex: String = News::Event(event()).encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden: String = include_str!("../../golden/news-event-v1.hex").split_whitespace().collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn the_longest_event_fits_a_datagram_and_a_longer_one_is_refused() {
        let (name, text) = ("n".repeat(255), "f".repeat(128));
        let filter = EventFilter { node: text.clone(), service: text.clone(), tag: text };
        let longest = UserEvent { name, payload: vec![0; MAX_EVENT - 255].into(), filter, ..event() };
        let bytes = News::Event(longest.clone()).encode();
        // A sender with an IPv6 address and the length of the news take 49 bytes.
        assert!(bytes.len() + 49 < MAX_SEALED, "{}", bytes.len());
        assert_eq!(News::decode(&bytes), Ok(News::Event(longest.clone())));
        let longer = UserEvent { payload: vec![0; MAX_EVENT - 254].into(), ..longest };
        assert_eq!(News::decode(&News::Event(longer).encode()), Err(WireError::TooLong { length: 513, limit: 512 }));
    }
}
