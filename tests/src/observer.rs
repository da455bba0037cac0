//! Shows every checker what it has to see, at each step only what is new.

use crate::agent::Agent;
use crate::checks::applied_states_equal::AppliedStatesEqual;
use crate::checks::catalog_follows_members::{self, CatalogFollowsMembers};
use crate::checks::committed_stays::CommittedStays;
use crate::checks::every_request_is_answered::EveryRequestIsAnswered;
use crate::checks::index_never_goes_back::IndexNeverGoesBack;
use crate::checks::local_services_reach_catalog::{self, LocalServicesReachCatalog};
use crate::checks::logs_match::Logs;
use crate::checks::members_converge_after_heal::{self, Expected};
use crate::checks::no_wakeup_lost::NoWakeupLost;
use crate::checks::nothing_acknowledged_is_lost::NothingAcknowledgedIsLost;
use crate::checks::one_leader_per_term::OneLeaderPerTerm;
use crate::checks::serves_after_heal::ServesAfterHeal;
use crate::checks::{Checked, Violation, kv_is_linearizable, stale_reads_show_the_past};
use crate::clients::Clients;
use crate::disk::Record;
use quorate_engine::Ticket;
use quorate_protocol::raft::LogEntry;
use quorate_protocol::{Answer, Check, LogIndex, Read, Row, Term, Time, Write};
use quorate_store::{Store, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Questions asked of a view after each apply. All of them would cost as much as everything else together; in turn they
/// all come by every few entries, and what changed in between shows just as well. Which ones is a matter of the index, so that all servers are
/// asked the same.
const QUESTIONS_PER_APPLY: usize = 2;

/// All checkers that remember something.
pub struct Observer {
    servers: usize,
    questions: Vec<Read>,
    logs: Logs,
    /// Who led in which term.
    pub leaders: OneLeaderPerTerm,
    /// What was committed.
    pub committed: CommittedStays,
    /// The states of stores.
    pub states: AppliedStatesEqual,
    indexes: IndexNeverGoesBack,
    /// What was acknowledged.
    pub acknowledgements: NothingAcknowledgedIsLost,
    requests: EveryRequestIsAnswered,
    catalog: CatalogFollowsMembers,
    local: LocalServicesReachCatalog,
    /// Blocking questions.
    pub wakeups: NoWakeupLost,
    /// Who serves.
    pub serves: ServesAfterHeal,
}

impl Observer {
    /// One that has seen nothing.
    pub fn new(agents: usize, servers: usize) -> Observer {
        Observer {
            servers,
            questions: Clients::questions(),
            logs: Logs::new(agents),
            leaders: OneLeaderPerTerm::default(),
            committed: CommittedStays::default(),
            states: AppliedStatesEqual::default(),
            indexes: IndexNeverGoesBack::default(),
            acknowledgements: NothingAcknowledgedIsLost::new(agents),
            requests: EveryRequestIsAnswered::default(),
            catalog: CatalogFollowsMembers::default(),
            local: LocalServicesReachCatalog::default(),
            wakeups: NoWakeupLost::default(),
            serves: ServesAfterHeal::default(),
        }
    }

    /// A server hands something to its disk.
    ///
    /// # Errors
    /// When it breaks `committed_stays` or `logs_match`.
    pub fn writes(&mut self, agent: usize, record: &Record) -> Checked {
        self.committed.replaces(agent, &record.entries, &self.logs)?;
        self.logs.written(agent, &record.entries)
    }

    /// A server became leader, with this log.
    ///
    /// # Errors
    /// When it breaks `one_leader_per_term` or `committed_stays`.
    pub fn leads(&mut self, agent: usize, term: Term, log: &[LogEntry]) -> Checked {
        self.leaders.leads(agent, term)?;
        self.committed.leads(agent, term, log)
    }

    /// An engine has taken a step.
    ///
    /// # Errors
    /// When what its store applied breaks a property.
    pub fn stepped(&mut self, agent: &mut Agent) -> Checked {
        let Some(process) = &mut agent.process else { return Ok(()) };
        let (Some(store), Some(raft)) = (process.engine.store(), process.engine.raft()) else { return Ok(()) };
        let applied = store.applied_index();
        if applied == process.applied {
            return Ok(());
        }
        self.committed.applied(agent.number, raft.term(), process.applied, applied, raft.entries())?;
        process.applied = applied;
        self.states.applied(agent.number, applied, store.hash())?;
        self.ask(agent.number, applied, store)
    }

    /// A client asks something.
    pub fn asked(&mut self, now: Time, ticket: Ticket, agent: usize, wait: Duration, watch: Option<(Read, LogIndex)>) {
        self.requests.asked(now, ticket.0, agent, wait);
        if let Some((read, seen)) = watch {
            self.wakeups.waits(ticket.0, agent, read, seen);
        }
    }

    /// A request was answered, or nobody waits for it any more.
    pub fn ended(&mut self, ticket: Ticket) {
        self.requests.ended(ticket.0);
        self.wakeups.ended(ticket.0);
    }

    /// A client is told that its write is done.
    ///
    /// # Errors
    /// When it breaks `nothing_acknowledged_is_lost`.
    pub fn acknowledged(&mut self, write: &Write, index: LogIndex, agents: &[Agent]) -> Checked {
        let disks: Vec<_> = agents.iter().take(self.servers).map(|agent| agent.disk.entries()).collect();
        self.acknowledgements.write(write, index, &disks)
    }

    /// A read that is not stale is answered through an agent.
    ///
    /// # Errors
    /// When it breaks `index_never_goes_back`.
    pub fn read_answered(&mut self, agent: usize, read: &Read, asked: Time, now: Time, index: LogIndex) -> Checked {
        self.serves.served(agent);
        self.indexes.told(read, asked, now, index)
    }

    /// A process has ended.
    pub fn process_ended(&mut self, agent: usize) {
        self.requests.agent_ended(agent);
        self.local.agent_ended(agent);
        self.wakeups.agent_ended(agent);
    }

    /// A process has started from what its disk held.
    ///
    /// # Errors
    /// When it breaks `nothing_acknowledged_is_lost`.
    pub fn process_started(&mut self, agent: &Agent) -> Checked {
        self.logs.restarted(agent.number, agent.disk.entries());
        self.indexes.restarted(agent.number);
        let services = agent.process.as_ref().map(|process| process.engine.local_services());
        services.map_or(Ok(()), |services| self.acknowledgements.services_remain(agent.number, services))
    }

    /// Looks for what does not come although it should.
    ///
    /// # Errors
    /// When it breaks `every_request_is_answered`, `no_wakeup_lost`, `catalog_follows_members` or `local_services_reach_catalog`.
    pub fn look(&mut self, now: Time, leader: Option<&Agent>, awake: &[&Agent]) -> Checked {
        self.requests.check(now)?;
        let (Some(leader), Some(view)) = (leader.filter(|leader| leader.is_awake()), view_of(leader)) else {
            return Ok(());
        };
        self.wakeups.check(now, |read| view.read(read).1)?;
        if let Some(process) = &leader.process {
            let members = process.engine.members();
            self.catalog.look(now, leader.number, members, &all_checks(&view))?;
        }
        for agent in awake {
            self.local.look(now, agent.number, compare_local(agent, &view))?;
        }
        Ok(())
    }

    /// Whether everybody knows everybody.
    ///
    /// # Errors
    /// When it breaks `members_converge_after_heal`.
    pub fn members_converged(&self, running: &[&Agent], expected: &[Expected]) -> Checked {
        for agent in running {
            let Some(process) = &agent.process else { continue };
            members_converge_after_heal::check(agent.number, process.engine.members(), expected)?;
        }
        Ok(())
    }

    /// Whether everything has come together.
    ///
    /// # Errors
    /// The first property that has not.
    pub fn converged(&self, running: &[&Agent], leader: Option<&Agent>, expected: &[Expected]) -> Checked {
        let Some(view) = view_of(leader) else { return Violation::seen("serves_after_heal", "no server leads") };
        self.members_converged(running, expected)?;
        let nodes = rows(&view, &Read::Nodes { node_meta: BTreeMap::new() }, |answer| match answer {
            Answer::Nodes(nodes) => Some(nodes),
            _ => None,
        });
        catalog_follows_members::check(&nodes, &all_checks(&view), expected)?;
        for agent in running {
            compare_local(agent, &view)?;
            let Some(process) = &agent.process else { continue };
            self.acknowledgements.services_remain(agent.number, process.engine.local_services())?;
        }
        Ok(())
    }

    /// Checks all that clients saw.
    ///
    /// # Errors
    /// When it breaks `kv_is_linearizable`, `stale_reads_show_the_past` or `nothing_acknowledged_is_lost`.
    pub fn check_histories(&self, clients: &Clients) -> Checked {
        self.acknowledgements.writes_remain(&self.committed)?;
        for key in &clients.keys {
            kv_is_linearizable::check(&key.name, &key.history)?;
            stale_reads_show_the_past::check(&key.name, &key.history, &key.stale_reads)?;
        }
        Ok(())
    }

    fn ask(&mut self, agent: usize, applied: LogIndex, store: &Store) -> Checked {
        let view = store.view();
        for nth in 0..QUESTIONS_PER_APPLY {
            let number = (applied.0 as usize * QUESTIONS_PER_APPLY + nth) % self.questions.len();
            let read = &self.questions[number];
            let (answer, index) = view.read(read);
            self.states.answered(agent, applied, number, answer.clone(), index)?;
            self.indexes.viewed(agent, read, answer, index)?;
        }
        Ok(())
    }
}

fn view_of(agent: Option<&Agent>) -> Option<View> {
    Some(agent?.process.as_ref()?.engine.store()?.view())
}

/// Compares what an agent has with what the catalogue has of it.
fn compare_local(agent: &Agent, view: &View) -> Checked {
    let Some(process) = &agent.process else { return Ok(()) };
    let services = rows(view, &Read::NodeServices { node: agent.name.clone() }, |answer| match answer {
        Answer::NodeServices(node) => Some(node.map(|node| node.services).unwrap_or_default()),
        _ => None,
    });
    let checks = rows(view, &Read::NodeChecks { node: agent.name.clone() }, of_checks);
    let (local, local_checks) = (process.engine.local_services(), process.engine.local_checks());
    local_services_reach_catalog::check(&agent.name, local, &local_checks, &services, &checks)
}

fn all_checks(view: &View) -> Vec<Arc<Row<Check>>> {
    rows(view, &Read::ChecksInState { status: None, node_meta: BTreeMap::new() }, of_checks)
}

fn rows<T: Default>(view: &View, read: &Read, of: impl FnOnce(Answer) -> Option<T>) -> T {
    of(view.read(read).0).unwrap_or_default()
}

fn of_checks(answer: Answer) -> Option<Vec<Arc<Row<Check>>>> {
    match answer {
        Answer::Checks(checks) => Some(checks),
        _ => None,
    }
}
