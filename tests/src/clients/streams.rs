//! Clients that follow the changes of keys: list once, then ask for what came after, and list again where too much has been forgotten.

use super::{Clients, Purpose, Wish};
use crate::checks::changes_complete;
use crate::happened::Happening;
use quorate_protocol::{Answer, Ask, Changes, Consistency, KvRead, LogIndex, Page, Read, ReadRequest, Selection, Wait};
use std::time::Duration;

/// What a client follows.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    of: Selection,
    /// What it has seen; none before it has listed.
    after: Option<LogIndex>,
    consistency: Consistency,
}

impl Clients {
    pub(super) fn wish_to_follow(&mut self, client: usize) -> Wish {
        if !self.streams.contains_key(&client) || self.dice.chance(0.03) {
            let of = [
                Selection::Key("key/0".into()),
                Selection::Prefix("key/".into()),
                Selection::Prefix("lock/".into()),
                Selection::Prefix(String::new()),
            ];
            let of = of[self.dice.below(of.len())].clone();
            let consistency = [Consistency::Stale, Consistency::Default, Consistency::Consistent][self.dice.below(3)];
            self.streams.insert(client, Stream { of, after: None, consistency });
        }
        let timeout = self.dice.between(Duration::from_secs(1), Duration::from_secs(10));
        let limit = 1 + self.dice.below(20) as u32;
        // A client that starts anew goes on from where it had written down that it was.
        let back = if self.dice.chance(0.04) { self.dice.below(60) as u64 } else { 0 };
        let Stream { of, after, consistency } = self.streams[&client].clone();
        let request = match after {
            Some(after) => {
                let after = LogIndex(after.0.saturating_sub(back).max(1));
                let read = Read::Kv(KvRead::Changes { of, after, limit });
                let wait = Some(Wait { index: after, timeout });
                // Another server may be behind the one that answered before.
                ReadRequest { consistency, wait, at_least: after, ..ReadRequest::now(read) }
            }
            None => {
                let read = match of {
                    Selection::Key(key) => KvRead::Get { key },
                    Selection::Prefix(prefix) => KvRead::List { prefix, page: Page::default() },
                };
                ReadRequest { consistency, ..ReadRequest::now(Read::Kv(read)) }
            }
        };
        Wish::new(Ask::Read(request.clone()), Purpose::Follow(request))
    }

    /// A stream goes on from the answer; what was asked of it, for the checker.
    pub(super) fn follow_answered(
        &mut self,
        client: usize,
        request: &ReadRequest,
        answer: &Answer,
        index: LogIndex,
    ) -> Option<changes_complete::Asked> {
        let stream = self.streams.get_mut(&client)?;
        let Read::Kv(KvRead::Changes { of, after, limit }) = &request.read else {
            stream.after = Some(index);
            return None;
        };
        let Answer::Changes(changes) = answer else { return None };
        stream.after = match changes {
            Changes::Known { changes, up_to } => {
                self.happened.times(Happening::ChangeStreamed, changes.len() as u64);
                Some(*up_to)
            }
            Changes::Compacted { .. } => {
                self.happened.once(Happening::StreamCompacted);
                None
            }
        };
        Some(changes_complete::Asked { of: of.clone(), after: *after, limit: *limit })
    }
}
