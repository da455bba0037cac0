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
use quorate_protocol::{Reply, Request};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot, watch};

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
}

/// Owns the engine until it ends.
pub struct Drive {
    engine: Engine,
    clock: Clock,
    outbox: Outbox,
    asked: HashMap<Ticket, oneshot::Sender<Reply>>,
    checks: BTreeMap<String, RunningCheck>,
    end: Option<End>,
}

impl Drive {
    /// A drive that has not begun.
    pub fn new(engine: Engine, clock: Clock, outbox: Outbox) -> Drive {
        Drive { engine, clock, outbox, asked: HashMap::new(), checks: BTreeMap::new(), end: None }
    }

    /// Turns the crank until the end; then closes what it wrote to.
    pub async fn run(mut self, mut inbox: Inbox) -> End {
        self.hand_out();
        let mut taken = 0;
        while self.end.is_none() {
            let deadline = self.engine.deadline();
            let due = deadline.is_some_and(|deadline| deadline <= self.clock.now());
            if due && taken >= INPUTS_BEFORE_TIMERS {
                taken = 0;
                self.engine.handle_timeout(self.clock.now());
                self.hand_out();
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
                    self.feed(Input::Persisted { up_to });
                }
                Some(inbound) = inbox.inbound.recv() => self.feed(match inbound {
                    Inbound::Datagram { from, bytes } => Input::Datagram { from, bytes },
                    Inbound::Message { from, message } => Input::Message { from, message },
                }),
                Some(report) = inbox.reports.recv() => {
                    let Report { check_id, status, output } = report;
                    self.feed(Input::CheckReport { check_id, status, output });
                }
                Some(command) = inbox.commands.recv() => self.obey(command),
                () = timer => {
                    taken = 0;
                    self.engine.handle_timeout(self.clock.now());
                    self.hand_out();
                }
            }
        }
        self.close().await
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
            Command::Stop => self.end = Some(End::Stopped),
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
                Output::StartCheck(definition) => {
                    let id = definition.id.clone();
                    // The old one stops before the new one begins.
                    self.checks.remove(&id);
                    self.checks.insert(id, crate::check::start(definition, self.outbox.reports.clone()));
                }
                Output::StopCheck { check_id } => {
                    self.checks.remove(&check_id);
                }
                Output::SaveLocal(bytes) => self.save_local(&bytes),
                Output::Noticed(notice) => notice::log(&notice),
                Output::Left => self.end = Some(End::Left),
                Output::Fatal(why) => self.end = Some(End::Fatal(why)),
            }
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
        if let Err(error) = disk::save_local(directory, bytes) {
            tracing::error!(%error, "local services and checks could not be saved; they would be lost by a restart");
        }
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
