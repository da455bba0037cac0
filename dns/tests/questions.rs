//! Names and kinds against one small catalogue: bytes in, what `dig` would show out.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use hickory_proto::rr::RecordType::{self, A, AAAA, ANY, AXFR, CNAME, MX, NS, SOA, SRV, TXT};
use quorate_dns::{Config, Dns, Transport};
use quorate_protocol::{Ask, Consistency, MemberStatus, Refusal, Status};
use std::collections::BTreeMap;
use world::{Fake, dig, instance, member};

const AUTHORITY: &str = "authority consul. 0 SOA ns.consul. hostmaster.consul. 1 3600 600 86400 0";

fn catalogue() -> Fake {
    let here = vec![
        instance("n1", "10.0.0.1", "web:80", Status::Passing),
        instance("N2.rack", "10.0.0.2", "web:81", Status::Warning),
        instance("n3", "10.0.0.3", "web:82", Status::Critical),
        instance("n1", "10.0.0.1", "own@10.9.9.9:90", Status::Passing),
        instance("n6", "2001:db8::6", "six:6", Status::Passing),
        instance("ext", "db.example.com", "db:5432", Status::Passing),
        instance("n1", "10.0.0.1", "mail@smtp.example.com:25", Status::Passing),
        instance("n1", "10.0.0.1", "down:1", Status::Critical),
        instance("n1", "10.0.0.1", "odd@not a name!:1", Status::Passing),
        instance("n1", "10.0.0.1", "twice:1", Status::Passing),
        instance("n1", "10.0.0.1", "twice:2", Status::Passing),
        instance("no..labels", "10.0.0.7", "strange:1", Status::Passing),
    ];
    let there = vec![instance("far", "10.2.0.1", "web:80", Status::Passing)];
    Fake {
        instances: BTreeMap::from([("dc1".into(), here), ("dc2".into(), there)]),
        members: vec![
            member("s1", "10.0.0.1:8301", "consul", MemberStatus::Alive),
            member("s2", "10.0.0.2:8301", "consul", MemberStatus::Failed),
            member("c1", "10.0.0.3:8301", "node", MemberStatus::Alive),
        ],
        ..Fake::default()
    }
}

fn check(dns: &Dns, name: &str, kind: RecordType, expected: &[&str]) {
    assert_eq!(dig(dns, name, kind), expected.join("\n"), "{name} {kind}");
}

#[test]
fn nodes() {
    let dns = world::dns(catalogue());
    let check = |name, kind, expected: &[&str]| check(&dns, name, kind, expected);
    check("n1.node.consul.", A, &["NoError aa", "n1.node.consul. 0 A 10.0.0.1"]);
    check("N1.nOde.Consul.", A, &["NoError aa", "N1.nOde.Consul. 0 A 10.0.0.1"]);
    check("n2.rack.node.dc1.consul.", A, &["NoError aa", "n2.rack.node.dc1.consul. 0 A 10.0.0.2"]);
    check("n6.node.consul.", AAAA, &["NoError aa", "n6.node.consul. 0 AAAA 2001:db8::6"]);
    check("n1.node.consul.", AAAA, &["NoError aa", AUTHORITY]);
    check("n1.node.consul.", MX, &["NoError aa", AUTHORITY]);
    check("n1.node.consul.", ANY, &["NoError aa", "n1.node.consul. 0 A 10.0.0.1"]);
    check("n6.node.consul.", ANY, &["NoError aa", "n6.node.consul. 0 AAAA 2001:db8::6"]);
    check("ext.node.consul.", A, &["NoError aa", "ext.node.consul. 0 CNAME db.example.com."]);
    check("ext.node.consul.", AAAA, &["NoError aa", "ext.node.consul. 0 CNAME db.example.com."]);
    check("ext.node.consul.", CNAME, &["NoError aa", "ext.node.consul. 0 CNAME db.example.com."]);
    check("far.node.dc2.consul.", A, &["NoError aa", "far.node.dc2.consul. 0 A 10.2.0.1"]);
    check("far.node.consul.", A, &["NXDomain aa", AUTHORITY]);
    check("n1.node.dc9.consul.", A, &["NXDomain aa", AUTHORITY]);
    check("n1.node.consul.", TXT, &["NoError aa", "n1.node.consul. 0 TXT as is", "n1.node.consul. 0 TXT os=linux"]);
}

#[test]
fn services() {
    let dns = world::dns(catalogue());
    let check = |name, kind, expected: &[&str]| check(&dns, name, kind, expected);
    let both = ["web.service.consul. 0 A 10.0.0.1", "web.service.consul. 0 A 10.0.0.2"];
    check("web.service.consul.", A, &["NoError aa", both[0], both[1]]);
    check("web.service.consul.", ANY, &["NoError aa", both[0], both[1]]);
    check("web.service.consul.", AAAA, &["NoError aa", AUTHORITY]);
    check("web.service.consul.", TXT, &["NoError aa", AUTHORITY]);
    check("six.service.consul.", AAAA, &["NoError aa", "six.service.consul. 0 AAAA 2001:db8::6"]);
    check("primary.web.service.consul.", AAAA, &["NoError aa", AUTHORITY]);
    check("v1.2.six.service.consul.", AAAA, &["NoError aa", "v1.2.six.service.consul. 0 AAAA 2001:db8::6"]);
    check("nosuchtag.web.service.consul.", A, &["NXDomain aa", AUTHORITY]);
    check("nosuch.service.consul.", A, &["NXDomain aa", AUTHORITY]);
    check("down.service.consul.", A, &["NXDomain aa", AUTHORITY]);
    check("web.service.dc2.consul.", A, &["NoError aa", "web.service.dc2.consul. 0 A 10.2.0.1"]);
    check("web.service.dc9.consul.", A, &["NXDomain aa", AUTHORITY]);
    check("twice.service.consul.", A, &["NoError aa", "twice.service.consul. 0 A 10.0.0.1"]);
    check("db.service.consul.", A, &["NoError aa", "db.service.consul. 0 CNAME db.example.com."]);
    check("odd.service.consul.", A, &["NoError aa", AUTHORITY]);
}

#[test]
fn srv() {
    let dns = world::dns(catalogue());
    let check = |name, kind, expected: &[&str]| check(&dns, name, kind, expected);
    for name in ["web.service.consul.", "_web._tcp.service.consul.", "_web._tcp.consul.", "_web._primary.consul."] {
        let answers = [
            format!("{name} 0 SRV 1 10 80 n1.node.dc1.consul."),
            format!("{name} 0 SRV 1 2 81 N2.rack.node.dc1.consul."),
        ];
        check(
            name,
            SRV,
            &[
                "NoError aa",
                &answers[0],
                &answers[1],
                "additional N2.rack.node.dc1.consul. 0 A 10.0.0.2",
                "additional n1.node.dc1.consul. 0 A 10.0.0.1",
            ],
        );
    }
    check(
        "own.service.consul.",
        SRV,
        &[
            "NoError aa",
            "own.service.consul. 0 SRV 1 10 90 0a090909.addr.dc1.consul.",
            "additional 0a090909.addr.dc1.consul. 0 A 10.9.9.9",
        ],
    );
    check(
        "web.service.dc2.consul.",
        SRV,
        &[
            "NoError aa",
            "web.service.dc2.consul. 0 SRV 1 10 80 far.node.dc2.consul.",
            "additional far.node.dc2.consul. 0 A 10.2.0.1",
        ],
    );
    check(
        "six.service.corp.example.",
        SRV,
        &[
            "NoError aa",
            "six.service.corp.example. 0 SRV 1 10 6 n6.node.dc1.corp.example.",
            "additional n6.node.dc1.corp.example. 0 AAAA 2001:db8::6",
        ],
    );
    check(
        "twice.service.consul.",
        SRV,
        &[
            "NoError aa",
            "twice.service.consul. 0 SRV 1 10 1 n1.node.dc1.consul.",
            "twice.service.consul. 0 SRV 1 10 2 n1.node.dc1.consul.",
            "additional n1.node.dc1.consul. 0 A 10.0.0.1",
        ],
    );
    check("mail.service.consul.", SRV, &["NoError aa", "mail.service.consul. 0 SRV 1 10 25 smtp.example.com."]);
    check("db.service.consul.", SRV, &["NoError aa", "db.service.consul. 0 SRV 1 10 5432 db.example.com."]);
    check("down.service.consul.", SRV, &["NXDomain aa", AUTHORITY]);
}

/// Every target that an SRV names can be asked for, and leads to the address beside it.
#[test]
fn targets_resolve() {
    let dns = world::dns(catalogue());
    for name in ["web.service.consul.", "own.service.consul.", "strange.service.consul.", "web.service.dc2.consul."] {
        let (message, _) = world::ask(&dns, name, SRV, None, Transport::Tcp);
        assert!(!message.additionals.is_empty(), "{name}");
        for beside in &message.additionals {
            let (direct, _) = world::ask(&dns, &beside.name.to_ascii(), A, None, Transport::Tcp);
            assert_eq!(direct.answers, vec![beside.clone()]);
        }
    }
}

#[test]
fn addresses() {
    let dns = world::dns(catalogue());
    let check = |name, kind, expected: &[&str]| check(&dns, name, kind, expected);
    check("0a000001.addr.consul.", A, &["NoError aa", "0a000001.addr.consul. 0 A 10.0.0.1"]);
    check("0a000001.addr.dc1.consul.", AAAA, &["NoError aa", AUTHORITY]);
    let six = "20010db8000000000000000000000006.addr.consul.";
    check(six, AAAA, &["NoError aa", &format!("{six} 0 AAAA 2001:db8::6")]);
    check("zz000001.addr.consul.", A, &["NXDomain aa", AUTHORITY]);
    check("0a0001.addr.consul.", A, &["NXDomain aa", AUTHORITY]);
}

#[test]
fn the_domain_itself() {
    let dns = world::dns(catalogue());
    let check = |name, kind, expected: &[&str]| check(&dns, name, kind, expected);
    let soa = "consul. 0 SOA ns.consul. hostmaster.consul. 1 3600 600 86400 0";
    check("consul.", SOA, &["NoError aa", soa]);
    check("consul.", ANY, &["NoError aa", soa]);
    check("consul.", A, &["NoError aa", AUTHORITY]);
    check(
        "consul.",
        NS,
        &["NoError aa", "consul. 0 NS s1.node.dc1.consul.", "additional s1.node.dc1.consul. 0 A 10.0.0.1"],
    );
    check("n1.node.consul.", SOA, &["NoError aa", AUTHORITY]);
    check("service.consul.", NS, &["NoError aa", AUTHORITY]);
    check("dc1.consul.", A, &["NoError aa", AUTHORITY]);
    check("nosuch.consul.", A, &["NXDomain aa", AUTHORITY]);
}

#[test]
fn what_is_refused() {
    let dns = world::dns(catalogue());
    check(&dns, "example.com.", A, &["Refused"]);
    check(&dns, ".", NS, &["Refused"]);
    check(&dns, "consul.", AXFR, &["NotImp"]);
    for refusal in [Refusal::NoLeader, Refusal::NoServers, Refusal::Busy, Refusal::TimedOut, Refusal::Stopping] {
        let dns = world::dns(Fake { refusal: Some(refusal), ..catalogue() });
        check(&dns, "web.service.consul.", A, &["ServFail"]);
        check(&dns, "n1.node.consul.", A, &["ServFail"]);
        check(&dns, "consul.", NS, &["ServFail"]);
        check(&dns, "0a000001.addr.consul.", A, &["NoError aa", "0a000001.addr.consul. 0 A 10.0.0.1"]);
    }
}

#[test]
fn settings_show() {
    let service_ttl = [("*".to_owned(), 1), ("WE*".to_owned(), 9)].into();
    let config = Config { node_ttl: 5, service_ttl, serial: 77, only_passing: true, ..Config::default() };
    let dns = world::with(config, catalogue());
    let check = |name, kind, expected: &[&str]| check(&dns, name, kind, expected);
    check("n1.node.consul.", A, &["NoError aa", "n1.node.consul. 5 A 10.0.0.1"]);
    check("web.service.consul.", A, &["NoError aa", "web.service.consul. 9 A 10.0.0.1"]);
    check(
        "web.service.consul.",
        SRV,
        &[
            "NoError aa",
            "web.service.consul. 9 SRV 1 10 80 n1.node.dc1.consul.",
            "additional n1.node.dc1.consul. 5 A 10.0.0.1",
        ],
    );
    check(
        "nosuch.node.consul.",
        A,
        &["NXDomain aa", "authority consul. 0 SOA ns.consul. hostmaster.consul. 77 3600 600 86400 0"],
    );
    check("n1.node.corp.example.", A, &["Refused"]);
}

#[test]
fn one_stale_read_in_the_datacenter_that_was_named() {
    let fake = std::sync::Arc::new(catalogue());
    let dns = Dns::new(Config::default(), fake.clone()).unwrap();
    for (name, dc) in
        [("web.service.consul.", None), ("web.service.DC1.consul.", None), ("web.service.dc2.consul.", Some("dc2"))]
    {
        dig(&dns, name, SRV);
        let asked = std::mem::take(&mut *fake.asked.lock().unwrap());
        assert_eq!(asked.len(), 1, "{name}");
        assert_eq!(asked[0].dc.as_deref(), dc, "{name}");
        let Ask::Read(read) = &asked[0].ask else { panic!("{asked:?}") };
        assert_eq!((read.consistency, read.wait), (Consistency::Stale, None));
    }
}

#[test]
fn the_seed_decides_the_order() {
    let orders = |seed: u64| -> Vec<String> {
        let dns = world::with(Config { seed, ..Config::default() }, world::crowd(9));
        let one = |_| {
            let (message, _) = world::ask(&dns, "web.service.consul.", A, None, Transport::Tcp);
            message.answers.iter().map(|answer| answer.data.to_string()).collect::<Vec<_>>().join(" ")
        };
        (0..8).map(one).collect()
    };
    assert_eq!(orders(1), orders(1));
    assert_ne!(orders(1), orders(2));
    let mut distinct = orders(1);
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 8, "each reply has its own order");
}
