//! A datacenter in one thread: real engines, and around them a network, disks, clocks, clients and faults, all drawn from one
//! seed.
//!
//! ```text
//!   0 ────────── hurt ──────────▶│◀────────── heal ──────────▶│◀─ quiet ─▶│ end
//!   faults come and go;          │ the network is whole, all run;  clients only
//!   safety holds at every step   │ one may leave, one may die      read; all converges
//! ```

use crate::agent::{Agent, number_of};
use crate::brief;
use crate::checks::members_converge_after_heal::{Expected, Fate};
use crate::checks::one_lease_at_a_time::{self, Earlier};
use crate::checks::{Checked, Violation, promises_are_on_disk};
use crate::clients::{Clients, Learnt, LockNews};
use crate::dice::{Dice, Stream};
use crate::disk::{Disk, Flushed, Lie, Quality};
use crate::faults::{self, Fault, Scene};
use crate::happened::{Happened, Happening};
use crate::network::{Envelope, Network, Weather};
use crate::observer::{Observer, held};
use crate::options::{Failure, Options, Plant, Summary};
use crate::queue::Queue;
use crate::trace::{Hash, Trace, What};
use quorate_engine::{Input, Notice, Output, Ticket};
use quorate_protocol::raft::RaftBody;
use quorate_protocol::wire::stream::{Destination, Message, Origin};
use quorate_protocol::{CheckDefinition, NodeId, Refusal, Reply, Status, Time};
use quorate_raft::Snapshot;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// As long as nothing new comes in, this many steps at one moment mean that an engine never comes to rest.
const MAX_STEPS_AT_ONCE: u32 = 20_000;
/// How often the properties that need a look at the whole are looked at once the world heals.
const LOOK: Duration = Duration::from_millis(250);
/// The time after the healing begins in which connections, leaders and members find together again.
const RECOVERY: Duration = Duration::from_secs(12);
/// How long after a server went its node may go from the catalogue.
const AWAY: Duration = Duration::from_secs(30);
/// The end of the healing phase in which clients only read.
const QUIET: Duration = Duration::from_secs(20);

/// Everything that can happen.
enum Event {
    Datagram {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Message(Envelope),
    /// A process looks at its timers.
    Wake {
        agent: usize,
        start: u64,
    },
    /// A disk's flush has come to its end.
    Flushed {
        agent: usize,
        start: u64,
    },
    /// A snapshot of a server's own state is written and verified.
    SnapshotSaved {
        agent: usize,
        start: u64,
    },
    /// A process hears of it.
    Persisted {
        agent: usize,
        start: u64,
        up_to: u64,
    },
    Probe {
        agent: usize,
        start: u64,
        check_id: String,
        number: u64,
    },
    Client {
        client: usize,
    },
    GiveUp {
        ticket: Ticket,
    },
    Start {
        agent: usize,
    },
    Resume {
        agent: usize,
        start: u64,
    },
    Fault,
    Hurt(Fault),
    Unblock {
        links: Vec<(usize, usize)>,
    },
    DiskMends {
        agent: usize,
    },
    WeatherClears,
    Heal,
    LastFarewells,
    Upset,
    Look,
    Quiet,
    End,
}

/// A datacenter in one thread.
pub struct World {
    options: Options,
    now: Time,
    queue: Queue<Event>,
    steps_at_once: u32,
    agents: Vec<Agent>,
    network: Network,
    clients: Clients,
    observer: Observer,
    trace: Trace,
    dice: Dice,
    fault_dice: Dice,
    healing: bool,
    quiet: bool,
    /// Until then nodes may go from the catalogue, and sessions with them.
    nodes_go_until: Time,
    /// Partitions that are still to end, so that healing can end them.
    cuts: Vec<(usize, usize)>,
    storms: u32,
    probes: u64,
    faults: u64,
    happened: Happened,
    converged_after: Option<Duration>,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new(options: Options) -> World {
        let seed = options.seed;
        let mut dice = Dice::new(seed, Stream::World, 0);
        let restores = options.restores;
        let limit = if options.plant == Some(Plant::WildClocks) { 600_000 } else { 10_000 };
        let lie = match options.plant {
            Some(Plant::DiskLosesEntries) => Lie::LosesEntries,
            Some(Plant::WildClocks) | None => Lie::None,
        };
        let agents = (0..options.agents)
            .map(|number| {
                let drift = dice.below(2 * limit + 1) as i32 - limit as i32;
                let disk = Disk::new(Quality::BAD, lie, Dice::new(seed, Stream::Disk, number));
                Agent::new(number, number < options.servers, drift, disk, &mut dice)
            })
            .collect();
        World {
            now: Time::ZERO,
            queue: Queue::default(),
            steps_at_once: 0,
            agents,
            network: Network::new(options.agents, Weather::ROUGH, Dice::new(seed, Stream::Network, 0)),
            clients: Clients::new(options.agents, restores, Dice::new(seed, Stream::Clients, 0)),
            observer: Observer::new(options.agents, restores),
            trace: Trace::new(options.print),
            dice,
            fault_dice: Dice::new(seed, Stream::Faults, 0),
            healing: false,
            quiet: false,
            nodes_go_until: Time::ZERO,
            cuts: Vec::new(),
            storms: 0,
            probes: 0,
            faults: 0,
            happened: Happened::default(),
            converged_after: None,
            options,
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// The first property that did not hold, with what happened last.
    pub fn run(mut self) -> Result<Summary, Box<Failure>> {
        // An assertion inside an engine is a finding like any other; the world is only read afterwards.
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.live()));
        match lived.unwrap_or_else(|panic| Violation::seen("nothing_panics", panic_message(panic.as_ref()))) {
            Ok(()) => Ok(self.summary()),
            Err(violation) => Err(Box::new(Failure {
                options: self.options.clone(),
                violation,
                at: self.now,
                hash: self.trace.hash(),
                tail: self.trace.tail(),
            })),
        }
    }

    fn live(&mut self) -> Checked {
        self.plan();
        while let Some((at, event)) = self.queue.pop() {
            self.steps_at_once = if at == self.now { self.steps_at_once + 1 } else { 0 };
            if self.steps_at_once > MAX_STEPS_AT_ONCE {
                return Violation::seen("engines_come_to_rest", format!("{MAX_STEPS_AT_ONCE} steps at {at:?}"));
            }
            self.now = at;
            if matches!(event, Event::End) {
                return self.check_the_end();
            }
            self.happen(event)?;
        }
        Ok(())
    }

    /// What is certain from the beginning.
    fn plan(&mut self) {
        let seconds = |seconds: u64| Time::ZERO + Duration::from_secs(seconds);
        let end = seconds(self.options.seconds);
        let heal = seconds(self.options.seconds * 5 / 8);
        for agent in 0..self.options.agents {
            let at = Time::ZERO + self.dice.around(Duration::from_millis(500));
            self.queue.push(at, Event::Start { agent });
        }
        for client in 0..self.clients.len() {
            let at = seconds(1) + self.clients.pause(client);
            self.queue.push(at, Event::Client { client });
        }
        self.queue.push(seconds(4), Event::Fault);
        self.queue.push(heal, Event::Heal);
        self.queue.push(heal + RECOVERY, Event::Look);
        self.queue.push(heal + RECOVERY, Event::Upset);
        let farewells = self.dice.between(Duration::from_secs(4), Duration::from_secs(8));
        self.queue.push(heal + RECOVERY + farewells, Event::LastFarewells);
        self.queue.push(end - QUIET, Event::Quiet);
        self.queue.push(end, Event::End);
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Datagram { to, from, bytes } => self.datagram_arrives(to, from, bytes),
            Event::Message(envelope) => self.message_arrives(envelope),
            Event::Wake { agent, start } => self.wake(agent, start),
            Event::Flushed { agent, start } => self.flushed(agent, start),
            Event::SnapshotSaved { agent, start } => self.snapshot_saved(agent, start),
            Event::Persisted { agent, start, up_to } if self.runs(agent, start) => {
                self.trace.add(self.now, Some(agent), What::Persisted(up_to), 0);
                self.give(agent, Input::Persisted { up_to })
            }
            Event::Probe { agent, start, check_id, number } if self.runs(agent, start) => {
                self.probe(agent, check_id, number)
            }
            Event::Client { client } => self.client_asks(client),
            Event::GiveUp { ticket } => self.client_gives_up(ticket),
            Event::Start { agent } => self.start(agent),
            Event::Resume { agent, start } if self.runs(agent, start) => self.resume(agent),
            Event::Persisted { .. } | Event::Probe { .. } | Event::Resume { .. } => Ok(()),
            Event::Fault => self.next_fault(),
            Event::Hurt(fault) => self.hurt(fault),
            Event::Unblock { links } => {
                self.unblock(&links);
                Ok(())
            }
            Event::DiskMends { agent } => {
                let quality = if self.healing { Quality::GOOD } else { Quality::BAD };
                self.agents[agent].disk.set_quality(quality);
                Ok(())
            }
            Event::WeatherClears => {
                self.storms = self.storms.saturating_sub(1);
                if self.storms == 0 && !self.healing {
                    self.network.set_weather(Weather::ROUGH);
                }
                Ok(())
            }
            Event::Heal => self.heal(),
            Event::LastFarewells => self.last_farewells(),
            Event::Upset => self.upset(),
            Event::Look => self.look(),
            Event::Quiet => {
                self.quiet = true;
                self.clients.be_quiet();
                self.observer.serves.forget();
                self.trace.say(self.now, None, "clients only read from now on".into());
                Ok(())
            }
            Event::End => Ok(()),
        }
    }

    // What reaches a process.

    fn datagram_arrives(&mut self, to: usize, from: SocketAddr, bytes: Vec<u8>) -> Checked {
        let Some(sender) = number_of(from, self.options.agents) else { return Ok(()) };
        if self.agents[to].process.is_none() || !self.network.is_open(sender, to) {
            return Ok(());
        }
        let what = What::Datagram { from: sender, bytes: bytes.len() };
        self.trace.add(self.now, Some(to), what, Hash::of(&bytes));
        self.give(to, Input::Datagram { from, bytes })
    }

    fn message_arrives(&mut self, envelope: Envelope) -> Checked {
        let Some(Envelope { from, to, bytes, .. }) = self.network.arrive(self.now, envelope) else { return Ok(()) };
        if self.agents[to].process.is_none() {
            return Ok(());
        }
        let message = Message::decode(&bytes)
            .map_err(|error| Violation::new("messages_survive_the_wire", format!("from agent {from}: {error}")))?;
        let what = What::Message { from, kind: kind_of(&message), bytes: bytes.len() };
        self.trace.add(self.now, Some(to), what, Hash::of(&bytes));
        if let Message::Raft(message) = &message {
            self.observer.arrives(&self.agents[to], self.agents[from].id, message);
        }
        let from = Origin { id: self.agents[from].id, address: self.agents[from].address };
        self.give(to, Input::Message { from, message })
    }

    fn wake(&mut self, agent: usize, start: u64) -> Checked {
        let now = self.now;
        let Some(process) = self.agents[agent].process.as_mut().filter(|process| process.start == start) else {
            return Ok(());
        };
        if process.armed != Some(now) || process.paused_until.is_some() {
            return Ok(());
        }
        process.armed = None;
        let local = process.clock.local(now);
        if process.engine.deadline().is_some_and(|deadline| deadline <= local) {
            process.engine.handle_timeout(local);
            self.trace.add(now, Some(agent), What::Timer, 0);
            return self.settle(agent);
        }
        self.arm(agent);
        Ok(())
    }

    /// Gives an input to an agent's process, now or when it is continued.
    fn give(&mut self, agent: usize, input: Input) -> Checked {
        let now = self.now;
        let Some(process) = &mut self.agents[agent].process else { return Ok(()) };
        if process.paused_until.is_some() {
            process.keep(input);
            return Ok(());
        }
        // One that was stopped learns of its disk only in its turn.
        if let Input::Persisted { up_to } = input {
            process.persisted = up_to;
        }
        process.engine.handle(process.clock.local(now), input);
        self.settle(agent)
    }

    /// Takes out of an engine what should leave, looks at what it has become, and sets its alarm.
    fn settle(&mut self, agent: usize) -> Checked {
        self.observer.stepped(self.now, &mut self.agents[agent])?;
        while let Some(output) = self.agents[agent].process.as_mut().and_then(|process| process.engine.poll()) {
            self.leaves(agent, output)?;
        }
        self.observer.settled(&self.agents[agent])?;
        self.arm(agent);
        Ok(())
    }

    fn arm(&mut self, agent: usize) {
        let now = self.now;
        let Some(process) = &mut self.agents[agent].process else { return };
        let Some(deadline) = process.engine.deadline() else { return };
        let at = process.clock.world(deadline).max(now);
        // An alarm that goes off too early looks again; only one that would be too late is set anew.
        if process.armed.is_none_or(|armed| armed > at) {
            process.armed = Some(at);
            self.queue.push(at, Event::Wake { agent, start: process.start });
        }
    }

    // What leaves a process.

    fn leaves(&mut self, agent: usize, output: Output) -> Checked {
        match output {
            Output::Datagram { to, bytes } => self.send_datagram(agent, to, bytes),
            Output::Message { to, message } => {
                if let (Message::Raft(message), Some(id)) = (&message, to.id) {
                    promises_are_on_disk::check(self.agents[agent].id, id, message, &self.agents[agent].disk)?;
                    if let RaftBody::Heartbeat { round, .. } = message.body {
                        self.observer.rounds.sent(self.now, agent, message.term, round);
                    }
                }
                self.send_message(agent, to, &message);
            }
            Output::Reply { ticket, reply } => return self.reply(ticket, &reply),
            Output::Persist(persist) => {
                self.observer.writes(agent, &persist)?;
                if let Some(process) = &mut self.agents[agent].process {
                    process.handed = persist.number;
                }
                self.happened.times(Happening::SnapshotInstalled, u64::from(persist.snapshot.is_some()));
                self.happened.times(Happening::LogCompacted, u64::from(persist.compact_to.is_some()));
                let done = self.agents[agent].disk.submit(self.now, persist);
                self.await_flush(agent, done);
            }
            Output::SaveSnapshot { meta, mut chunks } => {
                self.observer.configurations.check(agent, &meta)?;
                self.observer.committed.stands_for(agent, meta.index, meta.term)?;
                let chunks = (0..).map_while(|number| chunks.chunk(number).map(|chunk| chunk.bytes)).collect();
                let done = self.agents[agent].disk.save(self.now, Snapshot { meta, chunks });
                let start = self.agents[agent].starts;
                self.queue.push(done, Event::SnapshotSaved { agent, start });
            }
            Output::StartCheck(definition) => self.start_probe(agent, definition),
            Output::StopCheck { check_id } => {
                if let Some(process) = &mut self.agents[agent].process {
                    process.probes.remove(&check_id);
                }
            }
            // Nobody changes keys in the simulated world.
            Output::KeysChanged { .. } => {}
            Output::SaveLocal(bytes) => self.agents[agent].disk.local = bytes,
            Output::Noticed(notice) => return self.noticed(agent, &notice),
            Output::Left => {
                self.trace.say(self.now, Some(agent), "has left".into());
                if self.agents[agent].fate == Fate::Running {
                    self.happened.once(Happening::ServerLeft);
                    let away = self.dice.between(Duration::from_millis(200), Duration::from_secs(6));
                    return self.kill(agent, away);
                }
                return self.end_process(agent);
            }
            Output::Stopped => return self.kill(agent, Duration::from_secs(1)),
            Output::Quarantine(why) => {
                return Violation::seen("applied_states_equal", format!("agent {agent} finds itself different: {why}"));
            }
            Output::Fatal(why) => return Violation::seen("nothing_is_fatal", format!("agent {agent} stops: {why}")),
        }
        Ok(())
    }

    fn send_datagram(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        let Some(to) = number_of(to, self.options.agents) else { return };
        let [first, second] = self.network.send_datagram(self.now, from, to);
        let address = self.agents[from].address;
        if let Some(at) = second {
            self.queue.push(at, Event::Datagram { to, from: address, bytes: bytes.clone() });
        }
        if let Some(at) = first {
            self.queue.push(at, Event::Datagram { to, from: address, bytes });
        }
    }

    fn send_message(&mut self, from: usize, to: Destination, message: &Message) {
        let Some(number) = number_of(to.address, self.options.agents) else { return };
        // A connection to somebody else, or to nobody, is not made.
        let is_there = self.agents[number].process.is_some() && to.id.is_none_or(|id| id == self.agents[number].id);
        if !is_there {
            return;
        }
        let sent = self.network.send_message(self.now, from, number, message.lane(), message.encode());
        if let Some((at, envelope)) = sent {
            self.queue.push(at, Event::Message(envelope));
        }
    }

    fn noticed(&mut self, agent: usize, notice: &Notice) -> Checked {
        self.trace.say(self.now, Some(agent), format!("{notice:?}"));
        if matches!(notice, Notice::LeaderChanged { .. } | Notice::LostLeadership { .. } | Notice::Member { .. }) {
            self.clients.may_be_asked_anew();
        }
        match notice {
            Notice::BecameLeader { term } => {
                one_lease_at_a_time::elected(agent, *term, &self.earlier_leaders(agent))?;
                if let Some((fault, after)) = faults::ambush(agent, self.options.agents, &mut self.fault_dice) {
                    self.queue.push(self.now + after, Event::Hurt(fault));
                }
                let Some(process) = &mut self.agents[agent].process else { return Ok(()) };
                process.leads = Some(*term);
                let commit = process.engine.raft().map(|raft| raft.commit_index()).unwrap_or_default();
                self.observer.leads(agent, *term, commit, held(process))
            }
            Notice::LostLeadership { .. } => {
                if let Some(process) = &mut self.agents[agent].process {
                    process.leads = None;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Those beside an agent that think they lead.
    fn earlier_leaders(&self, elected: usize) -> Vec<Earlier> {
        let others = self.agents.iter().filter(|agent| agent.number != elected);
        let earlier = others.filter_map(|agent| {
            let process = agent.process.as_ref()?;
            let holds_lease = process.engine.raft()?.holds_lease(process.clock.local(self.now));
            Some(Earlier { agent: agent.number, term: process.leads?, holds_lease })
        });
        earlier.collect()
    }

    // Disks.

    fn await_flush(&mut self, agent: usize, done: Option<Time>) {
        let start = self.agents[agent].starts;
        if let Some(at) = done {
            self.queue.push(at, Event::Flushed { agent, start });
        }
    }

    fn flushed(&mut self, agent: usize, start: u64) -> Checked {
        if !self.runs(agent, start) {
            return Ok(());
        }
        match self.agents[agent].disk.finish(self.now).map_err(broken_log)? {
            Flushed::UpTo(up_to, next) => {
                self.await_flush(agent, next);
                // The disk is done before anybody knows: a process can be killed in between.
                let told = self.now + self.dice.between(Duration::from_micros(20), Duration::from_micros(200));
                self.queue.push(told, Event::Persisted { agent, start, up_to });
                Ok(())
            }
            Flushed::Failed => {
                self.trace.say(self.now, Some(agent), "its disk failed to flush, so it ends".into());
                self.happened.once(Happening::FailedFlush);
                self.kill(agent, Duration::from_secs(1))
            }
        }
    }

    fn snapshot_saved(&mut self, agent: usize, start: u64) -> Checked {
        if !self.runs(agent, start) {
            return Ok(());
        }
        match self.agents[agent].disk.saved() {
            Some(index) => {
                self.happened.once(Happening::SnapshotSaved);
                self.give(agent, Input::SnapshotSaved { index })
            }
            None => {
                self.trace.say(self.now, Some(agent), "its disk failed to take a snapshot, so it ends".into());
                self.happened.once(Happening::FailedFlush);
                self.kill(agent, Duration::from_secs(1))
            }
        }
    }

    // Probes of health checks.

    fn start_probe(&mut self, agent: usize, definition: CheckDefinition) {
        self.probes += 1;
        let number = self.probes;
        let first = self.dice.around(definition.kind.interval());
        let Some(process) = &mut self.agents[agent].process else { return };
        let check_id = definition.id.clone();
        process.probes.insert(check_id.clone(), (definition, number));
        let event = Event::Probe { agent, start: process.start, check_id, number };
        self.queue.push(self.now + first, event);
    }

    fn probe(&mut self, agent: usize, check_id: String, number: u64) -> Checked {
        let Some(process) = &self.agents[agent].process else { return Ok(()) };
        let Some((definition, _)) = process.probes.get(&check_id).filter(|(_, current)| *current == number) else {
            return Ok(());
        };
        let (start, interval) = (process.start, definition.kind.interval().max(Duration::from_millis(100)));
        // What is probed stays as it is once everything is to come to rest.
        let is_well = self.quiet || self.dice.chance(0.8);
        let (status, output) = if is_well { (Status::Passing, "accepted") } else { (Status::Critical, "refused") };
        let again = Event::Probe { agent, start, check_id: check_id.clone(), number };
        self.queue.push(self.now + interval, again);
        self.give(agent, Input::CheckReport { check_id, status, output: output.to_owned() })
    }

    // Clients.

    fn client_asks(&mut self, client: usize) -> Checked {
        let Some(asked) = self.clients.ask(self.now, client) else { return Ok(()) };
        let (agent, ticket) = (asked.agent, asked.ticket);
        if self.agents[agent].process.is_none() {
            // The connection is refused: nothing was asked.
            let refused = Reply::Refused(Refusal::NoServers);
            let learnt = self.clients.answered(self.now, ticket, &refused);
            return self.learn(learnt);
        }
        self.trace.say(
            self.now,
            Some(agent),
            format!("client {client} asks {}: {}", ticket.0, brief::ask(&asked.request.ask)),
        );
        let leader = self.leader();
        self.observer.asked(self.now, &asked, leader.map(|leader| &self.agents[leader]));
        if let Some(patience) = asked.patience {
            self.queue.push(self.now + patience, Event::GiveUp { ticket });
        }
        self.give(agent, Input::Request { ticket, request: asked.request })
    }

    fn client_gives_up(&mut self, ticket: Ticket) -> Checked {
        let Some((agent, learnt)) = self.clients.gives_up(ticket) else { return Ok(()) };
        self.trace.say(self.now, Some(agent), format!("request {} is given up", ticket.0));
        self.observer.ended(ticket);
        self.learn(learnt)?;
        self.give(agent, Input::Abandon { ticket })
    }

    fn reply(&mut self, ticket: Ticket, reply: &Reply) -> Checked {
        self.trace.say(self.now, None, format!("request {} is told {}", ticket.0, brief::reply(reply)));
        self.observer.ended(ticket);
        if !matches!(reply, Reply::Refused(Refusal::Unknown | Refusal::TimedOut)) {
            self.observer.locks.answered(self.now, ticket.0);
        }
        let learnt = self.clients.answered(self.now, ticket, reply);
        if let (Some((write, index)), Reply::Written { outcome, .. }) = (&learnt.written, reply) {
            self.observer.acknowledged(self.now, write, *index, outcome, &self.agents)?;
        }
        if let Reply::Read { answer, .. } = reply {
            if let Some(question) = &learnt.read {
                self.observer.read_answered(self.now, question, reply)?;
            }
            if let Some(asked) = &learnt.stream {
                self.observer.streamed(asked, answer)?;
            }
        }
        self.lock_news(&learnt.news)?;
        self.learn(learnt)
    }

    fn learn(&mut self, learnt: Learnt) -> Checked {
        if let Some((client, pause)) = learnt.next {
            self.queue.push(self.now + pause, Event::Client { client });
        }
        if let Some((agent, service_id, registered)) = learnt.service {
            self.observer.acknowledgements.service(agent, &service_id, registered);
        }
        Ok(())
    }

    // Faults.

    fn next_fault(&mut self) -> Checked {
        if self.healing {
            return Ok(());
        }
        let scene = Scene {
            agents: self.options.agents,
            servers: self.options.servers,
            leader: self.leader(),
            is_settled: self.is_settled(),
        };
        let (faults, next) = faults::draw(scene, &mut self.fault_dice);
        self.queue.push(self.now + next, Event::Fault);
        for (fault, after) in faults {
            self.queue.push(self.now + after, Event::Hurt(fault));
        }
        Ok(())
    }

    fn hurt(&mut self, fault: Fault) -> Checked {
        if self.healing {
            return Ok(());
        }
        self.trace.say(self.now, None, format!("{fault:?}"));
        self.faults += 1;
        match fault {
            Fault::Cut { links, length, .. } => {
                for (from, to) in &links {
                    self.network.block(self.now, *from, *to);
                    self.cuts.push((*from, *to));
                }
                self.queue.push(self.now + length, Event::Unblock { links });
            }
            Fault::Kill { agents } => {
                for (agent, down) in agents {
                    self.kill(agent, down)?;
                }
            }
            Fault::LoseDisk { agent, down } if self.is_settled() => self.lose_disk(agent, down)?,
            Fault::Leave { agent } if self.is_settled() => {
                self.nodes_go(AWAY);
                self.give(agent, Input::Leave)?;
            }
            // Meanwhile another one is away.
            Fault::LoseDisk { .. } | Fault::Leave { .. } => {}
            Fault::Pause { agent, length } => self.pause(agent, length),
            Fault::Disk { agent, quality, length } => {
                self.agents[agent].disk.set_quality(quality);
                self.queue.push(self.now + length, Event::DiskMends { agent });
            }
            Fault::Weather { weather, length } => {
                self.storms += 1;
                self.network.set_weather(weather);
                self.queue.push(self.now + length, Event::WeatherClears);
            }
        }
        Ok(())
    }

    /// Whether every server runs and all have one configuration, in which they vote and nobody else takes part.
    fn is_settled(&self) -> bool {
        let servers = || self.agents.iter().filter(|agent| agent.is_server);
        let ids: BTreeSet<NodeId> = servers().map(|agent| agent.id).collect();
        servers().all(|agent| {
            let Some(raft) = agent.process.as_ref().and_then(|process| process.engine.raft()) else { return false };
            let configuration = raft.configuration();
            configuration.voters().count() == configuration.peers.len()
                && configuration.voters().eq(ids.iter().copied())
        })
    }

    /// From now on sessions may end for another reason than their own.
    fn nodes_go(&mut self, length: Duration) {
        self.observer.locks.believe_nothing();
        self.nodes_go_until = self.nodes_go_until.max(self.now + length);
    }

    fn lock_news(&mut self, news: &[LockNews]) -> Checked {
        let certain = self.now > self.nodes_go_until;
        let heard = |news: &&LockNews| certain || !matches!(news, LockNews::Lives(..));
        news.iter().filter(heard).try_for_each(|news| self.observer.lock_news(self.now, news))
    }

    fn lose_disk(&mut self, agent: usize, down: Duration) -> Checked {
        self.kill(agent, down)?;
        self.nodes_go(AWAY);
        let nth = (self.agents[agent].former.len() + 1) * self.options.agents + agent;
        let disk = Disk::new(Quality::BAD, Lie::None, Dice::new(self.options.seed, Stream::Disk, nth));
        let lost = self.agents[agent].lose_disk(disk, &mut self.dice);
        self.happened.once(Happening::DiskLost);
        self.clients.server_is_gone(lost);
        Ok(())
    }

    fn unblock(&mut self, links: &[(usize, usize)]) {
        if self.healing && self.cuts.is_empty() {
            return;
        }
        for (from, to) in links {
            let Some(place) = self.cuts.iter().position(|cut| cut == &(*from, *to)) else { continue };
            self.cuts.swap_remove(place);
            for (at, envelope) in self.network.unblock(self.now, *from, *to) {
                self.queue.push(at, Event::Message(envelope));
            }
        }
    }

    fn pause(&mut self, agent: usize, length: Duration) {
        let until = self.now + length;
        let Some(process) = &mut self.agents[agent].process else { return };
        if process.paused_until.is_none() {
            process.paused_until = Some(until);
            self.queue.push(until, Event::Resume { agent, start: process.start });
        }
    }

    /// A process that is continued finds its sockets full and its timers overdue; it reads the sockets first.
    fn resume(&mut self, agent: usize) -> Checked {
        let now = self.now;
        let Some(process) = &mut self.agents[agent].process else { return Ok(()) };
        if process.paused_until.take().is_none() {
            return Ok(());
        }
        let backlog = std::mem::take(&mut process.backlog);
        self.trace.say(now, Some(agent), format!("continues and reads {} inputs", backlog.len()));
        for input in backlog {
            self.give(agent, input)?;
        }
        if let Some(process) = &mut self.agents[agent].process {
            process.armed = None;
        }
        self.arm(agent);
        Ok(())
    }

    fn kill(&mut self, agent: usize, down: Duration) -> Checked {
        if self.agents[agent].process.is_none() {
            return Ok(());
        }
        self.end_process(agent)?;
        self.queue.push(self.now + down, Event::Start { agent });
        Ok(())
    }

    fn end_process(&mut self, agent: usize) -> Checked {
        self.trace.say(self.now, Some(agent), "ends".into());
        let host = &mut self.agents[agent];
        self.happened.times(Happening::CrashWhileSaving, u64::from(host.disk.is_saving()));
        host.process = None;
        self.agents[agent].disk.crash().map_err(broken_log)?;
        self.network.forget(agent);
        self.observer.process_ended(agent);
        for learnt in self.clients.agent_ended(agent) {
            self.learn(learnt)?;
        }
        Ok(())
    }

    fn start(&mut self, agent: usize) -> Checked {
        let host = &mut self.agents[agent];
        if host.process.is_some() || host.fate != Fate::Running {
            return Ok(());
        }
        host.start(self.now, &self.options).map_err(broken_log)?;
        let (index, _) = host.disk.covered();
        self.happened.times(Happening::StartFromSnapshot, u64::from(index.0 > 0));
        let found = format!("starts with a snapshot up to {index} and {} entries", host.disk.entries().len());
        self.trace.say(self.now, Some(agent), found);
        self.observer.process_started(&self.agents[agent])?;
        self.settle(agent)
    }

    // The end.

    fn heal(&mut self) -> Checked {
        self.trace.say(self.now, None, "the world heals".into());
        self.healing = true;
        self.clients.heal();
        self.network.set_weather(Weather::FAIR);
        let cuts = self.cuts.clone();
        self.unblock(&cuts);
        for agent in 0..self.options.agents {
            self.agents[agent].disk.set_quality(Quality::GOOD);
            self.resume(agent)?;
            self.start(agent)?;
        }
        Ok(())
    }

    /// By now everybody knows everybody again. A last change of leaders, while clients wait for answers: those that wait at the old
    /// leader must not be forgotten.
    fn upset(&mut self) -> Checked {
        self.check_members()?;
        self.observer.wakeups.forget();
        if let Some(leader) = self.leader() {
            self.trace.say(self.now, Some(leader), "is paused as the leader".into());
            self.pause(leader, Duration::from_secs(2));
        }
        Ok(())
    }

    /// Of those that are not servers, some leave and some are killed for good.
    fn last_farewells(&mut self) -> Checked {
        let clients = self.options.servers..self.options.agents;
        self.nodes_go(Duration::from_secs(self.options.seconds));
        for agent in clients {
            match self.dice.below(4) {
                0 => {
                    self.agents[agent].fate = Fate::Left;
                    self.trace.say(self.now, Some(agent), "is told to leave".into());
                    self.give(agent, Input::Leave)?;
                }
                1 => {
                    self.agents[agent].fate = Fate::Killed;
                    self.end_process(agent)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Checked {
        self.queue.push(self.now + LOOK, Event::Look);
        let leader = self.leader();
        let awake: Vec<&Agent> = self.agents.iter().filter(|agent| agent.is_awake()).collect();
        self.observer.look(self.now, leader.map(|leader| &self.agents[leader]), &awake)?;
        if self.quiet && self.converged_after.is_none() && self.check_convergence().is_ok() {
            self.converged_after = Some(self.now.since(Time::ZERO + Duration::from_secs(self.options.seconds) - QUIET));
        }
        Ok(())
    }

    fn check_the_end(&mut self) -> Checked {
        self.check_convergence()?;
        let running: Vec<usize> = self.running().map(|agent| agent.number).collect();
        self.observer.serves.check(&running)?;
        self.observer.check_histories(&self.clients)
    }

    fn check_convergence(&self) -> Checked {
        let expected: Vec<Expected> = self.agents.iter().map(Agent::expected).collect();
        let leader = self.leader().map(|leader| &self.agents[leader]);
        let running: Vec<&Agent> = self.running().collect();
        self.observer.converged(&running, leader, &expected)
    }

    fn check_members(&self) -> Checked {
        let expected: Vec<Expected> = self.agents.iter().map(Agent::expected).collect();
        let running: Vec<&Agent> = self.running().collect();
        self.observer.members_converged(&running, &expected)
    }

    fn running(&self) -> impl Iterator<Item = &Agent> {
        self.agents.iter().filter(|agent| agent.process.is_some())
    }

    fn runs(&self, agent: usize, start: u64) -> bool {
        self.agents[agent].process.as_ref().is_some_and(|process| process.start == start)
    }

    /// Who leads in the highest term.
    fn leader(&self) -> Option<usize> {
        let leads = |agent: &Agent| Some((agent.process.as_ref()?.leads?, agent.number));
        self.agents.iter().filter_map(leads).max().map(|(_, number)| number)
    }

    fn summary(self) -> Summary {
        let seen = &self.observer;
        let mut happened: Happened =
            [self.happened.clone(), self.clients.happened.clone(), seen.searched.clone()].into_iter().sum();
        happened.times(Happening::Term, seen.leaders.terms() as u64);
        happened.times(Happening::StatesCompared, seen.states.compared());
        happened.times(Happening::WriteAcknowledged, seen.acknowledgements.writes_acknowledged() as u64);
        happened.times(Happening::Expired, seen.ends.count());
        happened.times(Happening::Configuration, seen.configurations.len() as u64);
        Summary {
            hash: self.trace.hash(),
            events: self.trace.events(),
            simulated: Duration::from_secs(self.options.seconds),
            faults: self.faults,
            starts: self.agents.iter().map(|agent| agent.starts).sum(),
            log_length: seen.committed.last(),
            happened,
            requests: self.clients.counts,
            network: self.network.counts,
            converged_after: self.converged_after,
            options: self.options,
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn broken_log(why: String) -> Violation {
    Violation::new("logs_match", why)
}

fn kind_of(message: &Message) -> &'static str {
    match message {
        Message::Gossip(_) => "gossip state",
        Message::Raft(_) => "raft message",
        Message::Forward { .. } => "forwarded request",
        Message::ForwardReply { .. } => "reply",
        Message::Abandon { .. } => "abandoned request",
        Message::StateHash { .. } => "state hash",
    }
}
