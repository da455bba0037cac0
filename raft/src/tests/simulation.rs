//! Whole clusters in one thread, hurt and healed from a seed.
//!
//! Messages are lost, doubled, delayed and overtaken; links are cut one way or both; disks are slow and lose what
//! they had not finished; servers crash and come back; clocks run up to 4 % fast or slow; voters are added and
//! removed. After every step the server that moved is checked:
//!
//! * one leader per term, holding everything committed before;
//! * equal index and term mean equal logs up to there;
//! * what is committed stays, everywhere the same, in order, and is on a majority of disks when it is first handed out;
//! * a confirmed read sees everything committed before it was asked;
//! * whoever holds a lease has committed whatever anybody has.

use super::*;
use crate::{Change, MAX_VOTERS};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

const SERVERS: u8 = 5;
const HURT_MS: u64 = 8_000;
const HEAL_MS: u64 = 5_000;

#[test]
fn clusters_survive() {
    let mut seen = Seen::default();
    for seed in 0..400 {
        seen += World::new(seed).run();
    }
    println!("{seen:#?}");
    // What never happens proves nothing.
    assert!(seen.leaders > 1_500 && seen.crashes > 1_000 && seen.committed > 20_000, "{seen:#?}");
    assert!(seen.reads_ready > 5_000 && seen.reads_lost > 100 && seen.lease_steps > 100_000, "{seen:#?}");
    assert!(seen.truncations > 300 && seen.changes > 500 && seen.configurations_undone > 5, "{seen:#?}");
}

#[test]
fn one_seed_gives_one_history() {
    for seed in [3, 4] {
        let [first, second] = [(); 2].map(|()| World::new(seed).run());
        assert_eq!(first, second);
    }
    assert_ne!(World::new(3).run().trace, World::new(4).run().trace);
}

/// What happened, to know that the faults were real.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    leaders: usize,
    crashes: usize,
    committed: usize,
    truncations: usize,
    changes: usize,
    configurations_undone: usize,
    reads_ready: usize,
    reads_lost: usize,
    lease_steps: usize,
    trace: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.leaders += other.leaders;
        self.crashes += other.crashes;
        self.committed += other.committed;
        self.truncations += other.truncations;
        self.changes += other.changes;
        self.configurations_undone += other.configurations_undone;
        self.reads_ready += other.reads_ready;
        self.reads_lost += other.reads_lost;
        self.lease_steps += other.lease_steps;
        self.trace ^= other.trace;
    }
}

#[derive(Debug)]
enum Event {
    Deliver { from: u8, to: u8, message: RaftMessage },
    Sync { server: u8, life: u64 },
    Nemesis,
    Client,
}

struct Node {
    server: Server,
    /// Thousandths that its clock makes of a second.
    rate: u64,
    up: bool,
    /// Counts restarts: a write of an earlier life is gone.
    life: u64,
    syncing: bool,
    /// The log as it was when it was last checked: terms.
    checked: Vec<(Term, bool)>,
    /// What was committed anywhere when each read was asked.
    reads: BTreeMap<u64, usize>,
    applied: usize,
}

struct World {
    seed: u64,
    dice: ChaCha8Rng,
    /// Microseconds.
    now: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    nodes: BTreeMap<u8, Node>,
    cut: BTreeSet<(u8, u8)>,
    loss: f64,
    hurting: bool,
    changing: bool,
    founders: Configuration,
    contexts: u64,
    /// Who led in which term.
    leaders: BTreeMap<Term, u8>,
    /// Each entry ever seen, with the term before it.
    entries: BTreeMap<(LogIndex, Term), (Term, Payload)>,
    committed: Vec<LogEntry>,
    committed_when_healed: usize,
    seen: Seen,
    trace: DefaultHasher,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let changing = seed % 2 == 1;
        let voters: Vec<u8> = (1..=if changing { 3 } else { SERVERS }).collect();
        let first = configuration(&voters, &[]);
        let nodes = (1..=SERVERS).map(|n| {
            let mut server = Server::start(n, Time::ZERO, HardState::default(), vec![]);
            server.config.seed = dice.random();
            server.restart(Time::ZERO);
            if voters.contains(&n) {
                server.raft.bootstrap(Time::ZERO, first.clone()).unwrap();
            }
            let node = Node {
                server,
                rate: dice.random_range(960..=1040),
                up: true,
                life: 0,
                syncing: false,
                checked: vec![],
                reads: BTreeMap::new(),
                applied: 0,
            };
            (n, node)
        });
        let nodes = nodes.collect();
        let loss = dice.random_range(0.0..0.2);
        World {
            seed,
            dice,
            now: 0,
            sequence: 0,
            events: BTreeMap::new(),
            nodes,
            cut: BTreeSet::new(),
            loss,
            hurting: true,
            changing,
            founders: first,
            contexts: 0,
            leaders: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: vec![],
            committed_when_healed: 0,
            seen: Seen::default(),
            trace: DefaultHasher::new(),
        }
    }

    fn run(mut self) -> Seen {
        for n in 1..=SERVERS {
            self.after(n);
        }
        self.schedule(0, Event::Nemesis);
        self.schedule(0, Event::Client);
        self.run_until(HURT_MS * 1000);
        self.heal();
        self.run_until((HURT_MS + HEAL_MS) * 1000);
        self.check_healed();
        self.seen.committed = self.committed.len();
        self.seen.leaders = self.leaders.len();
        self.seen.trace = self.trace.finish();
        self.seen
    }

    fn run_until(&mut self, end: u64) {
        loop {
            let timer = self.nodes.iter().filter_map(|(n, node)| Some((node.deadline()?.max(self.now), *n))).min();
            let event = self.events.first_key_value().map(|(key, _)| *key);
            match (timer, event) {
                (Some((due, n)), event) if event.is_none_or(|(at, _)| due <= at) => {
                    if due > end {
                        break;
                    }
                    self.now = due;
                    let node = self.nodes.get_mut(&n).unwrap();
                    node.server.raft.handle_timeout(node.time(due));
                    self.after(n);
                }
                (_, Some(key)) => {
                    if key.0 > end {
                        break;
                    }
                    self.now = key.0;
                    let event = self.events.remove(&key).unwrap();
                    self.happen(event);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                let node = self.nodes.get_mut(&to).unwrap();
                if node.up && !self.cut.contains(&(from, to)) {
                    let now = node.time(self.now);
                    node.server.raft.handle_message(now, id(from), message);
                    self.after(to);
                }
            }
            Event::Sync { server, life } => {
                let node = self.nodes.get_mut(&server).unwrap();
                if node.life == life {
                    node.syncing = false;
                    let count = self.dice.random_range(1..=node.server.unsynced.len());
                    let number = node.server.write(count).unwrap();
                    let now = node.time(self.now);
                    node.server.raft.handle_persisted(now, number);
                    self.after(server);
                }
            }
            Event::Nemesis if self.hurting => {
                self.hurt();
                let delay = self.dice.random_range(50_000..600_000);
                self.schedule(delay, Event::Nemesis);
            }
            Event::Nemesis => {}
            // The last half second is for answers.
            Event::Client if self.now > (HURT_MS + HEAL_MS - 500) * 1000 => {}
            Event::Client => {
                self.ask();
                let delay = self.dice.random_range(1_000..60_000);
                self.schedule(delay, Event::Client);
            }
        }
    }

    /// A write and a read on whoever believes to lead; sometimes another configuration.
    fn ask(&mut self) {
        for n in 1..=SERVERS {
            let node = self.nodes.get_mut(&n).unwrap();
            if !node.up || node.server.raft.role() != Role::Leader {
                continue;
            }
            let now = node.time(self.now);
            for _ in 0..self.dice.random_range(0..4) {
                let command = self.dice.random::<u64>().to_le_bytes().to_vec();
                node.server.raft.propose(now, command.into()).unwrap();
            }
            if self.dice.random() {
                self.contexts += 1;
                node.server.raft.read_index(now, self.contexts).unwrap();
                node.reads.insert(self.contexts, self.committed.len());
            }
            if self.hurting && self.changing && self.dice.random_bool(0.1) {
                let other = id(self.dice.random_range(1..=SERVERS));
                let change = match self.dice.random_range(0..5) {
                    0 => Change::Remove { id: other },
                    1 => Change::Add { id: other, peer: peer(false) },
                    _ => Change::Add { id: other, peer: peer(true) },
                };
                self.seen.changes += usize::from(node.server.raft.change_configuration(now, change).is_ok());
            }
            self.after(n);
        }
    }

    fn hurt(&mut self) {
        match self.dice.random_range(0..8) {
            0 | 1 => {
                let n = self.dice.random_range(1..=SERVERS);
                self.crash(n);
            }
            2 => (1..=SERVERS).for_each(|n| self.crash(n)),
            3 => {
                let away: BTreeSet<u8> = (1..=SERVERS).filter(|_| self.dice.random_bool(0.4)).collect();
                for from in 1..=SERVERS {
                    self.cut.extend(
                        (1..=SERVERS).filter(|to| away.contains(to) != away.contains(&from)).map(|to| (from, to)),
                    );
                }
            }
            4 => {
                let (from, to) = (self.dice.random_range(1..=SERVERS), self.dice.random_range(1..=SERVERS));
                self.cut.insert((from, to));
            }
            5 => {
                // Whoever leads is cut off, hearing or speaking or both.
                let leaders = self.nodes.iter().filter(|(_, node)| node.server.raft.role() == Role::Leader);
                let leaders: Vec<u8> = leaders.map(|(n, _)| *n).collect();
                let (hears, speaks) = (self.dice.random_bool(0.3), self.dice.random_bool(0.3));
                for leader in leaders {
                    for other in (1..=SERVERS).filter(|other| *other != leader) {
                        if !hears {
                            self.cut.insert((other, leader));
                        }
                        if !speaks {
                            self.cut.insert((leader, other));
                        }
                    }
                }
            }
            _ => self.cut.clear(),
        }
        for n in 1..=SERVERS {
            if self.dice.random_bool(0.6) {
                self.restart(n);
            }
        }
    }

    /// Of the writes under way the disk keeps the first few, or none.
    fn crash(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        if node.up {
            node.up = false;
            node.life += 1;
            node.syncing = false;
            let kept = self.dice.random_range(0..=node.server.unsynced.len());
            node.server.write(kept);
            node.server.unsynced.clear();
            self.seen.crashes += 1;
        }
    }

    fn restart(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        if !node.up {
            node.up = true;
            node.reads.clear();
            node.applied = 0;
            node.checked.clear();
            let now = node.time(self.now);
            node.server.restart(now);
            if self.founders.peers.contains_key(&id(n)) {
                // If founding did not get as far as the disk. Otherwise it is refused.
                let _ = node.server.raft.bootstrap(now, self.founders.clone());
            }
            self.after(n);
        }
    }

    fn heal(&mut self) {
        self.committed_when_healed = self.committed.len();
        self.hurting = false;
        self.cut.clear();
        self.loss = 0.0;
        (1..=SERVERS).for_each(|n| self.restart(n));
    }

    /// Takes what a server wants to do, and checks it.
    fn after(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        let messages = node.server.drain();
        if !node.syncing && !node.server.unsynced.is_empty() {
            node.syncing = true;
            let delay = if self.hurting && self.dice.random_bool(0.02) {
                self.dice.random_range(50_000..500_000)
            } else {
                self.dice.random_range(100..5_000)
            };
            let life = node.life;
            self.schedule(delay, Event::Sync { server: n, life });
        }
        for (to, message) in messages {
            self.transmit(n, to.0[0], message);
        }
        self.check(n);
    }

    fn transmit(&mut self, from: u8, to: u8, message: RaftMessage) {
        let copies = if self.hurting && self.dice.random_bool(0.05) { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice.random_bool(self.loss) {
                continue;
            }
            let delay = if self.hurting && self.dice.random_bool(0.03) {
                self.dice.random_range(10_000..800_000)
            } else {
                self.dice.random_range(200..3_000)
            };
            self.schedule(delay, Event::Deliver { from, to, message: message.clone() });
        }
    }

    fn check(&mut self, n: u8) {
        self.check_log(n);
        self.check_events(n);
        self.check_committed(n);
        let committed = LogIndex(self.committed.len() as u64);
        for (n, node) in &self.nodes {
            if node.up && node.server.raft.holds_lease(node.time(self.now)) {
                self.seen.lease_steps += 1;
                let own = node.server.raft.commit_index();
                assert!(own >= committed, "seed {}: {n} holds a lease at {own}, {committed} is committed", self.seed);
            }
        }
    }

    fn check_log(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        let log = node.server.raft.entries();
        let terms = |entry: &LogEntry| (entry.term, matches!(entry.payload, Payload::Configuration(_)));
        // Equal from some point backwards means equal: that was checked when it was new.
        let mut same = node.checked.len().min(log.len());
        while same > 0 && node.checked[same - 1] != terms(&log[same - 1]) {
            same -= 1;
        }
        let undone = &node.checked[same..];
        self.seen.truncations += usize::from(!undone.is_empty());
        self.seen.configurations_undone += usize::from(undone.iter().any(|(_, configured)| *configured));
        node.checked.truncate(same);
        for entry in &log[same..] {
            let before = if entry.index.0 == 1 { Term::ZERO } else { log[entry.index.0 as usize - 2].term };
            let known =
                self.entries.entry((entry.index, entry.term)).or_insert_with(|| (before, entry.payload.clone()));
            assert_eq!((known.0, &known.1), (before, &entry.payload), "seed {}: {n} at {}", self.seed, entry.index);
            node.checked.push(terms(entry));
        }
        let latest = log.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some(configuration),
            _ => None,
        });
        let none = Configuration::default();
        assert_eq!(node.server.raft.configuration(), latest.unwrap_or(&none), "seed {}: {n}", self.seed);
        assert!(latest.is_none_or(|latest| latest.voters().count() <= MAX_VOTERS));
    }

    fn check_events(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        for event in std::mem::take(&mut node.server.events) {
            (self.now, n, format!("{event:?}")).hash(&mut self.trace);
            match event {
                Output::BecameLeader { term } => {
                    let first = *self.leaders.entry(term).or_insert(n);
                    assert_eq!(first, n, "seed {}: two leaders in term {term}", self.seed);
                    let log = node.server.raft.entries();
                    let has = log.len() >= self.committed.len() && log[..self.committed.len()] == self.committed;
                    assert!(has, "seed {}: {n} was elected in {term} without what is committed", self.seed);
                }
                Output::ReadReady { context, index } => {
                    self.seen.reads_ready += 1;
                    let asked = node.reads.remove(&context).unwrap();
                    assert!(index.0 >= asked as u64, "seed {}: {n} reads at {index}, not {asked}", self.seed);
                }
                Output::ReadLost { context } => {
                    self.seen.reads_lost += 1;
                    node.reads.remove(&context).unwrap();
                }
                _ => {}
            }
        }
    }

    fn check_committed(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        let new: Vec<LogEntry> = node.server.committed.drain(..).collect();
        let voters: Vec<u8> = node.server.raft.configuration().voters().map(|id| id.0[0]).collect();
        let before = self.committed.len();
        for entry in new {
            node.applied += 1;
            assert_eq!(entry.index.0 as usize, node.applied, "seed {}: {n} applies out of order", self.seed);
            if let Some(known) = self.committed.get(node.applied - 1) {
                assert_eq!(*known, entry, "seed {}: {n} commits another entry", self.seed);
            } else {
                self.committed.push(entry);
            }
        }
        let applied = node.applied;
        for (at, entry) in self.committed.iter().enumerate().skip(before) {
            let holds = |n: &&u8| self.nodes[*n].server.entries.get(at).is_some_and(|held| held == entry);
            let copies = voters.iter().filter(holds).count();
            assert!(copies * 2 > voters.len(), "seed {}: {entry:?} is on {copies} of {voters:?}", self.seed);
        }
        (self.now, n, applied).hash(&mut self.trace);
    }

    /// With all links and servers back there is one leader, and everybody who takes part has everything.
    fn check_healed(&mut self) {
        let leaders: Vec<u8> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.server.raft.holds_lease(node.time(self.now)))
            .map(|(n, _)| *n)
            .collect();
        let [leader] = leaders[..] else { panic!("seed {}: {leaders:?} lead after healing", self.seed) };
        let raft = &self.nodes[&leader].server.raft;
        assert_eq!(raft.commit_index(), raft.last_index(), "seed {}", self.seed);
        for id in raft.configuration().peers.keys() {
            let member = &self.nodes[&id.0[0]].server;
            assert_eq!(member.raft.commit_index(), raft.commit_index(), "seed {}: {id} after healing", self.seed);
            assert_eq!(member.entries, raft.entries(), "seed {}: the disk of {id} after healing", self.seed);
        }
        assert!(self.committed.len() > self.committed_when_healed + 50, "seed {}: hardly anything works", self.seed);
    }
}

impl Node {
    /// What its clock shows at a moment of the world.
    fn time(&self, micros: u64) -> Time {
        Time::from_nanos(micros * self.rate)
    }

    /// When it wants to be woken, as a moment of the world.
    fn deadline(&self) -> Option<u64> {
        let deadline = self.server.raft.deadline().filter(|_| self.up)?;
        Some(deadline.as_nanos().div_ceil(self.rate))
    }
}
