//! Which cluster a server belongs to. Two that were founded apart and then met by gossip must not be mixed: their terms would
//! disturb each other, and a server added across would lose what it had acknowledged.

use crate::{Engine, ServerConfig};
use quorate_protocol::member::tag;
use quorate_protocol::raft::Payload;
use quorate_protocol::{NodeId, Time};

impl ServerConfig {
    /// The identity of the cluster that this server's disk belongs to: who wrote its first entry.
    pub(crate) fn founder(&self) -> Option<NodeId> {
        let latest = self.entries.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => configuration.founder,
            Payload::Empty | Payload::Command(_) => None,
        });
        latest.or_else(|| self.snapshot.as_ref()?.meta.configuration.founder)
    }
}

impl Engine {
    /// Tells the others which cluster this server belongs to, now that it has applied its first entry, and that it waits for none.
    pub(crate) fn announce_cluster(&mut self, now: Time) {
        if self.gossip.me().tags.contains_key(tag::CLUSTER) {
            return;
        }
        let Some(founder) = self.raft().and_then(|raft| raft.configuration().founder) else { return };
        let mut tags = self.gossip.me().tags.clone();
        tags.remove(tag::EXPECT);
        tags.insert(tag::CLUSTER.to_owned(), founder.to_string());
        self.gossip.set_tags(now, tags);
    }

    /// Whether a member belongs to another cluster than this server.
    pub(crate) fn is_foreign(&self, id: NodeId) -> bool {
        let theirs = self.gossip.member(id).and_then(|member| member.tags.get(tag::CLUSTER));
        theirs.zip(self.gossip.me().tags.get(tag::CLUSTER)).is_some_and(|(theirs, ours)| theirs != ours)
    }
}
