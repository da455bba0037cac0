//! A snapshot on its way to one peer: what to ask the caller for, what to send again.
//!
//! ```text
//!            needed            the caller has one          every part answered, then installed
//!  (nothing) ──────▶ Wanted ──────────────────▶ Parts ─────────────────────────────────────────▶ (replicates)
//!                      ▲                          │
//!                      └──────────────────────────┘
//!                given up, or the peer lost what it had
//! ```
//!
//! Parts travel in order, a few at a time. An answer that asks once more for what was sent tells of a loss. After a
//! silence one part is sent again, alone, and its answer says where to go on. The parts themselves are the caller's: it is asked for one at a time, so that it need not know ahead how
//! many there are.

use quorate_protocol::raft::SnapshotMeta;
use quorate_protocol::{LogIndex, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// Parts that may be unanswered at a time: at about 256 KiB each, ten milliseconds of a 1 Gbit/s link.
const WINDOW: u64 = 4;

#[derive(Debug)]
pub(crate) enum Sending {
    /// The caller was asked for a snapshot, at that time or not yet.
    Wanted {
        asked: Option<Time>,
    },
    Parts(Parts),
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) meta: SnapshotMeta,
    /// What the peer wants next.
    answered: u64,
    /// What the caller is asked for next, or is being asked for.
    next: u64,
    /// The end of what was ever sent.
    furthest: u64,
    /// How many there are, once that is known.
    total: Option<u64>,
    /// The caller is being asked for `next`.
    asking: bool,
    /// Sizes of those from `answered` to `next`.
    under_way: VecDeque<usize>,
    /// One part is sent alone to find out what the peer has.
    probing: bool,
    /// The last one that was asked for once more and sent again: a second such answer is about the same loss.
    resent: Option<u64>,
    /// When something came of it last.
    progressed: Time,
}

/// What the caller has to do for a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Snapshot,
    Part(SnapshotMeta, u64),
}

impl Sending {
    /// What is to be asked of the caller now, once.
    pub(crate) fn next_wish(&mut self, now: Time, max_bytes: usize) -> Option<Wish> {
        match self {
            Sending::Wanted { asked: Some(_) } => None,
            Sending::Wanted { asked } => {
                *asked = Some(now);
                Some(Wish::Snapshot)
            }
            Sending::Parts(parts) => parts.next_wish(max_bytes),
        }
    }

    /// The peer wants this part next. False if that cannot be.
    pub(crate) fn answered(&mut self, now: Time, index: LogIndex, next: u64) -> bool {
        let Sending::Parts(parts) = self else { return true };
        if parts.meta.index != index {
            return true;
        }
        if next > parts.furthest {
            return false;
        }
        let (lost, refused) = (parts.probing && parts.furthest > 1, parts.total == Some(parts.answered));
        if next == 0 && (lost || refused) {
            // A later snapshot is better than the same once more, and later is better than at once.
            self.give_up(now);
        } else {
            parts.answered(now, next);
        }
        true
    }

    /// The peer is there: what has been unanswered for longer than `patience` may be lost.
    pub(crate) fn suspect_loss(&mut self, now: Time, patience: Duration) {
        match self {
            Sending::Wanted { asked } => *asked = asked.filter(|asked| now.since(*asked) < patience),
            Sending::Parts(parts) => parts.suspect_loss(now, patience),
        }
    }

    /// Waits a while, then asks the caller again.
    pub(crate) fn give_up(&mut self, now: Time) {
        *self = Sending::Wanted { asked: Some(now) };
    }

    /// Where the snapshot ends, if there is one.
    pub(crate) fn index(&self) -> Option<LogIndex> {
        match self {
            Sending::Wanted { .. } => None,
            Sending::Parts(parts) => Some(parts.meta.index),
        }
    }
}

impl Parts {
    pub(crate) fn new(now: Time, meta: SnapshotMeta) -> Parts {
        Parts {
            meta,
            answered: 0,
            next: 0,
            furthest: 0,
            total: None,
            asking: false,
            under_way: VecDeque::new(),
            probing: false,
            resent: None,
            progressed: now,
        }
    }

    fn next_wish(&mut self, max_bytes: usize) -> Option<Wish> {
        let window = if self.probing { 1 } else { WINDOW };
        let full = self.next - self.answered >= window || self.under_way.iter().sum::<usize>() >= max_bytes;
        if self.asking || self.total == Some(self.next) || full {
            return None;
        }
        self.asking = true;
        Some(Wish::Part(self.meta.clone(), self.next))
    }

    /// The caller gave a part. False if it is not the one that was asked for.
    pub(crate) fn drawn(&mut self, number: u64, bytes: usize, last: bool) -> bool {
        if !self.asking || number != self.next {
            return false;
        }
        self.asking = false;
        self.next += 1;
        self.furthest = self.furthest.max(self.next);
        self.under_way.push_back(bytes);
        if last {
            self.total = Some(self.next);
        }
        true
    }

    fn answered(&mut self, now: Time, next: u64) {
        if self.probing {
            self.continue_at(next);
            self.probing = false;
            self.progressed = now;
        } else if next > self.answered {
            for _ in self.answered..next {
                self.under_way.pop_front();
            }
            self.answered = next;
            if next > self.next {
                self.continue_at(next);
            }
            self.progressed = now;
        } else if next == self.answered && next < self.next && self.resent != Some(next) {
            self.resent = Some(next);
            self.continue_at(next);
        }
    }

    fn suspect_loss(&mut self, now: Time, patience: Duration) {
        if self.furthest > 0 && now.since(self.progressed) >= patience {
            // With all of them answered, the last is repeated: was it installed, is it being installed, or was it lost?
            self.continue_at(self.answered.min(self.furthest - 1));
            self.probing = true;
            // Once per patience, not once per heartbeat answered meanwhile.
            self.progressed = now;
        }
    }

    fn continue_at(&mut self, number: u64) {
        (self.answered, self.next) = (number, number);
        self.asking = false;
        self.under_way.clear();
    }
}
