//! Keys that close something which is not enforced yet.
//!
//! Ignoring one of these would leave open what its author meant to close, so the agent refuses to start with it.

use super::ConfigError;
use super::keys::Keys;
use serde_json::Value;

/// Refuses keys of a file that restrict something which is not enforced yet; their harmless values pass.
///
/// # Errors
/// One of them would have to be enforced.
pub fn refuse_unenforced(keys: &mut Keys<'_>) -> Result<(), ConfigError> {
    keys.object("acl", |acl| {
        if let Some(enabled) = acl.peek("enabled").filter(|enabled| **enabled != Value::Bool(false)) {
            return Err(acl.refuse("enabled", &enabled.to_string(), ACL));
        }
        acl.without_effect(ACL_KEYS);
        Ok(())
    })?;
    if let Some(policy) = keys.peek("acl_default_policy").filter(|policy| policy.as_str() != Some("allow")) {
        return Err(keys.refuse("acl_default_policy", &policy.to_string(), ACL));
    }
    keys.object("http_config", |http| {
        for name in ["allow_write_http_from", "block_endpoints"] {
            if let Some(value) = http.peek(name).filter(|value| **value != Value::Array(Vec::new())) {
                return Err(http.refuse(name, &value.to_string(), HTTP));
            }
        }
        http.without_effect(&[
            "allow_write_http_from",
            "block_endpoints",
            "response_headers",
            "use_cache",
            "max_header_bytes",
        ]);
        Ok(())
    })?;
    for name in ["serf_lan_allowed_cidrs", "serf_wan_allowed_cidrs"] {
        if let Some(value) = keys.peek(name).filter(|value| **value != Value::Array(Vec::new())) {
            return Err(keys.refuse(name, &value.to_string(), CIDRS));
        }
    }
    keys.without_effect(&["acl_default_policy", "serf_lan_allowed_cidrs", "serf_wan_allowed_cidrs"]);
    Ok(())
}

/// Why a flag that restricts something is refused, if `name` (without dashes) is one.
pub fn of_flag(name: &str) -> Option<&'static str> {
    match name {
        "allow-write-http-from" => Some(HTTP),
        "serf-lan-allowed-cidrs" | "serf-wan-allowed-cidrs" => Some(CIDRS),
        _ => None,
    }
}

const ACL: &str = "access rules are not enforced yet, so the agent would be open to everyone who reaches its API; \
                   set it to false (acl_default_policy: \"allow\") and keep client_addr on loopback";
const HTTP: &str = "restricting the HTTP API is not supported yet, so the agent would be more open than this says; \
                    remove it and keep client_addr on loopback";
const CIDRS: &str = "gossip is not filtered by address yet (the key in encrypt decides who may join); remove it, and keep \
                     others out with a firewall";

const ACL_KEYS: &[&str] = &[
    "enabled",
    "default_policy",
    "down_policy",
    "token_ttl",
    "policy_ttl",
    "role_ttl",
    "enable_token_persistence",
    "enable_token_replication",
    "enable_key_list_policy",
    "tokens",
];
