//! What a name asks for.
//!
//! ```text
//! <node>.node[.<dc>].<domain>                     a node; its name may have dots
//! [<tag>.]<service>.service[.<dc>].<domain>       the instances of a service; the tag may have dots
//! _<service>._<tag>[.service][.<dc>].<domain>     the same as RFC 2782 writes it; the tag `tcp` means any
//! <hex>.addr[.<dc>].<domain>                      the address itself: 8 or 32 hexadecimal digits
//! ```
//!
//! `<dc>` may be written `<dc>.dc`. Labels are read from the right, so that a node may be called `service`.

use crate::config::Zone;
use hickory_proto::rr::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for. Text is lower case: DNS names mean the same in any case (RFC 4343).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// A node.
    Node {
        /// Its name.
        name: String,
        /// Its datacenter; none for the agent's own.
        dc: Option<String>,
    },
    /// The instances of a service.
    Service {
        /// Its name.
        name: String,
        /// A tag that they carry.
        tag: Option<String>,
        /// Their datacenter; none for the agent's own.
        dc: Option<String>,
    },
    /// An address written as a name.
    Addr(IpAddr),
    /// The domain itself.
    Apex,
    /// A name that carries nothing, with names beneath it. It exists (RFC 8020, 2): to deny it would deny them too to
    /// resolvers that ask label by label (RFC 9156).
    Branch,
    /// A name that cannot exist.
    Malformed,
}

/// Reads a name: what is asked, and the domain it is asked in. None outside of the domains.
pub(crate) fn parse<'z>(name: &Name, zone: &'z Zone) -> Option<(Question, &'z Name)> {
    let domain = zone.domains.iter().filter(|domain| domain.zone_of(name)).max_by_key(|domain| domain.iter().len())?;
    let inside = name.iter().len().saturating_sub(domain.iter().len());
    let labels: Option<Vec<String>> = name.iter().take(inside).map(text).collect();
    let question = match labels {
        Some(labels) => read(&labels, &zone.config.datacenter).unwrap_or(Question::Malformed),
        None => Question::Malformed,
    };
    Some((question, domain))
}

/// A label as text. One with a dot in it would read like two once joined.
fn text(label: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(label).ok()?;
    (!text.contains('.')).then(|| text.to_lowercase())
}

fn read(labels: &[String], here: &str) -> Option<Question> {
    let words: Vec<&str> = labels.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => return Some(Question::Apex),
        ["dc"] => return Some(Question::Branch),
        [dc] | [dc, "dc"] if dc.eq_ignore_ascii_case(here) => return Some(Question::Branch),
        _ => {}
    }
    let at = words.iter().rposition(|word| matches!(*word, "node" | "service" | "addr") || word.starts_with('_'))?;
    let (before, rest) = words.split_at(at);
    let (kind, after) = rest.split_first()?;
    let dc = datacenter(after, here)?;
    match (*kind, before) {
        ("node" | "service" | "addr", []) => Some(Question::Branch),
        ("node", parts) => Some(Question::Node { name: parts.join("."), dc }),
        ("service", parts) => service(parts, dc),
        ("addr", [hex]) => address(hex).map(Question::Addr),
        ("addr", _) => None,
        // `_web._tcp` without `service`: the kind is itself a part.
        _ => service(words.get(..=at)?, dc),
    }
}

/// `[]`, `[dc]` or `[dc, "dc"]`; the inner none is the agent's own.
fn datacenter(labels: &[&str], here: &str) -> Option<Option<String>> {
    match labels {
        [] => Some(None),
        [dc] | [dc, "dc"] => Some((!dc.eq_ignore_ascii_case(here)).then(|| (*dc).to_owned())),
        _ => None,
    }
}

fn service(parts: &[&str], dc: Option<String>) -> Option<Question> {
    match parts {
        [name, protocol] if name.starts_with('_') && protocol.starts_with('_') => {
            let (name, tag) = (name.get(1..)?.to_owned(), protocol.get(1..)?);
            Some(Question::Service { name, tag: (tag != "tcp").then(|| tag.to_owned()), dc })
        }
        [protocol] if protocol.starts_with('_') => Some(Question::Branch),
        [tag @ .., name] => {
            Some(Question::Service { name: (*name).to_owned(), tag: (!tag.is_empty()).then(|| tag.join(".")), dc })
        }
        [] => None,
    }
}

fn address(hex: &str) -> Option<IpAddr> {
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match hex.len() {
        8 => u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(hex, 16).ok().map(|bits| Ipv6Addr::from(bits).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn zone() -> Zone {
        let config = Config { alt_domain: Some("corp.example.".into()), ..Config::default() };
        Zone::new(config).unwrap()
    }

    fn asked(name: &str) -> Option<Question> {
        parse(&Name::from_ascii(name).unwrap(), &zone()).map(|(question, _)| question)
    }

    fn node(name: &str, dc: Option<&str>) -> Question {
        Question::Node { name: name.into(), dc: dc.map(str::to_owned) }
    }

    fn service(name: &str, tag: Option<&str>, dc: Option<&str>) -> Question {
        Question::Service { name: name.into(), tag: tag.map(str::to_owned), dc: dc.map(str::to_owned) }
    }

    #[test]
    fn every_form() {
        for (name, expected) in [
            ("n1.node.consul.", node("n1", None)),
            ("n1.node.dc1.consul.", node("n1", None)),
            ("n1.node.DC1.consul.", node("n1", None)),
            ("n1.node.dc2.consul.", node("n1", Some("dc2"))),
            ("n1.node.dc2.dc.consul.", node("n1", Some("dc2"))),
            ("N1.Node.CONSUL.", node("n1", None)),
            ("host.example.node.consul.", node("host.example", None)),
            ("service.node.consul.", node("service", None)),
            ("node.node.consul.", node("node", None)),
            ("n1.node.corp.example.", node("n1", None)),
            ("web.service.consul.", service("web", None, None)),
            ("web.service.dc2.consul.", service("web", None, Some("dc2"))),
            ("v1.web.service.consul.", service("web", Some("v1"), None)),
            ("v1.2.web.service.consul.", service("web", Some("v1.2"), None)),
            ("node.service.consul.", service("node", None, None)),
            ("_web._tcp.service.consul.", service("web", None, None)),
            ("_web._tcp.consul.", service("web", None, None)),
            ("_web._v1.consul.", service("web", Some("v1"), None)),
            ("_web._v1.service.dc2.consul.", service("web", Some("v1"), Some("dc2"))),
            ("_web._tcp.dc2.consul.", service("web", None, Some("dc2"))),
            ("7f000001.addr.consul.", Question::Addr("127.0.0.1".parse().unwrap())),
            ("7F000001.addr.dc2.consul.", Question::Addr("127.0.0.1".parse().unwrap())),
            ("20010db8000000000000000000000001.addr.consul.", Question::Addr("2001:db8::1".parse().unwrap())),
            ("consul.", Question::Apex),
            ("corp.example.", Question::Apex),
            ("service.consul.", Question::Branch),
            ("node.dc2.consul.", Question::Branch),
            ("addr.consul.", Question::Branch),
            ("dc1.consul.", Question::Branch),
            ("dc.consul.", Question::Branch),
            ("_tcp.consul.", Question::Branch),
            ("_tcp.service.consul.", Question::Branch),
            ("web.consul.", Question::Malformed),
            ("ns.consul.", Question::Malformed),
            ("dc2.consul.", Question::Malformed),
            ("web.service.dc2.extra.consul.", Question::Malformed),
            ("web.query.consul.", Question::Malformed),
            ("7f0001.addr.consul.", Question::Malformed),
            ("7f000001.7f000001.addr.consul.", Question::Malformed),
        ] {
            assert_eq!(asked(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn labels_that_are_no_text() {
        for label in [&b"a.b"[..], b"\xff"] {
            let name = Name::from_labels([label, b"node", b"consul"]).unwrap();
            assert_eq!(parse(&name, &zone()).unwrap().0, Question::Malformed);
        }
        let signed = Name::from_labels([&b"+f000001"[..], b"addr", b"consul"]).unwrap();
        assert_eq!(parse(&signed, &zone()).unwrap().0, Question::Malformed);
    }

    #[test]
    fn outside_is_none() {
        for name in ["example.com.", ".", "xconsul.", "consul.example.", "example."] {
            assert_eq!(asked(name), None, "{name}");
        }
    }

    #[test]
    fn the_longer_domain_wins() {
        let config = Config { alt_domain: Some("in.consul.".into()), ..Config::default() };
        let zone = Zone::new(config).unwrap();
        let name = Name::from_ascii("n1.node.in.consul.").unwrap();
        let (question, domain) = parse(&name, &zone).unwrap();
        assert_eq!((question, domain.to_string()), (node("n1", None), "in.consul.".to_owned()));
    }
}
