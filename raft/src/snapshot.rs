//! In place of a log's beginning: compaction of the own log, sending a snapshot, receiving one (dissertation, 5).
//!
//! What a snapshot holds is the application's: Raft moves opaque parts and knows what goes with them
//! ([`SnapshotMeta`]). Where it ends, entries and configuration are committed, so it contradicts nothing that is.
//!
//! | | the caller | Raft |
//! |---|---|---|
//! | own | saved one: [`Raft::compact`] | forgets entries, keeps some for those who are a little behind |
//! | sent | has one: [`Raft::send_snapshot`], or none: [`Raft::abandon_snapshot`] | [`Output::SnapshotNeeded`] |
//! | | fills in a part: [`Raft::snapshot_chunk`] | [`Output::SendSnapshotChunk`], until [`Output::SnapshotDone`] |
//! | received | read it: [`Raft::install_snapshot`], or could not: [`Raft::reject_snapshot`] | [`Output::SnapshotReceived`] |

use crate::membership::History;
use crate::output::{Output, Snapshot};
use crate::planted::PlantedBug;
use crate::raft::{Raft, State};
use crate::sending::{Sending, Wish};
use bytes::Bytes;
use quorate_protocol::raft::{RaftBody, RaftMessage, SnapshotMeta};
use quorate_protocol::{LogIndex, NodeId, Term, Time};
use std::collections::BTreeSet;

/// How many parts a snapshot may have: at about 256 KiB each four times as much as the largest that is taken, so that
/// empty ones cannot fill the memory either.
const MAX_PARTS: usize = 65_536;

/// While a snapshot travels, what follows it is kept; for so many times what is kept otherwise. Beyond, the
/// peer is too slow for the log to wait for, and will need another one.
const HELD_FOR_PEERS: usize = 8;

/// A snapshot that is being received.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// In which it was sent: another leader may cut the same state into other parts.
    term: Term,
    meta: SnapshotMeta,
    chunks: Vec<Bytes>,
    bytes: u64,
    complete: bool,
}

#[cfg(test)]
impl Receiving {
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }
}

impl Raft {
    // ---- the own log ----

    /// What belongs to a snapshot of the application's state at `index`; `None` if that was not handed out as
    /// committed yet, or is compacted away, or if no configuration with a voter is known there.
    pub fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        let term = self.log.term_at(index).filter(|_| index > LogIndex::ZERO && index <= self.log.handed())?;
        let (configuration_index, configuration) = if self.planted(PlantedBug::SnapshotWithoutConfiguration) {
            self.configurations.oldest()
        } else {
            self.configurations.at(index)?
        };
        let (configuration_index, configuration) = (*configuration_index, configuration.clone());
        let meta = SnapshotMeta { index, term, configuration, configuration_index };
        // A confused leader may have sent a log without one. Nobody could start from such a snapshot.
        is_well_formed(&meta, term).then_some(meta)
    }

    /// A snapshot that ends at `index` is on this server's disk: what it covers may be forgotten, in memory now and on
    /// disk with the next [`crate::Persist`]. The last [`crate::Config::trailing_entries`] of it are kept, if they are not
    /// more than [`crate::Config::trailing_bytes`], and more while a peer is being sent a snapshot that ends earlier.
    pub fn compact(&mut self, now: Time, index: LogIndex) {
        self.advance_clock(now);
        let mut end = self.end_of_forgotten(index, 1);
        if let State::Leader(leader) = &self.state
            && let Some(first) = leader.peers.values().filter_map(|peer| peer.snapshot_index()).min()
        {
            end = end.min(first.max(self.end_of_forgotten(index, HELD_FOR_PEERS)));
        }
        // What the disk was not given yet comes from here; the caller cannot have a snapshot of what it was not given.
        let end = end.min(self.log.handed()).min(self.disk.handed_index());
        if end <= self.log.base() {
            return;
        }
        self.log.compact_to(end);
        self.configurations.compact_to(end);
        self.disk.compacted_to(end);
    }

    /// Where what is forgotten ends, if so many times what trails a snapshot at `index` is kept.
    fn end_of_forgotten(&self, index: LogIndex, times: usize) -> LogIndex {
        let (trailing_entries, trailing_bytes) = (self.config.trailing_entries, self.config.trailing_bytes);
        let entries = trailing_entries.saturating_mul(times as u64);
        self.log.before_trailing(index, entries, trailing_bytes.saturating_mul(times))
    }

    // ---- the leader's side ----

    /// A snapshot for a peer is at hand, in answer to [`Output::SnapshotNeeded`]: of the state at `index`, the last
    /// entry applied or an earlier one that another peer is being sent. False if the peer needs none any more, or the
    /// log no longer reaches back to `index`.
    pub fn send_snapshot(&mut self, now: Time, to: NodeId, index: LogIndex) -> bool {
        self.advance_clock(now);
        let Some(meta) = self.snapshot_meta(index) else { return false };
        let State::Leader(leader) = &mut self.state else { return false };
        let sent = leader.peers.get_mut(&to).is_some_and(|peer| peer.send_snapshot(now, meta));
        if sent {
            leader.snapshots.insert(index);
            // It had ended for another peer, and the caller has not heard of it.
            self.outputs.retain(|output| *output != Output::SnapshotDone { index });
        }
        sent
    }

    /// The part that [`Output::SendSnapshotChunk`] asked for, made a message to send to that peer. `None` if nobody
    /// waits for it any more.
    pub fn snapshot_chunk(
        &mut self,
        to: NodeId,
        meta: SnapshotMeta,
        number: u64,
        bytes: Bytes,
        last: bool,
    ) -> Option<RaftMessage> {
        let State::Leader(leader) = &mut self.state else { return None };
        let Some(Sending::Parts(parts)) = leader.peers.get_mut(&to)?.sending() else { return None };
        let asked = parts.meta == meta && parts.drawn(number, bytes.len(), last);
        let body = RaftBody::SnapshotChunk { meta, number, bytes, last };
        asked.then_some(RaftMessage { term: leader.term, body })
    }

    /// There is no snapshot for this peer, or no longer. [`Output::SnapshotNeeded`] comes again when the peer still
    /// needs one an election timeout later.
    pub fn abandon_snapshot(&mut self, now: Time, to: NodeId) {
        self.advance_clock(now);
        if let State::Leader(leader) = &mut self.state
            && let Some(sending) = leader.peers.get_mut(&to).and_then(|peer| peer.sending())
        {
            sending.give_up(now);
        }
    }

    /// Asks the caller for what peers need, and tells which snapshots nobody needs any more.
    pub(crate) fn flush_snapshots(&mut self) {
        let State::Leader(leader) = &mut self.state else { return };
        let in_use: BTreeSet<LogIndex> = leader.peers.values().filter_map(|peer| peer.snapshot_index()).collect();
        // First, so that nothing is dropped that is asked for again behind it.
        let done = leader.snapshots.difference(&in_use).map(|index| Output::SnapshotDone { index: *index });
        self.outputs.extend(done);
        leader.snapshots = in_use;
        for (id, peer) in &mut leader.peers {
            while let Some(wish) = peer.next_wish(self.now, self.config.max_append_bytes) {
                self.outputs.push_back(match wish {
                    Wish::Snapshot => Output::SnapshotNeeded { to: *id },
                    Wish::Part(meta, number) => Output::SendSnapshotChunk { to: *id, meta, number },
                });
            }
        }
    }

    /// Gives up what is sent to peers that are not heard any more: it costs the caller memory.
    pub(crate) fn abandon_silent_peers(&mut self) {
        /// Election timeouts: a restart takes less, and whoever comes back later gets a later snapshot.
        const PATIENCE: u32 = 10;
        let State::Leader(leader) = &mut self.state else { return };
        for peer in leader.peers.values_mut() {
            let silent = self.now.since(peer.heard) >= self.config.election_timeout * PATIENCE;
            if let Some(sending) = peer.sending().filter(|_| silent) {
                sending.give_up(self.now);
            }
        }
    }

    pub(crate) fn handle_snapshot_chunk_reply(&mut self, from: NodeId, index: LogIndex, next: u64) {
        let State::Leader(leader) = &mut self.state else { return self.counters.stale += 1 };
        let Some(peer) = leader.peers.get_mut(&from) else { return self.counters.stale += 1 };
        peer.heard = self.now;
        match peer.sending().map(|sending| sending.answered(self.now, index, next)) {
            Some(true) => {}
            Some(false) => self.counters.malformed += 1,
            None => self.counters.stale += 1,
        }
    }

    // ---- the follower's side ----

    pub(crate) fn handle_snapshot_chunk(
        &mut self,
        from: NodeId,
        meta: SnapshotMeta,
        number: u64,
        bytes: Bytes,
        last: bool,
    ) {
        if !self.observe_leader(from) {
            return;
        }
        if self.agrees_with(&meta) {
            self.receiving = None;
            return self.send_durable(from, RaftBody::AppendAccepted { match_index: meta.index });
        }
        let (term, index) = (self.hard_state.term, meta.index);
        let fits = |receiving: &Receiving| receiving.term == term && receiving.meta == meta;
        let begun = self.receiving.take().filter(fits);
        let mut receiving =
            begun.unwrap_or_else(|| Receiving { term, meta, chunks: Vec::new(), bytes: 0, complete: false });
        if !receiving.complete && number == receiving.chunks.len() as u64 {
            receiving.bytes = receiving.bytes.saturating_add(bytes.len() as u64);
            receiving.chunks.push(bytes);
            receiving.complete = last;
            if receiving.bytes > self.config.max_snapshot_bytes || receiving.chunks.len() > MAX_PARTS {
                return self.counters.snapshots_rejected += 1;
            }
            if last {
                let (meta, chunks) = (receiving.meta.clone(), receiving.chunks.clone());
                self.outputs.push_back(Output::SnapshotReceived { meta, chunks });
            }
        }
        let next = receiving.chunks.len() as u64;
        self.receiving = Some(receiving);
        self.send(from, RaftBody::SnapshotChunkReply { index, next });
    }

    /// Whether everything that a snapshot covers is in this log. What a snapshot covers is committed, so it is here, too.
    fn agrees_with(&mut self, meta: &SnapshotMeta) -> bool {
        if meta.index <= self.log.commit() {
            return true;
        }
        let agrees = self.log.term_at(meta.index) == Some(meta.term);
        if agrees {
            self.log.commit_to(meta.index);
        }
        agrees
    }

    /// The parts of [`Output::SnapshotReceived`] are a snapshot. If true, the application's state **is to be replaced**
    /// by it: the log begins behind it now, and [`Output::Committed`] goes on with the entry after it. If false, the
    /// log got ahead of it, or it was of a leader of an earlier term: keep the state.
    pub fn install_snapshot(&mut self, now: Time) -> bool {
        self.advance_clock(now);
        let Some(Receiving { meta, chunks, .. }) = self.receiving.take_if(|receiving| receiving.complete) else {
            return false;
        };
        let news = !self.agrees_with(&meta);
        let index = meta.index;
        if news {
            self.log.install(&meta, self.planted(PlantedBug::InstallKeepsSuffix));
            self.configurations = History::of(Some(&meta), self.log.entries());
            // Committed before, and part of the snapshot.
            self.outputs.retain(|output| !matches!(output, Output::Committed(_)));
            self.disk.installed(Snapshot { meta, chunks });
            self.counters.snapshots_installed += 1;
        }
        if let Some(leader) = self.leader {
            self.send_durable(leader, RaftBody::AppendAccepted { match_index: index });
        }
        news
    }

    /// The parts of [`Output::SnapshotReceived`] are damaged, or not what they should be: they are forgotten, and the
    /// leader is told to begin anew.
    pub fn reject_snapshot(&mut self, now: Time) {
        self.advance_clock(now);
        let Some(receiving) = self.receiving.take_if(|receiving| receiving.complete) else { return };
        self.counters.snapshots_rejected += 1;
        if let Some(leader) = self.leader {
            self.send(leader, RaftBody::SnapshotChunkReply { index: receiving.meta.index, next: 0 });
        }
    }
}

/// Whether a snapshot can be what a correct leader of `term` sends.
pub(crate) fn is_well_formed(meta: &SnapshotMeta, term: Term) -> bool {
    /// Nobody ever gets there: a broken sender. What counts on from it must not overflow.
    const MAX_INDEX: LogIndex = LogIndex(1 << 62);
    (LogIndex::ZERO < meta.index && meta.index < MAX_INDEX)
        && (Term::ZERO < meta.term && meta.term <= term)
        && (LogIndex::ZERO < meta.configuration_index && meta.configuration_index <= meta.index)
        && meta.configuration.voters().next().is_some()
}
