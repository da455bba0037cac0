//! What is committed goes into the store, and its news to those who wait for them.

use crate::Engine;
use crate::door::Output;
use crate::proposals::Proposal;
use quorate_protocol::raft::{LogEntry, Payload};
use quorate_protocol::wire::log::decode_write;
use quorate_protocol::{Refusal, Reply, Time};

impl Engine {
    /// Applies committed entries, answers those who wrote them and wakes those who wait for what they changed.
    pub(crate) fn apply(&mut self, now: Time, entries: &[LogEntry]) {
        for entry in entries {
            let Some(server) = &mut self.server else { return };
            let waiting = server.proposals.remove(&entry.index);
            let outcome = match &entry.payload {
                Payload::Command(bytes) => match decode_write(bytes) {
                    Ok(write) => {
                        let (outcome, touched) = server.store.apply(entry.index, &write);
                        self.wake(now, &touched);
                        Some(outcome)
                    }
                    Err(error) => {
                        let index = entry.index;
                        self.outputs.push_back(Output::Fatal(format!(
                            "log entry {index} cannot be applied ({error}); every server must run a version that knows it"
                        )));
                        return;
                    }
                },
                Payload::Empty | Payload::Configuration(_) => {
                    server.store.skip(entry.index);
                    None
                }
            };
            if let Some(Proposal { term, source, .. }) = waiting {
                let reply = match outcome.filter(|_| term == entry.term) {
                    Some(outcome) => Reply::Written { outcome, index: entry.index },
                    None => Reply::Refused(Refusal::Unknown),
                };
                self.reply(source, reply);
            }
            self.notice_own_term(now, entry.term);
        }
        self.announce_cluster(now);
        self.answer_confirmed(now);
    }
}
