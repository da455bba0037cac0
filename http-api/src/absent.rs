//! Paths that nothing serves, and why: never part of Quorate, not yet, or a mistake.

use crate::error::Error;
use axum::response::{IntoResponse, Response};
use http::{Uri, header};

/// `/`, where people and probes look first.
pub(crate) async fn root() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "Quorate Agent")
}

/// Any path without a route.
pub(crate) async fn absent(uri: Uri) -> Response {
    reason(uri.path()).into_response()
}

fn reason(path: &str) -> Error {
    let Some(rest) = path.strip_prefix("/v1/") else {
        return Error::NotFound("there is nothing here; the API is below /v1/, see docs/http".to_owned());
    };
    let starts_with =
        |prefix: &str| rest.strip_prefix(prefix).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'));
    if starts_with("acl") || starts_with("internal/acl") {
        return Error::Disabled("ACL support disabled");
    }
    if let Some(what) = MESH.iter().find(|prefix| starts_with(prefix)) {
        return Error::NotFound(format!("/v1/{what}: Quorate has no service mesh, so this is out of scope"));
    }
    if let Some(what) = ENTERPRISE.iter().find(|prefix| starts_with(prefix)) {
        return Error::NotFound(format!("/v1/{what}: an Enterprise feature of Consul, which is out of scope"));
    }
    if let Some(what) = LATER.iter().find(|prefix| starts_with(prefix)) {
        return Error::NotFound(format!("/v1/{what}: not yet served by this version of Quorate"));
    }
    Error::NotFound("no such endpoint; docs/http lists those that this version serves".to_owned())
}

const MESH: &[&str] = &[
    "agent/connect",
    "catalog/connect",
    "catalog/gateway-services",
    "config",
    "connect",
    "discovery-chain",
    "exported-services",
    "health/connect",
    "health/ingress",
    "imported-services",
    "internal/federation-state",
    "internal/federation-states",
    "internal/service-virtual-ip",
    "peering",
    "peerings",
];

const ENTERPRISE: &[&str] = &[
    "namespace",
    "namespaces",
    "operator/area",
    "operator/audit",
    "operator/license",
    "operator/segment",
    "operator/utilization",
    "partition",
    "partitions",
];

const LATER: &[&str] = &[
    "agent/host",
    "agent/metrics",
    "agent/monitor",
    "agent/token",
    "agent/version",
    "internal/ui",
    "operator",
    "query",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_absence_has_its_reason() {
        for (path, part) in [
            ("/v1/connect/ca/roots", "service mesh"),
            ("/v1/config/service-defaults/web", "service mesh"),
            ("/v1/namespace/x", "Enterprise"),
            ("/v1/operator/segment", "Enterprise"),
            ("/v1/operator/usage", "not yet"),
            ("/v1/query", "not yet"),
            ("/v1/agent/metrics", "not yet"),
            ("/v1/configuration", "no such endpoint"),
            ("/v1/nope", "no such endpoint"),
            ("/v1", "below /v1/"),
            ("/ui", "below /v1/"),
        ] {
            match reason(path) {
                Error::NotFound(sentence) => assert!(sentence.contains(part), "{path}: {sentence}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(matches!(reason("/v1/acl/token/self"), Error::Disabled("ACL support disabled")));
    }
}
