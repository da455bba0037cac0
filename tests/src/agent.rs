//! One host of the world: its disk, its clock, and the process on it while there is one.

use crate::checks::members_converge_after_heal::{Expected, Fate};
use crate::clock::Clock;
use crate::dice::Dice;
use crate::disk::{Disk, Recovered};
use crate::options::Options;
use quorate_engine::{Config, Engine, Input, Patience, SavedLocal, ServerConfig, SnapshotPolicy};
use quorate_gossip::{Keyring, Timing};
use quorate_protocol::{CheckDefinition, Definitions, LogIndex, NodeId, Term, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// What a stopped process can still be sent; then its socket buffers are full and datagrams are dropped.
const BACKLOG: usize = 512;
/// As the agent has them (`agent/src/run.rs`).
const ELECTION_TIMEOUT: Duration = Duration::from_millis(300);
/// As the agent has it.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(60);
/// So small that logs are cut and snapshots sent many times in two minutes. Where nearly nothing is kept behind a snapshot, it also finds followers that have
/// more in their logs than it covers.
const fn snapshots(seed: u64) -> SnapshotPolicy {
    let trailing = if seed.is_multiple_of(2) { 2 } else { 40 };
    SnapshotPolicy { entries: 150, bytes: 2 * 1024 * 1024, trailing }
}
/// The wall clock, in milliseconds, when the world begins.
const EPOCH: u64 = 1_700_000_000_000;
/// A cluster whose repairs come often enough to be seen in two minutes.
const PATIENCE: Patience = Patience {
    leader: Duration::from_secs(5),
    reply: Duration::from_secs(8),
    join: Duration::from_secs(5),
    sync: Duration::from_secs(6),
    sync_retry: Duration::from_secs(1),
    reconcile: Duration::from_secs(8),
};

/// One host.
pub struct Agent {
    /// Its place among all hosts.
    pub number: usize,
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it is a server.
    pub is_server: bool,
    /// How much faster than the world its clock runs, in millionths.
    pub drift: i32,
    /// Its disk.
    pub disk: Disk,
    /// The process, while there is one.
    pub process: Option<Process>,
    /// How it ends.
    pub fate: Fate,
    /// How often a process was started.
    pub starts: u64,
    /// Who it was before it lost its disk, and what that disk held when it was lost.
    pub former: Vec<(NodeId, Disk)>,
    generation: u64,
}

/// A running process.
pub struct Process {
    /// All that is real in this world.
    pub engine: Engine,
    /// Its clock.
    pub clock: Clock,
    /// Which of the host's processes it is, counted from 1: what was meant for an earlier one is not for this one.
    pub start: u64,
    /// When its timers are looked at next.
    pub armed: Option<Time>,
    /// It is stopped (SIGSTOP) until then.
    pub paused_until: Option<Time>,
    /// What came while it was stopped.
    pub backlog: VecDeque<Input>,
    /// The term in which it leads.
    pub leads: Option<Term>,
    /// The last write that it handed to its disk.
    pub handed: u64,
    /// The last one of which it knows that it is durable.
    pub persisted: u64,
    /// What its store had applied when it was looked at last.
    pub applied: LogIndex,
    /// When it applied the first entry since its start.
    pub applies_since: Option<Time>,
    /// Its probes, by check, each with a number that tells it from an earlier one of the same check.
    pub probes: BTreeMap<String, (CheckDefinition, u64)>,
}

impl Agent {
    /// A host on which nothing runs yet.
    pub fn new(number: usize, is_server: bool, drift: i32, disk: Disk, dice: &mut Dice) -> Agent {
        Agent {
            number,
            id: NodeId::from_random(dice.bytes()),
            name: format!("agent-{number}"),
            address: address_of(number),
            is_server,
            drift,
            disk,
            process: None,
            fate: Fate::Running,
            starts: 0,
            former: Vec::new(),
            generation: 0,
        }
    }

    /// The disk is lost, with the identity on it: what comes back is a new server under the old name. Its own services are kept elsewhere.
    pub fn lose_disk(&mut self, disk: Disk, dice: &mut Dice) -> NodeId {
        let lost = std::mem::replace(&mut self.disk, disk);
        self.disk.local = lost.local.clone();
        let id = std::mem::replace(&mut self.id, NodeId::from_random(dice.bytes()));
        self.former.push((id, lost));
        id
    }

    /// The disk that holds what a server of this identity acknowledged.
    pub fn disk_of(&self, id: NodeId) -> Option<&Disk> {
        let lost = || self.former.iter().find(|(former, _)| *former == id).map(|(_, disk)| disk);
        if self.id == id { Some(&self.disk) } else { lost() }
    }

    /// Starts a process from what is on the disk, joining through the servers.
    ///
    /// # Errors
    /// A sentence when what is on the disk cannot be read.
    pub fn start(&mut self, now: Time, options: &Options) -> Result<(), String> {
        let Options { seed, servers, .. } = *options;
        let Recovered { hard_state, snapshot, entries } = self.disk.read()?;
        let saved = match self.disk.local.as_slice() {
            [] => SavedLocal::default(),
            bytes => SavedLocal::decode(bytes).map_err(|error| format!("saved services: {error}"))?,
        };
        self.starts += 1;
        let wall_clock = EPOCH + now.as_nanos() / 1_000_000;
        self.generation = wall_clock.max(self.generation + 1);
        let config = Config {
            id: self.id,
            name: self.name.clone(),
            address: self.address,
            datacenter: "dc1".to_owned(),
            generation: self.generation,
            version: "simulated".to_owned(),
            node_meta: BTreeMap::new(),
            keyring: Keyring::new([7; 32]),
            timing: Timing::lan(),
            join: (0..servers).filter(|server| *server != self.number).map(address_of).collect(),
            server: self.is_server.then_some(ServerConfig {
                bootstrap_expect: servers,
                rejoin: !self.former.is_empty(),
                election_timeout: ELECTION_TIMEOUT,
                heartbeat_interval: HEARTBEAT_INTERVAL,
                hard_state,
                snapshot,
                entries,
                snapshots: snapshots(seed),
                #[cfg(feature = "planted-bugs")]
                planted: options.planted,
            }),
            definitions: Definitions::default(),
            saved,
            patience: PATIENCE,
            // Every process rolls other dice, or a restart would repeat its elections.
            seed: seed ^ (self.number as u64 + 1) << 32 ^ self.starts,
        };
        let clock = Clock::new(now, self.drift);
        self.process = Some(Process {
            engine: Engine::new(config, clock.local(now)).map_err(|error| error.to_string())?,
            clock,
            start: self.starts,
            armed: None,
            paused_until: None,
            backlog: VecDeque::new(),
            leads: None,
            handed: 0,
            persisted: 0,
            applied: LogIndex::ZERO,
            applies_since: None,
            probes: BTreeMap::new(),
        });
        Ok(())
    }

    /// Whether a process runs here and is not stopped.
    pub fn is_awake(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.paused_until.is_none())
    }

    /// What the others should know of it.
    pub fn expected(&self) -> Expected {
        Expected {
            id: self.id,
            name: self.name.clone(),
            ip: self.address.ip().to_string(),
            generation: self.generation,
            fate: self.fate,
            former: self.former.iter().map(|(id, _)| *id).collect(),
        }
    }
}

impl Process {
    /// Keeps an input for when the process is continued. Messages wait at their sender; datagrams are dropped when the socket's
    /// buffer is full.
    pub fn keep(&mut self, input: Input) {
        if self.backlog.len() < BACKLOG || !matches!(input, Input::Datagram { .. }) {
            self.backlog.push_back(input);
        }
    }
}

/// Where a host is.
pub fn address_of(number: usize) -> SocketAddr {
    let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
    SocketAddr::from(([10, 0, 0, last], 8301))
}

/// Which host is there.
pub fn number_of(address: SocketAddr, agents: usize) -> Option<usize> {
    (0..agents).find(|number| address_of(*number) == address)
}
