//! What is being saved and cannot be trusted yet.

use super::archive::Archive;
use crate::failure::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;

/// A file beside the one that is wanted, which goes unless it is kept.
pub(super) struct Unverified {
    name: PathBuf,
    pub(super) file: File,
    kept: bool,
    signals: Handle,
}

impl Unverified {
    pub(super) fn create(wanted: &Path) -> Result<Unverified, Failure> {
        if wanted.is_dir() {
            let wanted = wanted.display();
            return Err(Failure::new(format!("Error saving a snapshot: {wanted} is a directory. Name a file in it.")));
        }
        let mut name = wanted.as_os_str().to_owned();
        name.push(".unverified");
        let name = PathBuf::from(name);
        // Before there is a file that could be left behind.
        let signals = remove_on_signal(name.clone())?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&name);
        let file = file.map_err(|error| {
            Failure::new(format!("Error creating {}: {error}. Name a file that can be written.", name.display()))
        })?;
        Ok(Unverified { name, file, kept: false, signals })
    }

    /// Reads back what was written, and gives it the wanted name if it is whole: it is on the disk then, and so is its name.
    pub(super) fn keep(mut self, wanted: &Path) -> Result<Archive, Failure> {
        let failed = |error: io::Error| Failure::new(format!("Error saving {}: {error}.", wanted.display()));
        self.file.sync_all().map_err(failed)?;
        let archive = File::open(&self.name).map_err(failed)?;
        let archive = Archive::verify(io::BufReader::new(archive)).map_err(|why| {
            Failure::new(format!(
                "Error saving a snapshot: what the agent sent is not whole: {why}. Nothing was kept; save again."
            ))
        })?;
        std::fs::rename(&self.name, wanted).map_err(failed)?;
        self.kept = true;
        let directory = wanted.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(archive)
    }
}

impl Drop for Unverified {
    fn drop(&mut self) {
        self.signals.close();
        if !self.kept {
            // What cannot be removed bears a name that says what it is.
            let _ = std::fs::remove_file(&self.name);
        }
    }
}

/// Removes the file when somebody interrupts, and ends as one who was: a script around it stops too.
fn remove_on_signal(name: PathBuf) -> Result<Handle, Failure> {
    // What the caller ignores (`nohup`, a background job) stays ignored.
    let ignored = ignored_signals();
    let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals =
        Signals::new(heard).map_err(|error| Failure::new(format!("Error listening to signals: {error}.")))?;
    let handle = signals.handle();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _ = std::fs::remove_file(&name);
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(handle)
}

/// The mask of the signals that this process was started to ignore; none where the system does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
