//! The records that answer a question. Pure: rows and a generator in, records out.

use crate::config::Zone;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use quorate_protocol::{Instance, Member, Node, Status};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a question is about, beside the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The name as it was written, which is the owner of the answers.
    pub(crate) name: &'a Name,
    /// Which records are wanted.
    pub(crate) kind: RecordType,
    /// The domain that the name is in.
    pub(crate) domain: &'a Name,
    /// The datacenter that the rows come from.
    pub(crate) dc: &'a str,
    /// Records beyond this many cannot be sent; one more than fits, so that the cut shows.
    pub(crate) room: usize,
}

/// The sections of a message to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sections {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

/// The name does not exist (RFC 2308, 2.1).
pub(crate) fn no_such_name(zone: &Zone, domain: &Name) -> Sections {
    Sections { code: ResponseCode::NXDomain, ..no_data(zone, domain) }
}

/// The name exists without such records (RFC 2308, 2.2).
pub(crate) fn no_data(zone: &Zone, domain: &Name) -> Sections {
    Sections { authorities: soa(zone, domain).into_iter().collect(), ..Sections::default() }
}

fn or_no_data(sections: Sections, zone: &Zone, domain: &Name) -> Sections {
    if sections.answers.is_empty() { no_data(zone, domain) } else { sections }
}

/// A node: its address, or its meta for TXT.
pub(crate) fn node(zone: &Zone, asked: Asked<'_>, node: &Node) -> Sections {
    let ttl = zone.config.node_ttl;
    let answers = match asked.kind {
        RecordType::TXT => {
            node.meta.iter().take(asked.room).map(|(key, value)| meta(asked.name, ttl, key, value)).collect()
        }
        kind => Host::parse(&node.address).and_then(|host| host.record(asked.name, kind, ttl)).into_iter().collect(),
    };
    or_no_data(Sections { answers, ..Sections::default() }, zone, asked.domain)
}

/// An address that its own name spells.
pub(crate) fn addr(zone: &Zone, asked: Asked<'_>, ip: IpAddr) -> Sections {
    let answers = Host::Ip(ip).record(asked.name, asked.kind, zone.config.node_ttl).into_iter().collect();
    or_no_data(Sections { answers, ..Sections::default() }, zone, asked.domain)
}

/// The instances of a service that are healthy enough, in a drawn order.
pub(crate) fn service(zone: &Zone, asked: Asked<'_>, mut instances: Vec<Instance>, dice: &mut ChaCha8Rng) -> Sections {
    let Some(first) = instances.first() else { return no_such_name(zone, asked.domain) };
    let ttl = zone.service_ttl(&first.service.name);
    instances.shuffle(dice);
    let sections = match asked.kind {
        RecordType::SRV => srv_records(zone, asked, ttl, &instances),
        _ => address_records(asked, ttl, &instances),
    };
    or_no_data(sections, zone, asked.domain)
}

/// The domain itself: SOA, and NS with the servers that are alive.
pub(crate) fn apex(zone: &Zone, asked: Asked<'_>, mut servers: Vec<Member>, dice: &mut ChaCha8Rng) -> Sections {
    let mut sections = Sections::default();
    match asked.kind {
        // One kind of records answers ANY (RFC 8482, 4.1).
        RecordType::SOA | RecordType::ANY => sections.answers.extend(soa(zone, asked.domain)),
        RecordType::NS => {
            servers.shuffle(dice);
            let ttl = zone.config.node_ttl;
            for member in servers.iter().take(asked.room) {
                let host = Host::Ip(member.address.ip());
                let Some(name) = node_name(&member.name, asked).or_else(|| host.name(asked)) else { continue };
                sections.additionals.extend(host.record(&name, RecordType::ANY, ttl));
                sections.answers.push(record(asked.name, ttl, RData::NS(NS(name))));
            }
        }
        _ => {}
    }
    or_no_data(sections, zone, asked.domain)
}

/// One address record for each address, or one CNAME where no instance has an address: a CNAME stands alone
/// (RFC 2181, 10.1).
fn address_records(asked: Asked<'_>, ttl: u32, instances: &[Instance]) -> Sections {
    let mut seen = BTreeSet::new();
    let mut alias = None;
    let mut answers = Vec::new();
    for instance in instances {
        match Host::of(instance) {
            Some(host @ Host::Ip(ip)) if answers.len() < asked.room && seen.insert(ip) => {
                answers.extend(host.record(asked.name, asked.kind, ttl));
            }
            Some(Host::Ip(_)) => {}
            Some(name) => alias = alias.or(Some(name)),
            None => {}
        }
    }
    if seen.is_empty() {
        answers.extend(alias.and_then(|alias| alias.record(asked.name, asked.kind, ttl)));
    }
    // ANY gets one kind of records (RFC 8482, 4.1): that of the first answer.
    if let Some(kind) = answers.first().map(Record::record_type) {
        answers.retain(|answer| answer.record_type() == kind);
    }
    Sections { answers, ..Sections::default() }
}

/// One SRV for each host and port, with the addresses of the targets beside them (RFC 2782).
fn srv_records(zone: &Zone, asked: Asked<'_>, ttl: u32, instances: &[Instance]) -> Sections {
    let mut seen = BTreeSet::new();
    let mut known = BTreeSet::new();
    let mut sections = Sections::default();
    for instance in instances {
        if sections.answers.len() >= asked.room {
            break;
        }
        let Some(host) = Host::of(instance) else { continue };
        let own_address = !instance.service.address.is_empty();
        let target = match &host {
            Host::Ip(_) if own_address => host.name(asked),
            Host::Ip(_) => node_name(&instance.node.name, asked).or_else(|| host.name(asked)),
            Host::Name(name) => Some(name.clone()),
        };
        let Some(target) = target else { continue };
        if !seen.insert((target.clone(), instance.service.port)) {
            continue;
        }
        if matches!(host, Host::Ip(_)) && known.insert(target.clone()) {
            let ttl = if own_address { ttl } else { zone.config.node_ttl };
            sections.additionals.extend(host.record(&target, RecordType::ANY, ttl));
        }
        let weights = instance.service.weights;
        let weight = if instance.status() == Status::Passing { weights.passing } else { weights.warning };
        let srv = SRV::new(1, weight, instance.service.port, target);
        sections.answers.push(record(asked.name, ttl, RData::SRV(srv)));
    }
    sections
}

/// Where something can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(Name),
}

impl Host {
    /// None for text that is neither an address nor a name; such a row has nothing to say to DNS.
    fn parse(text: &str) -> Option<Host> {
        if let Ok(ip) = text.parse() {
            return Some(Host::Ip(ip));
        }
        let mut name = Name::from_utf8(text).ok().filter(|name| name.iter().len() > 0)?;
        name.set_fqdn(true);
        Some(Host::Name(name))
    }

    /// A service's own address, else its node's.
    fn of(instance: &Instance) -> Option<Host> {
        let own = instance.service.address.as_str();
        Host::parse(if own.is_empty() { &instance.node.address } else { own })
    }

    /// The record of the wanted kind, if this host has one. An alias answers for every kind of address.
    fn record(&self, owner: &Name, kind: RecordType, ttl: u32) -> Option<Record> {
        use RecordType as T;
        let data = match (self, kind) {
            (Host::Ip(IpAddr::V4(ip)), T::A | T::ANY) => RData::A(A(*ip)),
            (Host::Ip(IpAddr::V6(ip)), T::AAAA | T::ANY) => RData::AAAA(AAAA(*ip)),
            (Host::Name(name), T::A | T::AAAA | T::CNAME | T::ANY) => RData::CNAME(CNAME(name.clone())),
            _ => return None,
        };
        Some(record(owner, ttl, data))
    }

    /// `<hex>.addr.<dc>.<domain>`; a name has its own.
    fn name(&self, asked: Asked<'_>) -> Option<Name> {
        let hex = match self {
            Host::Ip(IpAddr::V4(ip)) => format!("{:08x}", ip.to_bits()),
            Host::Ip(IpAddr::V6(ip)) => format!("{:032x}", ip.to_bits()),
            Host::Name(name) => return Some(name.clone()),
        };
        below([hex.as_bytes(), b"addr", asked.dc.as_bytes()], asked.domain)
    }
}

/// `<node>.node.<dc>.<domain>`; none for a name that is no sequence of labels, which nobody could ask for.
fn node_name(name: &str, asked: Asked<'_>) -> Option<Name> {
    below(name.split('.').map(str::as_bytes).chain([b"node".as_slice(), asked.dc.as_bytes()]), asked.domain)
}

fn below<'l>(labels: impl IntoIterator<Item = &'l [u8]>, domain: &Name) -> Option<Name> {
    labels.into_iter().try_fold(Name::new(), |name, label| name.append_label(label)).ok()?.append_domain(domain).ok()
}

fn record(owner: &Name, ttl: u32, data: RData) -> Record {
    Record::from_rdata(owner.clone(), ttl, data)
}

/// `key=value`, or the value alone where the key starts with `rfc1035-`, in strings of 255 bytes at most (RFC 1035, 3.3.14).
fn meta(owner: &Name, ttl: u32, key: &str, value: &str) -> Record {
    let text = if key.starts_with("rfc1035-") { value.to_owned() } else { format!("{key}={value}") };
    let strings = if text.is_empty() { vec![&[][..]] } else { text.as_bytes().chunks(255).collect() };
    record(owner, ttl, RData::TXT(TXT::from_bytes(strings)))
}

/// The start of authority, with Consul's numbers; minimum 0: an absence is not cached, since the next registration ends it.
fn soa(zone: &Zone, domain: &Name) -> Option<Record> {
    const REFRESH: i32 = 3600;
    const RETRY: i32 = 600;
    const EXPIRE: i32 = 86400;
    const MINIMUM: u32 = 0;
    let primary = below([b"ns".as_slice()], domain)?;
    let mailbox = below([b"hostmaster".as_slice()], domain)?;
    let soa = SOA::new(primary, mailbox, zone.config.serial, REFRESH, RETRY, EXPIRE, MINIMUM);
    Some(record(domain, MINIMUM, RData::SOA(soa)))
}
