//! What a check does: one variant for each kind.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

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
        /// Whether a TLS handshake belongs to it.
        #[serde(default, skip_serializing_if = "TlsUse::is_off")]
        tls: TlsUse,
    },
    /// A client reports; silence for longer than `ttl` is critical.
    Ttl {
        /// The longest silence that is still healthy.
        ttl: Duration,
    },
    /// A datagram: refused is critical, an answer or silence passing, for most protocols do not answer what they do not understand.
    Udp {
        /// `host:port`.
        address: String,
        /// How often.
        interval: Duration,
        /// How long an answer is waited for; zero for 10 s.
        timeout: Duration,
    },
    /// The standard health service of gRPC: `SERVING` is passing, anything else critical.
    Grpc(GrpcCheck),
    /// An HTTP/2 PING frame: acknowledged is passing, anything else critical.
    H2Ping {
        /// `host:port`.
        address: String,
        /// How often.
        interval: Duration,
        /// How long one run may take; zero for 10 s.
        timeout: Duration,
        /// Whether it is inside TLS.
        tls: TlsUse,
    },
    /// A program on the agent's host: its exit code 0 is passing, 1 warning, anything else critical.
    Script {
        /// The program and its arguments; no shell is between.
        args: Vec<String>,
        /// How often.
        interval: Duration,
        /// How long one run may take; zero for 30 s.
        timeout: Duration,
    },
    /// A program inside a container; exit codes as for [`CheckKind::Script`].
    Docker(DockerCheck),
    /// A service of the host's own service manager: running is passing, starting or reloading warning, anything else critical.
    OsService {
        /// The unit's name.
        name: String,
        /// How often.
        interval: Duration,
        /// How long one run may take; zero for 10 s.
        timeout: Duration,
    },
    /// The health of another service or node.
    Alias(Alias),
    /// Critical for as long as it is there: somebody took the node or service out of service.
    Maintenance,
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
    /// The name that the server's certificate must have; empty for the URL's host.
    pub tls_server_name: String,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

/// What a gRPC check asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GrpcCheck {
    /// `host:port`.
    pub address: String,
    /// The service asked about; empty for the server as a whole.
    pub service: String,
    /// How often.
    pub interval: Duration,
    /// How long one run may take; zero for 10 s.
    pub timeout: Duration,
    /// Whether it is inside TLS.
    pub tls: TlsUse,
}

/// What a Docker check runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerCheck {
    /// The container's id or name.
    pub container: String,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// How often.
    pub interval: Duration,
    /// How long one run may take; zero for 30 s.
    pub timeout: Duration,
}

/// Whose health an alias check shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Alias {
    /// The node; empty for the agent's own.
    pub node: String,
    /// The id of the service there; empty for the node alone.
    pub service_id: String,
}

/// Whether and how a probe uses TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsUse {
    /// Whether it does.
    pub on: bool,
    /// Whether any certificate will do.
    pub skip_verify: bool,
    /// The name that the server's certificate must have; empty for the host that is connected to.
    pub server_name: String,
}

impl TlsUse {
    /// Whether it does not.
    pub const fn is_off(&self) -> bool {
        !self.on
    }
}

impl CheckKind {
    /// The word shown as a check's `Type`.
    pub const fn word(&self) -> &'static str {
        match self {
            CheckKind::None => "",
            CheckKind::Http(_) => "http",
            CheckKind::Tcp { .. } => "tcp",
            CheckKind::Ttl { .. } => "ttl",
            CheckKind::Udp { .. } => "udp",
            CheckKind::Grpc(_) => "grpc",
            CheckKind::H2Ping { .. } => "h2ping",
            CheckKind::Script { .. } => "script",
            CheckKind::Docker(_) => "docker",
            CheckKind::OsService { .. } => "os_service",
            CheckKind::Alias(_) => "alias",
            CheckKind::Maintenance => "maintenance",
        }
    }

    /// How often it runs and how long one run may take, as it was registered; none where it does not run by itself.
    const fn timing(&self) -> Option<(Duration, Duration)> {
        match self {
            CheckKind::Http(HttpCheck { interval, timeout, .. })
            | CheckKind::Tcp { interval, timeout, .. }
            | CheckKind::Udp { interval, timeout, .. }
            | CheckKind::Grpc(GrpcCheck { interval, timeout, .. })
            | CheckKind::H2Ping { interval, timeout, .. }
            | CheckKind::Script { interval, timeout, .. }
            | CheckKind::Docker(DockerCheck { interval, timeout, .. })
            | CheckKind::OsService { interval, timeout, .. } => Some((*interval, *timeout)),
            CheckKind::None | CheckKind::Ttl { .. } | CheckKind::Alias(_) | CheckKind::Maintenance => None,
        }
    }

    /// Whether a probe runs for it, again and again.
    pub const fn is_probed(&self) -> bool {
        self.timing().is_some()
    }

    /// How often it runs; zero where it does not run by itself.
    pub const fn interval(&self) -> Duration {
        match self.timing() {
            Some((interval, _)) => interval,
            None => Duration::ZERO,
        }
    }

    /// How long one run may take as it was registered; zero for the kind's default.
    pub const fn timeout(&self) -> Duration {
        match self.timing() {
            Some((_, timeout)) => timeout,
            None => Duration::ZERO,
        }
    }

    /// Whether it runs a program of its author's choice: only where the operator allows it.
    pub const fn runs_a_program(&self) -> bool {
        matches!(self, CheckKind::Script { .. } | CheckKind::Docker(_))
    }
}
