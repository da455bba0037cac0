//! The leader keeps the configuration in step with the servers that come and go.

use crate::Engine;
use quorate_protocol::raft::Peer;
use quorate_protocol::{MemberStatus, NodeId, Time};
use quorate_raft::Change;

impl Engine {
    /// Adds a server that gossip brought, as a learner, and removes one that announced its leave. A failed server stays: it may
    /// come back, and gossip alone never takes a vote away.
    ///
    /// One change at a time; the next pass makes the next.
    pub(crate) fn review_servers(&mut self, now: Time) {
        let Some(change) = self.wanted_change() else { return };
        let Some(server) = &mut self.server else { return };
        if server.raft.change_configuration(now, change).is_err() {
            self.count("configuration_changes_refused");
        }
    }

    fn wanted_change(&self) -> Option<Change> {
        let configuration = self.raft()?.configuration();
        let has_left = |id: &NodeId| {
            self.gossip.member(*id).is_some_and(|member| member.status == MemberStatus::Left) && *id != self.config.id
        };
        let left = configuration.peers.keys().find(|id| has_left(id)).map(|id| Change::Remove { id: *id });
        let came = || {
            let new = self.live_servers().find(|member| !configuration.peers.contains_key(&member.id))?;
            Some(Change::Add { id: new.id, peer: Peer { address: new.address, voter: false } })
        };
        left.or_else(came)
    }
}
