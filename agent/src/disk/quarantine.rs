//! Beginning anew: what is damaged, or differs from what the others have, is put aside, and the server comes back as another node that
//! learns everything from them. It never comes back as the same one: that one may have promised votes and entries that are lost now.
//!
//! ```text
//!  quarantine   why; while it is there, a start begins anew. Every step below can be repeated, and it goes last
//!    raft/ becomes raft.damaged-<n>   the witness goes   node-id becomes another   rejoin appears
//!  rejoin       the server must not found a cluster: it waits until others have added it and sent their log
//! ```

use super::DiskError;
use super::directory::replace_node_id;
use super::files::{read_at_most, remove, rename, replace};
use super::witness;
use quorate_protocol::NodeId;
use std::path::{Path, PathBuf};

/// A reason is a sentence.
const MAX_REASON: u64 = 4096;

fn marker(data_dir: &Path) -> PathBuf {
    data_dir.join("quarantine")
}

fn rejoin_marker(data_dir: &Path) -> PathBuf {
    data_dir.join("rejoin")
}

/// Makes the next start begin anew: this server's state is not what it should be. It is on disk when this returns; the process must end
/// then.
///
/// # Errors
/// [`DiskError`] when it cannot be written. The process must end all the same.
pub fn quarantine(data_dir: &Path, why: &str) -> Result<(), DiskError> {
    replace(&marker(data_dir), format!("{why}\n").as_bytes())
}

/// Why the next start must begin anew; none where it need not.
pub(super) fn reason(data_dir: &Path) -> Result<Option<String>, DiskError> {
    let text = read_at_most(&marker(data_dir), MAX_REASON)?;
    Ok(text.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}

/// Puts the old state aside and makes another node of this server.
pub(super) fn begin_anew(data_dir: &Path, why: &str) -> Result<NodeId, DiskError> {
    let raft = data_dir.join("raft");
    let aside = (1_u64..).map(|number| data_dir.join(format!("raft.damaged-{number}"))).find(|path| !path.exists());
    if let Some(aside) = aside.filter(|_| raft.exists()) {
        rename(&raft, &aside)?;
        tracing::error!(why, aside = %aside.display(), "the server's state is not trusted any more and was put aside");
    }
    remove(&witness::path_in(data_dir))?;
    let id = replace_node_id(data_dir)?;
    replace(&rejoin_marker(data_dir), b"This server waits until the others have added it.\n")?;
    remove(&marker(data_dir))?;
    tracing::warn!(%id, "this server is a new node now; it waits until the others have added it and sent what they have");
    Ok(id)
}

/// Whether this server waits to be added.
pub(super) fn is_rejoining(data_dir: &Path) -> bool {
    rejoin_marker(data_dir).exists()
}

/// It was added.
pub(super) fn has_rejoined(data_dir: &Path) -> Result<(), DiskError> {
    remove(&rejoin_marker(data_dir))
}
