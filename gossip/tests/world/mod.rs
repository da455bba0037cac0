//! Gossip machines in one thread: a seeded network with loss, delay, partitions, crashes and restarts.

#![allow(dead_code, reason = "each scenario file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end by them")]

pub mod sick;

use quorate_gossip::{Config, Gossip, Keyring, MemberEvent, MemberEventKind, Output, Timing};
use quorate_protocol::wire::gossip::GossipMessage;
use quorate_protocol::wire::stream::{Destination, Origin};
use quorate_protocol::{MemberStatus, NodeId, Query, QueryReply, Time, UserEvent};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

pub struct World {
    pub now: Time,
    pub agents: Vec<Agent>,
    /// How many datagrams of a hundred are lost.
    pub loss_percent: u32,
    /// Every event, with when and at whom.
    pub events: Vec<(Time, usize, MemberEvent)>,
    /// Every user event, with when and at whom.
    pub user_events: Vec<(Time, usize, UserEvent)>,
    /// Every query, with when and at whom, and every reply with who asked.
    pub queries: Vec<(Time, usize, Query)>,
    pub query_replies: Vec<(usize, QueryReply)>,
    pub joined: Vec<(usize, SocketAddr, usize)>,
    /// Datagrams and their bytes with IP and UDP headers.
    pub sent: (u64, u64),
    /// Messages over streams and their bytes.
    pub streamed: (u64, u64),
    /// Copies of datagrams, if wanted.
    pub tap: Option<Vec<(SocketAddr, Vec<u8>)>>,
    pub seed: u64,
    queue: BTreeMap<(Time, u64), Delivery>,
    sequence: u64,
    rng: ChaCha8Rng,
}

pub struct Agent {
    pub config: Config,
    pub gossip: Option<Gossip>,
    /// Agents of different groups do not reach each other.
    pub group: u8,
    /// Whether all datagrams from and to it are lost, while streams get through.
    pub datagrams_are_lost: bool,
    /// Whether nothing that it says arrives, while it hears others.
    pub mute: bool,
    /// Until when it does nothing, while its socket fills.
    pub paused_until: Option<Time>,
    backlog: Vec<Delivery>,
}

impl Agent {
    pub fn new(config: Config, now: Time) -> Agent {
        let gossip = Some(Gossip::new(config.clone(), now));
        Agent {
            config,
            gossip,
            group: 0,
            datagrams_are_lost: false,
            mute: false,
            paused_until: None,
            backlog: Vec::new(),
        }
    }
}

enum Delivery {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Message { from: Origin, to: Destination, message: GossipMessage },
}

pub fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, u8::try_from(n / 250).unwrap(), u8::try_from(n % 250 + 1).unwrap()], 8301))
}

pub fn node_id(n: usize) -> NodeId {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    NodeId(bytes)
}

pub fn config(n: usize, seed: u64) -> Config {
    Config {
        id: node_id(n),
        name: format!("agent-{n}"),
        address: address(n),
        generation: 1,
        tags: BTreeMap::from([("role".to_owned(), "node".to_owned()), ("dc".to_owned(), "dc1".to_owned())]),
        keyring: Keyring::new([7; 32]),
        label: "dc1".to_owned(),
        timing: Timing::lan(),
        seed: seed ^ n as u64,
        #[cfg(feature = "planted-bugs")]
        without: Vec::new(),
    }
}

pub const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

impl World {
    /// Agents that run and know nobody.
    pub fn new(agents: usize, seed: u64) -> World {
        let mut world = World {
            now: Time::ZERO + secs(1),
            agents: Vec::new(),
            loss_percent: 0,
            events: Vec::new(),
            user_events: Vec::new(),
            queries: Vec::new(),
            query_replies: Vec::new(),
            joined: Vec::new(),
            sent: (0, 0),
            streamed: (0, 0),
            tap: None,
            seed,
            queue: BTreeMap::new(),
            sequence: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        for n in 0..agents {
            world.agents.push(Agent::new(config(n, seed), world.now));
        }
        world
    }

    /// Agents that all joined through the first and see each other.
    pub fn joined(agents: usize, seed: u64) -> World {
        let mut world = World::new(agents, seed);
        for n in 1..agents {
            world.join(n, 0);
        }
        // Now and then one misses another's arrival, until it exchanges its state.
        world.run_until(secs(60), "everybody sees everybody", |world| world.agrees());
        world.events.clear();
        world
    }

    pub fn join(&mut self, n: usize, seed: usize) {
        let (now, seed) = (self.now, self.agents[seed].config.address);
        self.with(n, |gossip| gossip.join(now, vec![seed]));
    }

    /// Calls a verb of a running agent and carries out what follows.
    pub fn with<T>(&mut self, n: usize, verb: impl FnOnce(&mut Gossip) -> T) -> T {
        let result = verb(self.agents[n].gossip.as_mut().expect("the agent runs"));
        self.drain(n);
        result
    }

    pub fn crash(&mut self, n: usize) {
        self.agents[n].gossip = None;
    }

    /// Starts a crashed agent again; it joins through `seed`.
    pub fn restart(&mut self, n: usize, seed: usize, change: impl FnOnce(&mut Config)) {
        self.agents[n].config.generation += 1000;
        change(&mut self.agents[n].config);
        self.agents[n].gossip = Some(Gossip::new(self.agents[n].config.clone(), self.now));
        self.join(n, seed);
    }

    /// A number below `below`, from the world's dice.
    pub fn dice(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    pub fn get(&self, n: usize) -> &Gossip {
        self.agents[n].gossip.as_ref().expect("the agent runs")
    }

    pub fn running(&self) -> impl Iterator<Item = (usize, &Gossip)> {
        self.agents
            .iter()
            .enumerate()
            .filter_map(|(n, agent)| Some((n, agent.gossip.as_ref().filter(|g| !g.has_left())?)))
    }

    /// How `n` sees `other`.
    pub fn sees(&self, n: usize, other: usize) -> Option<MemberStatus> {
        self.get(n).member(self.agents[other].config.id).map(|member| member.status)
    }

    /// Whether all that run see exactly these alive, and everything alike.
    pub fn agrees(&self) -> bool {
        let running: BTreeSet<NodeId> = self.running().map(|(n, _)| self.agents[n].config.id).collect();
        let views: Vec<_> = self
            .running()
            .map(|(_, g)| {
                g.members()
                    .map(|m| (m.id, (m.name.clone(), m.address, m.tags.clone(), m.status, m.generation)))
                    .collect::<BTreeMap<_, _>>()
            })
            .collect();
        views.iter().all(|view| {
            let alive: BTreeSet<NodeId> =
                view.iter().filter(|(_, (.., status, _))| *status == MemberStatus::Alive).map(|(id, _)| *id).collect();
            alive == running && *view == views[0]
        })
    }

    /// Whether all that run see `other` so.
    pub fn all_see(&self, other: usize, status: MemberStatus) -> bool {
        self.running().filter(|(n, _)| *n != other).all(|(n, _)| self.sees(n, other) == Some(status))
    }

    pub fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while self.step(end) {}
    }

    /// Runs until it is so, and returns how long that took.
    pub fn run_until(&mut self, at_most: Duration, what: &str, is_so: impl Fn(&World) -> bool) -> Duration {
        let (start, end) = (self.now, self.now + at_most);
        while !is_so(self) {
            // Looking every 10 ms is enough, and looking is what costs.
            let look = self.now + Duration::from_millis(10);
            while self.step(look.min(end)) {}
            assert!(
                self.now < end || is_so(self),
                "seed {}: not within {at_most:?}: {what}\n{}",
                self.seed,
                self.views()
            );
        }
        self.now.since(start)
    }

    /// Who had which event about `other`.
    pub fn had(&self, kind: MemberEventKind, other: usize) -> BTreeSet<usize> {
        let id = self.agents[other].config.id;
        self.events.iter().filter(|(_, _, e)| e.kind == kind && e.member.id == id).map(|(_, n, _)| *n).collect()
    }

    /// Everything that happened and is believed, for comparing two runs.
    pub fn trace(&self) -> String {
        let mut trace = self.views();
        for (at, n, event) in &self.events {
            let _ = writeln!(trace, "{at:?} {n} {} {}", event.kind.as_str(), event.member.name);
        }
        let _ = writeln!(trace, "{:?}", self.sent);
        trace
    }

    fn views(&self) -> String {
        let mut views = String::new();
        for (n, gossip) in self.running() {
            let _ = write!(views, "{n}:");
            for member in gossip.members() {
                let _ = write!(views, " {}={:?}/{}", member.name, member.status, member.generation);
            }
            let _ = writeln!(views, " {:?}", gossip.counters());
        }
        views
    }

    /// Does the next thing before `end`; what arrives goes before what is due. Returns false when there is nothing more to do until then.
    fn step(&mut self, end: Time) -> bool {
        let arrival = self.queue.keys().next().map(|(at, _)| *at);
        let due = (0..self.agents.len())
            .filter_map(|n| Some((self.agents[n].paused_until.or(self.agents[n].gossip.as_ref()?.deadline())?, n)))
            .min_by_key(|(at, n)| (*at, *n));
        match (arrival, due) {
            (Some(at), due) if at <= end && due.is_none_or(|(due, _)| at <= due) => {
                self.now = self.now.max(at);
                if let Some((_, delivery)) = self.queue.pop_first() {
                    self.deliver(delivery);
                }
                true
            }
            (_, Some((at, n))) if at <= end => {
                self.now = self.now.max(at);
                self.wake(n);
                let now = self.now;
                self.with(n, |gossip| gossip.handle_timeout(now));
                true
            }
            _ => {
                self.now = end;
                false
            }
        }
    }

    /// A process that goes on reads what its socket holds before it looks at its timers.
    fn wake(&mut self, n: usize) {
        if self.agents[n].paused_until.take().is_some() {
            for delivery in std::mem::take(&mut self.agents[n].backlog) {
                self.deliver(delivery);
            }
        }
    }

    /// Stops an agent for a while.
    pub fn pause(&mut self, n: usize, length: Duration) {
        self.agents[n].paused_until = Some(self.now + length);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        let (from, to) = match &delivery {
            Delivery::Datagram { from, to, .. } => (*from, *to),
            Delivery::Message { from, to, .. } => (from.address, to.address),
        };
        if let Some(n) = self.reach(from, to).filter(|n| self.agents[*n].paused_until.is_some()) {
            return self.agents[n].backlog.push(delivery);
        }
        match delivery {
            Delivery::Datagram { from, to, bytes } => {
                if let Some(n) = self.reach(from, to) {
                    let sender = self.at(from);
                    if self.agents[n].datagrams_are_lost || sender.is_some_and(|n| self.agents[n].datagrams_are_lost) {
                        return;
                    }
                    self.with(n, |gossip| gossip.handle_datagram(now, from, &bytes));
                }
            }
            Delivery::Message { from, to, message } => {
                if let Some(n) = self.reach(from.address, to.address)
                    && to.id.is_none_or(|id| id == self.agents[n].config.id)
                {
                    self.with(n, |gossip| gossip.handle_message(now, from, message));
                }
            }
        }
    }

    /// The running agent at an address, if the sender's group reaches it.
    fn reach(&self, from: SocketAddr, to: SocketAddr) -> Option<usize> {
        let Agent { group, mute, .. } = self.agents[self.at(from)?];
        self.at(to).filter(|n| {
            let agent = &self.agents[*n];
            !mute && agent.group == group && agent.gossip.as_ref().is_some_and(|gossip| !gossip.has_left())
        })
    }

    /// The agent with an address: mostly the one that [`address`] gives it to.
    fn at(&self, at: SocketAddr) -> Option<usize> {
        let usual = match at {
            SocketAddr::V4(at) => {
                let [.., hundreds, ones] = at.ip().octets();
                (usize::from(hundreds) * 250 + usize::from(ones)).checked_sub(1)
            }
            SocketAddr::V6(_) => None,
        };
        let has_it = |n: &usize| self.agents.get(*n).is_some_and(|agent| agent.config.address == at);
        usual.filter(has_it).or_else(|| (0..self.agents.len()).find(has_it))
    }

    fn drain(&mut self, n: usize) {
        while let Some(output) = self.agents[n].gossip.as_mut().and_then(Gossip::poll) {
            let from = self.agents[n].config.address;
            match output {
                Output::Datagram { to, bytes } => {
                    assert!(bytes.len() <= 1232, "{}", bytes.len());
                    assert_eq!(bytes[0] & 0x40, 0, "looks like QUIC");
                    self.sent = (self.sent.0 + 1, self.sent.1 + bytes.len() as u64 + 28);
                    if let Some(tap) = &mut self.tap {
                        tap.push((to, bytes.clone()));
                    }
                    if self.rng.random_range(0..100) >= self.loss_percent {
                        let latency = Duration::from_micros(self.rng.random_range(100..500));
                        self.post(latency, Delivery::Datagram { from, to, bytes });
                    }
                }
                Output::Message { to, message } => {
                    let origin = Origin { id: self.agents[n].config.id, address: from };
                    let latency = Duration::from_micros(self.rng.random_range(1000..3000));
                    // Through bytes, as in life.
                    let bytes = quorate_protocol::wire::stream::Message::Gossip(message).encode();
                    self.streamed = (self.streamed.0 + 1, self.streamed.1 + bytes.len() as u64);
                    match quorate_protocol::wire::stream::Message::decode(&bytes) {
                        Ok(quorate_protocol::wire::stream::Message::Gossip(message)) => {
                            self.post(latency, Delivery::Message { from: origin, to, message });
                        }
                        other => panic!("{other:?}"),
                    }
                }
                Output::Event(event) => self.events.push((self.now, n, event)),
                Output::Query(query) => self.queries.push((self.now, n, query)),
                Output::QueryReply(reply) => self.query_replies.push((n, reply)),
                Output::KeysChanged => {}
                Output::UserEvent(event) => self.user_events.push((self.now, n, event)),
                Output::Joined { address, members } => self.joined.push((n, address, members)),
            }
        }
    }

    fn post(&mut self, latency: Duration, delivery: Delivery) {
        self.sequence += 1;
        self.queue.insert((self.now + latency, self.sequence), delivery);
    }
}
