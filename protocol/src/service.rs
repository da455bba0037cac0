//! Services: what runs on a node.

use crate::{CheckDefinition, Token};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What DNS allows in one part of a name (RFC 1035, section 2.3.4).
const LABEL_LIMIT: usize = 63;

/// One instance of a service on a node. Its key is the node's name and `id`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Unique on its node; the name where none was given.
    pub id: String,
    /// The name that is looked up, compared without regard to case.
    pub name: String,
    /// Labels to choose instances by.
    pub tags: Vec<String>,
    /// Where it listens; empty means the node's address.
    pub address: String,
    /// The port it listens on; 0 where it has none.
    pub port: u16,
    /// What the operator wants to say about it.
    pub meta: BTreeMap<String, String>,
    /// Further addresses by tag.
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Its share in weighted answers.
    pub weights: Weights,
    /// Whether tags set through the catalogue win over the agent's.
    pub enable_tag_override: bool,
}

impl Service {
    /// What of the service cannot be asked for in DNS, for people; none where all can. It is registered all the same: many are never
    /// looked up there.
    pub fn dns_problem(&self) -> Option<String> {
        let problem = |what: &str, text: &str| {
            let shown = crate::go::quote(text);
            format!(
                "{what} {shown} cannot be asked for in DNS: only letters, digits and dashes can, {LABEL_LIMIT} at most"
            )
        };
        let tag = || self.tags.iter().find(|tag| !is_label(tag)).map(|tag| problem("Service tag", tag));
        if is_label(&self.name) { tag() } else { Some(problem("Service name", &self.name)) }
    }

    /// A number that another content has not: FNV-1a over the encoded service. Not for hostile content; two equal ones make a waiting
    /// client miss a change of a service that it registered so itself.
    pub fn content_hash(&self) -> u64 {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let bytes = crate::wire::to_named(crate::wire::VERSION_MAX, self);
        bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
    }
}

/// Whether a text can be one part of a name in DNS; also as part of a longer one with dots, which clients may ask for.
fn is_label(text: &str) -> bool {
    (1..=LABEL_LIMIT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A service as somebody registers it with an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceDefinition {
    /// The service.
    pub service: Service,
    /// Its checks; ids are filled in where empty (`service:<id>`, with `:<n>` from 1 where there are several).
    pub checks: Vec<CheckDefinition>,
    /// With whose rights it is to be registered in the catalogue; kept for the access rules to come.
    pub token: Token,
}

/// An address of a service under one of its tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAddress {
    /// An IP address or a name.
    pub address: String,
    /// A port, 0 for the service's own.
    pub port: u16,
}

/// The weight of an SRV answer by health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    /// While passing.
    pub passing: u16,
    /// While warning.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights { passing: 1, warning: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, tags: &[&str]) -> Service {
        Service { name: name.into(), tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..Service::default() }
    }

    #[test]
    fn what_dns_cannot_ask_for_is_told() {
        let long = "x".repeat(64);
        for (name, tags, told) in [
            ("web", &["v1", "blue-2"][..], None),
            ("web_api", &[], Some("Service name \"web_api\" cannot be asked for in DNS")),
            ("web.api", &[], Some("Service name \"web.api\"")),
            ("größe", &[], Some("Service name")),
            (&long, &[], Some("Service name \"xxx")),
            ("web", &["v1", "v1.2"], Some("Service tag \"v1.2\" cannot be asked for in DNS")),
        ] {
            let problem = service(name, tags).dns_problem();
            assert!(problem.as_deref().unwrap_or("").starts_with(told.unwrap_or("")), "{name}: {problem:?}");
            assert_eq!(problem.is_some(), told.is_some(), "{name}");
        }
    }

    #[test]
    fn the_hash_follows_the_content() {
        let web = service("web", &["v1"]);
        assert_eq!(web.content_hash(), web.clone().content_hash());
        assert_ne!(web.content_hash(), Service { port: 81, ..web.clone() }.content_hash());
        assert_ne!(web.content_hash(), service("web", &["v2"]).content_hash());
    }
}
