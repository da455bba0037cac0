//! Who is here: SWIM membership and failure detection.
//!
//! ```text
//!   datagrams ─▶ seal ─▶ swim (foca) ──▶ table ──▶ members(), events
//!   streams ──▶ push_pull ──┤              ▲
//!                           └▶ rumours ────┘
//!   news: user events and queries, in datagrams of their own and by push_pull
//!   seeds, timers: what is asked and done when nothing comes in
//! ```
//!
//! [`Gossip`] is one machine with the verbs of all machines here: `handle_datagram`, `handle_message` and `handle_timeout` take in,
//! `poll` hands out, `deadline` says when it has something to do.
//!
//! | to learn | read |
//! |---|---|
//! | the verbs, and what follows from each input | `machine.rs` |
//! | which number means what | [`Timing`] |
//! | how liveness is found out | `swim.rs`, and the SWIM paper (Das, Gupta, Motivala, DSN 2002) |
//! | when a member counts as joined, failed or left | `table.rs` |
//! | how queries are asked and answered | `queries.rs` |
//! | how user events and queries reach everybody once | `news.rs`, `events.rs`, `memory.rs`, `large.rs` |
//! | where members are | `vivaldi.rs`, `coordinates.rs` |
//! | how views are repaired | `push_pull.rs` |
//! | what a stranger can do (nothing) | `seal.rs`, `replay.rs`, `keyring.rs` |
//! | how keys change | `keyring.rs`, `keys.rs` |
//! | what it looks like on the wire | [`quorate_protocol::wire::gossip`], `codec.rs` |
//!
//! foca is not visible from outside: `swim.rs`, `identity.rs`, `codec.rs` and `rumours.rs` meet it, and `push_pull.rs` and
//! `table.rs` borrow two of its words.

#![deny(clippy::disallowed_methods)]

mod allowance;
mod backlog;
mod codec;
mod config;
mod coordinates;
mod detector;
mod digest;
mod event;
mod events;
mod evidence;
mod health;
mod identity;
mod keyring;
mod keys;
mod lamport;
mod large;
mod machine;
mod memory;
mod news;
mod planted;
mod probe;
mod push_pull;
mod queries;
mod replay;
mod rumours;
mod seal;
mod seeds;
mod suspicion;
mod swim;
mod table;
mod timers;
mod vivaldi;

pub use config::{Config, ConfigError, Timing};
pub use event::{MemberEvent, MemberEventKind};
pub use keyring::Keyring;
pub use machine::{Gossip, Output};
pub use news::FireError;
#[cfg(feature = "planted-bugs")]
pub use planted::Part;
