//! Mistakes to be made on purpose, to see that the checkers see them. Without the feature `planted-bugs` there are none.

use crate::raft::Raft;

/// A rule of Raft, or of this core, that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedBug {
    /// A leader holds its lease for ever: it answers reads after another one was elected.
    LeaseWithoutEnd,
    /// A read joins a round of heartbeats that is under way: it may be confirmed by an answer from before it was asked.
    ReadJoinsRound,
    /// Entries are acknowledged before they are on disk.
    AcknowledgedBeforeWritten,
    /// The vote is missing from what goes to disk.
    VoteNotWritten,
    /// A restarted server votes at once, whatever it promised to a leader before.
    PromiseForgotten,
    /// A snapshot goes with the oldest configuration that is known, not with the one in force.
    SnapshotWithoutConfiguration,
    /// An entry of an earlier term is committed by counting (figure 3.7 of the dissertation, figure 8 of the paper).
    EarlierTermCounted,
    /// A late append cuts off what follows it, though nothing contradicts.
    AppendCutsOff,
    /// The leader counts its own copy of an entry before it is on disk.
    OwnDiskCountedEarly,
    /// A leader that hands over goes on answering reads by its lease.
    TransferKeepsLease,
    /// A snapshot takes the place of a log, but what stood behind its end stays.
    InstallKeepsSuffix,
}

impl PlantedBug {
    /// All there are.
    #[cfg(feature = "planted-bugs")]
    pub const ALL: [PlantedBug; 11] = [
        PlantedBug::LeaseWithoutEnd,
        PlantedBug::ReadJoinsRound,
        PlantedBug::AcknowledgedBeforeWritten,
        PlantedBug::VoteNotWritten,
        PlantedBug::PromiseForgotten,
        PlantedBug::SnapshotWithoutConfiguration,
        PlantedBug::EarlierTermCounted,
        PlantedBug::AppendCutsOff,
        PlantedBug::OwnDiskCountedEarly,
        PlantedBug::TransferKeepsLease,
        PlantedBug::InstallKeepsSuffix,
    ];
}

impl Raft {
    /// Whether this mistake is to be made.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn planted(&self, bug: PlantedBug) -> bool {
        self.config.planted == Some(bug)
    }

    /// Never.
    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) const fn planted(&self, _bug: PlantedBug) -> bool {
        false
    }
}
