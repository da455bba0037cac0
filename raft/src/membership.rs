//! Who takes part: configurations in the log, and changing them one server at a time.
//!
//! A configuration is in force as soon as it is in the log, committed or not (dissertation, 4.1), and out of force as
//! soon as it is cut off again. Because two successive ones differ in one voter, every majority of one meets every
//! majority of the other; a third may only follow when the second is committed.

use crate::output::{Change, ChangeError};
use crate::raft::{Raft, State};
use quorate_protocol::raft::{Configuration, LogEntry, Payload};
use quorate_protocol::{LogIndex, NodeId, Time};

/// Five, and two more while machines are being replaced. With more, each write waits for more disks and gains nothing.
pub const MAX_VOTERS: usize = 7;

/// The configurations of the log: the last committed one and all after it.
#[derive(Debug, Default)]
pub(crate) struct History {
    committed: (LogIndex, Configuration),
    later: Vec<(LogIndex, Configuration)>,
}

impl History {
    pub(crate) fn of(entries: &[LogEntry]) -> History {
        let mut history = History::default();
        entries.iter().for_each(|entry| history.append(entry));
        history
    }

    /// The one in force.
    pub(crate) fn latest(&self) -> &Configuration {
        self.later.last().map_or(&self.committed.1, |(_, configuration)| configuration)
    }

    /// Where the one in force stands in the log.
    pub(crate) fn latest_index(&self) -> LogIndex {
        self.later.last().map_or(self.committed.0, |(index, _)| *index)
    }

    /// The one before the one in force, unless the one in force is committed.
    fn previous(&self) -> Option<&Configuration> {
        match self.later.as_slice() {
            [] => None,
            [_] => Some(&self.committed.1),
            [.., (_, previous), _] => Some(previous),
        }
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

    /// Forgets what can no longer come back.
    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        while self.later.first().is_some_and(|(at, _)| *at <= index) {
            self.committed = self.later.remove(0);
        }
    }

    /// Whether this server votes, and no other one is a voter of any configuration that is known.
    pub(crate) fn only_ever_voter(&self, id: NodeId) -> bool {
        let known = || std::iter::once(&self.committed).chain(&self.later);
        self.latest().is_voter(id) && known().all(|(_, configuration)| configuration.voters().all(|voter| voter == id))
    }

    /// Whether a server may stand for election.
    ///
    /// A voter may. So may one whose removal is not committed: its log may be the only one long enough to win, and the
    /// others would wait for it for ever (dissertation, 4.2.2).
    pub(crate) fn may_campaign(&self, id: NodeId) -> bool {
        self.latest().is_voter(id) || self.previous().is_some_and(|previous| previous.is_voter(id))
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
        let State::Leader(leader) = &self.state else { return Err(self.not_leader().into()) };
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
