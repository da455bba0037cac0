//! What a leader knows of one other server, and what to send it next.
//!
//! A peer is *probed* (one append at a time) until it has accepted one; from then on appends are *replicated*, as many
//! at a time as the window holds. A refusal or a silence brings it back to being probed. One whose next entry is no
//! longer in the log gets a *snapshot* first; see [`crate::sending`].

use crate::log::Log;
use crate::sending::{Parts, Sending, Wish};
use quorate_protocol::raft::{LogEntry, RaftBody, SnapshotMeta};
use quorate_protocol::{LogIndex, Term, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// Appends that may be unanswered at a time: covers 60 ms of round trip at a thousand batches a second.
const MAX_IN_FLIGHT: usize = 64;

/// Their entries together, or parts of a snapshot, in appends of the largest size: what a peer that stopped reading can
/// cost.
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
    catching_up: CatchingUp,
}

#[derive(Debug)]
enum Mode {
    /// With one append under way since then, or none.
    Probe {
        asked: Option<Time>,
    },
    Replicate(Window),
    Snapshot(Sending),
}

/// Whether a peer keeps up, told by rounds as in the dissertation, 4.2.1: a round brings it the log as it was when the
/// round began. One that gets through a round within an election timeout would hold up a commit for no longer.
#[derive(Debug, Default)]
struct CatchingUp {
    /// Where the round that is under way ends, and when it began.
    round: Option<(LogIndex, Time)>,
    /// The last round was quick enough.
    quick: bool,
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
            catching_up: CatchingUp::default(),
        }
    }

    /// The next append that may be sent now. Call it until it has nothing. If what is next was compacted away, there is
    /// none, and from then on [`Progress::next_wish`] says what to do. One without entries is sent only to `tell` the commit index, or to
    /// find out what was lost.
    pub(crate) fn next_append(&mut self, now: Time, log: &Log, max_bytes: usize, tell: bool) -> Option<RaftBody> {
        let previous_index = self.next_index.previous();
        let (entries, bytes) = match &self.mode {
            Mode::Snapshot(_) | Mode::Probe { asked: Some(_) } => return None,
            Mode::Replicate(window) if window.is_full(max_bytes) => (Vec::new(), 0),
            Mode::Probe { asked: None } | Mode::Replicate(_) => log.batch(self.next_index, max_bytes),
        };
        let Some(previous_term) = log.term_at(previous_index) else {
            assert!(previous_index < log.base(), "nothing is sent that is not in the log yet");
            self.mode = Mode::Snapshot(Sending::Wanted { asked: None });
            self.catching_up = CatchingUp::default();
            return None;
        };
        let last_index = entries.last().map_or(previous_index, |entry: &LogEntry| entry.index);
        // What the peer will know to be committed once it has accepted this.
        let commit = log.commit().min(last_index);
        match &mut self.mode {
            Mode::Probe { asked } => *asked = Some(now),
            Mode::Replicate(window) if entries.is_empty() => {
                let nudged = std::mem::take(&mut window.nudge);
                let tells = tell && commit > self.told_commit;
                if !nudged && !tells {
                    return None;
                }
            }
            Mode::Replicate(window) => {
                window.push(InFlight { last_index, bytes, sent: now });
                self.next_index = last_index.next();
                self.catching_up.sent(now, log.last_index());
            }
            Mode::Snapshot(_) => return None,
        }
        self.told_commit = self.told_commit.max(commit);
        Some(RaftBody::Append { previous_index, previous_term, entries, commit_index: log.commit() })
    }

    /// Whether it was told of every commit that can be told to it now.
    pub(crate) fn knows_commit(&self, log: &Log) -> bool {
        let tellable = log.commit().min(self.next_index.previous());
        !matches!(self.mode, Mode::Replicate(_)) || tellable <= self.told_commit
    }

    /// What the caller has to be asked for, if the peer needs a snapshot. Call it until it has nothing.
    pub(crate) fn next_wish(&mut self, now: Time, max_append_bytes: usize) -> Option<Wish> {
        let Mode::Snapshot(sending) = &mut self.mode else { return None };
        sending.next_wish(now, max_in_flight_bytes(max_append_bytes))
    }

    /// The snapshot that is on its way, or wanted.
    pub(crate) fn sending(&mut self) -> Option<&mut Sending> {
        match &mut self.mode {
            Mode::Snapshot(sending) => Some(sending),
            Mode::Probe { .. } | Mode::Replicate(_) => None,
        }
    }

    /// Where the snapshot that is on its way ends.
    pub(crate) fn snapshot_index(&self) -> Option<LogIndex> {
        match &self.mode {
            Mode::Snapshot(sending) => sending.index(),
            Mode::Probe { .. } | Mode::Replicate(_) => None,
        }
    }

    /// The caller has a snapshot for this peer.
    pub(crate) fn send_snapshot(&mut self, now: Time, meta: SnapshotMeta) -> bool {
        let wanted = matches!(self.mode, Mode::Snapshot(Sending::Wanted { .. }));
        if wanted {
            self.mode = Mode::Snapshot(Sending::Parts(Parts::new(now, meta)));
        }
        wanted
    }

    /// Whether it could be made a voter, or a leader, without holding anybody up.
    pub(crate) fn is_caught_up(&self, now: Time, round: Duration) -> bool {
        !matches!(self.mode, Mode::Snapshot(_)) && self.catching_up.is_done(now, round)
    }

    /// The peer's disk holds our log up to here. Rounds of catching up are to take no longer than `round`.
    pub(crate) fn accepted(&mut self, now: Time, log: &Log, match_index: LogIndex, round: Duration) {
        let news = match_index > self.match_index || match_index.next() == self.next_index;
        self.match_index = self.match_index.max(match_index);
        match &mut self.mode {
            Mode::Probe { .. } if news => self.replicate(),
            Mode::Probe { .. } => {}
            Mode::Replicate(window) => {
                window.free(match_index);
                self.next_index = self.next_index.max(self.match_index.next());
            }
            // Installed, or it was never needed: an answer to a probe of an earlier time.
            Mode::Snapshot(_) if self.match_index >= log.base() => self.replicate(),
            // While it was on its way the log moved on: once more.
            Mode::Snapshot(sending) if sending.index().is_some_and(|index| index <= match_index) => {
                *sending = Sending::Wanted { asked: None };
            }
            Mode::Snapshot(_) => {}
        }
        self.catching_up.accepted(now, self.match_index, log.commit(), round);
    }

    fn replicate(&mut self) {
        self.next_index = self.match_index.next();
        self.mode = Mode::Replicate(Window::default());
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
            Mode::Snapshot(_) => false,
        };
        if !asked || previous_index <= self.match_index {
            return false;
        }
        // Ours between the hint and here are of later terms than any of its entries up to the hint: they cannot match.
        // If they were compacted away, a snapshot will tell.
        let candidate = log.last_at_or_before(hint_index, hint_term).map_or(LogIndex(1), LogIndex::next);
        self.next_index = candidate.min(previous_index).max(self.match_index.next());
        self.told_commit = self.match_index.min(self.told_commit);
        self.mode = Mode::Probe { asked: None };
        true
    }

    /// The peer answered a heartbeat: an append that has been unanswered for longer than `patience` may be lost, and a
    /// part of a snapshot, which is larger, after `snapshot_patience`.
    pub(crate) fn answered_heartbeat(&mut self, now: Time, patience: Duration, snapshot_patience: Duration) {
        match &mut self.mode {
            Mode::Probe { asked } => *asked = asked.filter(|sent| now.since(*sent) < patience),
            Mode::Replicate(window) => window.suspect_loss(now, patience),
            Mode::Snapshot(sending) => sending.suspect_loss(now, snapshot_patience),
        }
    }
}

impl CatchingUp {
    fn sent(&mut self, now: Time, last_index: LogIndex) {
        self.round.get_or_insert((last_index, now));
    }

    fn accepted(&mut self, now: Time, match_index: LogIndex, commit: LogIndex, limit: Duration) {
        match self.round {
            Some((end, began)) if match_index >= end => {
                self.quick = now.since(began) <= limit;
                self.round = None;
            }
            Some(_) => {}
            // Nothing was missing in the first place.
            None => self.quick |= match_index >= commit,
        }
    }

    fn is_done(&self, now: Time, limit: Duration) -> bool {
        self.quick && self.round.is_none_or(|(_, began)| now.since(began) <= limit)
    }
}

fn max_in_flight_bytes(max_append_bytes: usize) -> usize {
    max_append_bytes.saturating_mul(MAX_IN_FLIGHT_APPEND_SIZES)
}

impl Window {
    fn is_full(&self, max_append_bytes: usize) -> bool {
        self.appends.len() >= MAX_IN_FLIGHT || self.bytes >= max_in_flight_bytes(max_append_bytes)
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
