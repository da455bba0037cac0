//! Clients that write and read keys over HTTP while servers are hurt, note honestly what they were told, and the check of what they noted.
//!
//! ```text
//!  writers  put, cas, delete ─┐             done (where in the log) · not done · unknown
//!  readers  default, consistent ├─▶ servers ─▶ history of each key ─▶ kv_is_linearizable
//!  at the end, every key through every server ┘
//! ```
//!
//! Every value is written once. A write that was acknowledged and lost, and a read that shows the past, are both orders that cannot be: the
//! checker is the simulator's own.

use crate::agent::wait_until;
use anyhow::{Result, anyhow, bail, ensure};
use quorate_protocol::{LogIndex, Time};
use quorate_tests::checks::kv_is_linearizable;
use quorate_tests::history::{Call, Op, Told};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const WRITERS: usize = 3;
const READERS: usize = 3;
/// Few, so that clients meet.
const SLOTS: usize = 4;
/// After so many operations a slot goes on with a fresh key: the check of one key stays short however long the run is.
const OPERATIONS_PER_KEY: u64 = 1000;
/// How long an answer is waited for. Longer than any pause of a server, so that what it says afterwards is heard and checked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Who found nobody looks again after this.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// What the clients share.
struct Shared {
    urls: Vec<String>,
    started: Instant,
    stopped: Mutex<bool>,
    stopping: Condvar,
    values: AtomicU64,
    uses: [AtomicU64; SLOTS],
    writes: AtomicU64,
    reads: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    is_over: AtomicBool,
}

impl Shared {
    fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The key of a slot for one more operation.
    fn key(&self, slot: usize) -> String {
        let uses = self.uses[slot].fetch_add(1, Ordering::Relaxed);
        format!("slot{slot}/{}", uses / OPERATIONS_PER_KEY)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn pause(&self) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.stopping.wait_timeout_while(stopped, RETRY_INTERVAL, |stopped| !*stopped));
    }

    fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopping.notify_all();
    }
}

/// Running clients.
pub struct Workload {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Noted>>,
}

/// What one client did, key by key.
type Noted = Vec<(String, Op)>;

/// What was done and told in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Operations that were certainly not done.
    pub refused: u64,
    /// Writes of unknown outcome, and reads without an answer.
    pub unknown: u64,
    /// Keys, each with a history.
    pub keys: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { writes, reads, refused, unknown, keys } = self;
        write!(
            f,
            "{writes} writes acknowledged, {reads} reads answered, {refused} refused, {unknown} unknown, {keys} keys"
        )
    }
}

impl Workload {
    /// Starts clients of the servers behind these APIs.
    pub fn start(urls: Vec<String>) -> Workload {
        let shared = Arc::new(Shared {
            urls,
            started: Instant::now(),
            stopped: Mutex::new(false),
            stopping: Condvar::new(),
            values: AtomicU64::new(1),
            uses: Default::default(),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut workload = Workload { shared, clients: Vec::new() };
        for number in 0..WRITERS + READERS {
            workload.spawn(move |client| if number < WRITERS { client.write_on() } else { client.read_on() });
        }
        workload
    }

    fn spawn(&mut self, run: impl FnOnce(&mut Client) + Send + 'static) {
        let mut client = Client::new(&self.shared, self.clients.len());
        self.clients.push(std::thread::spawn(move || {
            run(&mut client);
            client.noted
        }));
    }

    /// Waits until so many more writes are acknowledged and reads answered: the servers serve.
    pub fn await_progress(&self, operations: u64) -> Result<()> {
        let count = || (self.shared.writes.load(Ordering::Relaxed), self.shared.reads.load(Ordering::Relaxed));
        let (writes, reads) = count();
        wait_until(&format!("{operations} more writes and reads"), || {
            let (writes_now, reads_now) = count();
            Ok((writes_now >= writes + operations && reads_now >= reads + operations).then_some(()))
        })
    }

    /// Asks one server so many times at once, half of it consistently; the answers, whenever they come, are part of the history.
    pub fn ask(&mut self, server: usize, times: usize) {
        for number in 0..times {
            let mode = if number < times / 2 { "?consistent" } else { "" };
            self.spawn(move |client| {
                client.server = server;
                client.read(number % SLOTS, mode);
            });
        }
    }

    /// Stops the clients, reads every key through every server, and checks it all.
    pub fn finish(self) -> Result<Tally> {
        self.shared.stop();
        let mut histories: BTreeMap<String, Vec<Op>> = BTreeMap::new();
        let last = self.clients.len();
        for client in self.clients {
            for (key, op) in client.join().map_err(|_| anyhow!("a client panicked"))? {
                histories.entry(key).or_default().push(op);
            }
        }
        let client = Client::new(&self.shared, last);
        for (key, history) in &mut histories {
            for server in 0..self.shared.urls.len() {
                let op = wait_until(&format!("{key} to be read through server {server}"), || {
                    let invoked = self.shared.now();
                    let told = client.get(server, key, "?consistent")?;
                    let result = Some((self.shared.now(), told));
                    Ok(Some(Op { client: last, call: Call::Get, invoked, result }))
                })?;
                history.push(op);
            }
        }
        for (key, history) in &histories {
            kv_is_linearizable::check(key, history).map_err(|violation| anyhow!("{violation}"))?;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { writes, reads, refused, unknown, .. } = &*self.shared;
        let tally = Tally {
            writes: count(writes),
            reads: count(reads),
            refused: count(refused),
            unknown: count(unknown),
            keys: histories.len(),
        };
        ensure!(tally.writes > 0 && tally.reads > 0, "nothing was done: {tally}");
        Ok(tally)
    }
}

/// How a write ended.
enum Written {
    Told(Told),
    /// Certainly not done.
    Not,
    Unknown,
}

/// What the writers ask for.
#[derive(Debug, Clone, Copy)]
enum Change {
    Put,
    Cas,
    Delete,
}

struct Client {
    shared: Arc<Shared>,
    number: usize,
    http: ureq::Agent,
    dice: ChaCha8Rng,
    /// The server that is asked, until it gives no good answer.
    server: usize,
    /// The modify index of each key as last seen, for compare-and-set.
    seen: HashMap<String, LogIndex>,
    noted: Noted,
}

impl Client {
    fn new(shared: &Arc<Shared>, number: usize) -> Client {
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .timeout_connect(Some(Duration::from_secs(1)))
            .build()
            .into();
        Client {
            shared: Arc::clone(shared),
            number,
            http,
            dice: ChaCha8Rng::seed_from_u64(number as u64),
            server: number % shared.urls.len(),
            seen: HashMap::new(),
            noted: Vec::new(),
        }
    }

    fn write_on(&mut self) {
        while !self.shared.is_over() {
            let slot = self.dice.random_range(0..SLOTS);
            match self.dice.random_range(0..10) {
                0 => self.write(slot, Change::Delete),
                1..4 => {
                    self.read(slot, "");
                    self.write(slot, Change::Cas);
                }
                _ => self.write(slot, Change::Put),
            }
        }
    }

    fn read_on(&mut self) {
        while !self.shared.is_over() {
            let slot = self.dice.random_range(0..SLOTS);
            let mode = if self.dice.random_bool(0.5) { "?consistent" } else { "" };
            self.read(slot, mode);
        }
    }

    fn write(&mut self, slot: usize, change: Change) {
        let key = self.shared.key(slot);
        let url = format!("{}/v1/kv/{key}", self.shared.urls[self.server]);
        let value = self.shared.values.fetch_add(1, Ordering::Relaxed);
        let expected = self.seen.get(&key).copied().unwrap_or_default();
        let invoked = self.shared.now();
        // Flags are a number beside the value, and so tell which write it was.
        let (call, response) = match change {
            Change::Put => (Call::Put { value }, self.http.put(format!("{url}?flags={value}")).send(value.to_string())),
            Change::Cas => {
                let url = format!("{url}?flags={value}&cas={}", expected.0);
                (Call::Cas { expected, value }, self.http.put(url).send(value.to_string()))
            }
            Change::Delete => (Call::Delete, self.http.delete(url).call()),
        };
        let written = understand(response);
        let answered = self.shared.now();
        if !matches!(written, Written::Told(_)) {
            self.turn_away();
        }
        let result = match written {
            Written::Told(told) => {
                self.shared.writes.fetch_add(1, Ordering::Relaxed);
                Some((answered, told))
            }
            // A write that was refused is no part of the history. If it happens all the same, somebody reads a value from nowhere.
            Written::Not => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Written::Unknown => {
                self.shared.unknown.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        self.noted.push((key, Op { client: self.number, call, invoked, result }));
    }

    fn read(&mut self, slot: usize, mode: &str) {
        let key = self.shared.key(slot);
        let invoked = self.shared.now();
        let Ok(told) = self.get(self.server, &key, mode) else {
            self.shared.unknown.fetch_add(1, Ordering::Relaxed);
            return self.turn_away();
        };
        let result = Some((self.shared.now(), told));
        self.shared.reads.fetch_add(1, Ordering::Relaxed);
        let modified = if let Told::Found { modified, .. } = told { modified } else { LogIndex::ZERO };
        self.seen.insert(key.clone(), modified);
        self.noted.push((key, Op { client: self.number, call: Call::Get, invoked, result }));
    }

    /// To the next server, after a moment.
    fn turn_away(&mut self) {
        self.server = (self.server + 1) % self.shared.urls.len();
        self.shared.pause();
    }

    fn get(&self, server: usize, key: &str, mode: &str) -> Result<Told> {
        let mut response = self.http.get(format!("{}/v1/kv/{key}{mode}", self.shared.urls[server])).call()?;
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string()?;
        match status {
            200 => {
                let row = &serde_json::from_str::<Value>(&body)?[0];
                let number = |name: &str| row[name].as_u64().ok_or_else(|| anyhow!("{name} in {body}"));
                Ok(Told::Found { value: number("Flags")?, modified: LogIndex(number("ModifyIndex")?), holder: None })
            }
            404 if body.is_empty() => Ok(Told::Missing),
            _ => bail!("{status} {body}"),
        }
    }
}

/// What an answer to a write says of it. Only what was certainly not done counts as such.
fn understand(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Written {
    let mut response = match response {
        Ok(response) => response,
        Err(ureq::Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Written::Not,
        Err(_) => return Written::Unknown,
    };
    let index = response.headers().get("x-quorate-index").and_then(|index| index.to_str().ok()?.parse().ok());
    let status = response.status().as_u16();
    let Ok(body) = response.body_mut().read_to_string() else { return Written::Unknown };
    match (status, body.trim(), index.map(LogIndex)) {
        (200, "true", Some(index)) => Written::Told(Told::Done { index }),
        // The compare-and-set found another index.
        (200, "false", Some(index)) => Written::Told(Told::Failed { index }),
        (429, ..) | (500, "No cluster leader", _) => Written::Not,
        (500, sentence, _) if sentence.contains("is nearly full") => Written::Not,
        _ => Written::Unknown,
    }
}
