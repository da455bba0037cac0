//! The disk is a peer: what was handed to it, what it has acknowledged, and which messages wait for that.
//!
//! A message that promises something (a vote, an acknowledgement, a candidacy) is withheld until the write that holds
//! everything it depends on is durable. By then the state in memory may have moved on; to the receiver that looks
//! like a slow network.

use crate::log::Log;
use crate::output::{Persist, Snapshot};
use quorate_protocol::raft::{HardState, RaftBody, RaftMessage};
use quorate_protocol::{LogIndex, NodeId};
use std::collections::VecDeque;

/// Writes that may be unacknowledged at a time. While the disk is that far behind, further changes gather into the
/// next one.
const MAX_IN_FLIGHT: usize = 64;

/// Messages that may wait for the disk. More means that it hangs; the oldest are dropped then, as a network may.
const MAX_WITHHELD: usize = 4096;

#[derive(Debug)]
pub(crate) struct Disk {
    /// The number of the last write handed out.
    handed: u64,
    /// The number of the last write that is durable.
    persisted: u64,
    /// What the last write handed out says.
    hard_state: HardState,
    /// The last entry of the present log that was handed out.
    handed_index: LogIndex,
    /// The last entry of the present log that is durable.
    durable_index: LogIndex,
    /// A snapshot that takes the place of the log, for the next write.
    snapshot: Option<Snapshot>,
    /// How far the log in memory forgot what a snapshot holds, for the next write.
    compact_to: Option<LogIndex>,
    /// Writes under way, each with its last entry that is still part of the log.
    in_flight: VecDeque<(u64, LogIndex)>,
    withheld: VecDeque<Withheld>,
}

#[derive(Debug)]
struct Withheld {
    number: u64,
    to: NodeId,
    message: RaftMessage,
}

impl Disk {
    /// A disk that holds exactly this.
    pub(crate) fn new(hard_state: HardState, last_index: LogIndex) -> Disk {
        Disk {
            handed: 0,
            persisted: 0,
            hard_state,
            handed_index: last_index,
            durable_index: last_index,
            snapshot: None,
            compact_to: None,
            in_flight: VecDeque::new(),
            withheld: VecDeque::new(),
        }
    }

    pub(crate) fn durable_index(&self) -> LogIndex {
        self.durable_index
    }

    /// The last entry of the present log that was handed out.
    pub(crate) fn handed_index(&self) -> LogIndex {
        self.handed_index
    }

    /// Whether the write with this number is durable.
    pub(crate) fn holds(&self, number: u64) -> bool {
        self.persisted >= number
    }

    /// The number of the write after which the present state is durable.
    pub(crate) fn number_of(&self, hard_state: HardState, log: &Log) -> u64 {
        if self.is_behind(hard_state, log) { self.handed + 1 } else { self.handed }
    }

    fn is_behind(&self, hard_state: HardState, log: &Log) -> bool {
        self.hard_state != hard_state || self.handed_index < log.last_index() || self.snapshot.is_some()
    }

    /// The next write, if something changed.
    pub(crate) fn next_write(&mut self, hard_state: HardState, log: &Log) -> Option<Persist> {
        // Nobody waits for what was forgotten to leave the disk, but an idle cluster's disk should shrink, too.
        let changed = self.is_behind(hard_state, log) || self.compact_to.is_some();
        if !changed || self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        let entries = log.from(self.handed_index.next()).to_vec();
        self.handed += 1;
        self.hard_state = hard_state;
        self.handed_index = log.last_index();
        self.in_flight.push_back((self.handed, self.handed_index));
        let (snapshot, compact_to) = (self.snapshot.take(), self.compact_to.take());
        Some(Persist { number: self.handed, hard_state, snapshot, compact_to, entries })
    }

    /// The log begins behind `index` now, what is before may go.
    pub(crate) fn compacted_to(&mut self, index: LogIndex) {
        self.compact_to = Some(index);
    }

    /// A snapshot took the place of the whole log.
    pub(crate) fn installed(&mut self, snapshot: Snapshot) {
        // That entries up to here are on disk may no longer be so. It is no lie that could do harm: they are committed.
        let end = snapshot.meta.index;
        self.handed_index = end;
        self.durable_index = self.durable_index.min(end);
        for (_, last) in &mut self.in_flight {
            *last = (*last).min(end);
        }
        self.compact_to = None;
        self.snapshot = Some(snapshot);
    }

    /// The log was cut: what comes next in these places has to be written anew.
    pub(crate) fn truncated_from(&mut self, index: LogIndex) {
        let kept = index.previous();
        self.handed_index = self.handed_index.min(kept);
        self.durable_index = self.durable_index.min(kept);
        for (_, last) in &mut self.in_flight {
            *last = (*last).min(kept);
        }
    }

    /// Every write up to this number is durable. Returns the messages that waited for it.
    pub(crate) fn persisted(&mut self, up_to: u64) -> Vec<(NodeId, RaftMessage)> {
        assert!(up_to <= self.handed, "write {up_to} cannot be durable, {} is the last one handed out", self.handed);
        self.persisted = self.persisted.max(up_to);
        while let Some((number, last)) = self.in_flight.front().copied()
            && number <= up_to
        {
            self.in_flight.pop_front();
            self.durable_index = self.durable_index.max(last);
        }
        let ready = self.withheld.iter().take_while(|withheld| withheld.number <= up_to).count();
        self.withheld.drain(..ready).map(|withheld| (withheld.to, withheld.message)).collect()
    }

    /// Keeps a message until the write with this number is durable. Returns how many were dropped to make room.
    pub(crate) fn withhold(&mut self, number: u64, to: NodeId, message: RaftMessage) -> u64 {
        if let Some(last) = self.withheld.back_mut()
            && last.number == number
            && last.to == to
            && last.message.term == message.term
            && let RaftBody::AppendAccepted { match_index } = &mut last.message.body
            && let RaftBody::AppendAccepted { match_index: further } = message.body
        {
            // One acknowledgement speaks for all before it: a leader's log only grows in its term.
            *match_index = further.max(*match_index);
            return 0;
        }
        let full = self.withheld.len() >= MAX_WITHHELD;
        if full {
            self.withheld.pop_front();
        }
        self.withheld.push_back(Withheld { number, to, message });
        u64::from(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::Term;
    use quorate_protocol::raft::{LogEntry, Payload};

    #[test]
    fn a_write_of_what_was_cut_off_makes_nothing_durable() {
        let entry = |term, index| LogEntry { term: Term(term), index: LogIndex(index), payload: Payload::Empty };
        let hard_state = HardState::default();
        let mut log = Log::recovered(None, vec![entry(1, 1)], Term(1)).unwrap().0;
        let mut disk = Disk::new(hard_state, LogIndex(1));
        (2..=4).for_each(|index| log.append(entry(1, index)));
        let first = disk.next_write(hard_state, &log).unwrap();
        log.truncate_from(LogIndex(3));
        disk.truncated_from(LogIndex(3));
        assert_eq!(disk.next_write(hard_state, &log), None, "nothing to write in place of it yet");
        log.append(entry(2, 3));
        assert_eq!(disk.number_of(hard_state, &log), 2);
        let second = disk.next_write(hard_state, &log).unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(second.entries, [entry(2, 3)]);
        disk.persisted(1);
        assert_eq!(disk.durable_index(), LogIndex(2), "of the present log");
        disk.persisted(2);
        assert_eq!(disk.durable_index(), LogIndex(3));
    }

    #[test]
    fn too_many_waiting_messages_push_out_the_oldest() {
        let mut disk = Disk::new(HardState::default(), LogIndex::ZERO);
        let mut dropped = 0;
        for round in 0..5000 {
            let message = RaftMessage { term: Term(1), body: RaftBody::HeartbeatReply { round } };
            dropped += disk.withhold(0, NodeId([1; 16]), message);
        }
        assert_eq!(dropped, 5000 - 4096);
        assert_eq!(disk.persisted(0).len(), 4096);
    }
}
