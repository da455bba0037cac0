//! What every member is to hear, as it travels in datagrams of [`kind::NEWS`](super::gossip::kind::NEWS):
//!
//! ```text
//! packet = sender:identity (length:u16 news)*
//! news   = 1 id:16 ltime:u64 origin:16 name:short node:short service:short tag:short payload:rest     a user event
//!        | 2 id:16 ltime:u64 origin:16 address ack:u8 relays:u8 timeout_ms:u32                            a query
//!            nodes:u8 short* tags:u8 (short short)* name:short payload:rest
//!        | 3 id:16 ltime:u64 origin:16 sha256:32                                                          a user event that is too long
//! short  = length:u8 text
//! ```
//!
//! An address is as in [`super::answer`].
//!
//! The packet is written in `gossip/src/news.rs`. These have datagrams of their own, so that neither a storm of events nor one of changed members takes the other's room.

use super::WireError;
use super::answer::{put_address, read_address};
use super::gossip::{Reader, put_short};
use crate::event::{MAX_EVENT_IN_DATAGRAM, check_event};
use crate::query::{Query, Question};
use crate::{EventFilter, EventId, NodeId, UserEvent};
use bytes::Bytes;
use std::time::Duration;

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A user event.
    Event(UserEvent),
    /// A query.
    Query(Query),
    /// That there is a user event which is too long for a datagram; whoever sends this has it.
    Digest(EventDigest),
}

/// What datagrams tell of a user event that is too long for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventDigest {
    /// Its id.
    pub id: EventId,
    /// Its time.
    pub ltime: u64,
    /// Who sent it out.
    pub origin: NodeId,
    /// SHA-256 of what it says.
    pub hash: [u8; 32],
}

const EVENT: u8 = 1;
const QUERY: u8 = 2;
const DIGEST: u8 = 3;

impl News {
    /// Positional bytes. An event must have passed [`check_event`], a query [`Question::check`]; longer texts are cut by the width of
    /// their length.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + MAX_EVENT_IN_DATAGRAM);
        let mut start = |kind, id: &EventId, ltime: u64, origin: &NodeId| {
            bytes.push(kind);
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&ltime.to_be_bytes());
            bytes.extend_from_slice(&origin.0);
        };
        match self {
            News::Digest(told) => {
                start(DIGEST, &told.id, told.ltime, &told.origin);
                bytes.extend_from_slice(&told.hash);
            }
            News::Event(event) => {
                start(EVENT, &event.id, event.ltime, &event.origin);
                let EventFilter { node, service, tag } = &event.filter;
                for text in [&event.name, node, service, tag] {
                    put_short(&mut bytes, text);
                }
                bytes.extend_from_slice(&event.payload);
            }
            News::Query(query) => {
                start(QUERY, &query.id, query.ltime, &query.origin);
                put_address(&mut bytes, query.address);
                put_question(&mut bytes, &query.question);
            }
        }
        bytes
    }

    /// Reads what [`News::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] when the bytes end early, exceed a limit or are of no known kind.
    pub fn decode(bytes: &[u8]) -> Result<News, WireError> {
        let mut reader = Reader(bytes);
        let kind = reader.byte()?;
        let id = EventId(reader.array()?);
        let ltime = u64::from_be_bytes(reader.array()?);
        let origin = NodeId(reader.array()?);
        match kind {
            EVENT => {
                let name = reader.short_text()?;
                let [node, service, tag] = [reader.short_text()?, reader.short_text()?, reader.short_text()?];
                let filter = EventFilter { node, service, tag };
                check_event(&name, reader.0, &filter)?;
                let payload = Bytes::copy_from_slice(reader.0);
                let event = UserEvent { id, ltime, origin, name, payload, filter };
                if !event.fits_datagram() {
                    let length = event.name.len() + event.payload.len();
                    return Err(WireError::TooLong { length, limit: MAX_EVENT_IN_DATAGRAM });
                }
                Ok(News::Event(event))
            }
            DIGEST => match reader.0.try_into() {
                Ok(hash) => Ok(News::Digest(EventDigest { id, ltime, origin, hash })),
                Err(_) => Err(WireError::Malformed(format!("a hash of {} bytes", reader.0.len()))),
            },
            QUERY => {
                let address = read_address(&mut reader)?;
                let question = read_question(&mut reader)?;
                question.check()?;
                Ok(News::Query(Query { id, ltime, origin, address, question }))
            }
            other => Err(WireError::Malformed(format!("news of kind {other} is unknown"))),
        }
    }
}

fn put_question(bytes: &mut Vec<u8>, question: &Question) {
    let Question { name, payload, nodes, tags, ack, relays, timeout } = question;
    let count = |many: usize| u8::try_from(many).unwrap_or(u8::MAX);
    bytes.extend_from_slice(&[u8::from(*ack), *relays]);
    bytes.extend_from_slice(&u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.push(count(nodes.len()));
    nodes.iter().take(usize::from(u8::MAX)).for_each(|node| put_short(bytes, node));
    bytes.push(count(tags.len()));
    for (key, value) in tags.iter().take(usize::from(u8::MAX)) {
        put_short(bytes, key);
        put_short(bytes, value);
    }
    put_short(bytes, name);
    bytes.extend_from_slice(payload);
}

fn read_question(reader: &mut Reader<'_>) -> Result<Question, WireError> {
    let [ack, relays] = reader.array()?;
    let timeout = Duration::from_millis(u32::from_be_bytes(reader.array()?).into());
    let nodes = (0..reader.byte()?).map(|_| reader.short_text()).collect::<Result<_, _>>()?;
    let tags = (0..reader.byte()?)
        .map(|_| Ok((reader.short_text()?, reader.short_text()?)))
        .collect::<Result<_, WireError>>()?;
    let name = reader.short_text()?;
    let payload = Bytes::copy_from_slice(reader.0);
    Ok(Question { name, payload, nodes, tags, ack: ack != 0, relays, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::MAX_QUERY;
    use crate::wire::gossip::MAX_SEALED;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::SocketAddr;

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
        fn queries_survive_the_wire(
            id: [u8; 16], ltime: u64, ip: std::net::IpAddr, port: u16, ack: bool, relays: u8, timeout_ms: u32,
            name in ".{1,20}", payload in prop::collection::vec(any::<u8>(), 0..100),
            nodes in prop::collection::btree_set("[a-z]{0,9}", 0..5),
            tags in prop::collection::btree_map("[a-z]{0,9}", "[a-z.*]{0,9}", 0..5),
        ) {
            let timeout = Duration::from_millis(timeout_ms.into());
            let question = Question { name, payload: payload.clone().into(), nodes, tags, ack, relays, timeout };
            let address = SocketAddr::new(ip, port);
            let query = Query { id: EventId(id), ltime, origin: NodeId(id), address, question };
            let bytes = News::Query(query.clone()).encode();
            prop_assert_eq!(News::decode(&bytes), Ok(News::Query(query)));
            for length in 0..bytes.len() - payload.len() {
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

    fn digest() -> News {
        News::Digest(EventDigest { id: EventId([3; 16]), ltime: 7, origin: NodeId([1; 16]), hash: [9; 32] })
    }

    #[test]
    fn a_digest_is_read_as_it_was_written_and_no_other_way() {
        let bytes = digest().encode();
        assert_eq!(News::decode(&bytes), Ok(digest()));
        assert!(News::decode(&bytes[..bytes.len() - 1]).is_err() && News::decode(&[bytes, vec![0]].concat()).is_err());
    }

    fn query(question: Question) -> News {
        let address = "[2001:db8::1]:8301".parse().unwrap();
        News::Query(Query { id: EventId([3; 16]), ltime: 1, origin: NodeId([1; 16]), address, question })
    }

    fn question(payload: usize) -> Question {
        Question {
            name: "load".to_owned(),
            payload: vec![7; payload].into(),
            nodes: BTreeSet::from(["web-1".to_owned()]),
            tags: BTreeMap::from([("role".to_owned(), "web|db".to_owned())]),
            ack: true,
            relays: 2,
            timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn version_1_is_as_committed() {
        for (news, golden) in [
            (News::Event(event()), include_str!("../../golden/news-event-v1.hex")),
            (query(question(2)), include_str!("../../golden/news-query-v1.hex")),
            (digest(), include_str!("../../golden/news-digest-v1.hex")),
        ] {
            let hex: String = news.encode().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.split_whitespace().collect::<String>());
        }
    }

    #[test]
    fn the_longest_query_fits_a_datagram_and_a_longer_one_is_refused() {
        let filters = 4 + 6 + 12;
        let longest = query(question(MAX_QUERY - filters));
        assert!(longest.encode().len() + 49 < MAX_SEALED, "{}", longest.encode().len());
        assert_eq!(News::decode(&longest.encode()), Ok(longest));
        let longer = query(question(MAX_QUERY - filters + 1)).encode();
        assert_eq!(News::decode(&longer), Err(WireError::TooLong { length: 1025, limit: 1024 }));
        let nameless = query(Question { name: String::new(), ..question(0) }).encode();
        assert!(matches!(News::decode(&nameless), Err(WireError::Malformed(_))));
    }

    #[test]
    fn the_longest_event_fits_a_datagram_and_a_longer_one_is_refused() {
        let (name, text) = ("n".repeat(255), "f".repeat(128));
        let filter = EventFilter { node: text.clone(), service: text.clone(), tag: text };
        let longest = UserEvent { name, payload: vec![0; MAX_EVENT_IN_DATAGRAM - 255].into(), filter, ..event() };
        let bytes = News::Event(longest.clone()).encode();
        // A sender with an IPv6 address and the length of the news take 49 bytes.
        assert!(bytes.len() + 49 < MAX_SEALED, "{}", bytes.len());
        assert_eq!(News::decode(&bytes), Ok(News::Event(longest.clone())));
        let longer = UserEvent { payload: vec![0; MAX_EVENT_IN_DATAGRAM - 254].into(), ..longest };
        assert_eq!(News::decode(&News::Event(longer).encode()), Err(WireError::TooLong { length: 513, limit: 512 }));
    }
}
