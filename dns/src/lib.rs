//! A DNS message in, a DNS message out.
//!
//! ```text
//!  bytes ─▶ question.rs ─▶ one Cluster read ─▶ answer.rs ─▶ truncate.rs ─▶ bytes
//!           what is asked   stale allowed       records       what fits
//!           (pure)          (respond.rs)        (pure)        (pure)
//! ```
//!
//! | file | decides |
//! |---|---|
//! | `question` | what a name means: `web.service.consul`, `n1.node.dc2.consul`, `_web._tcp.consul`, `7f000001.addr.consul` |
//! | `answer` | which records answer it, in an order drawn from a generator that is passed in |
//! | `truncate` | how many of them fit, and the bytes |
//! | `respond` | the order of the steps; [`Dns::respond`] is the whole journey and what the tests drive |
//! | `handler` | the same journey behind hickory-server's `RequestHandler` |
//!
//! # Serving it
//!
//! The crate opens nothing. The agent gives it sockets through hickory-server, one reuse-port UDP socket per core and one
//! listener, inside a tokio runtime:
//!
//! ```no_run
//! # async fn serve(
//! #     cluster: std::sync::Arc<dyn quorate_protocol::Cluster>,
//! #     udp: tokio::net::UdpSocket,
//! #     tcp: tokio::net::TcpListener,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let dns = quorate_dns::Dns::new(quorate_dns::Config::default(), cluster)?;
//! let mut server = hickory_server::Server::new(dns);
//! server.register_socket(udp);
//! // Closed after so long without a question; so many answers wait in one connection.
//! server.register_listener(tcp, std::time::Duration::from_secs(5), 32);
//! // … and to stop:
//! server.shutdown_gracefully().await?;
//! # Ok(())
//! # }
//! ```
//!
//! hickory-server logs every answer at `info`; a quiet agent filters `hickory_server=warn`. A loop of one's own around
//! [`Dns::respond`] works as well and needs no hickory-server.
//!
//! The order of answers comes from [`Config::seed`] alone: the same seed and the same sequence of questions give the
//! same bytes.

#![deny(clippy::disallowed_methods)]

mod answer;
mod config;
mod handler;
mod question;
mod respond;
mod truncate;

pub use config::{Config, ConfigError};
pub use respond::{Dns, Transport};
