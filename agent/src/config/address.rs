//! Addresses: which one to tell others, and what may be joined.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What the configuration needs to know about the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Addresses that others may reach it by, the best guess first.
    pub addresses: Vec<IpAddr>,
}

impl Host {
    /// What this machine says of itself. Nothing is sent.
    pub fn of_this_machine() -> Host {
        Host { name: host_name(), addresses: own_addresses() }
    }
}

/// An agent to join: a name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinAddress {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// Its port for traffic between agents.
    pub port: u16,
}

impl JoinAddress {
    /// The address that `text` names: `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str, default_port: u16) -> Result<JoinAddress, &'static str> {
        if text.contains("provider=") {
            return Err("asking a cloud for addresses comes later; write host names or IP addresses");
        }
        if text.contains("{{") {
            return Err("templates come later; write a host name or an IP address");
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return JoinAddress::with_port(address.ip().to_string(), address.port());
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(JoinAddress { host: ip.to_string(), port: default_port });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| "the port must be a number from 1 to 65535")?),
            None => (text, default_port),
        };
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            && host.bytes().any(|b| b.is_ascii_alphanumeric());
        if !is_name {
            return Err("write a host name or an IP address, with :port where it is not the usual one");
        }
        JoinAddress::with_port(host.to_owned(), port)
    }

    fn with_port(host: String, port: u16) -> Result<JoinAddress, &'static str> {
        if port == 0 { Err("the port must be a number from 1 to 65535") } else { Ok(JoinAddress { host, port }) }
    }
}

impl fmt::Display for JoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The address to tell others when listening on every address of the family of `bind`: the first private one. A public
/// one is never chosen by itself, as in Consul.
pub fn choose(bind: IpAddr, candidates: &[IpAddr]) -> Option<IpAddr> {
    candidates.iter().copied().find(|candidate| candidate.is_ipv4() == bind.is_ipv4() && is_private(*candidate))
}

const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 1918, and the shared space of RFC 6598 that carriers and clouds use inside.
            v4.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// The addresses from which the machine would talk to others. Connecting a UDP socket asks the routing table and sends
/// nothing; one destination per private range finds the interface that serves it.
fn own_addresses() -> Vec<IpAddr> {
    let elsewhere: [IpAddr; 6] = [
        // TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): whatever the default route is.
        Ipv4Addr::new(192, 0, 2, 1).into(),
        Ipv4Addr::new(10, 255, 255, 254).into(),
        Ipv4Addr::new(172, 31, 255, 254).into(),
        Ipv4Addr::new(192, 168, 255, 254).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(),
    ];
    let mut found = Vec::new();
    for destination in elsewhere {
        if let Some(address) = source_towards(destination)
            && !address.is_loopback()
            && !address.is_unspecified()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

fn source_towards(destination: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match destination {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((destination, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn host_name() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .chain(std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_private_address_of_the_family_is_told() {
        let check = |bind: &str, candidates: &[&str], expected: Option<&str>| {
            let candidates: Vec<IpAddr> = candidates.iter().map(|text| text.parse().unwrap()).collect();
            let chosen = choose(bind.parse().unwrap(), &candidates);
            assert_eq!(chosen, expected.map(|text| text.parse().unwrap()), "{bind} {candidates:?}");
        };
        check("0.0.0.0", &[], None);
        check("0.0.0.0", &["10.1.2.3"], Some("10.1.2.3"));
        check("0.0.0.0", &["203.0.113.7", "192.168.0.2", "10.0.0.1"], Some("192.168.0.2"));
        check("0.0.0.0", &["203.0.113.7"], None);
        check("0.0.0.0", &["169.254.1.1", "127.0.0.1"], None);
        check("0.0.0.0", &["100.64.0.9"], Some("100.64.0.9"));
        check("0.0.0.0", &["100.128.0.9", "fd00::2"], None);
        check("::", &["10.1.2.3", "2001:db8::1", "fd00::2"], Some("fd00::2"));
    }

    #[test]
    fn addresses_to_join() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(JoinAddress::parse(text, 8301).ok().map(|a| a.to_string()).as_deref(), expected, "{text:?}");
        };
        check("10.0.0.1", Some("10.0.0.1:8301"));
        check("10.0.0.1:9000", Some("10.0.0.1:9000"));
        check("db.example.com", Some("db.example.com:8301"));
        check("db_1:7946", Some("db_1:7946"));
        check("::1", Some("[::1]:8301"));
        check("[::1]", Some("[::1]:8301"));
        check("[fd00::2]:9000", Some("[fd00::2]:9000"));
        for bad in [
            "",
            ":",
            ":8301",
            "a:",
            "a:b",
            "a:0",
            "a:65536",
            "10.0.0.1:0",
            "[::1",
            "a b",
            "ä",
            "..",
            "provider=aws tag_key=x",
            "{{ GetPrivateIP }}",
        ] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = JoinAddress::parse(&text, 8301);
        }

        #[test]
        fn what_is_shown_is_read_back(host in "[a-z][a-z0-9.-]{0,20}", port in 1u16..) {
            let address = JoinAddress { host, port };
            prop_assert_eq!(JoinAddress::parse(&address.to_string(), 1), Ok(address));
        }
    }
}
