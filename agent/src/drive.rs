//! Turning the crank: the one task that owns the engine.
//!
//! Readers feed a bounded queue, this task feeds the engine, and what the engine puts out goes to queues per destination. What is full:
//! requests are answered "busy", datagrams and messages to a slow peer are dropped and counted, the disk is waited for.

use crate::check::{Report, RunningCheck};
use crate::clock::Clock;
use crate::disk::{self, Disk};
use crate::notice;
use crate::quic::{Inbound, Transport};
use quorate_engine::{Engine, Input, Output, Ticket};
use quorate_protocol::keyring::KeyringState;
use quorate_protocol::{LogIndex, Reply, Request};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

/// How many requests and how many reports get their turn where more datagrams and messages come than can be taken.
const TURN: usize = 64;
/// How many inputs are taken before timers are looked at again: what waits in the sockets is heard before anybody is
/// accused of silence, yet timers cannot starve.
const INPUTS_BEFORE_TIMERS: usize = 256;

/// What front doors and signals want from the engine.
#[derive(Debug)]
pub enum Command {
    /// A request and where its reply goes.
    Ask {
        /// The front door's number for it.
        ticket: Ticket,
        /// What is asked.
        request: Box<Request>,
        /// Where the reply goes.
        reply: oneshot::Sender<Reply>,
    },
    /// The asker has gone.
    Abandon {
        /// The front door's number for the request.
        ticket: Ticket,
    },
    /// Leave the cluster, then end.
    Leave,
    /// End without leaving.
    Stop,
}

/// Where the engine's inputs come from.
pub struct Inbox {
    /// From front doors and signals.
    pub commands: mpsc::Receiver<Command>,
    /// From other agents.
    pub inbound: mpsc::Receiver<Inbound>,
    /// From probes.
    pub reports: mpsc::Receiver<Report>,
    /// From the disk: the number of the last durable write.
    pub persisted: watch::Receiver<u64>,
    /// From the snapshots' thread: where the last one on disk ends.
    pub snapshots: watch::Receiver<LogIndex>,
}

/// Where the engine's outputs go.
pub struct Outbox {
    /// To other agents.
    pub transport: Transport,
    /// To the log; none on a client.
    pub disk: Option<Disk>,
    /// To the file of local services and checks; none where nothing is kept.
    pub data_dir: Option<PathBuf>,
    /// For the probes that are started.
    pub reports: mpsc::Sender<Report>,
    /// Where probes run: whatever they meet does not hold up the engine.
    pub probes: Handle,
}

/// How the drive ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As asked.
    Stopped,
    /// The cluster was left in an orderly way.
    Left,
    /// The engine no longer trusts its state.
    Fatal(String),
    /// This server's state differs from the others': it must begin anew without it.
    Quarantined(String),
}

/// Owns the engine until it ends.
pub struct Drive {
    engine: Engine,
    clock: Clock,
    outbox: Outbox,
    asked: HashMap<Ticket, oneshot::Sender<Reply>>,
    checks: BTreeMap<String, RunningCheck>,
    /// Whether the engine was told that the disk has too little space.
    disk_is_low: bool,
    end: Option<End>,
}

impl Drive {
    /// A drive that has not begun.
    pub fn new(engine: Engine, clock: Clock, outbox: Outbox) -> Drive {
        Drive { engine, clock, outbox, asked: HashMap::new(), checks: BTreeMap::new(), disk_is_low: false, end: None }
    }

    /// Turns the crank until the end; then closes what it wrote to.
    pub async fn run(mut self, mut inbox: Inbox) -> End {
        self.hand_out();
        let mut taken = 0;
        while self.end.is_none() {
            let deadline = self.engine.deadline();
            if taken >= INPUTS_BEFORE_TIMERS {
                taken = 0;
                self.look_at_space();
                if deadline.is_some_and(|deadline| deadline <= self.clock.now()) {
                    self.engine.handle_timeout(self.clock.now());
                    self.hand_out();
                }
                self.take_turns(&mut inbox);
                continue;
            }
            let timer = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep(self.clock.until(deadline)).await,
                    None => std::future::pending().await,
                }
            };
            taken += 1;
            tokio::select! {
                biased;
                Ok(()) = inbox.persisted.changed() => {
                    let up_to = *inbox.persisted.borrow_and_update();
                    self.look_at_space();
                    self.feed(Input::Persisted { up_to });
                }
                Ok(()) = inbox.snapshots.changed() => {
                    let index = *inbox.snapshots.borrow_and_update();
                    self.feed(Input::SnapshotSaved { index });
                }
                Some(inbound) = inbox.inbound.recv() => self.feed(match inbound {
                    Inbound::Datagram { from, bytes } => Input::Datagram { from, bytes },
                    Inbound::Message { from, message } => Input::Message { from, message },
                }),
                Some(report) = inbox.reports.recv() => self.take_report(report),
                Some(command) = inbox.commands.recv() => self.obey(command),
                () = timer => {
                    taken = 0;
                    self.look_at_space();
                    self.engine.handle_timeout(self.clock.now());
                    self.hand_out();
                }
            }
        }
        self.close().await
    }

    /// Some of what the select in [`Drive::run`] would take last, so that no flood of the first kinds keeps it waiting for ever: neither
    /// a request nor the operator's signal.
    fn take_turns(&mut self, inbox: &mut Inbox) {
        for _ in 0..TURN {
            if let Ok(report) = inbox.reports.try_recv() {
                self.take_report(report);
            }
            match inbox.commands.try_recv() {
                Ok(command) if self.end.is_none() => self.obey(command),
                _ => {}
            }
        }
    }

    fn take_report(&mut self, report: Report) {
        let Report { check_id, status, output } = report;
        self.feed(Input::CheckReport { check_id, status, output });
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Ask { ticket, request, reply } => {
                self.asked.insert(ticket, reply);
                self.feed(Input::Request { ticket, request: *request });
            }
            Command::Abandon { ticket } => {
                if self.asked.remove(&ticket).is_some() {
                    self.feed(Input::Abandon { ticket });
                }
            }
            Command::Leave => self.feed(Input::Leave),
            Command::Stop => self.feed(Input::Stop),
        }
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle(self.clock.now(), input);
        self.hand_out();
    }

    fn hand_out(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Datagram { to, bytes } => self.outbox.transport.send_datagram(to, bytes),
                Output::Message { to, message } => self.outbox.transport.send(to, message),
                Output::Reply { ticket, reply } => self.answer(ticket, reply),
                Output::Persist(persist) => {
                    if let Some(disk) = &self.outbox.disk {
                        disk.persist(persist);
                    }
                }
                Output::SaveSnapshot { meta, mut chunks } => {
                    if let Some(disk) = &self.outbox.disk {
                        let mut number = 0..;
                        let parts = std::iter::from_fn(move || chunks.chunk(number.next()?).map(|chunk| chunk.bytes));
                        disk.save_snapshot(meta, parts);
                    }
                }
                Output::StartCheck(definition) => {
                    let id = definition.id.clone();
                    // The old one stops before the new one begins.
                    self.checks.remove(&id);
                    let _there = self.outbox.probes.enter();
                    self.checks.insert(id, crate::check::start(definition, self.outbox.reports.clone()));
                }
                Output::StopCheck { check_id } => {
                    self.checks.remove(&check_id);
                }
                Output::SaveLocal(bytes) => self.save_local(&bytes),
                Output::KeysChanged { state } => {
                    let failed = self.take_keys(&state).err();
                    self.engine.handle(self.clock.now(), Input::KeysSaved { failed });
                }
                Output::Noticed(notice) => notice::log(&notice),
                Output::Left => self.end = Some(End::Left),
                Output::Stopped => self.end = Some(End::Stopped),
                Output::Quarantine(why) => self.end = Some(End::Quarantined(why)),
                Output::Fatal(why) => self.end = Some(End::Fatal(why)),
            }
        }
    }

    /// Tells the engine when the disk gets too little space, and when it has enough again.
    fn look_at_space(&mut self) {
        let low = self.outbox.disk.as_ref().is_some_and(|disk| disk.space().low);
        if low != self.disk_is_low {
            self.disk_is_low = low;
            if low {
                tracing::error!(
                    "the disk is nearly full: as leader, this server hands over to one with room, or takes only deletions"
                );
            } else {
                tracing::info!("the disk has room again");
            }
            self.engine.handle(self.clock.now(), Input::DiskSpace { low });
        }
    }

    fn answer(&mut self, ticket: Ticket, mut reply: Reply) {
        let Some(asker) = self.asked.remove(&ticket) else { return };
        if let Reply::Agent(description) = &mut reply {
            // What the sockets dropped is part of what the agent says of itself.
            let counters = self.outbox.transport.counters();
            description.counters.extend(counters.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        let _ = asker.send(reply);
    }

    fn save_local(&self, bytes: &[u8]) {
        let Some(directory) = &self.outbox.data_dir else { return };
        // The registration holds; only its surviving a restart is in doubt, and the operator is told.
        if let Err(error) = disk::LOCAL.save(directory, bytes) {
            tracing::error!(%error, "local services and checks could not be saved; they would be lost by a restart");
        }
    }

    /// Keeps the keys and makes connections under them. It is done even where they cannot be kept: the others go on with them.
    fn take_keys(&self, state: &KeyringState) -> Result<(), String> {
        let secrets: Vec<Vec<u8>> = state.installed().map(|key| key.bytes().to_vec()).collect();
        self.outbox.transport.set_keys(&secrets)?;
        let Some(directory) = &self.outbox.data_dir else { return Ok(()) };
        disk::KEYRING.save(directory, &state.encode()).map_err(|error| {
            tracing::error!(%error, "the keys could not be saved; a restart would bring the former ones back");
            error.to_string()
        })
    }

    async fn close(self) -> End {
        let Drive { outbox, checks, asked, end, .. } = self;
        drop((checks, asked));
        outbox.transport.close().await;
        if let Some(disk) = outbox.disk {
            // The disk thread is joined, which may take as long as a flush does.
            let _ = tokio::task::spawn_blocking(move || disk.close()).await;
        }
        end.unwrap_or(End::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_engine::{Config, Patience, SavedLocal};
    use quorate_gossip::{Keyring, Timing};
    use quorate_protocol::{Ask, Definitions, LocalRequest, NodeId};
    use std::time::Duration;

    fn engine_config(address: std::net::SocketAddr) -> Config {
        Config {
            id: NodeId([1; 16]),
            name: "n1".into(),
            address,
            datacenter: "dc1".into(),
            generation: 1,
            version: "test".into(),
            node_meta: BTreeMap::new(),
            keyring: Keyring::new([7; 32]),
            timing: Timing::lan(),
            join: Vec::new(),
            server: None,
            definitions: Definitions::default(),
            saved: SavedLocal::default(),
            patience: Patience::default(),
            seed: 1,
        }
    }

    #[tokio::test]
    async fn a_flood_of_datagrams_silences_neither_requests_nor_signals() {
        const FLOOD: usize = 8192;
        let (inbound_queue, inbound) = mpsc::channel(FLOOD);
        let bind = crate::quic::Config {
            bind: ([127, 0, 0, 1], 0).into(),
            advertise: ([127, 0, 0, 1], 1).into(),
            id: NodeId([1; 16]),
            name: "n1".into(),
            datacenter: "dc1".into(),
            secrets: vec![b"secret".to_vec()],
        };
        let transport = Transport::bind(bind, inbound_queue.clone()).unwrap();
        let clock = Clock::start();
        let engine = Engine::new(engine_config(transport.local_addr()), clock.now()).unwrap();
        let (command_queue, commands) = mpsc::channel(8);
        let (reports_queue, reports) = mpsc::channel(8);
        let (_durable, persisted) = watch::channel(0);
        let outbox =
            Outbox { transport, disk: None, data_dir: None, reports: reports_queue, probes: Handle::current() };
        let (_saved, snapshots) = watch::channel(LogIndex::ZERO);
        let inbox = Inbox { commands, inbound, reports, persisted, snapshots };
        for _ in 0..FLOOD {
            inbound_queue.try_send(Inbound::Datagram { from: ([127, 0, 0, 1], 9).into(), bytes: vec![1; 99] }).unwrap();
        }
        let (reply, replied) = oneshot::channel();
        let request = Box::new(Request::here(Ask::Local(LocalRequest::Describe)));
        command_queue.try_send(Command::Ask { ticket: Ticket(1), request, reply }).unwrap();
        command_queue.try_send(Command::Stop).unwrap();
        let end = Drive::new(engine, clock, outbox).run(inbox);
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), end).await, Ok(End::Stopped));
        let Ok(Reply::Agent(agent)) = replied.await else { panic!("no answer") };
        let refused = |(name, count): (&String, &u64)| if name.starts_with("datagram_") { *count } else { 0 };
        let before: u64 = agent.counters.iter().map(refused).sum();
        assert!(before < FLOOD as u64, "all {before} datagrams went first");
    }
}
