//! One engine that hears nobody, on a clock of its own.

use quorate_engine::{Config, Engine, Input, Notice, Output, SavedLocal, Ticket};
use quorate_protocol::{Ask, CheckDefinition, Reply, Request, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// An engine with its clock; whatever it wants persisted is on disk at once.
pub struct Alone {
    pub engine: Engine,
    pub now: Time,
    pub last_ticket: u64,
    pub replies: BTreeMap<u64, Reply>,
    /// What it wanted to find again after a restart.
    pub saved: SavedLocal,
    /// Probes that run, with how often each was started.
    pub probes: BTreeMap<String, (CheckDefinition, usize)>,
    pub notices: Vec<Notice>,
}

impl Alone {
    pub fn new(config: Config) -> Alone {
        let saved = config.saved.clone();
        let mut alone = Alone {
            engine: Engine::new(config, Time::ZERO).unwrap(),
            now: Time::ZERO,
            last_ticket: 0,
            replies: BTreeMap::new(),
            saved,
            probes: BTreeMap::new(),
            notices: Vec::new(),
        };
        alone.take_outputs();
        alone
    }

    pub fn take_outputs(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Persist(persist) => self.engine.handle(self.now, Input::Persisted { up_to: persist.number }),
                Output::Reply { ticket, reply } => {
                    self.replies.insert(ticket.0, reply);
                }
                Output::SaveLocal(bytes) => self.saved = SavedLocal::decode(&bytes).unwrap(),
                Output::StartCheck(definition) => {
                    let started = self.probes.get(&definition.id).map_or(0, |(_, started)| *started);
                    self.probes.insert(definition.id.clone(), (definition, started + 1));
                }
                Output::StopCheck { check_id } => {
                    self.probes.remove(&check_id);
                }
                Output::Noticed(notice) => self.notices.push(notice),
                Output::Fatal(why) => panic!("{why}"),
                _ => {}
            }
        }
    }

    /// Lets time pass, with every deadline on the way.
    pub fn pass(&mut self, length: Duration) {
        let until = self.now + length;
        while let Some(deadline) = self.engine.deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.engine.handle_timeout(self.now);
            self.take_outputs();
        }
        self.now = until;
    }

    pub fn send(&mut self, ask: Ask) -> u64 {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.engine.handle(self.now, Input::Request { ticket, request: Request::here(ask) });
        self.take_outputs();
        self.last_ticket
    }

    pub fn reply(&mut self, ticket: u64) -> Option<Reply> {
        self.replies.remove(&ticket)
    }

    pub fn ask(&mut self, ask: Ask) -> Reply {
        let ticket = self.send(ask);
        self.reply(ticket).expect("an answer at once")
    }
}
