//! What a leader knows of one other server, and what to send it next.
//!
//! A peer is *probed* (one append at a time) until it has accepted one; from then on appends are *replicated*, as many
//! at a time as the window holds. A refusal or a silence brings it back to being probed. A third mode, for one that
//! needs a snapshot, will stand beside these two.

use crate::log::Log;
use quorate_protocol::raft::{LogEntry, RaftBody};
use quorate_protocol::{LogIndex, Term, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// Appends that may be unanswered at a time: covers 60 ms of round trip at a thousand batches a second.
const MAX_IN_FLIGHT: usize = 64;

/// Their entries together, in appends of the largest size: what a peer that stopped reading can cost.
const MAX_IN_FLIGHT_APPEND_SIZES: usize = 16;

#[derive(Debug)]
pub(crate) struct Progress {
    /// The last entry known to be on its disk and equal to ours.
    pub(crate) match_index: LogIndex,
    /// The first entry of the next append.
    next_index: LogIndex,
    mode: Mode,
    /// The commit index it was told last.
    told_commit: LogIndex,
    /// When anything of this term was received from it.
    pub(crate) heard: Time,
    /// The latest heartbeat round it has answered.
    pub(crate) acked_round: u64,
    /// When that round was sent.
    pub(crate) acked_sent: Option<Time>,
}

#[derive(Debug)]
enum Mode {
    /// With one append under way since then, or none.
    Probe {
        asked: Option<Time>,
    },
    Replicate(Window),
}

/// Appends under way.
#[derive(Debug, Default)]
struct Window {
    appends: VecDeque<InFlight>,
    bytes: usize,
    /// An empty append should find out whether the oldest was lost.
    nudge: bool,
}

#[derive(Debug)]
struct InFlight {
    last_index: LogIndex,
    bytes: usize,
    sent: Time,
}

impl Progress {
    /// Of a peer about which nothing is known but that it should get what follows `last_index`.
    pub(crate) fn new(now: Time, last_index: LogIndex) -> Progress {
        Progress {
            match_index: LogIndex::ZERO,
            next_index: last_index.next(),
            mode: Mode::Probe { asked: None },
            told_commit: LogIndex::ZERO,
            heard: now,
            acked_round: 0,
            acked_sent: None,
        }
    }

    /// The next append that may be sent now. Call it until it has nothing.
    pub(crate) fn next_append(&mut self, now: Time, log: &Log, max_bytes: usize) -> Option<RaftBody> {
        let (entries, bytes) = match &self.mode {
            Mode::Probe { asked: Some(_) } => return None,
            Mode::Probe { asked: None } => log.batch(self.next_index, max_bytes),
            Mode::Replicate(window) if window.is_full(max_bytes) => (Vec::new(), 0),
            Mode::Replicate(_) => log.batch(self.next_index, max_bytes),
        };
        let previous_index = self.next_index.previous();
        let previous_term = log.term_at(previous_index)?;
        let last_index = entries.last().map_or(previous_index, |entry: &LogEntry| entry.index);
        // What the peer will know to be committed once it has accepted this.
        let commit = log.commit().min(last_index);
        match &mut self.mode {
            Mode::Probe { asked } => *asked = Some(now),
            Mode::Replicate(window) if entries.is_empty() => {
                if !std::mem::take(&mut window.nudge) && commit <= self.told_commit {
                    return None;
                }
            }
            Mode::Replicate(window) => {
                window.push(InFlight { last_index, bytes, sent: now });
                self.next_index = last_index.next();
            }
        }
        self.told_commit = self.told_commit.max(commit);
        Some(RaftBody::Append { previous_index, previous_term, entries, commit_index: log.commit() })
    }

    /// The peer's disk holds our log up to here.
    pub(crate) fn accepted(&mut self, match_index: LogIndex) {
        let news = match_index > self.match_index || match_index.next() == self.next_index;
        self.match_index = self.match_index.max(match_index);
        match &mut self.mode {
            Mode::Probe { .. } if news => {
                self.next_index = self.match_index.next();
                self.mode = Mode::Replicate(Window::default());
            }
            Mode::Probe { .. } => {}
            Mode::Replicate(window) => {
                window.free(match_index);
                self.next_index = self.next_index.max(self.match_index.next());
            }
        }
    }

    /// The peer's log does not hold the entry before `previous_index` + 1. Returns whether that was news.
    pub(crate) fn rejected(
        &mut self,
        log: &Log,
        previous_index: LogIndex,
        hint_index: LogIndex,
        hint_term: Term,
    ) -> bool {
        let asked = match &self.mode {
            // Only one is under way.
            Mode::Probe { .. } => previous_index == self.next_index.previous(),
            Mode::Replicate(_) => previous_index < self.next_index,
        };
        if !asked || previous_index <= self.match_index {
            return false;
        }
        // Ours between the hint and here are of later terms than any of its entries up to the hint: they cannot match.
        let candidate = log.last_at_or_before(hint_index, hint_term).next();
        self.next_index = candidate.min(previous_index).max(self.match_index.next());
        self.told_commit = self.match_index.min(self.told_commit);
        self.mode = Mode::Probe { asked: None };
        true
    }

    /// The peer answered a heartbeat: an append that has been unanswered for longer than `patience` may be lost.
    pub(crate) fn answered_heartbeat(&mut self, now: Time, patience: Duration) {
        match &mut self.mode {
            Mode::Probe { asked } => *asked = asked.filter(|sent| now.since(*sent) < patience),
            Mode::Replicate(window) => window.suspect_loss(now, patience),
        }
    }
}

impl Window {
    fn is_full(&self, max_append_bytes: usize) -> bool {
        self.appends.len() >= MAX_IN_FLIGHT || self.bytes >= max_append_bytes.saturating_mul(MAX_IN_FLIGHT_APPEND_SIZES)
    }

    fn push(&mut self, append: InFlight) {
        self.bytes += append.bytes;
        self.appends.push_back(append);
    }

    fn free(&mut self, match_index: LogIndex) {
        while let Some(first) = self.appends.front()
            && first.last_index <= match_index
        {
            self.bytes -= first.bytes;
            self.appends.pop_front();
        }
    }

    fn suspect_loss(&mut self, now: Time, patience: Duration) {
        if let Some(oldest) = self.appends.front_mut()
            && now.since(oldest.sent) >= patience
        {
            self.nudge = true;
            // Once per patience, not once per heartbeat answered meanwhile.
            oldest.sent = now;
        }
    }
}
