//! Who takes part: configurations in the log, and changing them one server at a time.
//!
//! A configuration is in force as soon as it is in the log, committed or not (dissertation, 4.1), and out of force as
//! soon as it is cut off again. Because two successive ones differ in one voter, every majority of one meets every
//! majority of the other; a third may only follow when the second is committed.

use crate::output::{Change, ChangeError, RecoverError};
use crate::raft::Raft;
use quorate_protocol::raft::{Configuration, HardState, LogEntry, Payload, Peer, SnapshotMeta};
use quorate_protocol::{LogIndex, NodeId, Time};

/// Five, and two more while machines are being replaced. With more, each write waits for more disks and gains nothing.
pub const MAX_VOTERS: usize = 7;

/// The configurations of the log: the one in force where the log in memory begins, and all after it.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// What was in force before any other that is known; empty and at zero unless it came with a snapshot.
    oldest: (LogIndex, Configuration),
    later: Vec<(LogIndex, Configuration)>,
}

impl History {
    /// What a snapshot and the entries behind it, or behind nothing, say.
    pub(crate) fn of(snapshot: Option<&SnapshotMeta>, entries: &[LogEntry]) -> History {
        let oldest = snapshot.map(|meta| (meta.configuration_index, meta.configuration.clone())).unwrap_or_default();
        let mut history = History { oldest, later: Vec::new() };
        entries.iter().for_each(|entry| history.append(entry));
        history
    }

    /// The one in force.
    pub(crate) fn latest(&self) -> &Configuration {
        self.later.last().map_or(&self.oldest.1, |(_, configuration)| configuration)
    }

    /// Where the one in force stands in the log.
    pub(crate) fn latest_index(&self) -> LogIndex {
        self.later.last().map_or(self.oldest.0, |(index, _)| *index)
    }

    /// The one in force at an entry, and where it stands.
    pub(crate) fn at(&self, index: LogIndex) -> Option<&(LogIndex, Configuration)> {
        self.known().rev().find(|(at, _)| *at <= index)
    }

    /// The one that nothing before is known of.
    pub(crate) fn oldest(&self) -> &(LogIndex, Configuration) {
        &self.oldest
    }

    fn known(&self) -> impl DoubleEndedIterator<Item = &(LogIndex, Configuration)> {
        std::iter::once(&self.oldest).chain(&self.later)
    }

    /// Takes note of an entry that was appended to the log.
    pub(crate) fn append(&mut self, entry: &LogEntry) {
        if let Payload::Configuration(configuration) = &entry.payload {
            self.later.push((entry.index, configuration.clone()));
        }
    }

    /// Forgets what was cut off the log: the one before is in force again.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        self.later.retain(|(at, _)| *at < index);
    }

    /// Forgets what was superseded where the log now begins.
    pub(crate) fn compact_to(&mut self, base: LogIndex) {
        while self.later.first().is_some_and(|(at, _)| *at <= base) {
            self.oldest = self.later.remove(0);
        }
    }

    /// Whether this server votes, and no other one is a voter of any configuration that is known.
    pub(crate) fn only_ever_voter(&self, id: NodeId) -> bool {
        self.latest().is_voter(id)
            && self.known().all(|(_, configuration)| configuration.voters().all(|voter| voter == id))
    }

    /// Whether a server may stand for election.
    ///
    /// A voter may. So may one whose removal is not committed: its log may be the only one long enough to win, and the
    /// others would wait for it for ever (dissertation, 4.2.2).
    pub(crate) fn may_campaign(&self, id: NodeId, commit: LogIndex) -> bool {
        let mut latest_first = self.known().rev();
        let votes_in = |known: Option<&(LogIndex, Configuration)>| known.is_some_and(|(_, known)| known.is_voter(id));
        votes_in(latest_first.next()) || self.latest_index() > commit && votes_in(latest_first.next())
    }
}

impl Raft {
    /// Where the configuration in force stands in the log; it is committed when that index is.
    pub fn configuration_index(&self) -> LogIndex {
        self.configurations.latest_index()
    }

    /// Begins a change of the configuration: adds, promotes or removes one server. It is in force at once and done
    /// when the returned index is committed.
    ///
    /// Add a new server as a learner first and promote it when [`Raft::progress`] shows that it has caught up; as a
    /// voter with an empty log it can only hold up the commits of others (dissertation, 4.2.1). A leader that removes
    /// itself leads until that is committed.
    ///
    /// # Errors
    /// Says what to do first: see [`ChangeError`]. Nothing was changed then.
    pub fn change_configuration(&mut self, now: Time, change: Change) -> Result<LogIndex, ChangeError> {
        self.advance_clock(now);
        let leader = self.accepting_leader()?;
        if self.log.commit() < leader.term_start {
            return Err(ChangeError::TooEarly);
        }
        if self.configurations.latest_index() > self.log.commit() {
            return Err(ChangeError::InProgress(self.configurations.latest_index()));
        }
        let configuration = changed(self.configurations.latest(), change)?;
        Ok(self.append_as_leader(Payload::Configuration(configuration)))
    }
}

impl Raft {
    /// Gives up a quorum that is lost for ever: this server becomes the only voter, and the only member, of a new
    /// configuration in a new term. It leads as soon as that is on its disk. Returns where the configuration stands.
    ///
    /// **This is no operation of Raft.** What only the lost servers had is lost, even if it was acknowledged, and what
    /// this server had is kept, even if it was not. If the others are not lost after all, there are two clusters: never
    /// start one of them again with its data.
    ///
    /// # Errors
    /// If the quorum may still be there, or this server has nothing to go on with. Nothing was changed then.
    pub fn recover(&mut self, now: Time) -> Result<LogIndex, RecoverError> {
        self.advance_clock(now);
        /// Election timeouts: a healthy quorum has found a leader in far less.
        const PATIENCE: u32 = 10;
        let me = self.config.id;
        let heard = self.now.since(self.heard_leader.unwrap_or(self.votes_from));
        if self.hears_leader() || heard < self.config.election_timeout * PATIENCE {
            return Err(self.leader.map_or(RecoverError::TooEarly, RecoverError::LeaderHeard));
        }
        let latest = self.configurations.latest();
        let Some(peer) = latest.peers.get(&me) else { return Err(RecoverError::NoMember) };
        if latest.voters().eq([me]) {
            return Err(RecoverError::NothingLost);
        }
        let peers = [(me, Peer { voter: true, ..peer.clone() })].into();
        let configuration = Configuration { peers, founder: latest.founder };
        // Not in a term that somebody may have led.
        self.become_follower();
        self.hard_state = HardState { term: self.hard_state.term.next(), vote: None };
        let (term, index) = (self.hard_state.term, self.log.last_index().next());
        self.append_entry(LogEntry { term, index, payload: Payload::Configuration(configuration) });
        self.start_election(false);
        Ok(index)
    }
}

fn changed(configuration: &Configuration, change: Change) -> Result<Configuration, ChangeError> {
    let mut next = configuration.clone();
    let id = match change {
        Change::Add { id, peer } => {
            if next.peers.insert(id, peer.clone()) == Some(peer) {
                return Err(ChangeError::NoChange);
            }
            id
        }
        Change::Remove { id } => {
            if next.peers.remove(&id).is_none() {
                return Err(ChangeError::NoChange);
            }
            id
        }
    };
    match next.voters().count() {
        0 => Err(ChangeError::LastVoter(id)),
        voters if voters > MAX_VOTERS && !configuration.is_voter(id) => Err(ChangeError::TooManyVoters(voters - 1)),
        _ => Ok(next),
    }
}
