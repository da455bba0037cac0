//! Shows every checker what it has to see, at each step only what is new.

use crate::agent::{Agent, Process};
use crate::checks::applied_states_equal::AppliedStatesEqual;
use crate::checks::catalog_follows_members::{self, CatalogFollowsMembers};
use crate::checks::committed_stays::CommittedStays;
use crate::checks::every_request_is_answered::EveryRequestIsAnswered;
use crate::checks::index_never_goes_back::IndexNeverGoesBack;
use crate::checks::kv_is_linearizable::Searched;
use crate::checks::local_services_reach_catalog::{self, LocalServicesReachCatalog};
use crate::checks::lock_has_one_owner::{self, LockHasOneOwner};
use crate::checks::logs_match::{Held, Logs};
use crate::checks::members_converge_after_heal::{self, Expected, Fate};
use crate::checks::no_wakeup_lost::{Known, NoWakeupLost};
use crate::checks::nothing_acknowledged_is_lost::NothingAcknowledgedIsLost;
use crate::checks::one_leader_per_term::OneLeaderPerTerm;
use crate::checks::reads_are_confirmed::ReadsAreConfirmed;
use crate::checks::serves_after_heal::ServesAfterHeal;
use crate::checks::snapshots_carry_configuration::Configurations;
use crate::checks::ttl_never_fires_early::TtlNeverFiresEarly;
use crate::checks::{
    Checked, Violation, changes_complete, kv_is_linearizable, max_stale_holds, monotonic_reads,
    servers_converge_after_heal, state_follows_log,
};
use crate::clients::{Asked, Clients, LockNews, Question, questions};
use crate::disk::Found;
use crate::happened::{Happened, Happening};
use crate::model::{Model, State};
use quorate_engine::Ticket;
use quorate_protocol::raft::{LogEntry, Payload, RaftBody, RaftMessage};
use quorate_protocol::wire::log::decode_write;
use quorate_protocol::{
    Answer, Ask, Check, Consistency, LogIndex, NodeId, Outcome, Read, Reply, RestoreWrite, Row, Term, Time, Write,
};
use quorate_raft::Persist;
use quorate_store::{Store, View};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Questions asked of a view after each apply. All of them would cost as much as everything else together; in turn they
/// all come by every few entries, and what changed in between shows just as well. Which ones is a matter of the index, so that all servers are
/// asked the same.
const QUESTIONS_PER_APPLY: usize = 2;

/// All checkers that remember something.
pub struct Observer {
    restores: bool,
    questions: Vec<Read>,
    logs: Logs,
    /// Who led in which term.
    pub leaders: OneLeaderPerTerm,
    /// What was committed.
    pub committed: CommittedStays,
    /// What that means.
    pub model: Model,
    /// The configurations that were committed.
    pub configurations: Configurations,
    /// The states of stores.
    pub states: AppliedStatesEqual,
    indexes: IndexNeverGoesBack,
    /// What was acknowledged.
    pub acknowledgements: NothingAcknowledgedIsLost,
    /// What clients believe of locks.
    pub locks: LockHasOneOwner,
    /// What ended by itself.
    pub ends: TtlNeverFiresEarly,
    /// The highest index that any client had been told of at each moment: what whoever asks later must see.
    told: Vec<(Time, LogIndex)>,
    requests: EveryRequestIsAnswered,
    catalog: CatalogFollowsMembers,
    local: LocalServicesReachCatalog,
    /// What was made of the histories of keys.
    pub searched: Happened,
    /// What consistent reads stand on.
    pub rounds: ReadsAreConfirmed,
    /// Blocking questions.
    pub wakeups: NoWakeupLost,
    /// Who serves.
    pub serves: ServesAfterHeal,
}

impl Observer {
    /// One that has seen nothing. Where snapshots are put back, what only looks at clients looks away.
    pub fn new(agents: usize, restores: bool) -> Observer {
        Observer {
            restores,
            questions: questions(),
            logs: Logs::new(agents),
            leaders: OneLeaderPerTerm::default(),
            committed: CommittedStays::default(),
            model: Model::default(),
            configurations: Configurations::default(),
            states: AppliedStatesEqual::default(),
            indexes: IndexNeverGoesBack::default(),
            acknowledgements: NothingAcknowledgedIsLost::new(agents),
            locks: LockHasOneOwner::default(),
            ends: TtlNeverFiresEarly::default(),
            told: Vec::new(),
            requests: EveryRequestIsAnswered::default(),
            catalog: CatalogFollowsMembers::default(),
            local: LocalServicesReachCatalog::default(),
            searched: Happened::default(),
            rounds: ReadsAreConfirmed::default(),
            wakeups: NoWakeupLost::default(),
            serves: ServesAfterHeal::default(),
        }
    }

    /// A server hands something to its disk.
    ///
    /// # Errors
    /// When it breaks `committed_stays`, `logs_match` or `snapshots_carry_configuration`.
    pub fn writes(&mut self, agent: usize, persist: &Persist) -> Checked {
        if let Some(snapshot) = &persist.snapshot {
            self.committed.stands_for(agent, snapshot.meta.index, snapshot.meta.term)?;
            self.configurations.check(agent, &snapshot.meta)?;
            self.logs.installed(agent, self.committed.covered(snapshot.meta.index));
        }
        self.committed.replaces(agent, &persist.entries, &self.logs)?;
        self.logs.written(agent, &persist.entries)
    }

    /// A server became leader, with this log, of which it knows so much as committed.
    ///
    /// # Errors
    /// When it breaks `one_leader_per_term` or `committed_stays`.
    pub fn leads(&mut self, agent: usize, term: Term, commit: LogIndex, log: Held) -> Checked {
        self.leaders.leads(agent, term)?;
        self.committed.leads(agent, term, commit, log)
    }

    /// An engine has handed out all that it had to.
    ///
    /// # Errors
    /// When its log is not what it wrote: that breaks `logs_match`.
    pub fn settled(&self, agent: &Agent) -> Checked {
        // One that waits for its disk gathers meanwhile.
        let idle = agent.process.as_ref().filter(|process| process.persisted == process.handed);
        idle.and_then(|process| process.engine.raft()).map_or(Ok(()), |raft| {
            self.logs.is_held(agent.number, raft.last_index(), raft.entries().last().map(|entry| entry.term))
        })
    }

    /// A Raft message arrives at an agent.
    pub fn arrives(&mut self, to: &Agent, from: NodeId, message: &RaftMessage) {
        let RaftBody::HeartbeatReply { round } = message.body else { return };
        let Some(raft) = to.process.as_ref().and_then(|process| process.engine.raft()) else { return };
        let voters = raft.configuration().voters();
        self.rounds.answered(to.number, message.term, (from, round), voters, to.id);
    }

    /// An engine has taken a step.
    ///
    /// # Errors
    /// When what its store applied breaks a property.
    pub fn stepped(&mut self, now: Time, agent: &mut Agent) -> Checked {
        let Some(process) = &mut agent.process else { return Ok(()) };
        let (Some(store), Some(raft)) = (process.engine.store(), process.engine.raft()) else { return Ok(()) };
        if process.leads == Some(raft.term()) {
            // Answers of one that was given its vote since count as well.
            self.rounds.count(agent.number, raft.term(), raft.configuration().voters(), agent.id);
        }
        let applied = store.applied_index();
        if applied == process.applied {
            return Ok(());
        }
        let log = held(process);
        if process.leads == Some(raft.term()) {
            self.committed.counted(agent.number, raft.term(), raft.commit_index(), log)?;
        }
        self.committed.applied(agent.number, raft.term(), process.applied, applied, log)?;
        self.read_on(now, applied, log, store)?;
        self.states.applied(agent.number, applied, store.hash())?;
        self.ask(agent.number, applied, store)?;
        let was_read = process.applied == LogIndex::ZERO && applied == agent.disk.covered().0;
        process.applied = applied;
        if !was_read {
            process.applies_since.get_or_insert(now);
        }
        Ok(())
    }

    /// Reads what was applied for the first time, and compares what it means with what the server made of it.
    fn read_on(&mut self, now: Time, applied: LogIndex, log: Held, store: &Store) -> Checked {
        let before = self.model.index();
        while self.model.index() < applied {
            let Some(entry) = log.at(self.model.index().next()) else { return Ok(()) };
            self.read_entry(now, entry)?;
        }
        if before < applied && self.model.is_unsure() {
            // The sessions of a node end when another identity takes its name.
            self.locks.believe_nothing();
            self.model.take_over(before, &store.view());
        }
        Ok(())
    }

    fn read_entry(&mut self, now: Time, entry: &LogEntry) -> Checked {
        let write = match &entry.payload {
            Payload::Command(bytes) => Some(decode_write(bytes).map_err(|error| {
                Violation::new("messages_survive_the_wire", format!("entry {}: {error}", entry.index))
            })?),
            Payload::Configuration(configuration) => {
                self.configurations.committed(entry.index, configuration);
                self.rounds.configured(configuration.voters().count());
                None
            }
            Payload::Empty => None,
        };
        if let Some(Write::Restore(RestoreWrite::Commit { .. })) = &write {
            self.catalog.catalog_put_back(now);
            self.local.catalog_put_back(now);
        }
        let effects = self.model.read(now, write.as_ref());
        match effects.expired {
            Some((timer, armed)) => self.ends.ended(now, &timer, armed, self.model.applied_at(armed.since)),
            None => Ok(()),
        }
    }

    /// A client asks something, while this agent leads.
    pub fn asked(&mut self, now: Time, asked: &Asked, leader: Option<&Agent>) {
        self.requests.asked(now, asked.ticket.0, asked.agent, asked.wait);
        if let Some(ending) = &asked.ending {
            self.locks.asked_to_end(now, asked.ticket.0, ending);
        }
        if let Some((read, seen)) = &asked.watch {
            let is_stale = matches!(&asked.request.ask, Ask::Read(read) if read.consistency == Consistency::Stale);
            // A server that is a little behind the leader, and is asked for its own state, has not given what the leader has now; but what is not
            // there has the same answer on both.
            let known = match view_of(leader).map(|view| view.read(read)) {
                Some((answer, index)) if is_stale || index <= *seen => Known::Answer(answer),
                Some(_) => Known::TooLittle,
                None => Known::Whatever,
            };
            self.wakeups.waits(asked.ticket.0, asked.agent, read.clone(), *seen, known);
        }
    }

    /// A request was answered, or nobody waits for it any more.
    pub fn ended(&mut self, ticket: Ticket) {
        self.requests.ended(ticket.0);
        self.wakeups.ended(ticket.0);
    }

    /// A client is told what became of its write.
    ///
    /// # Errors
    /// When it breaks `nothing_acknowledged_is_lost` or `state_follows_log`.
    pub fn acknowledged(
        &mut self,
        now: Time,
        write: &Write,
        index: LogIndex,
        outcome: &Outcome,
        agents: &[Agent],
    ) -> Checked {
        let electorates: Vec<Vec<Found>> =
            self.electorates(index, agents).into_iter().map(|voters| on_disks(&voters, index, agents)).collect();
        self.acknowledgements.write(write, index, &electorates)?;
        if let Some(expected) = self.model.expectation(index) {
            state_follows_log::told(index, outcome, expected)?;
        }
        self.was_told(now, index);
        Ok(())
    }

    /// The voters who may have been asked about an entry: those of the configuration in force there, of the next one, and of those that servers have now.
    fn electorates(&self, index: LogIndex, agents: &[Agent]) -> Vec<Vec<NodeId>> {
        let committed = self.configurations.around(index);
        let running = agents.iter().filter_map(|agent| Some(agent.process.as_ref()?.engine.raft()?.configuration()));
        let mut electorates: Vec<Vec<NodeId>> =
            committed.chain(running).map(|configuration| configuration.voters().collect()).collect();
        electorates.retain(|voters| !voters.is_empty());
        electorates.sort_unstable();
        electorates.dedup();
        electorates
    }

    /// A question is answered through an agent.
    ///
    /// # Errors
    /// When it breaks `index_never_goes_back`, `max_stale_holds`, `reads_are_confirmed` or `monotonic_reads`.
    pub fn read_answered(&mut self, now: Time, question: &Question, reply: &Reply) -> Checked {
        let Question { agent, request, asked } = question;
        let Reply::Read { answer, index, last_contact, .. } = reply else { return Ok(()) };
        max_stale_holds::check(request, *last_contact)?;
        if request.consistency == Consistency::Consistent {
            self.rounds.check(*asked)?;
        }
        let mut floor = request.at_least;
        if request.consistency != Consistency::Stale {
            self.serves.served(*agent);
            self.indexes.told(&request.read, *asked, now, *index)?;
            let before = self.told.partition_point(|(when, _)| when < asked);
            floor = floor.max(before.checked_sub(1).map_or(LogIndex::ZERO, |last| self.told[last].1));
            self.was_told(now, *index);
        }
        monotonic_reads::check(&request.read, answer, floor, &self.model)
    }

    /// A stream is answered.
    ///
    /// # Errors
    /// When it breaks `changes_complete`.
    pub fn streamed(&self, asked: &changes_complete::Asked, answer: &Answer) -> Checked {
        match answer {
            Answer::Changes(changes) => changes_complete::check(asked, changes, &self.model),
            other => Violation::seen("changes_complete", format!("{asked:?} was answered {other:?}")),
        }
    }

    /// Something is known of who holds locks.
    ///
    /// # Errors
    /// When it breaks `lock_has_one_owner`.
    pub fn lock_news(&mut self, now: Time, news: &LockNews) -> Checked {
        match news {
            LockNews::Granted(grant) => return self.locks.granted(now, grant),
            LockNews::Lives(session, until) if !self.restores => self.locks.lives(*session, *until),
            LockNews::Lives(..) => {}
        }
        Ok(())
    }

    fn was_told(&mut self, now: Time, index: LogIndex) {
        if self.told.last().is_none_or(|(_, last)| *last < index) {
            self.told.push((now, index));
        }
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
        let before = agent.disk.entries().first().map_or(agent.disk.covered().0, |entry| entry.index.previous());
        self.logs.restarted(agent.number, self.committed.covered(before), agent.disk.entries());
        let services = agent.process.as_ref().map(|process| process.engine.local_services());
        services.map_or(Ok(()), |services| self.acknowledgements.services_remain(agent.number, services))
    }

    /// Looks for what does not come although it should.
    ///
    /// # Errors
    /// When it breaks `every_request_is_answered`, `no_wakeup_lost`, `ttl_never_fires_early`, `catalog_follows_members` or
    /// `local_services_reach_catalog`.
    pub fn look(&mut self, now: Time, leader: Option<&Agent>, awake: &[&Agent]) -> Checked {
        self.requests.check(now)?;
        let leads = leader.filter(|leader| leader.is_awake());
        // What is behind its snapshot, a server that starts knows only once a leader has told it how far that is committed.
        let lives = leads.and_then(|leader| Some((leader.number, leader.process.as_ref()?.applies_since?)));
        self.ends.look(now, lives, &self.model.state().timers, |index| self.model.applied_at(index))?;
        let (Some(leader), Some(view)) = (leader.filter(|leader| leader.is_awake()), view_of(leader)) else {
            return Ok(());
        };
        self.wakeups.check(now, |read| view.read(read))?;
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
        if let Some(raft) = leader.and_then(|leader| leader.process.as_ref()?.engine.raft()) {
            let servers: Vec<NodeId> = running
                .iter()
                .filter(|agent| agent.is_server && agent.fate == Fate::Running)
                .map(|agent| agent.id)
                .collect();
            servers_converge_after_heal::check(raft.configuration(), &servers)?;
        }
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
    /// When it breaks `kv_is_linearizable` or `nothing_acknowledged_is_lost`.
    pub fn check_histories(&mut self, clients: &Clients) -> Checked {
        self.acknowledgements.writes_remain(&self.committed)?;
        for key in clients.keys.iter().filter(|_| !self.restores) {
            let searched = kv_is_linearizable::check(&key.name, &key.history)?;
            self.searched.once(match searched {
                Searched::Explained => Happening::HistoryExplained,
                // What waiters did untold can be put in too many orders; of any other key that is no excuse.
                Searched::Undecided if key.name.starts_with("lock/") => Happening::HistoryUndecided,
                Searched::Undecided => {
                    let seen = format!("{}: the search gave up", key.name);
                    return Violation::seen("kv_is_linearizable", seen);
                }
            });
        }
        Ok(())
    }

    fn ask(&mut self, agent: usize, applied: LogIndex, store: &Store) -> Checked {
        let view = store.view();
        if applied == self.model.index() && !self.model.state().is_shown_by(&view) {
            let (state, expected) = (State::of(&view), self.model.state());
            lock_has_one_owner::check(agent, applied, &state.keys, &expected.keys)?;
            state_follows_log::check(agent, applied, &state, expected)?;
        }
        for nth in 0..QUESTIONS_PER_APPLY {
            let number = (applied.0 as usize * QUESTIONS_PER_APPLY + nth) % self.questions.len();
            let read = &self.questions[number];
            let (answer, index) = view.read(read);
            self.states.answered(agent, applied, number, answer.clone(), index)?;
            self.indexes.viewed(agent, applied, read, answer, index)?;
        }
        Ok(())
    }
}

/// The log that a server has in its memory.
pub fn held(process: &Process) -> Held<'_> {
    let Some(raft) = process.engine.raft() else { return Held::whole(&[]) };
    let entries = raft.entries();
    Held { before: entries.first().map_or(raft.last_index(), |entry| entry.index.previous()), entries }
}

/// What the disks of these voters would be found to hold of an entry after a crash now.
fn on_disks<'a>(voters: &[NodeId], index: LogIndex, agents: &'a [Agent]) -> Vec<Found<'a>> {
    let disk = |id: &NodeId| agents.iter().find_map(|agent| agent.disk_of(*id));
    voters.iter().map(|id| disk(id).map_or(Found::Nothing, |disk| disk.find(index))).collect()
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
