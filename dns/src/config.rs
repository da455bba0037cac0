//! What an operator may set, and the checked form of it.

use hickory_proto::rr::Name;
use std::collections::BTreeMap;

/// How questions are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The domain that is answered for (`domain`).
    pub domain: String,
    /// A second domain with the same content (`alt_domain`); answers carry the domain that was asked.
    pub alt_domain: Option<String>,
    /// The agent's own datacenter, lower case: what names without one mean.
    pub datacenter: String,
    /// How long node answers may be cached, in seconds (`dns_config.node_ttl`).
    pub node_ttl: u32,
    /// How long service answers may be cached, in seconds (`dns_config.service_ttl`): by the exact name of a service, by
    /// `prefix*`, or by `*` for all. The longest match counts, case does not; a service without a match has 0.
    pub service_ttl: BTreeMap<String, u32>,
    /// Whether instances in state warning are left out as well (`dns_config.only_passing`).
    pub only_passing: bool,
    /// How many answers a UDP client without EDNS gets at most (`dns_config.udp_answer_limit`), 0 for no limit.
    pub udp_answer_limit: usize,
    /// The serial in the SOA; Consul shows unix time, and nothing transfers the zone.
    pub serial: u32,
    /// Where the order of answers comes from.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            domain: "consul.".into(),
            alt_domain: None,
            datacenter: "dc1".into(),
            // A cached answer outlives the failure of what it names: Consul's defaults are 0 too.
            node_ttl: 0,
            service_ttl: BTreeMap::new(),
            only_passing: false,
            // Old resolvers sort what they get, so that few answers spread load better than many; Consul's number.
            udp_answer_limit: 3,
            serial: 1,
            seed: 0,
        }
    }
}

/// The operator must change a key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The domain cannot be answered for.
    #[error("{key} = '{value}' is not a domain to answer for ({reason}): set it to a name such as 'consul.'")]
    Domain {
        /// `domain` or `alt_domain`.
        key: &'static str,
        /// What was set.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A configuration whose domains are names, and whose names of services are lower case.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub(crate) config: Config,
    /// The domain, then the alternative one.
    pub(crate) domains: Vec<Name>,
}

impl Zone {
    pub(crate) fn new(mut config: Config) -> Result<Zone, ConfigError> {
        let mut domains = vec![domain("domain", &config.domain)?];
        if let Some(alternative) = &config.alt_domain {
            domains.push(domain("alt_domain", alternative)?);
        }
        let fold = |(name, ttl): (String, u32)| (name.to_lowercase(), ttl);
        config.service_ttl = config.service_ttl.into_iter().map(fold).collect();
        Ok(Zone { config, domains })
    }

    /// How long answers about this service may be cached, in seconds.
    pub(crate) fn service_ttl(&self, service: &str) -> u32 {
        let (ttls, service) = (&self.config.service_ttl, service.to_lowercase());
        let longest_prefix = || {
            ttls.iter()
                .filter_map(|(name, ttl)| Some((name.strip_suffix('*')?, ttl)))
                .filter(|(prefix, _)| service.starts_with(prefix))
                .max_by_key(|(prefix, _)| prefix.len())
                .map(|(_, ttl)| ttl)
        };
        ttls.get(&service).or_else(longest_prefix).copied().unwrap_or(0)
    }
}

fn domain(key: &'static str, value: &str) -> Result<Name, ConfigError> {
    let refused = |reason: String| ConfigError::Domain { key, value: value.into(), reason };
    let mut name = Name::from_ascii(value).map_err(|error| refused(error.to_string()))?;
    // The root would claim every name there is, and so answer for the whole internet.
    if name.is_root() || name.iter().len() == 0 {
        return Err(refused("it is empty".into()));
    }
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_checked() {
        let with = |domain: &str| Zone::new(Config { domain: domain.into(), ..Config::default() });
        for good in ["consul.", "consul", "svc.example.org"] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a..b", &"x".repeat(64)] {
            let error = with(bad).unwrap_err().to_string();
            assert!(error.contains("domain = '"), "{error}");
        }
        let alternative = Config { alt_domain: Some(".".into()), ..Config::default() };
        assert!(Zone::new(alternative).unwrap_err().to_string().starts_with("alt_domain"));
    }

    #[test]
    fn the_longest_match_sets_the_ttl_of_a_service() {
        let all = &[("*", 1), ("d*", 2), ("DB-*", 3), ("db-main", 4), ("db-main*", 5), ("Ünder*", 6)][..];
        for (set, service, ttl) in [
            (all, "web", 1),
            (all, "d", 2),
            (all, "db", 2),
            (all, "db-", 3),
            (all, "db-spare", 3),
            (all, "Db-Spare", 3),
            (all, "db-main", 4),
            (all, "DB-MAIN", 4),
            (all, "db-main2", 5),
            (all, "ünderdog", 6),
            (all, "", 1),
            (&all[2..], "web", 0),
            (&[], "web", 0),
            (&[("web", 7)], "web2", 0),
        ] {
            let service_ttl = set.iter().map(|(name, ttl)| ((*name).to_owned(), *ttl)).collect();
            let zone = Zone::new(Config { service_ttl, ..Config::default() }).unwrap();
            assert_eq!(zone.service_ttl(service), ttl, "{service:?} of {set:?}");
        }
    }
}
