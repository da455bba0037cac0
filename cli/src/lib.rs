//! The commands other than `agent`: an HTTP client and its tables.
//!
//! ```text
//!  quorate members -status alive
//!     │
//!     ▼
//!  command.rs ─▶ members.rs ─▶ client.rs ─ HTTP ─▶ an agent
//!  which one     what to ask   how to ask
//!                what to print ◀─ table.rs
//! ```
//!
//! A command is a file with two functions: `command()` says which words it takes, `run()` does it. All of them write to
//! what they are given, never to the process's own streams, and speak to an agent only over HTTP: nothing here knows what
//! an agent is made of.
//!
//! The binary calls [`main`] for every word but `agent` and `validate`; `agent` may use [`normalise_dashes`] so that Consul's single dash
//! works with clap, and [`command_list`] for its own help.

// `lock` has threads and a clock, `snapshot` a clock for its progress.
#![allow(clippy::disallowed_methods)]

mod catalog;
mod client;
mod command;
mod dashes;
mod duration;
mod event;
mod failure;
mod force_leave;
mod info;
mod join;
mod keygen;
mod keyring;
mod kv;
mod leave;
mod lock;
mod maint;
mod members;
mod monitor;
mod operator;
mod query;
mod reachability;
mod reload;
mod rtt;
mod session;
mod snapshot;
mod stream;
mod table;
mod tags;
mod version;
mod why;

pub use command::{Surroundings, command_list, main, run};
pub use dashes::normalise_dashes;
