//! What an operator may set, and the checked form of it.

use hickory_proto::rr::Name;

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
    /// How long service answers may be cached, in seconds (`dns_config.service_ttl`).
    pub service_ttl: u32,
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
            service_ttl: 0,
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

/// A configuration whose domains are names.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub(crate) config: Config,
    /// The domain, then the alternative one.
    pub(crate) domains: Vec<Name>,
}

impl Zone {
    pub(crate) fn new(config: Config) -> Result<Zone, ConfigError> {
        let mut domains = vec![domain("domain", &config.domain)?];
        if let Some(alternative) = &config.alt_domain {
            domains.push(domain("alt_domain", alternative)?);
        }
        Ok(Zone { config, domains })
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
}
