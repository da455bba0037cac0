//! Scripts for single servers and small clusters; `simulation` hurts whole ones.

mod differential;
mod durability;
mod elections;
mod hostile;
mod memberships;
#[cfg(feature = "planted-bugs")]
mod planted;
mod reads;
mod replicating;
mod simulation;
mod snapshots;
mod transfers;

use crate::{Config, Output, Persist, Raft, Role};
use bytes::Bytes;
use quorate_protocol::raft::{Configuration, HardState, LogEntry, Payload, Peer, RaftBody, RaftMessage, SnapshotMeta};
use quorate_protocol::{LogIndex, NodeId, Term, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

fn id(n: u8) -> NodeId {
    NodeId([n; 16])
}

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

fn peer(voter: bool) -> Peer {
    Peer { address: ([127, 0, 0, 1], 8301).into(), voter }
}

fn configuration(voters: &[u8], learners: &[u8]) -> Configuration {
    let of = |ids: &[u8], voter| ids.iter().map(move |n| (id(*n), peer(voter))).collect::<Vec<_>>();
    let peers = of(voters, true).into_iter().chain(of(learners, false)).collect();
    Configuration { peers, founder: None }
}

/// Entries of these terms, the first a configuration, as a disk could hold them.
fn log(first: &Configuration, terms: &[u64]) -> Vec<LogEntry> {
    let payload = |i| if i == 0 { Payload::Configuration(first.clone()) } else { Payload::Empty };
    let entry =
        |(i, term): (usize, &u64)| LogEntry { term: Term(*term), index: LogIndex(i as u64 + 1), payload: payload(i) };
    terms.iter().enumerate().map(entry).collect()
}

fn message(term: u64, body: RaftBody) -> RaftMessage {
    RaftMessage { term: Term(term), body }
}

/// What a server knows by what was committed: how far, and a hash of all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Application {
    index: LogIndex,
    hash: u64,
}

impl Application {
    /// In how many parts its snapshots are cut.
    const PARTS: u64 = 6;

    fn apply(&mut self, entry: &LogEntry) {
        assert_eq!(entry.index, self.index.next(), "each entry once, in order");
        let mut hasher = DefaultHasher::new();
        (self.hash, entry.term.0, format!("{:?}", entry.payload)).hash(&mut hasher);
        *self = Application { index: entry.index, hash: hasher.finish() };
    }

    fn chunk(self, number: u64) -> (Bytes, bool) {
        let bytes: Vec<u8> = [self.index.0, self.hash, number].iter().flat_map(|word| word.to_le_bytes()).collect();
        (bytes.into(), number + 1 == Self::PARTS)
    }

    fn chunks(self) -> Vec<Bytes> {
        (0..Self::PARTS).map(|number| self.chunk(number).0).collect()
    }

    fn read(chunks: &[Bytes]) -> Option<Application> {
        let word = |at: usize| Some(u64::from_le_bytes(chunks.first()?.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let read = Application { index: LogIndex(word(0)?), hash: word(1)? };
        (read.chunks() == chunks).then_some(read)
    }
}

/// A server with its disk and its application.
struct Server {
    raft: Raft,
    config: Config,
    hard_state: HardState,
    snapshot: Option<(SnapshotMeta, Vec<Bytes>)>,
    entries: Vec<LogEntry>,
    unsynced: VecDeque<Persist>,
    /// Handed out since the start.
    committed: Vec<LogEntry>,
    application: Application,
    /// States that peers are being sent.
    pinned: BTreeMap<LogIndex, Application>,
    installed: usize,
    /// What Raft asks about snapshots is answered; otherwise it is one of the events.
    answers: bool,
    /// Everything that left and is neither message, write nor committed entry.
    events: Vec<Output>,
}

impl Server {
    fn start(n: u8, now: Time, hard_state: HardState, entries: Vec<LogEntry>) -> Server {
        let config = Config::lan(id(n), u64::from(n));
        let raft = Raft::new(config.clone(), hard_state, None, entries.clone(), now).unwrap();
        Server {
            raft,
            config,
            hard_state,
            snapshot: None,
            entries,
            unsynced: VecDeque::new(),
            committed: vec![],
            application: Application::default(),
            pinned: BTreeMap::new(),
            installed: 0,
            answers: true,
            events: vec![],
        }
    }

    /// With a log of these terms, in the last of them.
    fn with_log(n: u8, first: &Configuration, terms: &[u64]) -> Server {
        let term = Term(terms.last().copied().unwrap_or(0));
        Server::start(n, Time::ZERO, HardState { term, vote: None }, log(first, terms))
    }

    /// Takes everything that wants out; returns the messages.
    fn drain(&mut self) -> Vec<(NodeId, RaftMessage)> {
        let mut messages = Vec::new();
        while let Some(output) = self.raft.poll() {
            match output {
                Output::Send { to, message } => messages.push((to, message)),
                Output::Persist(persist) => self.unsynced.push_back(persist),
                Output::Committed(entries) => {
                    entries.iter().for_each(|entry| self.application.apply(entry));
                    self.committed.extend(entries);
                }
                event if self.answers => messages.extend(self.answer(event)),
                event => self.events.push(event),
            }
        }
        messages
    }

    /// Does what Raft asks about snapshots.
    fn answer(&mut self, event: Output) -> Option<(NodeId, RaftMessage)> {
        let now = self.raft.now;
        match event {
            Output::SnapshotNeeded { to } => {
                let index = self.application.index;
                if self.raft.send_snapshot(now, to, index) {
                    self.pinned.insert(index, self.application);
                }
            }
            Output::SendSnapshotChunk { to, meta, number } => {
                let (bytes, last) = self.pinned[&meta.index].chunk(number);
                return Some((to, self.raft.snapshot_chunk(to, meta, number, bytes, last)?));
            }
            Output::SnapshotDone { index } => drop(self.pinned.remove(&index).expect("it was pinned")),
            Output::SnapshotReceived { meta, chunks } => {
                let read = Application::read(&chunks).expect("nobody sends a damaged one");
                assert_eq!(read.index, meta.index);
                if self.raft.install_snapshot(now) {
                    self.application = read;
                    self.installed += 1;
                }
            }
            event => self.events.push(event),
        }
        None
    }

    /// Saves a snapshot of what was applied and lets the log begin behind it.
    fn save_snapshot(&mut self, now: Time) {
        let state = self.application;
        if let Some(meta) = self.raft.snapshot_meta(state.index) {
            self.snapshot = Some((meta, state.chunks()));
            self.raft.compact(now, state.index);
        }
    }

    /// Brings the first `count` writes to disk, without telling.
    fn write(&mut self, count: usize) -> Option<u64> {
        let mut last = None;
        for persist in self.unsynced.drain(..count).collect::<Vec<_>>() {
            self.hard_state = persist.hard_state;
            if let Some(snapshot) = persist.snapshot {
                self.write_snapshot(snapshot);
                self.entries.clear();
            }
            if let Some(end) = persist.compact_to {
                self.entries.retain(|entry| entry.index > end);
            }
            if let Some(first) = persist.entries.first().map(|entry| entry.index) {
                self.entries.retain(|entry| entry.index < first);
                self.entries.extend(persist.entries);
            }
            let follows = |pair: &[LogEntry]| pair[0].index.next() == pair[1].index;
            assert!(self.entries.windows(2).all(follows), "the disk is given no gaps");
            last = Some(persist.number);
        }
        last
    }

    fn write_snapshot(&mut self, snapshot: crate::Snapshot) {
        if self.snapshot.as_ref().is_none_or(|(meta, _)| meta.index < snapshot.meta.index) {
            self.snapshot = Some((snapshot.meta, snapshot.chunks));
        }
    }

    /// Brings everything to disk.
    fn sync(&mut self, now: Time) -> Vec<(NodeId, RaftMessage)> {
        let mut messages = self.drain();
        while let Some(number) = self.write(self.unsynced.len()) {
            self.raft.handle_persisted(now, number);
            messages.extend(self.drain());
        }
        messages
    }

    /// Loses what is only in memory.
    fn restart(&mut self, now: Time) {
        self.unsynced.clear();
        self.committed.clear();
        self.events.clear();
        self.pinned.clear();
        let (meta, chunks) = self.snapshot.clone().unzip();
        self.application = chunks.map(|chunks| Application::read(&chunks).unwrap()).unwrap_or_default();
        self.config.seed += 1000;
        self.raft = Raft::new(self.config.clone(), self.hard_state, meta, self.entries.clone(), now).unwrap();
    }

    fn receive(&mut self, now: Time, from: u8, term: u64, body: RaftBody) -> Vec<(NodeId, RaftMessage)> {
        self.raft.handle_message(now, id(from), message(term, body));
        self.drain()
    }

    /// Elects this server with the votes of others, everything durable. Returns the time and what it sent as a leader.
    fn elect(&mut self, voters: &[u8]) -> (Time, Vec<(NodeId, RaftMessage)>) {
        let now = self.raft.deadline().unwrap();
        self.raft.handle_timeout(now);
        self.drain();
        let next = self.raft.term().0 + 1;
        for voter in voters {
            self.receive(now, *voter, next, RaftBody::PreVoteReply { granted: true });
        }
        self.sync(now);
        let mut sent = Vec::new();
        for voter in voters {
            sent.extend(self.receive(now, *voter, next, RaftBody::VoteReply { granted: true }));
        }
        sent.extend(self.sync(now));
        assert_eq!(self.raft.role(), Role::Leader);
        (now, sent)
    }
}

/// A small cluster whose messages take a millisecond and whose disks take none.
struct Net {
    now: u64,
    servers: BTreeMap<u8, Server>,
    /// Links, from and to, that carry nothing.
    cut: BTreeSet<(u8, u8)>,
    under_way: Vec<(u8, u8, RaftMessage)>,
    /// How many appends were refused.
    rejections: usize,
}

impl Net {
    /// Founded servers, with empty logs otherwise.
    fn founded(voters: &[u8], learners: &[u8]) -> Net {
        let first = configuration(voters, learners);
        let servers = voters.iter().chain(learners).map(|n| {
            let mut server = Server::start(*n, Time::ZERO, HardState::default(), vec![]);
            server.raft.bootstrap(Time::ZERO, first.clone()).unwrap();
            (*n, server)
        });
        Net::of(servers.collect())
    }

    fn of(servers: BTreeMap<u8, Server>) -> Net {
        Net { now: 0, servers, cut: BTreeSet::new(), under_way: vec![], rejections: 0 }
    }

    fn time(&self) -> Time {
        at(self.now)
    }

    fn server(&mut self, n: u8) -> &mut Server {
        self.servers.get_mut(&n).unwrap()
    }

    fn raft(&mut self, n: u8) -> &mut Raft {
        &mut self.server(n).raft
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += 1;
            let now = self.time();
            for (from, to, message) in std::mem::take(&mut self.under_way) {
                self.rejections += usize::from(matches!(message.body, RaftBody::AppendRejected { .. }));
                if let Some(server) = self.servers.get_mut(&to) {
                    server.raft.handle_message(now, id(from), message);
                }
            }
            for (n, server) in &mut self.servers {
                if server.raft.deadline().is_some_and(|deadline| deadline <= now) {
                    server.raft.handle_timeout(now);
                }
                for (to, message) in server.sync(now) {
                    let to = to.0[0];
                    if !self.cut.contains(&(*n, to)) {
                        self.under_way.push((*n, to, message));
                    }
                }
            }
        }
    }

    /// Runs until there is a leader that committed something of its term.
    fn leader(&mut self) -> u8 {
        for _ in 0..5000 {
            self.run(1);
            let now = self.time();
            let leading = |(_, server): &(&u8, &Server)| server.raft.holds_lease(now);
            if let Some((n, _)) = self.servers.iter().find(leading) {
                return *n;
            }
        }
        panic!("nobody was elected in five seconds");
    }

    /// Cuts a server off from the others, both ways.
    fn isolate(&mut self, n: u8) {
        for other in self.servers.keys().filter(|other| **other != n) {
            self.cut.extend([(n, *other), (*other, n)]);
        }
    }

    fn others(&self, n: u8) -> Vec<u8> {
        self.servers.keys().copied().filter(|other| *other != n).collect()
    }

    fn propose(&mut self, n: u8) -> LogIndex {
        let now = self.time();
        self.raft(n).propose(now, vec![7; 10].into()).unwrap().1
    }
}
