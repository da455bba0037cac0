//! Health checks: the result in the catalogue, and the definition that an agent runs.

mod kind;
mod spec;

pub use kind::{Alias, CheckKind, DockerCheck, GrpcCheck, HttpCheck, TlsUse};
pub use spec::{CheckSpec, Fault, SHORTEST_GRACE, SHORTEST_INTERVAL};

use crate::Token;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The id of the check that the leader keeps for every member of the gossip pool.
pub const SERF_HEALTH: &str = "serfHealth";
/// The id of the check that takes a whole node out of service.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// What the id of a check that takes one service out of service begins with; the service's id follows.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";
/// Bytes of output that a check keeps, where nobody says otherwise (Consul's default).
pub const OUTPUT_SIZE: usize = 4096;

/// Whether a check is one that takes its node or service out of service, by its id.
pub fn is_maintenance(check_id: &str) -> bool {
    check_id == NODE_MAINTENANCE || check_id.starts_with(SERVICE_MAINTENANCE_PREFIX)
}

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
    /// Bytes of output kept; 0 for the agent's limit, which it cannot exceed.
    pub output_max_size: usize,
    /// With whose rights it is to be registered in the catalogue; kept for the access rules to come.
    #[serde(skip_serializing_if = "Token::is_none")]
    pub token: Token,
}
