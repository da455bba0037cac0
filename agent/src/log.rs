//! The process's log.

use crate::config::Log;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard output, one line an event, written when it happens. `QUORATE_LOG` (tracing's filter syntax) overrides
/// the configured level; colour only on a terminal and without `NO_COLOR`.
pub fn start(log: Log) {
    let level = log.level.as_str();
    // hickory-server writes a line for each answer, quinn and hyper for each packet: only their warnings are for operators.
    let default =
        format!("{level},hickory_server=warn,hickory_proto=warn,quinn=warn,quinn_proto=warn,h2=warn,hyper=warn");
    let filter = EnvFilter::try_from_env("QUORATE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stdout());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_target(false);
    // Otherwise a line that cannot be written is reported with `eprintln!`, which panics where nobody reads that either.
    let builder = builder.log_internal_errors(false);
    // A second start in one process (tests) keeps the first log.
    let _ = if log.json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
}
