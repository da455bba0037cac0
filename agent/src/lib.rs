//! The shell of an agent: every socket, file, thread and clock of Quorate. The binary is `quorate`.
//!
//! ```text
//!   QUIC, datagrams ─▶ quic ─▶┐                       ┌─▶ quic ─▶ other agents
//!   probes' results ─▶ check ─▶│ one queue ─▶ engine ─▶│─▶ disk ─▶ log and hard state
//!   durable so far ──▶ disk ──▶┘                       └─▶ check ─▶ probes
//! ```
//!
//! What an agent is told at the start is in [`config`].
//!
//! Nothing here decides anything about a cluster; [`quorate_engine`] does.

// The pure floors take time and threads as arguments. This one is where they come from.
#![allow(clippy::disallowed_methods)]

pub mod check;
pub mod clock;
pub mod config;
pub mod disk;
pub mod drive;
pub mod engine_thread;
pub mod front;
pub mod handlers;
mod join;
pub mod listen;
mod log;
mod lookup;
mod notice;
pub mod quic;
pub mod reload;
pub mod run;
mod signals;
pub mod validate;
