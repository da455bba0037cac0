//! What is known: catalogue, checks, sessions and keys, with immutable views.
//!
//! ```text
//!                apply(index, &Write)                        view() ── O(1), shared by any thread
//!                        │                                     │
//!      ┌─────────────────▼────────────────┐            ┌───────▼────────┐
//!      │ Store                    store.rs│─Arc<State>▶│ View    view.rs│── SnapshotChunks ─▶ chunks
//!      │   KvWrite      ▶ kv.rs lock.rs   │            │   read(&Read)  │      snapshot/
//!      │   SessionWrite ▶ session.rs      │            └───────┬────────┘
//!      │   Register     ▶ register.rs ─┐  │                    │
//!      │   Txn          ▶ txn.rs       │  │                    │
//!      │   Expire       ▶ timer.rs     │  │◀── Store::from_chunks · RestoreWrite ▶ restore.rs
//!      │   node.rs service.rs check.rs ◀  │                    │
//!      └─────────────────┬────────────────┘                    │
//!          edit.rs: marks│of what changes                      │
//!                        ▼                                     ▼
//!               (Outcome, Touched)                      (Answer, LogIndex)
//!      touched.rs ── index.rs: topics of nodes, services, sessions · kv.rs: keys · changes.rs: what happened lately
//! ```
//!
//! Three verbs: [`Store::apply`] takes committed writes in log order, [`Store::view`] hands out the state as it is, and
//! [`View::read`] answers from it. The maps are persistent ones (imbl), so a view costs a pointer and never changes while
//! the store moves on.
//!
//! Two promises carry the blocking queries, and both follow from the marks that a write leaves: one list, `index.rs`'s `topics`,
//! says what a question is about.
//!
//! * **No wake-up is lost.** If a write changes the answer to a question, [`Touched::concerns`] says so; [`Watched`] finds all
//!   such questions among many.
//! * **An index never goes back.** The index that comes with an answer rises whenever the answer changes, and for one
//!   question it never falls, not even when what was asked about is deleted and the memory of that is given up, nor when a
//!   snapshot is restored. (Answers about the change stream say themselves how far they reach, and rise with every write.)
//!
//! **Time never enters.** What ends by itself (a session, a key with a TTL, a lock delay) is a timer that counts from a log index;
//! [`Touched::timers`] and [`View::timers`] tell whoever has a clock, and its end comes back as a write.
//!
//! `apply` is total: a write that cannot be applied is an [`Outcome::Refused`](quorate_protocol::Outcome::Refused) on
//! every replica alike, and it changes nothing at all.

#![deny(clippy::disallowed_methods)]

mod autopilot;
mod catalog;
mod changes;
mod check;
mod edit;
mod hash;
mod index;
mod kv;
mod lock;
mod name;
mod node;
mod planted;
mod register;
mod restore;
mod service;
mod session;
mod snapshot;
mod store;
mod timer;
mod touched;
mod txn;
mod view;
mod watched;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use kv::{MAX_KEY_SIZE, MAX_KEY_TTL, MAX_VALUE_SIZE};
pub use name::MAX_NAME_SIZE;
#[cfg(feature = "planted-bugs")]
pub use planted::Bug;
pub use restore::{MAX_RESTORE_CHUNK, MAX_RESTORE_SIZE};
pub use snapshot::{Chunk, SnapshotChunks, SnapshotError, Summary, TableSummary};
pub use store::Store;
pub use touched::Touched;
pub use txn::{MAX_TXN_OPERATIONS, MAX_TXN_RESULT};
pub use view::View;
pub use watched::Watched;
