//! What survives a restart: the Raft log and hard state, the node's identity, and the agent's own registrations.
//!
//! ```text
//!  <data_dir>/            0700, one agent at a time
//!    lock                 held while an agent runs                    directory
//!    node-id              whose directory this is                     directory
//!    generation           counts starts                               directory
//!    local                the agent's own services and checks         local
//!    raft/raft.redb       log and hard state, one transaction each    log, record
//!    raft/witness         how many transactions there must be         witness
//!
//!  persist ─▶ bounded queue ─▶ disk thread: all that waits, in one commit ─▶ persisted(number)   writer
//! ```
//!
//! * **Nothing is acknowledged before it is flushed**, and nothing at all after the first write or flush that failed: what the disk
//!   then holds is unknown until it is read again at the next start.
//! * **Nothing damaged is repaired by forgetting.** Every record has a checksum of its own, and a start that finds less than was once
//!   acknowledged says what is missing and refuses.

mod directory;
mod error;
mod local;
mod log;
mod record;
mod witness;
mod writer;

pub use directory::{Lock, generation, lock, node_id};
pub use error::DiskError;
pub use local::{load_local, save_local};
pub use writer::Disk;

use quorate_protocol::NodeId;
use quorate_protocol::raft::{HardState, LogEntry};
use std::path::Path;

/// Called from the disk's thread with the number of a [`quorate_raft::Persist`]: it and all before it are durable.
pub type OnPersisted = Box<dyn Fn(u64) + Send>;

/// Called from the disk's thread, once, after the first write or flush that failed. It must end the process.
pub type OnFailure = Box<dyn Fn(&DiskError) + Send>;

/// What was on disk at the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The last term and vote.
    pub hard_state: HardState,
    /// The log, without gaps.
    pub entries: Vec<LogEntry>,
}

/// Opens the log in `<data_dir>/raft`, makes it where there is none, and starts the disk's thread.
///
/// # Errors
/// [`DiskError`]: the log is damaged, belongs to another node, is in use, or the system refuses. Nothing was changed then.
pub fn open(
    data_dir: &Path,
    id: NodeId,
    on_persisted: OnPersisted,
    on_failure: OnFailure,
) -> Result<(Recovered, Disk), DiskError> {
    let (recovered, log) = log::RaftLog::open(data_dir, id)?;
    Ok((recovered, Disk::start(log, on_persisted, on_failure)?))
}
