//! Docker checks: a program inside a container, run by the Docker daemon through its socket.
//!
//! ```text
//!  POST /containers/C/exec ─▶ an id ─▶ POST /exec/ID/start ─▶ what it writes ─▶ GET /exec/ID/json ─▶ its exit code
//! ```
//!
//! The Engine API (<https://docs.docker.com/reference/api/engine/>) has no way to end a program that was started so; one whose time is up
//! goes on in its container.

use super::exit;
use super::http::exchange;
use super::output::Tail;
use super::script::timed_out;
use ::http::{Method, Request, header};
use bytes::Bytes;
use http_body_util::Full;
use quorate_protocol::Status;
use quorate_protocol::check::DockerCheck;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Where the daemon listens unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// Bytes of a JSON answer, at most.
const MAX_ANSWER: usize = 64 * 1024;
/// Before each piece of output: which stream it is of, three zeros, and its length in four bytes.
const FRAME_HEADER: usize = 8;

/// Runs the program once.
pub(super) async fn probe(check: &DockerCheck, timeout: Duration, output_size: usize) -> (Status, String) {
    run_within(&socket(), check, timeout, output_size).await
}

fn socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").map_or_else(|| SOCKET.into(), PathBuf::from)
}

async fn run_within(socket: &Path, check: &DockerCheck, timeout: Duration, output_size: usize) -> (Status, String) {
    let mut output = Output::new(output_size);
    match tokio::time::timeout(timeout, run(socket, check, &mut output)).await {
        Ok(Ok(code)) => (exit::status(Some(code)), output.tail.into_text()),
        Ok(Err(why)) => (Status::Critical, why),
        Err(_) => (Status::Critical, timed_out(timeout, &output.tail.into_text())),
    }
}

/// Runs it to its end; gives its exit code.
async fn run(socket: &Path, check: &DockerCheck, output: &mut Output) -> Result<i64, String> {
    let path = format!("/containers/{}/exec", in_path(&check.container));
    let order = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": check.args});
    let made = ask(socket, Method::POST, &path, &order).await?;
    let id = made.get("Id").and_then(Value::as_str).ok_or("Docker gave the program no id")?.to_owned();
    let start =
        request(Method::POST, &format!("/exec/{}/start", in_path(&id)), &json!({"Detach": false, "Tty": false}))?;
    let started = exchange(connect(socket).await?, start, |bytes| output.push(bytes)).await?;
    if !started.status.is_success() {
        return Err(format!("Docker cannot start the program: {} {}", started.status.as_u16(), started.reason));
    }
    let ended = ask(socket, Method::GET, &format!("/exec/{}/json", in_path(&id)), &Value::Null).await?;
    ended.get("ExitCode").and_then(Value::as_i64).ok_or_else(|| "the program has not ended".to_owned())
}

async fn connect(socket: &Path) -> Result<UnixStream, String> {
    let failed = |error| format!("Docker cannot be asked at {}: {error}", socket.display());
    UnixStream::connect(socket).await.map_err(failed)
}

async fn ask(socket: &Path, method: Method, path: &str, body: &Value) -> Result<Value, String> {
    let mut text = Tail::new(MAX_ANSWER);
    let answer = exchange(connect(socket).await?, request(method, path, body)?, |bytes| text.push(bytes)).await?;
    let said: Value = serde_json::from_str(&text.into_text()).unwrap_or(Value::Null);
    if answer.status.is_success() {
        return Ok(said);
    }
    let why = said.get("message").and_then(Value::as_str).unwrap_or(&answer.reason);
    Err(format!("Docker refuses: {} {why}", answer.status.as_u16()))
}

fn request(method: Method, path: &str, body: &Value) -> Result<Request<Full<Bytes>>, String> {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "docker")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| format!("the container's name cannot be asked for: {error}"))
}

/// A name as one part of a path.
fn in_path(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What a program writes, taken out of the frames that both its streams come in.
struct Output {
    tail: Tail,
    header: Vec<u8>,
    /// Bytes of the piece that are still to come.
    left: usize,
}

impl Output {
    fn new(size: usize) -> Output {
        Output { tail: Tail::new(size), header: Vec::with_capacity(FRAME_HEADER), left: 0 }
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (piece, after) = bytes.split_at(self.left.min(bytes.len()));
                self.tail.push(piece);
                self.left -= piece.len();
                bytes = after;
                continue;
            }
            self.header.push(*first);
            bytes = rest;
            if let [_, _, _, _, length @ ..] = self.header.as_slice()
                && let Ok(length) = length.try_into()
            {
                self.left = u32::from_be_bytes(length) as usize;
                self.header.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, text.as_bytes()].concat()
    }

    /// A daemon that gives these answers in turn, and what it was asked: the first line and the body of each.
    async fn daemon(listener: UnixListener, answers: Vec<(&'static str, Vec<u8>)>) -> Vec<String> {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 8192];
            let count = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..count]).into_owned();
            let (head, sent) = text.split_once("\r\n\r\n").unwrap();
            asked.push(format!("{} {sent}", head.lines().next().unwrap()));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        asked
    }

    fn check() -> DockerCheck {
        DockerCheck {
            container: "web/1".into(),
            args: vec!["/bin/check".into(), "-x".into()],
            ..DockerCheck::default()
        }
    }

    #[tokio::test]
    async fn a_program_in_a_container_decides_by_its_exit_code() {
        for (code, expected) in [(0, Status::Passing), (1, Status::Warning), (2, Status::Critical)] {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("docker.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let ended = format!(r#"{{"ID":"e1","Running":false,"ExitCode":{code}}}"#);
            let output = [frame(1, "so "), frame(2, "far\n")].concat();
            let answers =
                vec![("201 Created", br#"{"Id":"e1"}"#.to_vec()), ("200 OK", output), ("200 OK", ended.into_bytes())];
            let docker = tokio::spawn(daemon(listener, answers));
            assert_eq!(run_within(&socket, &check(), TIMEOUT, 4096).await, (expected, "so far\n".to_owned()));
            let asked = docker.await.unwrap();
            assert_eq!(
                asked,
                [
                    r#"POST /containers/web%2F1/exec HTTP/1.1 {"AttachStdout":true,"AttachStderr":true,"Cmd":["/bin/check","-x"]}"#,
                    r#"POST /exec/e1/start HTTP/1.1 {"Detach":false,"Tty":false}"#,
                    "GET /exec/e1/json HTTP/1.1 ",
                ]
            );
        }
    }

    #[tokio::test]
    async fn what_docker_refuses_is_critical_and_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let (status, output) = run_within(&socket, &check(), TIMEOUT, 4096).await;
        assert_eq!(status, Status::Critical);
        assert!(output.starts_with(&format!("Docker cannot be asked at {}: ", socket.display())), "{output}");
        let listener = UnixListener::bind(&socket).unwrap();
        let answers = vec![("404 Not Found", br#"{"message":"No such container: web/1"}"#.to_vec())];
        let docker = tokio::spawn(daemon(listener, answers));
        let output = "Docker refuses: 404 No such container: web/1".to_owned();
        assert_eq!(run_within(&socket, &check(), TIMEOUT, 4096).await, (Status::Critical, output));
        docker.await.unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_says_nothing_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let (status, output) = run_within(&socket, &check(), Duration::from_millis(50), 4096).await;
        assert_eq!((status, output.as_str()), (Status::Critical, "Timed out (50ms) running check"));
    }

    #[test]
    fn frames_may_be_cut_anywhere() {
        let stream = [frame(1, "one "), frame(2, ""), frame(2, "two")].concat();
        for cut in 0..stream.len() {
            let mut output = Output::new(100);
            let (one, other) = stream.split_at(cut);
            output.push(one);
            output.push(other);
            assert_eq!(output.tail.into_text(), "one two");
        }
    }
}
