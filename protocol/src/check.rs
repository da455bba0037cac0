//! Health checks: the result in the catalogue, and the definition that an agent runs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The id of the check that the leader keeps for every member of the gossip pool.
pub const SERF_HEALTH: &str = "serfHealth";

/// How healthy something is. The order is by gravity: the greatest of several is their aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Status {
    /// All is well.
    Passing,
    /// It works, but somebody should look.
    Warning,
    /// It must not be used.
    #[default]
    Critical,
}

impl Status {
    /// The word that Consul's clients know.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid check status: '{0}'")]
pub struct NotAStatus(pub String);

impl FromStr for Status {
    type Err = NotAStatus;
    fn from_str(word: &str) -> Result<Status, NotAStatus> {
        match word {
            "passing" => Ok(Status::Passing),
            "warning" => Ok(Status::Warning),
            "critical" => Ok(Status::Critical),
            other => Err(NotAStatus(other.chars().take(64).collect())),
        }
    }
}

/// The result of a check, as the catalogue keeps it. Its key is `node` and `id`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// The name of the node it belongs to.
    pub node: String,
    /// Unique on its node.
    pub id: String,
    /// For people.
    pub name: String,
    /// The last result.
    pub status: Status,
    /// From whoever registered it.
    pub notes: String,
    /// What the last probe said, cut to the check's output limit.
    pub output: String,
    /// The service it speaks for; empty for the whole node.
    pub service_id: String,
    /// That service's name, filled in by the store.
    pub service_name: String,
    /// That service's tags, filled in by the store.
    pub service_tags: Vec<String>,
    /// `http`, `tcp`, `ttl` …; empty where unknown.
    pub kind: String,
    /// How often it runs; zero where it does not run by itself.
    pub interval: Duration,
    /// How long one run may take; zero for the kind's default.
    pub timeout: Duration,
}

/// A check as an agent runs it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckDefinition {
    /// Unique on this agent.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub notes: String,
    /// The service it speaks for; empty for the whole node.
    pub service_id: String,
    /// What is done.
    pub kind: CheckKind,
    /// Its status until the first result.
    pub initial_status: Status,
    /// Consecutive successes beyond the first that it takes to become passing.
    pub success_before_passing: u32,
    /// Consecutive failures beyond the first that it takes to become warning; where 0, `failures_before_critical` counts.
    pub failures_before_warning: u32,
    /// Consecutive failures beyond the first that it takes to become critical.
    pub failures_before_critical: u32,
    /// Its service is deregistered after being critical for so long; zero for never.
    pub deregister_critical_service_after: Duration,
    /// Bytes of output kept; 0 for the default of 4096.
    pub output_max_size: usize,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CheckKind {
    /// Nothing by itself: its status is set through the catalogue only.
    #[default]
    None,
    /// An HTTP request: 2xx is passing, 429 warning, anything else critical.
    Http(HttpCheck),
    /// A TCP connection: made is passing, refused is critical.
    Tcp {
        /// `host:port`.
        address: String,
        /// How often.
        interval: Duration,
        /// How long one run may take; zero for 10 s.
        timeout: Duration,
    },
    /// A client reports; silence for longer than `ttl` is critical.
    Ttl {
        /// The longest silence that is still healthy.
        ttl: Duration,
    },
}

/// What an HTTP check asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpCheck {
    /// An `http://` or `https://` address.
    pub url: String,
    /// The method; empty for GET.
    pub method: String,
    /// Request headers, each with its values.
    pub header: BTreeMap<String, Vec<String>>,
    /// The request's body.
    pub body: String,
    /// How often.
    pub interval: Duration,
    /// How long one run may take; zero for 10 s.
    pub timeout: Duration,
    /// Whether any certificate will do.
    pub tls_skip_verify: bool,
}

impl CheckKind {
    /// The word shown as a check's `Type`.
    pub const fn word(&self) -> &'static str {
        match self {
            CheckKind::None => "",
            CheckKind::Http(_) => "http",
            CheckKind::Tcp { .. } => "tcp",
            CheckKind::Ttl { .. } => "ttl",
        }
    }

    /// How often it runs; zero where it does not run by itself.
    pub const fn interval(&self) -> Duration {
        match self {
            CheckKind::Http(http) => http.interval,
            CheckKind::Tcp { interval, .. } => *interval,
            CheckKind::None | CheckKind::Ttl { .. } => Duration::ZERO,
        }
    }

    /// How long one run may take as it was registered; zero for the kind's default.
    pub const fn timeout(&self) -> Duration {
        match self {
            CheckKind::Http(http) => http.timeout,
            CheckKind::Tcp { timeout, .. } => *timeout,
            CheckKind::None | CheckKind::Ttl { .. } => Duration::ZERO,
        }
    }
}
