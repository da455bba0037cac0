//! Writes on their way through the log, and who waits for what becomes of them.

use crate::Engine;
use crate::source::Source;
use quorate_protocol::wire::log::encode_write;
use quorate_protocol::{Refusal, Reply, Term, Time, Write};

/// The largest encoded write, in bytes: a value of the largest size with its key and framing fits, and a batch of entries still
/// fits one frame.
const MAX_WRITE: usize = 2 * 1024 * 1024;
/// More than this many uncommitted writes are answered "busy".
const MAX_PROPOSALS: usize = 16_384;

/// A write that is not committed yet.
#[derive(Debug)]
pub struct Proposal {
    pub term: Term,
    pub source: Source,
    /// When whoever asked is told that nobody knows: disks hang for longer than people wait.
    pub until: Time,
}

impl Engine {
    /// Appends a write to the log; the reply comes when it is applied.
    pub(crate) fn propose(&mut self, now: Time, source: Source, write: &Write) {
        let Some(server) = &mut self.server else { return };
        let bytes = encode_write(write);
        let refusal = if bytes.len() > MAX_WRITE {
            Refusal::Invalid(format!(
                "the write has {} bytes, more than the {MAX_WRITE} that one log entry may have",
                bytes.len()
            ))
        } else if server.proposals.len() >= MAX_PROPOSALS {
            Refusal::Busy
        } else {
            match server.raft.propose(now, bytes.into()) {
                Ok((term, index)) => {
                    // What was proposed at this index in an earlier term can no longer be committed.
                    let until = now + self.config.patience.reply;
                    let replaced = server.proposals.insert(index, Proposal { term, source, until });
                    if let Some(earlier) = replaced {
                        self.reply(earlier.source, Reply::Refused(Refusal::Unknown));
                    }
                    return;
                }
                Err(_) => Refusal::NoLeader,
            }
        };
        self.reply(source, Reply::Refused(refusal));
    }

    /// Refuses writes that a majority's disks have not taken in time. They may still be committed.
    pub(crate) fn time_out_proposals(&mut self, now: Time) {
        while let Some(server) = &mut self.server {
            let overdue = |first: &Proposal| first.until <= now;
            let Some(first) = server.proposals.first_entry().filter(|first| overdue(first.get())) else { return };
            let Proposal { source, .. } = first.remove();
            self.count("writes_timed_out");
            self.reply(source, Reply::Refused(Refusal::Unknown));
        }
    }
}
