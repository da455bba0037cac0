//! What the operator's configuration says of an agent's services and checks; it may change while the agent runs.

use crate::check::OUTPUT_SIZE;
use crate::{CheckDefinition, ServiceDefinition};
use serde::{Deserialize, Serialize};

/// What the configuration says of an agent's services and checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Definitions {
    /// Services, each with its checks. Their ids are unique.
    pub services: Vec<ServiceDefinition>,
    /// Checks of the node, and further ones of services.
    pub checks: Vec<CheckDefinition>,
    /// Whose checks may run programs.
    pub scripts: Scripts,
    /// Bytes of output that any check keeps, at most.
    pub output_max_size: usize,
}

impl Default for Definitions {
    fn default() -> Definitions {
        Definitions {
            services: Vec::new(),
            checks: Vec::new(),
            scripts: Scripts::default(),
            output_max_size: OUTPUT_SIZE,
        }
    }
}

/// Whose checks may run programs on the agent's host. The order is by how much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Scripts {
    /// Nobody's.
    #[default]
    Off,
    /// Those in the operator's own files (`enable_local_script_checks`).
    FromFiles,
    /// Also those that come over the API (`enable_script_checks`): whoever can reach it can run anything.
    FromAnywhere,
}
