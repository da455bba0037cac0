//! Configuration: from what was written to what is used.
//!
//! ```text
//!  arguments ─▶ Flags ─────────────┐ last
//!  files, directories ─▶ File … ───┤           ┌─ Host: its name and addresses
//!  -dev ─▶ File::dev() ────────────┤ first     ▼
//!                                  └─▶ File ─▶ Config::check ─▶ Config, warnings
//! ```
//!
//! * [`File`] is what somebody wrote: everything optional, Consul's keys. Flags are a [`File`] too.
//! * [`Config`] is what the agent uses: checked once, so nothing downstream has to doubt it.
//!
//! A key nobody knows is a warning, a value of the wrong type or out of its range is a refusal. Each refusal names the key,
//! the value, where it was set and what to do. Ignoring a key that *restricts* something would open what its author meant
//! to close, so those are refused as well until they are enforced ([`restrictions`]).
//!
//! To add a key: [`mod@file`], [`checked`], `examples/agent.json` (a test loads it), and a flag in [`flags`] if it has one.

pub mod address;
pub mod checked;
pub mod definition;
pub mod file;
pub mod flags;
pub mod gossip;
pub mod key;
pub mod keys;
pub mod restrictions;

pub use address::{Host, JoinAddress};
pub use checked::{Config, Dns, Leave, Log, LogLevel, Server};
pub use file::File;
pub use flags::Flags;

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest configuration file that is read. A thousand service definitions are well below a megabyte.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A configuration to start with, and what its author should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is used.
    pub config: Config,
    /// Sentences for the log: keys without effect, and settings that are allowed but seldom meant.
    pub warnings: Vec<String>,
    /// Sentences about keys that nobody knows; they are among the warnings.
    pub unknown_keys: Vec<String>,
}

/// Why there is no configuration. Except for [`ConfigError::Show`], the operator has to change something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing is wrong: print this text and end the process with this code.
    #[error("{0}")]
    Show(String, i32),
    /// The command line is not understood.
    #[error("{0}")]
    Flag(String),
    /// A file cannot be read, or is not what it should be.
    #[error("{path}: {problem}")]
    File {
        /// The file or directory.
        path: String,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// A setting cannot be used.
    #[error("{key} is {value}{place}: {remedy}")]
    Setting {
        /// The configuration key, as in a file.
        key: String,
        /// The value as it was written.
        value: String,
        /// Where it was set, as ` (in <file>)` or ` (by <flag>)`; empty where a default is the problem.
        place: String,
        /// What is wrong with it, and what to write instead.
        remedy: String,
    },
}

/// The configuration that these arguments ask for. `args` are those after the word `agent`.
///
/// # Errors
/// [`ConfigError::Show`] for `-help`; anything else names what to change.
pub fn load(args: Vec<OsString>) -> Result<Loaded, ConfigError> {
    let (flags, mut warnings) = Flags::parse(args)?;
    let mut file = if flags.dev() { File::dev() } else { File::default() };
    for path in flags.files()? {
        let (next, notes) = File::parse(&read(&path)?, &path.display().to_string())?;
        file.overlay(next);
        warnings.extend(notes);
    }
    let dev = flags.dev();
    file.overlay(flags.into_file());
    let unknown_keys = file.unknown_keys.clone();
    let (config, notes) = Config::check(file, &Host::of_this_machine(), dev)?;
    warnings.extend(notes);
    Ok(Loaded { config, warnings, unknown_keys })
}

/// The text of a configuration file.
fn read(path: &Path) -> Result<String, ConfigError> {
    let refused = |problem: String| ConfigError::File { path: path.display().to_string(), problem };
    let file = fs::File::open(path).map_err(|e| refused(format!("cannot be opened ({e}); check the path")))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| refused(format!("cannot be read ({e})")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refused(format!("is larger than {MAX_FILE_BYTES} bytes; is it a configuration file?")));
    }
    String::from_utf8(bytes).map_err(|_| refused("is not UTF-8 text; save it as UTF-8 JSON".to_owned()))
}

/// The `.json` files of a directory in lexical order.
///
/// # Errors
/// The directory cannot be read, or holds an `.hcl` file: skipping it would drop settings that somebody relies on.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let refused = |problem: String| ConfigError::File { path: directory.display().to_string(), problem };
    let entries =
        fs::read_dir(directory).map_err(|e| refused(format!("is no readable directory ({e}); check -config-dir")))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| refused(format!("cannot be listed ({e})")))?.path();
        if is_hcl(&path) {
            return Err(hcl_comes_later(&path));
        }
        if path.extension().is_some_and(|ending| ending == "json") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_hcl(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "hcl")
}

fn hcl_comes_later(path: &Path) -> ConfigError {
    ConfigError::File {
        path: path.display().to_string(),
        problem: "HCL comes later; write the same keys as JSON in a file that ends in .json".to_owned(),
    }
}

#[cfg(test)]
mod tests;
