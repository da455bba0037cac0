//! Checks of the host's own services, by systemd.

use super::program::{Ran, run};
use super::script::timed_out;
use quorate_protocol::Status;
use std::time::Duration;

/// systemd's own tool, which speaks to the service manager: `is-active` prints one word (systemctl(1)).
const SYSTEMCTL: &str = "systemctl";

/// Looks once whether a unit runs.
pub(super) async fn probe(name: &str, timeout: Duration, output_size: usize) -> (Status, String) {
    ask(SYSTEMCTL, name, timeout, output_size).await
}

async fn ask(systemctl: &str, name: &str, timeout: Duration, output_size: usize) -> (Status, String) {
    // After `--` even a name with a dash in front is a name.
    let args = [systemctl, "is-active", "--", name].map(str::to_owned);
    match run(&args, timeout, output_size).await {
        Ok((Ran::Ended(_), output)) => {
            let word = output.trim();
            let status = match word {
                "active" => Status::Passing,
                // It is coming, or is there while it reads its configuration.
                "activating" | "reloading" | "refreshing" => Status::Warning,
                _ => Status::Critical,
            };
            (status, format!("Service \"{name}\" is {word}"))
        }
        Ok((Ran::TimedOut, output)) => (Status::Critical, timed_out(timeout, &output)),
        Err(error) => {
            let output = format!("{systemctl} cannot be started, so nobody knows how \"{name}\" is: {error}");
            (Status::Critical, output)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const TIMEOUT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_word_of_the_service_manager_decides() {
        let directory = tempfile::tempdir().unwrap();
        let systemctl = directory.path().join("systemctl");
        // As the real one: the word on standard output, and a code that says less.
        std::fs::write(
            &systemctl,
            "#!/bin/sh\n[ \"$1 $2\" = 'is-active --' ] || exit 9\necho \"$3\"; [ \"$3\" = active ] || exit 3\n",
        )
        .unwrap();
        std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let systemctl = systemctl.to_str().unwrap();
        for (word, expected) in [
            ("active", Status::Passing),
            ("reloading", Status::Warning),
            ("activating", Status::Warning),
            ("deactivating", Status::Critical),
            ("inactive", Status::Critical),
            ("failed", Status::Critical),
            ("--version", Status::Critical),
        ] {
            let output = format!("Service \"{word}\" is {word}");
            assert_eq!(ask(systemctl, word, TIMEOUT, 4096).await, (expected, output));
        }
        let (status, output) = ask("/nowhere/systemctl", "nginx", TIMEOUT, 4096).await;
        assert_eq!(status, Status::Critical);
        assert!(output.contains("nobody knows how \"nginx\" is"), "{output}");
    }
}
