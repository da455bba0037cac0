//! A snapshot's file, as it is left by whoever breaks off.

use crate::agent::{binary, wait_until};
use anyhow::{Result, ensure};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

#[test]
fn an_interrupted_save_leaves_nothing_half() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // An agent that takes the question and never answers.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?.to_string();
    for (signal, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        // Whoever runs the tests in the background has them ignore interrupts; this one is not to inherit that.
        let mut saving = Command::new("env")
            .arg("--default-signal=HUP,INT,TERM")
            .arg(binary()?)
            .args(["snapshot", "save", "-http-addr", &address])
            .arg(directory.path().join("backup.snap"))
            .stdin(Stdio::null())
            .spawn()?;
        wait_until("the save to begin", || Ok(directory.path().join("backup.snap.unverified").exists().then_some(())))?;
        ensure!(Command::new("kill").args([&format!("-{signal}"), &saving.id().to_string()]).status()?.success());
        let status = wait_until("the save to end", || Ok(saving.try_wait()?))?;
        ensure!(status.signal() == Some(number), "a script around it does not see that it was interrupted: {status}");
        let left = std::fs::read_dir(directory.path())?.count();
        ensure!(left == 0, "{left} files are left after {signal}");
    }
    Ok(())
}
