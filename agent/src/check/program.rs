//! Running a program to its end, or to the end of patience: its whole process group goes then, and no more of its output is kept than is
//! wanted.

use super::output::Tail;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// Bytes that are read of a program that writes without end, between two looks at whether it has ended.
const PIECE: usize = 16 * 1024;
/// What may still be in the pipe when the program has ended (pipe(7): 64 KiB).
const PIPE_SIZE: usize = 64 * 1024;

/// What became of a program.
pub(super) enum Ran {
    /// It ended by itself.
    Ended(ExitStatus),
    /// It was killed when its time was up.
    TimedOut,
}

/// Runs a program with its arguments; no shell is between. Its standard output and error come back together, the last `output_size` bytes of
/// them, as they would appear on a terminal.
///
/// # Errors
/// It cannot be started.
pub(super) async fn run(args: &[String], timeout: Duration, output_size: usize) -> io::Result<(Ran, String)> {
    let Some((program, rest)) = args.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no program to run"));
    };
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    // A group of its own, so that what it starts can be ended with it.
    let mut group = Group(command.process_group(0).kill_on_drop(true).spawn()?);
    // The command holds the writing ends; without them the pipe ends with the program.
    drop(command);
    let mut reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut tail = Tail::new(output_size);
    let ran = tokio::time::timeout(timeout, until_the_end(&mut group.0, &mut reader, &mut tail)).await;
    let ran = match ran {
        Ok(status) => Ran::Ended(status?),
        Err(_) => {
            group.kill();
            group.0.wait().await?;
            Ran::TimedOut
        }
    };
    // What it left behind may hold the pipe open and go on writing: only what is there now is its own.
    let mut left = PIPE_SIZE;
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = reader.try_read(&mut piece) {
        tail.push(piece.get(..count).unwrap_or_default());
        left = left.saturating_sub(count);
        if left == 0 {
            break;
        }
    }
    Ok((ran, tail.into_text()))
}

/// Reads what it writes until it ends.
async fn until_the_end(child: &mut Child, reader: &mut pipe::Receiver, tail: &mut Tail) -> io::Result<ExitStatus> {
    let mut piece = vec![0; PIECE];
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status,
            read = reader.read(&mut piece), if is_open => match read {
                Ok(count @ 1..) => tail.push(piece.get(..count).unwrap_or_default()),
                // It closed its output and goes on.
                Ok(0) | Err(_) => is_open = false,
            },
        }
    }
}

/// A program and all that it started; killed when this is dropped before its end, as the check that runs it may be.
struct Group(Child);

impl Group {
    fn kill(&self) {
        // None once it was waited for: then its number may be somebody else's.
        let leader = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    async fn shell(script: &str, timeout: Duration, size: usize) -> (Option<i32>, String) {
        let args = ["/bin/sh", "-c", script].map(str::to_owned);
        match run(&args, timeout, size).await.unwrap() {
            (Ran::Ended(status), output) => (status.code(), output),
            (Ran::TimedOut, output) => (None, output),
        }
    }

    /// Waits until a process is gone; a killed one is a zombie until its parent asks.
    fn await_end_of(process: &str) {
        let begun = Instant::now();
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while alive() {
            assert!(begun.elapsed() < LONG, "process {process} lives");
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn both_outputs_come_back_in_order_with_the_code() {
        assert_eq!(
            shell("echo one; echo two >&2; echo three; exit 7", LONG, 4096).await,
            (Some(7), "one\ntwo\nthree\n".into())
        );
        assert_eq!(shell("exec >&- 2>&-; exit 1", LONG, 4096).await, (Some(1), String::new()));
        assert_eq!(shell("cat", LONG, 4096).await, (Some(0), String::new()), "its input is empty");
    }

    #[tokio::test]
    async fn output_without_end_is_cut_and_ended() {
        let (code, output) = shell("yes", Duration::from_millis(200), 10).await;
        assert_eq!((code, output.len()), (None, 10));
        let (code, output) = shell("head -c 1000000 /dev/zero | tr '\\0' x; echo end", LONG, 8).await;
        assert_eq!((code, output.as_str()), (Some(0), "xxxxend\n"));
    }

    #[tokio::test]
    async fn all_that_it_started_ends_with_it() {
        let (code, output) = shell("sleep 600 & echo $!; sleep 600", Duration::from_millis(300), 4096).await;
        assert_eq!(code, None);
        await_end_of(output.trim());
    }

    #[tokio::test]
    async fn what_stays_in_the_background_holds_nothing_up() {
        let begun = Instant::now();
        let (code, output) = shell("sleep 600 & echo $!", LONG, 4096).await;
        assert_eq!(code, Some(0));
        assert!(begun.elapsed() < LONG);
        let _ = std::process::Command::new("kill").arg(output.trim()).status();
    }

    #[tokio::test]
    async fn a_run_that_is_given_up_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; sleep 600", file.display());
        let running = tokio::spawn(async move { shell(&script, LONG, 10).await });
        while !file.exists() {
            tokio::task::yield_now().await;
        }
        running.abort();
        let _ = running.await;
        await_end_of(std::fs::read_to_string(file).unwrap().trim());
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_an_error() {
        for args in [&["/nowhere/at/all"][..], &[]] {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert!(run(&args, LONG, 10).await.is_err());
        }
    }
}
