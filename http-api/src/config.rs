//! What a front door is told before it opens.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What is known when the agent starts. What changes while it runs is asked for
/// ([`quorate_protocol::LocalRequest::Describe`]).
#[derive(Debug, Clone)]
pub struct Config {
    /// The agent's datacenter, shown in rows and assumed where a request names none.
    pub datacenter: String,
    /// The agent's node name, put into the checks of its own that answers show.
    pub node_name: String,
    /// What the operator says about the node, shown as `Meta` by `/v1/agent/self`.
    pub node_meta: BTreeMap<String, String>,
    /// The revision of the source this program was built from; empty where unknown.
    pub revision: String,
    /// The largest value of a key in bytes (`limits.kv_max_value_size`): Consul's 512 KiB, because every server keeps
    /// every value in memory, and a large log entry holds up those behind it.
    pub max_value_size: usize,
    /// The largest other JSON body in bytes: a registration takes a hundredth.
    pub max_body_size: usize,
    /// The most operations of a transaction: Consul's 128. More make one log entry hold up others for longer.
    pub txn_max_ops: usize,
    /// The largest transaction in bytes (`limits.txn_max_req_len`): Consul's 512 KiB. A larger `max_value_size` raises it.
    pub txn_max_req_len: usize,
    /// The shortest TTL of a session (`session_ttl_min`).
    pub session_ttl_min: Duration,
    /// How long a blocking read waits where `wait` is not given (`default_query_time`).
    pub default_query_time: Duration,
    /// How long a blocking read waits at most (`max_query_time`); up to a sixteenth is added.
    pub max_query_time: Duration,
    /// Indents every answer, as Consul does in development mode, even without `?pretty`.
    pub pretty: bool,
    /// Where the jitter of blocking reads starts, so that a simulated agent repeats; a random number otherwise.
    pub seed: u64,
    /// What time it is, for people to read in answers; nothing depends on it.
    pub wall_clock: fn() -> SystemTime,
}

impl Default for Config {
    #[expect(clippy::disallowed_methods, reason = "shown to people, and replaced where runs must repeat")]
    fn default() -> Config {
        Config {
            datacenter: "dc1".to_owned(),
            node_name: String::new(),
            node_meta: BTreeMap::new(),
            revision: String::new(),
            max_value_size: quorate_protocol::kv::MAX_VALUE_SIZE,
            max_body_size: 512 * 1024,
            txn_max_ops: 128,
            txn_max_req_len: 512 * 1024,
            session_ttl_min: quorate_protocol::session::USUAL_MIN_TTL,
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            pretty: false,
            seed: 0,
            wall_clock: SystemTime::now,
        }
    }
}
