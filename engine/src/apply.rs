//! What is committed goes into the store, and its news to those who wait for them.

use crate::Engine;
use crate::door::Output;
use crate::news::News;
use crate::proposals::Proposal;
use quorate_protocol::raft::{LogEntry, Payload};
use quorate_protocol::wire::log::decode_write;
use quorate_protocol::{Refusal, Reply, Time};

impl Engine {
    /// Applies committed entries, answers those who wrote them and wakes, once, those who wait for what they changed.
    pub(crate) fn apply(&mut self, now: Time, entries: &[LogEntry]) {
        let mut news = News::default();
        for entry in entries {
            let Some(server) = &mut self.server else { return };
            let (index, mut waiting) = (entry.index, server.proposals.take(entry.index));
            let reply = match &entry.payload {
                Payload::Command(bytes) => {
                    // Whoever proposed it still has it as it was before it was encoded.
                    let own = waiting.as_mut().filter(|own| own.term == entry.term).and_then(|own| own.write.take());
                    let write = match own.map_or_else(|| decode_write(bytes), Ok) {
                        Ok(write) => write,
                        Err(error) => {
                            return self.outputs.push_back(Output::Fatal(format!(
                                "log entry {index} cannot be applied ({error}); every server must run a version that knows it"
                            )));
                        }
                    };
                    let (outcome, touched) = server.store.apply_encoded(index, bytes, &write);
                    server.timers.note(now, touched.timers());
                    news.add(&write, touched);
                    Reply::Written { outcome, index }
                }
                Payload::Empty | Payload::Configuration(_) => {
                    server.store.skip(index);
                    Reply::Done
                }
            };
            if let Some(Proposal { term, source, .. }) = waiting {
                let as_proposed = term == entry.term;
                self.reply(source, if as_proposed { reply } else { Reply::Refused(Refusal::Unknown) });
            }
            self.notice_own_term(now, entry.term);
            self.share_hash(index);
        }
        self.spread(now, &news);
        self.announce_cluster(now);
        self.answer_confirmed(now);
        self.answer_caught_up(now);
    }

    fn spread(&mut self, now: Time, news: &News) {
        if !news.is_empty() {
            self.wake(now, news);
            self.try_freed_locks(now, news);
        }
    }
}
