//! The leader keeps the configuration in step with the servers that come and go.

use crate::Engine;
use quorate_protocol::raft::Peer;
use quorate_protocol::{MemberStatus, NodeId, Time};
use quorate_raft::Change;
use std::time::Duration;

/// Between two looks at the servers: a new one votes a few seconds after it came, and the look costs next to nothing.
pub(super) const REVIEW_INTERVAL: Duration = Duration::from_secs(2);
/// A learner that misses no more entries than this is up to date (Consul's `MaxTrailingLogs`).
const CAUGHT_UP: u64 = 250;
/// A learner must have been heard within this to be given a vote.
const LATELY: Duration = Duration::from_secs(1);
/// More voters make every write slower and survive no more than two losses in practice.
const MAX_VOTERS: usize = 5;

impl Engine {
    /// Adds a server that gossip brought, first as a learner and with a vote once it has caught up, and removes one that announced
    /// its leave. A failed server stays: it may come back, and gossip alone never takes a vote away.
    ///
    /// One change at a time; the next look makes the next.
    pub(super) fn review_servers(&mut self, now: Time) {
        let Some(change) = self.wanted_change() else { return };
        let Some(server) = &mut self.server else { return };
        if server.raft.change_configuration(now, change).is_err() {
            self.count("configuration_changes_refused");
        }
    }

    fn wanted_change(&self) -> Option<Change> {
        let raft = self.raft()?;
        let configuration = raft.configuration();
        let has_left = |id: &NodeId| {
            self.gossip.member(*id).is_some_and(|member| member.status == MemberStatus::Left) && *id != self.config.id
        };
        if let Some(id) = configuration.peers.keys().find(|id| has_left(id)) {
            return Some(Change::Remove { id: *id });
        }
        let is_new = |id: NodeId| !configuration.peers.contains_key(&id) && !self.is_foreign(id);
        let new = self.live_servers().find(|member| is_new(member.id));
        if let Some(member) = new {
            return Some(Change::Add { id: member.id, peer: Peer { address: member.address, voter: false } });
        }
        let caught_up = |id: NodeId| {
            raft.progress(id).is_some_and(|progress| {
                progress.last_contact < LATELY && progress.match_index.0 + CAUGHT_UP >= raft.last_index().0
            })
        };
        let voters = configuration.peers.values().filter(|peer| peer.voter).count();
        configuration
            .peers
            .iter()
            .find(|(id, peer)| !peer.voter && voters < MAX_VOTERS && caught_up(**id))
            .map(|(id, peer)| Change::Add { id: *id, peer: Peer { voter: true, ..peer.clone() } })
    }
}
