//! Bytes that are no question: a refusal, or silence, never a panic, never more than was asked for.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use proptest::prelude::*;
use quorate_dns::{Dns, Transport};
use world::{crowd, dns, now, question};

fn code(dns: &Dns, bytes: &[u8]) -> Option<ResponseCode> {
    let answer = now(dns.respond(bytes, Transport::Udp))?;
    let message = Message::from_vec(&answer).expect("our own answers decode");
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert_eq!(message.metadata.id, u16::from_be_bytes([bytes[0], bytes[1]]));
    Some(message.metadata.response_code)
}

fn changed(change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(&question("web.service.consul.", RecordType::A, None)).unwrap();
    change(&mut message);
    message.to_vec().unwrap()
}

#[test]
fn what_is_answered_and_how() {
    let dns = dns(crowd(2));
    let header = |flags: u8, questions: u16| {
        let mut bytes = vec![0x12, 0x67, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[4..6].copy_from_slice(&questions.to_be_bytes());
        bytes
    };
    let with = |mut bytes: Vec<u8>, more: &[u8]| {
        bytes.extend_from_slice(more);
        bytes
    };
    for (what, bytes, expected) in [
        ("nothing", vec![], None),
        ("eleven bytes", vec![0; 11], None),
        ("an answer", changed(|message| message.metadata.message_type = MessageType::Response), None),
        ("a broken answer", header(0x80, 9), None),
        ("no question", header(0, 0), Some(ResponseCode::FormErr)),
        ("a promise of 65535 questions", header(0, u16::MAX), Some(ResponseCode::FormErr)),
        ("a question cut short", header(0, 1), Some(ResponseCode::FormErr)),
        ("a name that points to itself", with(header(0, 1), &[0xc0, 12, 0, 1, 0, 1]), Some(ResponseCode::FormErr)),
        (
            "a name that points ahead",
            with(header(0, 1), &[0xc0, 14, 0xc0, 12, 0, 1, 0, 1]),
            Some(ResponseCode::FormErr),
        ),
        ("a name that points into the header", with(header(0, 1), &[0xc0, 4, 0, 1, 0, 1]), Some(ResponseCode::FormErr)),
        ("a label of 64 bytes", with(header(0, 1), &[64; 70]), Some(ResponseCode::FormErr)),
        ("a name of 300 bytes", with(header(0, 1), &[1; 300]), Some(ResponseCode::FormErr)),
        (
            "two questions",
            changed(|message| _ = message.add_query(Query::query(Name::root(), RecordType::A))),
            Some(ResponseCode::FormErr),
        ),
        ("an update", changed(|message| message.metadata.op_code = OpCode::Update), Some(ResponseCode::NotImp)),
        ("a notify", changed(|message| message.metadata.op_code = OpCode::Notify), Some(ResponseCode::NotImp)),
        ("an unknown opcode", header(0x78, 0), Some(ResponseCode::NotImp)),
        (
            "another class",
            changed(|message| message.queries[0].query_class = DNSClass::CH),
            Some(ResponseCode::Refused),
        ),
        (
            "EDNS of the future",
            changed(|message| {
                let mut edns = Edns::new();
                edns.set_version(1);
                message.set_edns(edns);
            }),
            Some(ResponseCode::from(1, 0)),
        ),
        ("bytes after the end", with(changed(|_| ()), b"more"), Some(ResponseCode::NoError)),
    ] {
        assert_eq!(code(&dns, &bytes), expected, "{what}");
    }
}

#[test]
fn a_refusal_is_no_longer_than_the_question() {
    let dns = dns(crowd(2));
    for name in ["example.com.", "a.very.long.name.that.is.not.ours.example.net."] {
        let asked = question(name, RecordType::ANY, None);
        let answer = now(dns.respond(&asked, Transport::Udp)).unwrap();
        assert_eq!(answer.len(), asked.len());
    }
}

#[test]
fn the_longest_name_is_denied_in_512_bytes() {
    let dns = dns(crowd(2));
    let name = format!("{}consul.", format!("{}.", "x".repeat(61)).repeat(3));
    let answer = now(dns.respond(&question(&name, RecordType::A, None), Transport::Udp)).unwrap();
    assert!(answer.len() <= 512);
    let message = Message::from_vec(&answer).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert!(!message.metadata.truncation && message.authorities.len() == 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), tcp: bool) {
        let dns = dns(crowd(2));
        now(dns.respond(&bytes, if tcp { Transport::Tcp } else { Transport::Udp }));
    }

    #[test]
    fn damaged_questions_never_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(), whole: bool,
    ) {
        let dns = dns(crowd(2));
        let mut bytes = question("_web._tcp.service.dc1.consul.", RecordType::SRV, Some(4096));
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Some(answer) = now(dns.respond(&bytes, Transport::Udp)) {
            prop_assert!(answer.len() <= 1232);
            prop_assert!(Message::from_vec(&answer).is_ok());
        }
    }
}
