//! Whole clusters in one thread, hurt and healed from a seed.
//!
//! Messages are lost, doubled, delayed and overtaken; links are cut one way or both; disks are slow and lose what
//! they had not finished; servers crash and come back, from a snapshot or without; clocks run up to 4 % fast or slow;
//! voters are added and removed; leaders hand over. After every step the server that moved is checked:
//!
//! * one leader per term, holding everything committed before;
//! * equal index and term mean equal logs up to there;
//! * what is committed stays, everywhere the same, in order, and is on a majority of disks when it is first handed out;
//! * the application's state is that of the same index everywhere, whether it was applied or came with a snapshot;
//! * the configuration in force is the last of the log, or the one in force where the log begins;
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
    assert!(seen.saved > 5_000 && seen.installed > 500 && seen.restarts_from_snapshot > 500, "{seen:#?}");
    assert!(seen.void_logs > 3 && seen.transfers > 300 && seen.transferred > 100, "{seen:#?}");
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
pub(super) struct Seen {
    leaders: usize,
    crashes: usize,
    committed: usize,
    truncations: usize,
    changes: usize,
    configurations_undone: usize,
    reads_ready: usize,
    reads_lost: usize,
    lease_steps: usize,
    saved: usize,
    installed: usize,
    restarts_from_snapshot: usize,
    /// Starts with a log on disk that the snapshot beside it made void.
    void_logs: usize,
    /// Transfers begun, and elections that came of one.
    transfers: usize,
    transferred: usize,
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
        self.saved += other.saved;
        self.installed += other.installed;
        self.restarts_from_snapshot += other.restarts_from_snapshot;
        self.void_logs += other.void_logs;
        self.transfers += other.transfers;
        self.transferred += other.transferred;
        self.trace ^= other.trace;
    }
}

#[derive(Debug)]
enum Event {
    Deliver {
        from: u8,
        to: u8,
        message: RaftMessage,
    },
    Sync {
        server: u8,
        life: u64,
    },
    Nemesis,
    /// Whoever was elected a moment ago crashes.
    Ambush {
        server: u8,
    },
    /// And comes back.
    Return {
        server: u8,
    },
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
    /// The log as it was when it was last checked: where it began, terms and whether it was a configuration.
    checked: (LogIndex, Vec<(Term, bool)>),
    /// What was committed anywhere when each read was asked.
    reads: BTreeMap<u64, usize>,
    /// It began to hand over in this life.
    transferring: bool,
    /// The term in which it stands because a leader handed over.
    told_to_stand: Option<Term>,
    /// Where its last own snapshot ended.
    saved: LogIndex,
    /// Snapshots installed when that was last looked at.
    installed: usize,
}

pub(super) struct World {
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
    /// New leaders live short.
    ambushes: bool,
    founders: Configuration,
    /// A snapshot is saved after about so many entries.
    snapshot_every: u64,
    contexts: u64,
    /// Who led in which term.
    leaders: BTreeMap<Term, u8>,
    /// Each entry ever seen, with the term before it.
    entries: BTreeMap<(LogIndex, Term), (Term, Payload)>,
    committed: Vec<LogEntry>,
    /// What an application knows after each of them, and the configuration in force.
    states: Vec<(Application, Configuration)>,
    committed_when_healed: usize,
    seen: Seen,
    trace: DefaultHasher,
}

impl World {
    fn new(seed: u64) -> World {
        World::with(seed, |_| {})
    }

    /// With other settings than usual on all servers.
    pub(super) fn with(seed: u64, configure: impl Fn(&mut Config)) -> World {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let (changing, ambushes) = (seed % 2 == 1, seed % 4 == 2);
        let voters: Vec<u8> = (1..=if changing || ambushes { 3 } else { SERVERS }).collect();
        let first = configuration(&voters, &[]);
        let (snapshot_every, trailing_entries) = (dice.random_range(5..80), dice.random_range(5..60));
        // With single entries, what was appended together arrives apart.
        let max_append_bytes = if dice.random() { 60 } else { 256 * 1024 };
        let nodes = (1..=SERVERS).map(|n| {
            let mut server = Server::start(n, Time::ZERO, HardState::default(), vec![]);
            server.config.seed = dice.random();
            server.config.trailing_entries = trailing_entries;
            server.config.max_append_bytes = max_append_bytes;
            configure(&mut server.config);
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
                checked: (LogIndex::ZERO, vec![]),
                reads: BTreeMap::new(),
                transferring: false,
                told_to_stand: None,
                saved: LogIndex::ZERO,
                installed: 0,
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
            ambushes,
            founders: first,
            snapshot_every,
            contexts: 0,
            leaders: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: vec![],
            states: vec![],
            committed_when_healed: 0,
            seen: Seen::default(),
            trace: DefaultHasher::new(),
        }
    }

    pub(super) fn run(mut self) -> Seen {
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
                    if message.body == RaftBody::TimeoutNow {
                        node.told_to_stand = Some(message.term.next());
                    }
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
            Event::Ambush { server } if self.hurting => {
                self.crash(server);
                let delay = self.dice.random_range(1_000..400_000);
                self.schedule(delay, Event::Return { server });
            }
            Event::Return { server } => self.restart(server),
            Event::Nemesis | Event::Ambush { .. } => {}
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
            // Seldom so many that whoever is cut off has more of its own than the others have in common.
            let most = if self.hurting && self.dice.random_bool(0.02) { 200 } else { 4 };
            for _ in 0..self.dice.random_range(0..most) {
                let command = self.dice.random::<u64>().to_le_bytes().to_vec();
                if node.server.raft.propose(now, command.into()).is_err() {
                    assert!(node.transferring, "seed {}: {n} leads and takes no proposals", self.seed);
                }
            }
            if self.dice.random() {
                self.contexts += 1;
                node.server.raft.read_index(now, self.contexts).unwrap();
                node.reads.insert(self.contexts, self.committed.len());
            }
            if self.hurting && self.dice.random_bool(0.03) {
                let to = self.dice.random_bool(0.5).then(|| id(self.dice.random_range(1..=SERVERS)));
                let begun = node.server.raft.transfer_leadership(now, to).is_ok();
                node.transferring |= begun;
                self.seen.transfers += usize::from(begun);
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
        match self.dice.random_range(0..10) {
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
            6 | 7 => {
                // Back before anybody could have missed it.
                let server = self.dice.random_range(1..=SERVERS);
                self.crash(server);
                let delay = self.dice.random_range(1_000..60_000);
                self.schedule(delay, Event::Return { server });
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
            // A snapshot is there before the write that it belongs to.
            let next = node.server.unsynced.pop_front().and_then(|write| write.snapshot);
            if let Some(snapshot) = next.filter(|_| self.dice.random_bool(0.7)) {
                node.server.write_snapshot(snapshot);
            }
            node.server.unsynced.clear();
            self.seen.crashes += 1;
            if self.ambushes && self.dice.random() {
                // What it sent had not left its machine.
                self.events.retain(|_, event| !matches!(event, Event::Deliver { from, .. } if *from == n));
            }
        }
    }

    fn restart(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        if !node.up {
            node.up = true;
            node.reads.clear();
            node.transferring = false;
            node.checked = (LogIndex::ZERO, vec![]);
            let now = node.time(self.now);
            node.server.restart(now);
            node.saved = node.server.application.index;
            self.seen.restarts_from_snapshot += usize::from(node.saved > LogIndex::ZERO);
            let last = |entries: &[LogEntry]| entries.last().map(|entry| entry.index);
            let lost = last(node.server.raft.entries()) < last(&node.server.entries);
            self.seen.void_logs += usize::from(lost && node.server.raft.last_index() == node.saved);
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
        let mut messages = node.server.drain();
        if node.server.application.index.0 >= node.saved.0 + self.snapshot_every {
            node.saved = node.server.application.index;
            let now = node.time(self.now);
            node.server.save_snapshot(now);
            messages.extend(node.server.drain());
            self.seen.saved += 1;
        }
        if node.installed != node.server.installed {
            node.installed = node.server.installed;
            node.saved = node.server.application.index;
            self.seen.installed += 1;
        }
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
                self.dice.random_range(200..if self.ambushes && self.hurting { 8_000 } else { 3_000 })
            };
            self.schedule(delay, Event::Deliver { from, to, message: message.clone() });
        }
    }

    fn check(&mut self, n: u8) {
        self.check_committed(n);
        self.check_log(n);
        self.check_events(n);
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
        let (log, base) = (node.server.raft.entries(), node.server.raft.log.base());
        let terms = |entry: &LogEntry| (entry.term, matches!(entry.payload, Payload::Configuration(_)));
        let (begin, checked) = &mut node.checked;
        if base > *begin {
            let forgotten = (base.0 - begin.0) as usize;
            // If that is not what stood there, a snapshot took its place: all of it is new.
            let same = checked.get(forgotten - 1).map(|(term, _)| *term) == node.server.raft.log.term_at(base);
            checked.drain(..if same { forgotten } else { checked.len() });
            *begin = base;
        }
        // Equal from some point backwards means equal: that was checked when it was new.
        let mut same = checked.len().min(log.len());
        while same > 0 && checked[same - 1] != terms(&log[same - 1]) {
            same -= 1;
        }
        let undone = &checked[same..];
        self.seen.truncations += usize::from(!undone.is_empty());
        self.seen.configurations_undone += usize::from(undone.iter().any(|(_, configured)| *configured));
        checked.truncate(same);
        for (place, entry) in log.iter().enumerate().skip(same) {
            let before = match place {
                0 => node.server.raft.log.term_at(base).unwrap(),
                _ => log[place - 1].term,
            };
            let known =
                self.entries.entry((entry.index, entry.term)).or_insert_with(|| (before, entry.payload.clone()));
            assert_eq!((known.0, &known.1), (before, &entry.payload), "seed {}: {n} at {}", self.seed, entry.index);
            checked.push(terms(entry));
        }
        let latest = log.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some(configuration),
            _ => None,
        });
        let none = Configuration::default();
        let at_base = || base.0.checked_sub(1).map_or(&none, |place| &self.states[place as usize].1);
        assert_eq!(node.server.raft.configuration(), latest.unwrap_or_else(at_base), "seed {}: {n}", self.seed);
        assert!(latest.is_none_or(|latest| latest.voters().count() <= MAX_VOTERS));
    }

    fn check_events(&mut self, n: u8) {
        let mut ambushed = false;
        let node = self.nodes.get_mut(&n).unwrap();
        for event in std::mem::take(&mut node.server.events) {
            (self.now, n, format!("{event:?}")).hash(&mut self.trace);
            match event {
                Output::BecameLeader { term } => {
                    if self.hurting && self.ambushes {
                        ambushed = true;
                    }
                    self.seen.transferred += usize::from(node.told_to_stand == Some(term));
                    let first = *self.leaders.entry(term).or_insert(n);
                    assert_eq!(first, n, "seed {}: two leaders in term {term}", self.seed);
                    let (log, base) = (node.server.raft.entries(), node.server.raft.log.base().0 as usize);
                    let committed = &self.committed[base..];
                    let has = log.len() >= committed.len() && log[..committed.len()] == *committed;
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
        if ambushed && self.dice.random_bool(0.9) {
            let delay = self.dice.random_range(0..40_000);
            self.schedule(delay, Event::Ambush { server: n });
        }
    }

    fn check_committed(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        let new: Vec<LogEntry> = node.server.committed.drain(..).collect();
        let voters: Vec<u8> = node.server.raft.configuration().voters().map(|id| id.0[0]).collect();
        let before = self.committed.len();
        for entry in new {
            if let Some(known) = self.committed.get(entry.index.0 as usize - 1) {
                assert_eq!(*known, entry, "seed {}: {n} commits another entry", self.seed);
                continue;
            }
            let (mut state, mut configuration) = self.states.last().cloned().unwrap_or_default();
            state.apply(&entry);
            if let Payload::Configuration(next) = &entry.payload {
                configuration = next.clone();
            }
            self.states.push((state, configuration));
            self.committed.push(entry);
        }
        let applied = node.server.application;
        if let Some(place) = applied.index.0.checked_sub(1) {
            assert_eq!(applied, self.states[place as usize].0, "seed {}: {n} knows something else", self.seed);
        }
        for entry in &self.committed[before..] {
            let copies = voters.iter().filter(|n| self.nodes[n].has_on_disk(entry)).count();
            assert!(copies * 2 > voters.len(), "seed {}: {entry:?} is on {copies} of {voters:?}", self.seed);
        }
        (self.now, n, applied.index).hash(&mut self.trace);
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
            assert_eq!(member.raft.last_index(), raft.last_index(), "seed {}: {id} after healing", self.seed);
            let (disk, memory) = (&member.entries, member.raft.entries());
            assert!(disk.ends_with(memory), "seed {}: the disk of {id} after healing", self.seed);
            assert_eq!(member.pinned.len(), 0, "seed {}: {id} holds a snapshot after healing", self.seed);
        }
        assert!(self.committed.len() > self.committed_when_healed + 50, "seed {}: hardly anything works", self.seed);
    }
}

impl Node {
    /// What its clock shows at a moment of the world.
    fn time(&self, micros: u64) -> Time {
        Time::from_nanos(micros * self.rate)
    }

    fn has_on_disk(&self, entry: &LogEntry) -> bool {
        let covered = self.server.snapshot.as_ref().is_some_and(|(meta, _)| meta.index >= entry.index);
        let first = self.server.entries.first().map_or(LogIndex::ZERO, |first| first.index);
        let place = entry.index.0.checked_sub(first.0);
        covered || place.is_some_and(|place| self.server.entries.get(place as usize) == Some(entry))
    }

    /// When it wants to be woken, as a moment of the world.
    fn deadline(&self) -> Option<u64> {
        let deadline = self.server.raft.deadline().filter(|_| self.up)?;
        Some(deadline.as_nanos().div_ceil(self.rate))
    }
}
