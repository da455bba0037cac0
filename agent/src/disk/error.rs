//! What the disk may refuse, each with what to do about it.

use quorate_protocol::NodeId;
use std::io;
use std::path::PathBuf;

/// Why something could not be kept or read. The operator acts on it; the message says how.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system refused.
    #[error("cannot {doing} {}: {cause}: check that the disk has space and works, and that this user owns the directory", .path.display())]
    System {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The database refused for a reason that is not the system's.
    #[error("cannot {doing} {}: {cause}", .path.display())]
    Database {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the database said.
        cause: String,
    },
    /// The log or hard state is not what was once written. Continuing could lose or contradict what others were promised.
    #[error(
        "the Raft log {} is damaged: {what}. It is left as it is. With other servers alive: move the whole data directory aside and start \
         again; this server then joins under a new node id and gets everything from them. Otherwise restore the directory from a backup",
        .path.display()
    )]
    DamagedLog {
        /// The damaged file.
        path: PathBuf,
        /// What exactly is wrong.
        what: String,
    },
    /// A small file is not what was once written.
    #[error("{} is damaged: {what}. {remedy}", .path.display())]
    DamagedFile {
        /// The damaged file.
        path: PathBuf,
        /// What exactly is wrong.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The directory belongs to another node.
    #[error(
        "{} belongs to node {owner}, and this agent is to be node {wanted}: start it with -node-id {owner} (node_id), or give it a data \
         directory of its own with -data-dir (data_dir)",
        .path.display()
    )]
    Foreign {
        /// What belongs to another.
        path: PathBuf,
        /// To whom it belongs.
        owner: NodeId,
        /// Who asked for it.
        wanted: NodeId,
    },
    /// Another agent runs in the directory.
    #[error(
        "another agent{} uses the data directory {}: stop it, or give this one its own with -data-dir (data_dir)",
        .process.map(|id| format!(" (process {id})")).unwrap_or_default(),
        .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other's process id, where it is known.
        process: Option<u32>,
    },
    /// The caller left a gap in the log: a bug, and nothing was written.
    #[error("entry {index} was to be written after entry {last}: please report this")]
    Gap {
        /// The entry that came.
        index: u64,
        /// The last entry there is.
        last: u64,
    },
}

impl DiskError {
    /// For `map_err` on file operations.
    pub(super) fn system(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DiskError {
        let path = path.into();
        move |cause| DiskError::System { doing, path, cause }
    }
}
