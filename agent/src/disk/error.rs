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
    /// Log, vote or snapshot are not what was once written. Continuing could lose or contradict what others were promised.
    #[error("{} is damaged: {what}", .path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What exactly is wrong.
        what: String,
    },
    /// The server cannot go on with its directory, and must not begin anew by itself.
    #[error(
        "{what}. Everything is left as it is: this server may not begin anew by itself, as it was told its node id (-node-id) or that there \
         are no other servers to learn from (-bootstrap-expect 1). With other servers alive: move the whole data directory aside and start \
         again under another node id. Otherwise restore the directory from a backup, or a snapshot into a new one"
    )]
    NotRepaired {
        /// What is wrong.
        what: String,
    },
    /// A newer build wrote it.
    #[error("{} cannot be read by this build: {what}. Start the build that wrote it, or a newer one", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is not understood.
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
    /// The caller would delete entries that no snapshot covers: a bug, and nothing was written.
    #[error(
        "entries below {first} were to be deleted, and snapshots cover those up to {covered} only: please report this"
    )]
    Uncovered {
        /// What was to become the first entry.
        first: u64,
        /// The last entry that a snapshot on disk covers.
        covered: u64,
    },
}

impl DiskError {
    /// For `map_err` on file operations.
    pub(super) fn system(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DiskError {
        let path = path.into();
        move |cause| DiskError::System { doing, path, cause }
    }

    /// For `map_err` on reading what was once written: a sector that the disk cannot give back is damage, whatever else is not.
    pub(super) fn reading(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DiskError {
        let path = path.into();
        move |cause| match cause.raw_os_error() {
            Some(number) if number == rustix::io::Errno::IO.raw_os_error() => {
                DiskError::Damaged { path, what: format!("it cannot be read: {cause}") }
            }
            _ => DiskError::System { doing: "read", path, cause },
        }
    }
}
