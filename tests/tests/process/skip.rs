//! Tests that need more than every machine gives: they say so where everybody sees it, and pass.

use std::io::Write;
use std::process::{Command, Stdio};

/// How often the faults of a story are repeated: once, unless `QUORATE_PROOF_ROUNDS` says otherwise. CI runs one round; for hours of
/// exploration: `QUORATE_PROOF_ROUNDS=200 cargo nextest run -p quorate-tests --test process --no-capture kills pauses partitions disk`.
pub fn rounds() -> usize {
    std::env::var("QUORATE_PROOF_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Says that a test was not run, and why.
pub fn skip(test: &str, why: &str) {
    // Not `eprintln!`: what that prints is kept back for a test that passes, and CI would look as if it had been run.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Runs a command for what it does; whether it succeeded.
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
