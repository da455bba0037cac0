//! Which rumours are news.

use crate::identity::Identity;
use crate::suspicion::MAX_ACCUSERS;
use foca::{BroadcastHandler, Invalidates};
use quorate_protocol::NodeId;
use quorate_protocol::wire::WireError;
use quorate_protocol::wire::gossip::{Rumour, Stamp};
use quorate_protocol::wire::probe::{Accusation, ProbeWord};
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
    accused: BTreeMap<NodeId, Accused>,
    /// With who said it, if that was another.
    words: VecDeque<(Option<NodeId>, ProbeWord)>,
}

/// The highest incarnation of a member that was accused, and by whom.
struct Accused {
    incarnation: (u64, u32, u16),
    accusers: Vec<NodeId>,
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

    /// The oldest word about probes not yet taken, and who said it.
    pub(crate) fn take_word(&self) -> Option<(Option<NodeId>, ProbeWord)> {
        self.inbox().words.pop_front()
    }

    /// What accuses this incarnation of a member, or one before, is no news any more.
    pub(crate) fn settle_accusation(&self, identity: &Identity, incarnation: u16) {
        let next = (identity.generation, identity.renewal, incarnation.saturating_add(1));
        if let Some(accused) = self.inbox().accused.get_mut(&identity.id)
            && accused.incarnation < next
        {
            *accused = Accused { incarnation: next, accusers: Vec::new() };
        }
    }

    /// Whether this accusation may change anything: it is not refuted, is of a new accuser, and there are not enough of them already.
    fn admit_accusation(&self, said: &Accusation) -> bool {
        let mut inbox = self.inbox();
        if !inbox.accused.contains_key(&said.subject) && inbox.accused.len() >= MAX_MEMBERS {
            return false;
        }
        let incarnation = (said.generation, said.renewal, said.incarnation);
        let fresh = || Accused { incarnation, accusers: Vec::new() };
        let accused = inbox.accused.entry(said.subject).or_insert_with(fresh);
        if accused.incarnation < incarnation {
            *accused = fresh();
        }
        let is_news = accused.incarnation == incarnation
            && accused.accusers.len() < MAX_ACCUSERS
            && !accused.accusers.contains(&said.accuser);
        if is_news {
            accused.accusers.push(said.accuser);
        }
        is_news
    }

    /// Takes in a word about a probe. Returns what passes it on, if it is to be.
    fn hear(&self, sender: Option<NodeId>, word: ProbeWord) -> Option<About> {
        let about = match &word {
            ProbeWord::Nack(_) => None,
            ProbeWord::Accusation(said) if self.admit_accusation(said) => {
                Some(About::Accusation { subject: said.subject, accuser: said.accuser })
            }
            ProbeWord::Accusation(_) => return None,
        };
        self.inbox().words.push_back((sender, word));
        about
    }

    /// Forgets a member that was reaped.
    pub(crate) fn forget(&self, id: NodeId) {
        let mut inbox = self.inbox();
        inbox.stamps.remove(&id);
        inbox.accused.remove(&id);
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of each of these, the newest is passed on.
#[derive(PartialEq, Eq)]
pub(crate) enum About {
    /// A member's record or leave.
    Member(NodeId),
    /// That one member's probe of another failed.
    Accusation { subject: NodeId, accuser: NodeId },
}

impl Invalidates for About {
    fn invalidates(&self, other: &About) -> bool {
        self == other
    }
}

impl BroadcastHandler<Identity> for Rumours {
    type Key = About;
    type Error = WireError;

    fn receive_item(&mut self, bytes: &[u8], sender: Option<&Identity>) -> Result<Option<About>, WireError> {
        if ProbeWord::is_one(bytes) {
            let word = ProbeWord::decode(bytes)?;
            return Ok(self.hear(sender.map(|sender| sender.id), word));
        }
        let rumour = Rumour::decode(bytes)?;
        let about = About::Member(rumour.id());
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

    #[test]
    fn an_accusation_is_passed_on_once_for_each_of_a_few_accusers_until_it_is_refuted() {
        let rumours = Rumours::default();
        let identity =
            Identity { id: NodeId([1; 16]), address: "127.0.0.1:1".parse().unwrap(), generation: 5, renewal: 0 };
        let news = |generation, incarnation, accuser| {
            rumours.admit_accusation(&Accusation {
                subject: identity.id,
                generation,
                renewal: 0,
                incarnation,
                accuser: NodeId([accuser; 16]),
            })
        };
        assert!(news(5, 0, 2));
        assert!(!news(5, 0, 2), "again");
        assert!(news(5, 0, 3) && news(5, 0, 4));
        assert!(!news(5, 0, 5), "there are enough");
        rumours.settle_accusation(&identity, 0);
        assert!(!news(5, 0, 6), "refuted");
        assert!(news(5, 1, 2), "accused again");
        assert!(news(6, 0, 2) && !news(5, 9, 3), "only the last life counts");
    }
}
