//! Which connection leads to whom.

use super::link::Link;
use super::shared::code;
use super::{counters::Counter, counters::Counters, limits};
use quorate_protocol::NodeId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a destination is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// By identity: only a connection whose certificate says so will do.
    Id(NodeId),
    /// By address, as when joining: only a connection that was dialled to it will do, whoever is there.
    Address(SocketAddr),
}

/// The introduced connections, by identity.
///
/// There may be several to one peer for a while: both sides dialled at once, or one side has lost a connection that the other still
/// believes in. All are read from; [`Peers::pick`] says which one new streams go to.
#[derive(Default)]
pub(super) struct Peers(BTreeMap<NodeId, Vec<Arc<Link>>>);

impl Peers {
    /// Adds a link, and closes those that it proves dead or that are too many.
    pub(super) fn add(&mut self, link: Arc<Link>, counters: &Counters) {
        let links = self.0.entry(link.id).or_default();
        for old in links.iter().filter(|old| old.hello.boot != link.hello.boot) {
            counters.add(Counter::ConnectionsOutlived);
            old.connection.close(code::SUPERSEDED, b"from before a restart");
        }
        links.push(link);
        if links.len() > limits::MAX_LINKS_PER_PEER {
            counters.add(Counter::ConnectionsSurplus);
            links.remove(0).connection.close(code::SUPERSEDED, b"there are newer ones");
        }
    }

    /// Forgets a link that ended.
    pub(super) fn remove(&mut self, link: &Arc<Link>) {
        if let Some(links) = self.0.get_mut(&link.id) {
            links.retain(|other| !Arc::ptr_eq(other, link));
            if links.is_empty() {
                self.0.remove(&link.id);
            }
        }
    }

    /// The link to use, of those made since the keys changed for the `keys`th time: where both sides dialled, both choose the one dialled by
    /// the lower id; of several by one side, the newest.
    pub(super) fn pick(&self, key: Key, keys: u64) -> Option<Arc<Link>> {
        let made_since = |link: &&Arc<Link>| link.keys >= keys;
        match key {
            Key::Id(id) => best(self.0.get(&id)?.iter().filter(made_since)),
            Key::Address(address) => {
                best(self.0.values().flatten().filter(made_since).filter(|link| link.dialled == Some(address)))
            }
        }
    }

    /// Ends the links from before the keys changed for the `keys`th time.
    pub(super) fn close_from_before(&self, keys: u64) {
        for link in self.0.values().flatten().filter(|link| link.keys < keys) {
            link.connection.close(code::SUPERSEDED, b"from before the keys changed");
        }
    }
}

fn best<'a>(links: impl Iterator<Item = &'a Arc<Link>>) -> Option<Arc<Link>> {
    // Of equals `min_by_key` takes the first, and links are kept in order of age: so from the back.
    let alive: Vec<_> = links.filter(|link| link.connection.close_reason().is_none()).collect();
    alive.into_iter().rev().min_by_key(|link| link.dialler).cloned()
}
