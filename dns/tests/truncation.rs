//! Never over the limit; TC if and only if something is missing; what is left is complete in itself.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, RecordType};
use proptest::prelude::*;
use quorate_dns::{Config, Transport};
use std::collections::BTreeSet;
use world::{ask, crowd, dns, with};

#[test]
fn plain_udp_gets_three() {
    let dns = dns(crowd(9));
    for kind in [RecordType::A, RecordType::SRV] {
        let (message, size) = ask(&dns, "web.service.consul.", kind, None, Transport::Udp);
        assert_eq!(message.answers.len(), 3, "{kind}");
        assert!(message.metadata.truncation && size <= 512);
    }
    let (message, _) = ask(&dns, "web.service.consul.", RecordType::A, Some(1232), Transport::Udp);
    assert_eq!((message.answers.len(), message.metadata.truncation), (9, false));
    let (message, _) = ask(&dns, "web.service.consul.", RecordType::A, None, Transport::Tcp);
    assert_eq!((message.answers.len(), message.metadata.truncation), (9, false));
}

#[test]
fn the_limit_of_answers_can_be_set() {
    for (limit, expected) in [(1, 1), (3, 3), (8, 8), (50, 8), (0, 9)] {
        let dns = with(Config { udp_answer_limit: limit, ..Config::default() }, crowd(9));
        let (message, _) = ask(&dns, "web.service.consul.", RecordType::A, None, Transport::Udp);
        assert_eq!(message.answers.len(), expected, "{limit}");
        assert_eq!(message.metadata.truncation, expected < 9, "{limit}");
    }
}

#[test]
fn the_size_that_edns_says_is_clamped_and_echoed() {
    let dns = dns(crowd(500));
    for (said, used) in [(0, 512), (512, 512), (900, 900), (1232, 1232), (4096, 1232), (65535, 1232)] {
        let (message, size) = ask(&dns, "web.service.consul.", RecordType::A, Some(said), Transport::Udp);
        assert!(size <= used && size > used - 40, "{said}: {size}");
        assert!(message.metadata.truncation);
        assert_eq!(message.edns.expect("OPT answers OPT").max_payload(), u16::try_from(used).unwrap());
    }
    let (message, _) = ask(&dns, "web.service.consul.", RecordType::A, None, Transport::Udp);
    assert!(message.edns.is_none());
}

#[test]
fn tcp_ends_at_64_kib() {
    let dns = dns(crowd(5000));
    for kind in [RecordType::A, RecordType::SRV] {
        let (message, size) = ask(&dns, "web.service.consul.", kind, None, Transport::Tcp);
        assert!(size > 65_000 && size <= 65_535, "{kind} {size}");
        assert!(message.metadata.truncation && message.answers.len() < 5000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_over_and_tc_iff_cut(
        count in 1u16..120, payload in proptest::option::of(0u16..2000), tcp: bool, srv: bool,
        limit in 0usize..10, label in "[a-z]{1,40}",
    ) {
        let domain = format!("{label}.example");
        let config = Config { udp_answer_limit: limit, domain: domain.clone(), ..Config::default() };
        let dns = with(config, crowd(count));
        let (transport, most) = match (tcp, payload) {
            (true, _) => (Transport::Tcp, 65_535),
            (false, None) => (Transport::Udp, 512),
            (false, Some(said)) => (Transport::Udp, usize::from(said.clamp(512, 1232))),
        };
        let kind = if srv { RecordType::SRV } else { RecordType::A };
        let (message, size) = ask(&dns, &format!("web.service.{domain}."), kind, payload, transport);
        prop_assert!(size <= most, "{size} > {most}");
        let whole = message.answers.len() == usize::from(count)
            && message.additionals.len() == if srv { usize::from(count) } else { 0 };
        prop_assert_eq!(message.metadata.truncation, !whole);
        prop_assert!(!message.answers.is_empty());
        prop_assert_eq!(message.edns.is_some(), payload.is_some());
        if srv && message.answers.len() > 1 {
            prop_assert_eq!(targets(&message), message.additionals.iter().map(|record| record.name.clone()).collect());
        }
    }
}

fn targets(message: &Message) -> BTreeSet<hickory_proto::rr::Name> {
    let target = |data: &RData| match data {
        RData::SRV(srv) => srv.target.clone(),
        other => panic!("{other}"),
    };
    message.answers.iter().map(|record| target(&record.data)).collect()
}
