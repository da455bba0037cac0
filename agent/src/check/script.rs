//! Script checks: the exit code of a program decides.

use super::exit;
use super::program::{Ran, run};
use quorate_protocol::Status;
use quorate_protocol::go::format_duration;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// Runs the program once.
pub(super) async fn probe(args: &[String], timeout: Duration, output_size: usize) -> (Status, String) {
    match run(args, timeout, output_size).await {
        Ok((Ran::Ended(ended), output)) => match ended.signal() {
            Some(signal) => (Status::Critical, format!("ended by signal {signal}\n{output}")),
            None => (exit::status(ended.code().map(i64::from)), output),
        },
        Ok((Ran::TimedOut, output)) => (Status::Critical, timed_out(timeout, &output)),
        Err(error) => {
            let program = args.first().map_or("", String::as_str);
            (Status::Critical, format!("the program {program} cannot be started: {error}"))
        }
    }
}

/// In Consul's words, with what it said so far.
pub(super) fn timed_out(timeout: Duration, output: &str) -> String {
    let sentence = format!("Timed out ({}) running check", format_duration(timeout));
    if output.is_empty() { sentence } else { format!("{sentence}\n\n{output}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_exit_code_decides() {
        let sh = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned);
        for (script, timeout, expected, output) in [
            ("echo fine", 60, Status::Passing, "fine\n"),
            ("echo so so >&2; exit 1", 60, Status::Warning, "so so\n"),
            ("exit 2", 60, Status::Critical, ""),
            ("echo x; kill -9 $$", 60, Status::Critical, "ended by signal 9\nx\n"),
            ("echo begun; sleep 600", 1, Status::Critical, "Timed out (1s) running check\n\nbegun\n"),
            ("sleep 600", 1, Status::Critical, "Timed out (1s) running check"),
        ] {
            let result = probe(&sh(script), Duration::from_secs(timeout), 4096).await;
            assert_eq!(result, (expected, output.to_owned()), "{script}");
        }
        let (status, output) = probe(&["/nowhere/x".to_owned()], Duration::from_secs(1), 4096).await;
        assert_eq!(status, Status::Critical);
        assert!(output.starts_with("the program /nowhere/x cannot be started: No such file"), "{output}");
    }
}
