//! One run of one script: in a process group of its own, so that nothing of it outlives its time.

use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// What is kept of what a script says, in bytes: more than any answer to a query may have. The rest is read and dropped, so that it is not held up.
const MAX_OUTPUT: u64 = 8192;

/// What to run.
pub(super) struct Script {
    /// For the shell.
    pub(super) command: String,
    /// Beside the agent's own environment.
    pub(super) env: Vec<(String, String)>,
    pub(super) input: Vec<u8>,
    pub(super) limit: Duration,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// It ended, well or not, and this is the beginning of what it said.
    Said(Vec<u8>),
    /// It could not be started, or its time was over.
    Nothing,
}

impl Script {
    /// Runs it to its end, or to the end of its time.
    pub(super) async fn run(self) -> Output {
        let Script { command, env, input, limit } = self;
        let started = Command::new("/bin/sh")
            .args(["-c", &command])
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(script = command, %error, "an event handler could not be started");
                return Output::Nothing;
            }
        };
        let group = Group::of(&child);
        let talk = talk(&mut child, &input);
        let Ok((said, complaint, status)) = tokio::time::timeout(limit, talk).await else {
            tracing::warn!(
                script = command,
                limit_s = limit.as_secs(),
                "an event handler took too long and was killed"
            );
            return Output::Nothing;
        };
        // What it left running in the background goes with it.
        drop(group);
        match status {
            Ok(status) if status.success() => tracing::debug!(script = command, "an event handler ran"),
            other => {
                let complaint = String::from_utf8_lossy(&complaint);
                tracing::warn!(script = command, status = ?other, stderr = complaint.trim_end(), "an event handler failed");
            }
        }
        Output::Said(said)
    }
}

/// Gives it its input and takes its output, side by side, or one would wait for the other.
async fn talk(child: &mut Child, input: &[u8]) -> (Vec<u8>, Vec<u8>, std::io::Result<std::process::ExitStatus>) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A script need not read what it is given.
            let _ = stdin.write_all(input).await;
        }
    };
    let ended = async {
        let ((), said, complaint) = tokio::join!(feed, beginning(stdout), beginning(stderr));
        (said, complaint)
    };
    let ((said, complaint), status) = tokio::join!(ended, child.wait());
    (said, complaint, status)
}

async fn beginning(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    // An error is the stream's end.
    let _ = (&mut stream).take(MAX_OUTPUT).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    kept
}

/// The processes of a script; they are killed when this goes.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Where nobody is left there is nobody to kill.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(command: &str, input: &[u8], limit_s: u64) -> Script {
        let env = vec![("SERF_EVENT".to_owned(), "user".to_owned())];
        Script { command: command.to_owned(), env, input: input.to_vec(), limit: Duration::from_secs(limit_s) }
    }

    #[tokio::test]
    async fn it_is_given_environment_and_input_and_what_it_says_is_taken_however_it_ends() {
        let said = script("printf '%s ' \"$SERF_EVENT\"; cat; echo oops >&2; exit 3", b"payload", 20).run().await;
        assert_eq!(said, Output::Said(b"user payload".to_vec()));
        assert_eq!(script("exec 0<&-; echo deaf", &[b'x'; 1 << 20], 20).run().await, Output::Said(b"deaf\n".to_vec()));
        assert_eq!(script("/no/such/program", b"", 20).run().await, Output::Said(Vec::new()));
    }

    #[tokio::test]
    async fn what_it_says_beyond_the_limit_is_dropped_and_does_not_stop_it() {
        let Output::Said(said) = script("head -c 1000000 /dev/zero; true", b"", 20).run().await else {
            panic!("nothing")
        };
        assert_eq!(said.len() as u64, MAX_OUTPUT);
    }

    #[tokio::test]
    async fn when_its_time_is_over_all_of_it_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let alive = dir.path().join("alive");
        let child = format!("(sleep 600; touch {0}.late) & echo $! > {0}; wait", alive.display());
        assert_eq!(script(&child, b"", 1).run().await, Output::Nothing);
        let pid: i32 = std::fs::read_to_string(&alive).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        // It is gone as soon as the system has taken note: a zombie of another parent still answers.
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while rustix::process::test_kill_process(pid).is_ok() {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            if state.contains(") Z ") || state.is_empty() {
                break;
            }
            assert!(std::time::Instant::now() < end, "still there: {state}");
            tokio::task::yield_now().await;
        }
    }
}
