//! Writes on their way through the log, and who waits for what becomes of them.

use crate::Engine;
use crate::source::Source;
use quorate_protocol::wire::log::encode_write;
use quorate_protocol::{KvWrite, LogIndex, Refusal, Reply, SessionWrite, Term, Time, TxnOperation, Write};
use std::collections::VecDeque;

/// The largest encoded write, in bytes: a value of the largest size with its key and framing fits, and a batch of entries still
/// fits one frame.
const MAX_WRITE: usize = 2 * 1024 * 1024;
/// More than this many uncommitted writes are answered "busy".
const MAX_PROPOSALS: usize = 16_384;

/// An entry of the log that is not committed yet, and who waits for that.
#[derive(Debug)]
pub struct Proposal {
    pub index: LogIndex,
    pub term: Term,
    pub source: Source,
    /// When whoever asked is told that nobody knows: disks hang for longer than people wait.
    pub until: Time,
    /// What was encoded into the entry, to be applied without decoding it again; none of a configuration.
    pub write: Option<Write>,
}

/// Uncommitted entries that somebody waits for, in the order of the log, which is that of time.
#[derive(Debug, Default)]
pub struct Proposals(VecDeque<Proposal>);

impl Proposals {
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_PROPOSALS
    }

    pub fn deadline(&self) -> Option<Time> {
        self.0.front().map(|first| first.until)
    }

    /// The one at an index.
    pub fn take(&mut self, index: LogIndex) -> Option<Proposal> {
        // Entries are committed in their order, so it is the first unless nobody waits for it.
        match self.0.front() {
            Some(first) if first.index == index => self.0.pop_front(),
            Some(first) if first.index < index => {
                let place = self.0.binary_search_by_key(&index, |one| one.index).ok()?;
                self.0.remove(place)
            }
            _ => None,
        }
    }

    pub fn take_all(&mut self) -> impl Iterator<Item = Proposal> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }

    /// Adds the last one. What was proposed at its index or after it in an earlier term can no longer be committed.
    fn push(&mut self, proposal: Proposal) -> Vec<Proposal> {
        let kept = self.0.partition_point(|one| one.index < proposal.index);
        let replaced = self.0.split_off(kept).into();
        self.0.push_back(proposal);
        replaced
    }

    fn take_overdue(&mut self, now: Time) -> Option<Proposal> {
        self.0.pop_front_if(|first| first.until <= now)
    }
}

impl Engine {
    /// Appends a write to the log; the reply comes when it is applied.
    pub(crate) fn propose(&mut self, now: Time, source: Source, write: Write) {
        let Some(server) = &mut self.server else { return };
        let bytes = encode_write(&write);
        let refusal = if bytes.len() > MAX_WRITE {
            Refusal::Invalid(format!(
                "the write has {} bytes, more than the {MAX_WRITE} that one log entry may have",
                bytes.len()
            ))
        } else if server.disk_is_low && !matches!(source, Source::Own(_)) && !frees_space(&write) {
            Refusal::Invalid(
                "the leader's disk is almost full, so only deletes and renewals are taken: free some space in its data directory, or delete keys"
                    .to_owned(),
            )
        } else if server.proposals.is_full() {
            Refusal::Busy
        } else {
            match server.raft.propose(now, bytes.into()) {
                Ok((term, index)) => return self.await_commit(now, source, (term, index), Some(write)),
                Err(_) => Refusal::NoLeader,
            }
        };
        self.reply(source, Reply::Refused(refusal));
    }

    /// Remembers who waits for an entry that was appended to the log.
    pub(crate) fn await_commit(&mut self, now: Time, source: Source, at: (Term, LogIndex), write: Option<Write>) {
        let (term, index) = at;
        let until = now + self.config.patience.reply;
        let Some(server) = &mut self.server else { return };
        let replaced = server.proposals.push(Proposal { index, term, source, until, write });
        for earlier in replaced {
            self.reply(earlier.source, Reply::Refused(Refusal::Unknown));
        }
    }

    /// Refuses writes that a majority's disks have not taken in time. They may still be committed.
    pub(crate) fn time_out_proposals(&mut self, now: Time) {
        while let Some(overdue) = self.server.as_mut().and_then(|server| server.proposals.take_overdue(now)) {
            self.count("writes_timed_out");
            self.reply(overdue.source, Reply::Refused(Refusal::Unknown));
        }
    }
}

/// Whether a write is taken while the disk is almost full: it makes room, or without it what is held would be lost for want of a few bytes.
fn frees_space(write: &Write) -> bool {
    let is_delete = |write: &KvWrite| matches!(write, KvWrite::Delete { .. } | KvWrite::DeletePrefix { .. });
    match write {
        Write::Kv(write) => is_delete(write),
        Write::Txn(operations) => operations.iter().all(|operation| match operation {
            TxnOperation::Read(_) => true,
            TxnOperation::Kv(write) => is_delete(write),
            TxnOperation::Catalog(_) => false,
        }),
        Write::Session(SessionWrite::Destroy { .. } | SessionWrite::Renew { .. }) => true,
        Write::Deregister(_) | Write::Expire { .. } => true,
        Write::Session(SessionWrite::Create(_)) | Write::Register(_) | Write::Autopilot { .. } | Write::Restore(_) => {
            false
        }
    }
}
