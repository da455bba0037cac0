//! An HTTP request in, a response out, as Consul's clients speak it.
//!
//! ```text
//!            guard ──▶ route ──▶ Call ──▶ handler of the noun ──▶ Cluster::ask
//!  client ◀─ guard ◀──────────── json, headers, error ◀─────────── Reply
//! ```
//!
//! [`router`] is the only door. One noun, one file, each with its routes at the top: `kv` (with `stream` below it), `session`, `txn`, `agent` (with `service`,
//! `check`, `health` and `events` below it), `event`, `catalog`, `health`, `operator` (with `autopilot` below it), `snapshot`, `status`. Handlers are thin: they turn a path, a query string
//! and a body into words of [`quorate_protocol`], ask, and show the answer.
//!
//! What Consul's clients depend on is said once: parameters in `query`, spelling of keys and
//! shapes of rows in `json`, headers in `headers`, statuses and sentences in `error`, paths that nothing serves in
//! `absent`. The pages in `docs/http` tell users.
//!
//! Sockets, TLS, header limits and idle limits belong to `agent`. Nothing here waits by itself, and the one clock that it reads is for people
//! ([`Config::wall_clock`]).

#![deny(clippy::disallowed_methods)]

mod absent;
mod agent;
mod body;
mod call;
mod catalog;
mod config;
mod coordinate;
mod error;
mod event;
mod guard;
mod headers;
mod health;
mod json;
mod kv;
mod operator;
mod percent;
mod query;
mod route;
mod session;
mod snapshot;
mod sse;
mod status;
mod txn;

pub use config::Config;

use axum::Router;
use call::Door;
use quorate_protocol::Cluster;
use route::{Routes, methods};
use std::sync::Arc;

/// Every endpoint, in front of a cluster.
pub fn router(cluster: Arc<dyn Cluster>, config: Config) -> Router {
    Router::new()
        .merge(kv::routes())
        .merge(session::routes())
        .merge(txn::routes())
        .merge(agent::routes())
        .merge(catalog::routes())
        .merge(health::routes())
        .merge(coordinate::routes())
        .merge(event::routes())
        .merge(operator::routes())
        .merge(snapshot::routes())
        .merge(status::routes())
        .exactly("/", methods().get(absent::root))
        .fallback(absent::absent)
        .layer(axum::middleware::from_fn(guard::guard))
        .with_state(Door::new(cluster, config))
}
