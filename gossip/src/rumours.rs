//! Which rumours are news.

use crate::identity::Identity;
use foca::{BroadcastHandler, Invalidates};
use quorate_protocol::NodeId;
use quorate_protocol::wire::WireError;
use quorate_protocol::wire::gossip::{Rumour, Stamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most members whose stamps are kept: as many as the table holds.
const MAX_MEMBERS: usize = crate::table::MAX_MEMBERS;

/// Remembers the highest stamp per member, and holds news until the machine takes it.
///
/// foca owns the receiving half of this, the machine the other; they are on one thread and never hold it at once.
#[derive(Clone, Default)]
pub(crate) struct Rumours(Arc<Mutex<Inbox>>);

#[derive(Default)]
struct Inbox {
    stamps: BTreeMap<NodeId, Stamp>,
    news: VecDeque<Rumour>,
}

impl Rumours {
    /// Whether this is news; if so it waits in [`Rumours::take`].
    pub(crate) fn admit(&self, rumour: Rumour) -> bool {
        let mut inbox = self.inbox();
        let (id, stamp) = (rumour.id(), rumour.stamp());
        let known = inbox.stamps.get(&id);
        if known.is_some_and(|known| *known >= stamp) || (known.is_none() && inbox.stamps.len() >= MAX_MEMBERS) {
            return false;
        }
        inbox.stamps.insert(id, stamp);
        inbox.news.push_back(rumour);
        true
    }

    /// The oldest news not yet taken.
    pub(crate) fn take(&self) -> Option<Rumour> {
        self.inbox().news.pop_front()
    }

    /// The highest stamp heard of a member.
    pub(crate) fn stamp(&self, id: NodeId) -> Option<Stamp> {
        self.inbox().stamps.get(&id).copied()
    }

    /// Forgets a member that was reaped.
    pub(crate) fn forget(&self, id: NodeId) {
        self.inbox().stamps.remove(&id);
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One rumour per member is passed on: the newest.
pub(crate) struct About(NodeId);

impl Invalidates for About {
    fn invalidates(&self, other: &About) -> bool {
        self.0 == other.0
    }
}

impl BroadcastHandler<Identity> for Rumours {
    type Key = About;
    type Error = WireError;

    fn receive_item(&mut self, bytes: &[u8], _sender: Option<&Identity>) -> Result<Option<About>, WireError> {
        let rumour = Rumour::decode(bytes)?;
        let about = About(rumour.id());
        Ok(self.admit(rumour).then_some(about))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_higher_stamps_are_news() {
        let rumours = Rumours::default();
        let leave = |generation, version| Rumour::Leave {
            id: NodeId([1; 16]),
            stamp: Stamp { generation, version },
            prune: false,
        };
        for (generation, version, news) in
            [(5, 1, true), (5, 1, false), (5, 0, false), (4, 9, false), (5, 2, true), (6, 0, true), (5, 3, false)]
        {
            assert_eq!(rumours.admit(leave(generation, version)), news, "{generation}.{version}");
            assert_eq!(rumours.take().is_some(), news);
        }
        rumours.forget(NodeId([1; 16]));
        assert!(rumours.admit(leave(1, 1)));
    }
}
