//! Running the real binary: agents as processes on loopback addresses of their own.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a condition is waited for unless said otherwise. Generous: what is tested is that it happens, not how fast.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The path of the binary, built on first use.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| build("quorate-agent", "quorate").map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

/// Builds a program of the workspace, where that was not done yet; gives its path.
pub fn build(package: &str, program: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "-p", package, "--bin", program, "--message-format=json"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo build")?;
    ensure!(output.status.success(), "{program} could not be built");
    let executable = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back();
    executable.context("cargo named no executable")
}

/// A loopback network of one test: `127.a.b.1` to `127.a.b.254`, used by no other test of this process or another.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    a: u8,
    b: u8,
}

impl Net {
    /// The next unused network.
    pub fn new() -> Net {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let process = std::process::id();
        let a = u8::try_from(process % 199).unwrap_or(0) + 40;
        let b = (u8::try_from(process / 199 % 7).unwrap_or(0) << 5) | (NEXT.fetch_add(1, Ordering::Relaxed) & 0x1f);
        Net { a, b }
    }

    /// The `n`th host, from 1.
    pub fn host(self, n: u8) -> IpAddr {
        Ipv4Addr::new(127, self.a, self.b, n).into()
    }
}

impl Default for Net {
    fn default() -> Net {
        Net::new()
    }
}

/// A running agent; killed when dropped.
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Where it listens: HTTP on 8500, DNS on 8600, gossip and QUIC on 8301.
    pub ip: IpAddr,
    /// The words before the binary's name: what starts it in another place.
    launcher: Vec<String>,
    arguments: Vec<String>,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    /// Starts an agent on a host and waits until it answers over HTTP.
    pub fn start(name: &str, ip: IpAddr, arguments: &[&str]) -> Result<Agent> {
        Agent::start_within(&[], name, ip, arguments)
    }

    /// As [`Agent::start`], by a command that becomes the agent (`ip netns exec …` does): its id is the agent's.
    pub fn start_within(launcher: &[String], name: &str, ip: IpAddr, arguments: &[&str]) -> Result<Agent> {
        let mut all: Vec<String> =
            ["agent", "-node", name, "-bind", &ip.to_string(), "-client", &ip.to_string()].map(str::to_owned).into();
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let log = Arc::default();
        let child = spawn(launcher, &all, &log)?;
        let agent = Agent { name: name.to_owned(), ip, launcher: launcher.into(), arguments: all, child, log };
        agent.await_http()?;
        Ok(agent)
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill")?;
        self.child.wait().context("wait")?;
        Ok(())
    }

    /// Starts it again with the same arguments.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.child = spawn(&self.launcher, &self.arguments, &self.log)?;
        self.await_http()
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process().to_string()]).status()?;
        ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// Sends SIGINT and waits for the end; gives the exit code.
    pub fn interrupt(&mut self) -> Result<Option<i32>> {
        self.signal("INT")?;
        self.await_end()
    }

    /// Waits until it ends by itself; gives the exit code.
    pub fn await_end(&mut self) -> Result<Option<i32>> {
        let code = wait_until("the agent to stop", || Ok(self.child.try_wait()?))?;
        Ok(code.code())
    }

    /// The exit code, if it has ended.
    pub fn has_ended(&mut self) -> Result<Option<Option<i32>>> {
        Ok(self.child.try_wait()?.map(|status| status.code()))
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Where its API is.
    pub fn http(&self) -> String {
        format!("http://{}:8500", self.ip)
    }

    /// A GET: status, headers and body.
    pub fn get(&self, path: &str) -> Result<Answer> {
        request("GET", &format!("{}{path}", self.http()), None)
    }

    /// A GET whose body is JSON.
    pub fn json(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        ensure!(answer.status == 200, "GET {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// A PUT: status, headers and body.
    pub fn put(&self, path: &str, body: &[u8]) -> Result<Answer> {
        let mut answer = request("PUT", &format!("{}{path}", self.http()), Some(body))?;
        // In development mode JSON is indented and ends with a newline, as Consul's does.
        answer.body.truncate(answer.body.trim_end().len());
        Ok(answer)
    }

    /// Runs the command line against it; gives its output.
    pub fn quorate(&self, arguments: &[&str]) -> Result<String> {
        let (command, rest) = arguments.split_first().context("a command")?;
        let address = format!("-http-addr={}:8500", self.ip);
        let output = Command::new(binary()?).arg(command).arg(address).args(rest).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The status word of every member by name, as `/v1/agent/members` shows it.
    pub fn members(&self) -> Result<Vec<(String, u64)>> {
        let members = self.json("/v1/agent/members")?;
        let rows = members.as_array().context("an array")?;
        let mut all: Vec<(String, u64)> = rows
            .iter()
            .map(|row| (row["Name"].as_str().unwrap_or_default().to_owned(), row["Status"].as_u64().unwrap_or(0)))
            .collect();
        all.sort();
        Ok(all)
    }

    /// Asks its DNS over UDP.
    pub fn dns(&self, name: &str, kind: hickory_proto::rr::RecordType) -> Result<hickory_proto::op::Message> {
        ask_dns(SocketAddr::new(self.ip, 8600), name, kind)
    }

    fn await_http(&self) -> Result<()> {
        let waited = wait_until("the agent to answer over HTTP", || {
            Ok(self.get("/v1/agent/self").ok().filter(|answer| answer.status == 200).map(drop))
        });
        waited.with_context(|| format!("{}:\n{}", self.name, self.log()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
    }
}

fn spawn(launcher: &[String], arguments: &[String], log: &Arc<Mutex<Vec<String>>>) -> Result<Child> {
    let mut command = match launcher {
        [] => Command::new(binary()?),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(binary()?);
            command
        }
    };
    let mut child = command
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the agent")?;
    let streams: [Option<Box<dyn std::io::Read + Send>>; 2] =
        [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
    for stream in streams.into_iter().flatten() {
        let log = Arc::clone(log);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }
    Ok(child)
}

/// Runs the binary to its end: exit code, and what it printed to both streams.
pub fn run(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = Command::new(binary()?).args(arguments).env("NO_COLOR", "1").stdin(Stdio::null()).output()?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.code(), text))
}

/// Tries until the condition gives something, or its patience ends.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    let mut last = None;
    while Instant::now() < until {
        match condition() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        // Between two looks, not instead of one: the condition decides.
        std::thread::sleep(Duration::from_millis(20));
    }
    match last {
        Some(error) => Err(error.context(format!("waited {PATIENCE:?} for {what}"))),
        None => bail!("waited {PATIENCE:?} for {what}"),
    }
}

/// An answer over HTTP.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `X-Consul-Index`, where there is one.
    pub index: Option<u64>,
    /// `X-Quorate-Fencing-Token`, where there is one.
    pub token: Option<u64>,
    /// The body.
    pub body: String,
}

/// A request over HTTP; any status is an answer.
pub fn request(method: &str, url: &str, body: Option<&[u8]>) -> Result<Answer> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
    let request = ureq::http::Request::builder().method(method).uri(url);
    let mut response = match body {
        Some(body) => agent.run(request.body(body)?)?,
        None => agent.run(request.body(())?)?,
    };
    let number = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    let (index, token) = (number("x-consul-index"), number("x-quorate-fencing-token"));
    let body = response.body_mut().with_config().limit(64 * 1024 * 1024).read_to_vec()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: response.status().as_u16(), index, token, body })
}

/// A question over DNS, by UDP.
pub fn ask_dns(
    server: SocketAddr,
    name: &str,
    kind: hickory_proto::rr::RecordType,
) -> Result<hickory_proto::op::Message> {
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::Name;
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name)?, kind));
    let socket = UdpSocket::bind(SocketAddr::new(server.ip(), 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(&message.to_vec()?, server)?;
    let mut bytes = [0; 4096];
    let (length, _) = socket.recv_from(&mut bytes)?;
    Ok(Message::from_vec(bytes.get(..length).unwrap_or_default())?)
}
