//! The process that runs while the lock is held.

use crate::failure::Failure;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// What to start.
pub(super) struct Launch {
    /// The command and its arguments.
    pub(super) words: Vec<String>,
    /// The shell that they are given to; none: the first of them is the program.
    pub(super) shell: Option<String>,
    /// Whether it reads our standard input.
    pub(super) pass_stdin: bool,
}

/// A process that was started and whose end was not yet asked for.
pub(super) struct Child {
    process: std::process::Child,
    pid: Pid,
    /// Whether it leads a group, so that what it started is stopped with it.
    leads: bool,
}

impl Launch {
    /// Starts it, and calls `ended` when it has ended.
    pub(super) fn start(
        &self,
        session: &str,
        token: Option<u64>,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<Child, Failure> {
        let mut command = match (&self.shell, self.words.split_first()) {
            (Some(shell), _) => {
                let mut command = Command::new(shell);
                command.arg("-c").arg(self.words.join(" "));
                command
            }
            (None, Some((program, arguments))) => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            (None, None) => return Err(Failure::new("Name a command to run.")),
        };
        command.env("CONSUL_LOCK_HELD", "true").env("QUORATE_LOCK_SESSION", session);
        if let Some(token) = token {
            command.env("QUORATE_LOCK_TOKEN", token.to_string());
        }
        if self.pass_stdin {
            // In our group, because only the terminal's own may read from it.
            command.stdin(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).process_group(0);
        }
        let process = command.spawn().map_err(|error| {
            Failure::new(format!("Error starting '{}': {error}. The lock was released.", self.words.join(" ")))
        })?;
        let pid = Pid::from_child(&process);
        // It is only seen to have ended here, and reaped by whoever owns it: until then nobody else gets its number.
        thread::spawn(move || {
            while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
                .is_err_and(|error| error == rustix::io::Errno::INTR)
            {}
            ended();
        });
        Ok(Child { process, pid, leads: !self.pass_stdin })
    }
}

impl Child {
    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits for its end, and says how it came.
    pub(super) fn reap(&mut self) -> Result<ExitStatus, Failure> {
        self.process.wait().map_err(|error| Failure::new(format!("Error waiting for the command: {error}.")))
    }

    fn signal(&self, signal: Signal) {
        // What has ended needs none.
        let _ = if self.leads { kill_process_group(self.pid, signal) } else { kill_process(self.pid, signal) };
    }
}
