//! In what order: one server of a Raft cluster, as a machine without clock, dice, disk or network.
//!
//! ```text
//!  handle_message ──┐                                            ┌─▶ Send           to another server
//!  handle_persisted ┤    election ──▶ replication ──▶ read       ├─▶ Persist        to this server's disk
//!  handle_timeout ──┼──▶ (who leads)  (one log)      (when safe) ├─▶ Committed      to the store
//!  propose ─────────┤         │            │            │        ├─▶ ReadReady, ReadLost
//!  read_index ──────┤         └──── log · disk · quorum ┘        └─▶ BecameLeader, LostLeadership, LeaderChanged
//!  change_configuration                                           poll() until None; deadline() says when to come back
//! ```
//!
//! Three verbs: `handle_*` (with [`Raft::propose`] and [`Raft::read_index`]) changes the state, [`Raft::poll`] hands
//! out what should happen, [`Raft::deadline`] says when to call [`Raft::handle_timeout`]. The names and the rules are
//! those of Ongaro's dissertation, <https://github.com/ongardie/dissertation>, cited as "dissertation" with section
//! or figure.
//!
//! **The disk is a peer.** A vote, an acknowledgement, a candidacy and the leader's own copy count only once
//! [`Raft::handle_persisted`] said that the write behind them is durable; nobody else has to remember that. The
//! followers get entries while the leader's own disk is still writing them.
//!
//! | file | what |
//! |---|---|
//! | [`raft`](Raft) | the doors, terms and roles |
//! | `election` | pre-vote, vote, timeouts |
//! | `replication` | propose, append, commit, check-quorum; leader's side, then follower's |
//! | `progress` | what a leader knows of one peer: probe, replicate, window |
//! | `read` | heartbeat rounds, read index, lease |
//! | `membership` | learners, voters, one change at a time |
//! | `disk` | what is durable, what waits for it |
//! | `log`, `quorum` | the entries in memory; majorities |
//!
//! Not here yet: snapshots and compaction (they go behind `log` and become a third mode of `progress`), leadership
//! transfer (a message that skips the wait, never the vote; the lease must be given up first).

#![deny(clippy::disallowed_methods)]

mod config;
mod disk;
mod election;
mod log;
mod membership;
mod output;
mod progress;
mod quorum;
mod raft;
mod read;
mod replication;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use membership::MAX_VOTERS;
pub use output::{
    AlreadyBootstrapped, Change, ChangeError, Counters, NotLeader, Output, PeerProgress, Persist, Role, Snapshot,
    StartError,
};
pub use raft::Raft;
