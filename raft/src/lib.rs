//! In what order: one server of a Raft cluster, as a machine without clock, dice, disk or network.
//!
//! ```text
//!  handle_message ──┐                                            ┌─▶ Send           to another server
//!  handle_persisted ┤    election ──▶ replication ──▶ read       ├─▶ Persist        to this server's disk
//!  handle_timeout ──┼──▶ (who leads)  (one log)      (when safe) ├─▶ Committed      to the store
//!  propose ─────────┤         │            │            │        ├─▶ ReadReady, ReadLost
//!  read_index ──────┤         └──── log · disk · quorum ┘        ├─▶ Snapshot…      needed, asked for, here, done
//!  change_configuration, …                                       └─▶ BecameLeader, LostLeadership, LeaderChanged
//!                                                                poll() until None; deadline() says when to come back
//! ```
//!
//! Three verbs: `handle_*` (with [`Raft::propose`], [`Raft::read_index`] and the like) changes the state,
//! [`Raft::poll`] hands out what should happen, [`Raft::deadline`] says when to call [`Raft::handle_timeout`]. The names
//! and the rules are those of Ongaro's dissertation, <https://github.com/ongardie/dissertation>, cited as "dissertation"
//! with section or figure.
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
//! | `progress` | what a leader knows of one peer: probe, replicate, snapshot; window |
//! | `snapshot` | compaction, sending and receiving what took a log's beginning |
//! | `sending` | one snapshot on its way to one peer |
//! | `read` | heartbeat rounds, read index, lease |
//! | `membership` | learners, voters, one change at a time; recovery from a lost quorum |
//! | `transfer` | handing over the leadership |
//! | `disk` | what is durable, what waits for it |
//! | `log`, `quorum` | the entries in memory; majorities |
//! | `planted` | mistakes to make on purpose, behind the feature `planted-bugs` |

#![deny(clippy::disallowed_methods)]

mod config;
mod disk;
mod election;
mod log;
mod membership;
mod output;
mod planted;
mod progress;
mod quorum;
mod raft;
mod read;
mod replication;
mod sending;
mod snapshot;
#[cfg(test)]
mod tests;
mod transfer;

pub use config::Config;
pub use membership::MAX_VOTERS;
pub use output::{
    AlreadyBootstrapped, Change, ChangeError, Counters, NotLeader, Output, PeerProgress, Persist, RecoverError, Role,
    Snapshot, StartError, TransferError,
};
#[cfg(feature = "planted-bugs")]
pub use planted::PlantedBug;
pub use raft::Raft;
