//! What survives a restart: the Raft log and hard state, snapshots, the node's identity, and the agent's own registrations.
//!
//! ```text
//!  <data_dir>/               0700, one agent at a time
//!    lock                    held while an agent runs                              directory
//!    node-id                 whose directory this is                               directory
//!    generation              counts starts                                         directory
//!    local                   the agent's own services and checks                   kept
//!    keyring                 the keys, once an operator changed them               kept
//!    witness                 how many batches the log must hold                    witness
//!    reserve                 space for the moment when there is none               space
//!    quarantine, rejoin      the next start begins anew; waits to be added         quarantine
//!    raft/log-<sequence>     log and hard state, batch after batch                 log, segment, sector, record, outline
//!    raft/spare              becomes the next of these                             segment
//!    raft/snapshot-<index>-<term>                                                  snapshot
//!    raft.damaged-<n>/       what was put aside                                    quarantine
//!
//!  persist ─▶ bounded queue ─▶ disk thread: all that waits, in one batch, one flush ─▶ persisted(number)   writer
//!  save_snapshot ─▶ the newest ─▶ snapshots' thread ─▶ snapshot_saved(index)                               saver
//! ```
//!
//! * **Nothing is acknowledged before it is flushed**, and nothing at all after the first write or flush that failed: what the disk
//!   then holds is unknown until it is read again at the next start.
//! * **Nothing damaged is repaired by forgetting.** Every sector vouches for itself. Cut off is only what a crash tore while it was written,
//!   and that was never acknowledged. With any other damage the server begins anew as another node and learns everything from the others,
//!   or, where it may not, refuses and says what is wrong. Only a damaged snapshot that the log makes up for is done without.
//! * **A full disk is seen before it is full**: [`Disk::space`] says when to take only what makes room, and a reserve lets the next start tidy up.

mod directory;
mod error;
mod files;
mod kept;
mod log;
mod outline;
mod quarantine;
mod record;
#[cfg(test)]
mod recorder;
mod saver;
mod sector;
mod segment;
mod snapshot;
mod space;
#[cfg(test)]
mod tests;
mod witness;
mod writer;

pub use directory::{Lock, generation, lock, node_id};
pub use error::DiskError;
pub use kept::{KEYRING, LOCAL};
pub use quarantine::quarantine;
pub use space::Space;
pub use writer::Disk;

use log::RaftLog;
use quorate_protocol::raft::{HardState, LogEntry};
use quorate_protocol::{LogIndex, NodeId};
use quorate_raft::Snapshot;
use std::path::Path;
use std::sync::Arc;

/// Called from the disk's thread with the number of a [`quorate_raft::Persist`]: it and all before it are durable.
pub type OnPersisted = Box<dyn Fn(u64) + Send>;

/// Called from the snapshots' thread with the index of a snapshot: it, or a newer one, is on disk and was read again.
pub type OnSaved = Box<dyn Fn(LogIndex) + Send + Sync>;

/// Called from any thread of the disk's, after the first write or flush that failed there. It must end the process.
pub type OnFailure = Arc<dyn Fn(&DiskError) + Send + Sync>;

/// Where the disk reports to.
pub struct Reports {
    /// Of the log.
    pub persisted: OnPersisted,
    /// Of snapshots.
    pub snapshot_saved: OnSaved,
    /// Of the end.
    pub failed: OnFailure,
}

/// How to keep the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether a damaged or quarantined server may put its state aside and come back as another node: not where nobody else has the state,
    /// nor where the operator chose the node's id.
    pub may_rejoin: bool,
    /// Bytes of a file of the log. Beginning one costs a rename and two flushes more, and up to two are there that hold little.
    pub segment_size: u64,
    /// Bytes that are kept free for a full disk: enough to tidy up in. On a small file system, a part of it.
    pub reserve: u64,
}

impl Options {
    /// What suits servers.
    pub fn new(may_rejoin: bool) -> Options {
        Options { may_rejoin, segment_size: 8 * 1024 * 1024, reserve: 16 * 1024 * 1024 }
    }
}

/// What was on disk at the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Who this server is: another one than before, if it had to begin anew.
    pub id: NodeId,
    /// The last term and vote.
    pub hard_state: HardState,
    /// The newest snapshot, verified.
    pub snapshot: Option<Snapshot>,
    /// The log, without gaps: from 1, or from an entry that the snapshot covers or that follows it.
    pub entries: Vec<LogEntry>,
    /// Whether it began anew and was not added yet: it must not found a cluster.
    pub rejoin: bool,
}

/// Opens the log in `<data_dir>/raft`, makes it where there is none, and starts the disk's threads. A log that is damaged or quarantined is
/// put aside, if it may be, and this server begins anew with a new id.
///
/// # Errors
/// [`DiskError`]: the log is damaged and must not be put aside, belongs to another node, was written by a newer build, or the system refuses.
pub fn open(data_dir: &Path, id: NodeId, options: &Options, reports: Reports) -> Result<(Recovered, Disk), DiskError> {
    let (recovered, log) = open_log(data_dir, id, options)?;
    Ok((recovered, Disk::start(log, reports)?))
}

fn open_log(data_dir: &Path, id: NodeId, options: &Options) -> Result<(Recovered, RaftLog), DiskError> {
    let why = match quarantine::reason(data_dir)? {
        Some(why) => why,
        None => match RaftLog::open(data_dir, id, options) {
            Err(error @ DiskError::Damaged { .. }) => error.to_string(),
            opened => return opened,
        },
    };
    if !options.may_rejoin {
        return Err(DiskError::NotRepaired { what: why });
    }
    quarantine(data_dir, &why)?;
    let id = quarantine::begin_anew(data_dir, &why)?;
    RaftLog::open(data_dir, id, options)
}
