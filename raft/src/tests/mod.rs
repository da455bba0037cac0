//! Scripts for single servers and small clusters; `simulation` hurts whole ones.

mod durability;
mod elections;
mod hostile;
mod memberships;
mod reads;
mod replicating;
mod simulation;

use crate::{Config, Output, Persist, Raft, Role};
use quorate_protocol::raft::{Configuration, HardState, LogEntry, Payload, Peer, RaftBody, RaftMessage};
use quorate_protocol::{LogIndex, NodeId, Term, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    Configuration { peers: of(voters, true).into_iter().chain(of(learners, false)).collect() }
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

/// A server with its disk.
struct Server {
    raft: Raft,
    config: Config,
    hard_state: HardState,
    entries: Vec<LogEntry>,
    unsynced: VecDeque<Persist>,
    committed: Vec<LogEntry>,
    /// Everything that left and is neither message, write nor committed entry.
    events: Vec<Output>,
}

impl Server {
    fn start(n: u8, now: Time, hard_state: HardState, entries: Vec<LogEntry>) -> Server {
        let config = Config::lan(id(n), u64::from(n));
        let raft = Raft::new(config.clone(), hard_state, entries.clone(), now).unwrap();
        Server { raft, config, hard_state, entries, unsynced: VecDeque::new(), committed: vec![], events: vec![] }
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
                Output::Committed(entries) => self.committed.extend(entries),
                event => self.events.push(event),
            }
        }
        messages
    }

    /// Brings the first `count` writes to disk, without telling.
    fn write(&mut self, count: usize) -> Option<u64> {
        let mut last = None;
        for persist in self.unsynced.drain(..count) {
            self.hard_state = persist.hard_state;
            if let Some(first) = persist.entries.first() {
                self.entries.truncate(first.index.0 as usize - 1);
                self.entries.extend(persist.entries);
            }
            last = Some(persist.number);
        }
        last
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
        self.config.seed += 1000;
        self.raft = Raft::new(self.config.clone(), self.hard_state, self.entries.clone(), now).unwrap();
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
