//! The leader keeps the configuration in step with the servers that come and go: Consul's autopilot.
//!
//! * A new server first only receives the log, and votes when it has been healthy for a while.
//! * A server that announced its leave is taken out; so is one whose name another server bears now.
//! * A server that failed is taken out if that leaves a healthy majority of the present configuration: then the next failure does not
//!   stop the cluster. Gossip alone never takes a vote away: one that Raft hears stays, whatever gossip says.
//!
//! One change at a time; the next look makes the next.

use crate::Engine;
use crate::server::Server;
use crate::source::{Own, Source};
use quorate_protocol::member::tag;
use quorate_protocol::raft::{Configuration, Peer};
use quorate_protocol::{
    Answer, AutopilotConfig, AutopilotState, LogIndex, Member, MemberStatus, NodeId, RaftServer, Read, ServerHealth,
    Term, Time, Write,
};
use quorate_raft::Change;
use std::collections::BTreeMap;
use std::time::Duration;

/// More voters make every write slower and survive no more than two losses in practice.
const MAX_VOTERS: usize = 5;

/// How well a server is, and since when it has been so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Health {
    healthy: bool,
    since: Time,
}

impl Server {
    /// How the leader looks after servers: as it was set, or else as this server was told at its start.
    fn autopilot_config(&self) -> AutopilotConfig {
        match self.store.view().read(&Read::Autopilot).0 {
            Answer::Autopilot(row) if row.modify_index > LogIndex::ZERO => row.value.clone(),
            _ => self.autopilot.clone(),
        }
    }

    /// Whether Raft hears a peer: within the threshold, but with room for one lost heartbeat, however slow they are.
    fn hears(&self, id: NodeId, threshold: Duration) -> bool {
        let patience = threshold.max(self.heartbeat_interval * 3);
        self.raft.progress(id).is_some_and(|progress| progress.last_contact <= patience)
    }

    /// The term of an entry that the log still holds; zero where it does not.
    fn term_at(&self, index: LogIndex) -> Term {
        let entries = self.raft.entries();
        let found = entries.binary_search_by_key(&index, |entry| entry.index).ok();
        found.and_then(|place| entries.get(place)).map(|entry| entry.term).unwrap_or_default()
    }
}

impl Engine {
    /// Writes down the settings that the leader was started with, unless there are some: so what is shown is what is done.
    pub(super) fn set_autopilot_once(&mut self, now: Time) {
        let Some(server) = &self.server else { return };
        let config = server.autopilot.clone();
        let is_set = matches!(server.store.view().read(&Read::Autopilot).0, Answer::Autopilot(row) if row.modify_index > LogIndex::ZERO);
        if !is_set && config != AutopilotConfig::default() {
            let write = Write::Autopilot { config, cas: Some(LogIndex::ZERO) };
            self.propose(now, Source::Own(Own::SetAutopilot), write);
        }
    }

    /// Looks at the health of the servers, and changes the configuration where that is called for.
    pub(crate) fn review_servers(&mut self, now: Time) {
        self.note_health(now);
        let Some(change) = self.wanted_change(now) else { return };
        let Some(server) = &mut self.server else { return };
        if server.raft.change_configuration(now, change).is_err() {
            self.count("configuration_changes_refused");
        }
    }

    /// How well the servers are.
    pub(crate) fn autopilot_state(&self, now: Time) -> Option<AutopilotState> {
        let server = self.server.as_ref()?;
        let config = server.autopilot_config();
        let configuration = server.raft.configuration();
        let servers: Vec<ServerHealth> =
            configuration.peers.iter().map(|(id, peer)| self.describe_health(now, &config, *id, peer)).collect();
        let healthy_voters = servers.iter().filter(|one| one.healthy && one.server.voter).count();
        let quorum = configuration.voters().count() / 2 + 1;
        Some(AutopilotState {
            healthy: servers.iter().all(|one| one.healthy),
            failure_tolerance: u32::try_from(healthy_voters.saturating_sub(quorum)).unwrap_or(u32::MAX),
            servers,
        })
    }

    fn describe_health(&self, now: Time, config: &AutopilotConfig, id: NodeId, peer: &Peer) -> ServerHealth {
        let member = self.gossip.member(id);
        let healthy = self.is_healthy(config, id);
        let noted = self.noted_health(id).filter(|noted| noted.healthy == healthy);
        let server = self.server.as_ref();
        let progress = server.and_then(|server| server.raft.progress(id));
        let own_index = server.map(|server| server.raft.last_index()).unwrap_or_default();
        let last_index = progress.map_or(own_index, |progress| progress.match_index);
        ServerHealth {
            server: self.describe_raft_server(id, peer),
            serf_status: member.map_or("none", |member| member.status.as_str()).to_owned(),
            version: member.and_then(|member| member.tags.get(tag::BUILD)).cloned().unwrap_or_default(),
            last_contact: progress.map(|progress| progress.last_contact).unwrap_or_default(),
            last_term: server.map(|server| server.term_at(last_index)).unwrap_or_default(),
            last_index,
            healthy,
            stable_for: noted.map(|noted| now.since(noted.since)).unwrap_or_default(),
        }
    }

    /// A server of the configuration, with the name that gossip knows.
    pub(crate) fn describe_raft_server(&self, id: NodeId, peer: &Peer) -> RaftServer {
        RaftServer {
            id,
            node: self.gossip.member(id).map_or_else(|| "(unknown)".to_owned(), |member| member.name.clone()),
            address: self.address_of(id).unwrap_or(peer.address),
            leader: self.raft().and_then(|raft| raft.leader()) == Some(id),
            voter: peer.voter,
        }
    }

    /// Whether a server answers gossip and Raft and has nearly the whole log. This server, which leads, is.
    fn is_healthy(&self, config: &AutopilotConfig, id: NodeId) -> bool {
        let Some(server) = &self.server else { return false };
        let alive = self.gossip.member(id).is_some_and(Member::is_alive);
        let caught_up = server.raft.progress(id).is_some_and(|progress| {
            progress.match_index.0.saturating_add(config.max_trailing_logs) >= server.raft.last_index().0
        });
        id == self.config.id || alive && caught_up && server.hears(id, config.last_contact_threshold)
    }

    fn noted_health(&self, id: NodeId) -> Option<Health> {
        self.server.as_ref()?.leader.as_ref()?.health.get(&id).copied()
    }

    fn note_health(&mut self, now: Time) {
        let Some(server) = &self.server else { return };
        let config = server.autopilot_config();
        let peers: Vec<NodeId> = server.raft.configuration().peers.keys().copied().collect();
        let mut health = BTreeMap::new();
        for id in peers {
            let healthy = self.is_healthy(&config, id);
            let same = self.noted_health(id).filter(|noted| noted.healthy == healthy);
            health.insert(id, same.unwrap_or(Health { healthy, since: now }));
        }
        if let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) {
            leader.health = health;
        }
    }

    fn wanted_change(&self, now: Time) -> Option<Change> {
        let server = self.server.as_ref()?;
        let (config, configuration) = (server.autopilot_config(), server.raft.configuration());
        let others = || configuration.peers.iter().filter(|(id, _)| **id != self.config.id);
        if let Some((id, _)) = others().find(|(id, _)| self.status_of(**id) == Some(MemberStatus::Left)) {
            return Some(Change::Remove { id: *id });
        }
        if let Some((id, _)) =
            others().find(|(id, peer)| self.may_be_taken_out(now, &config, configuration, **id, peer))
        {
            return Some(Change::Remove { id: *id });
        }
        let is_new = |id: NodeId| !configuration.peers.contains_key(&id) && !self.is_foreign(id);
        if let Some(member) = self.live_servers().find(|member| is_new(member.id)) {
            return Some(Change::Add { id: member.id, peer: Peer { address: member.address, voter: false } });
        }
        let stable = |id: NodeId| {
            let noted = self.noted_health(id).filter(|noted| noted.healthy);
            noted.is_some_and(|noted| now.since(noted.since) >= config.server_stabilization_time)
        };
        let room = configuration.voters().count() < MAX_VOTERS;
        let ripe = others().find(|(id, peer)| !peer.voter && room && stable(**id));
        ripe.map(|(id, peer)| Change::Add { id: *id, peer: Peer { voter: true, ..peer.clone() } })
    }

    /// Whether a server is dead and the others can do without it.
    fn may_be_taken_out(
        &self,
        now: Time,
        config: &AutopilotConfig,
        configuration: &Configuration,
        id: NodeId,
        peer: &Peer,
    ) -> bool {
        let replaced = self.is_replaced(id);
        if !(config.cleanup_dead_servers || replaced) || !self.is_dead(now, config, id) {
            return false;
        }
        let (voters, healthy) = self.voters_without(config, configuration, id);
        let enough = u32::try_from(healthy).is_ok_and(|healthy| healthy >= config.min_quorum);
        !peer.voter || healthy * 2 > voters && (enough || replaced)
    }

    /// How many voters there are, and how many of the others are healthy.
    fn voters_without(&self, config: &AutopilotConfig, configuration: &Configuration, id: NodeId) -> (usize, usize) {
        let healthy = |other: &NodeId| *other != id && self.is_healthy(config, *other);
        (configuration.voters().count(), configuration.voters().filter(healthy).count())
    }

    /// Whether neither gossip nor Raft hears a server. Soon after its election a leader's own view of the members may still be filling.
    fn is_dead(&self, now: Time, config: &AutopilotConfig, id: NodeId) -> bool {
        let Some(server) = &self.server else { return false };
        let established = server.leader.as_ref().map(|leader| now.since(leader.established_at)).unwrap_or_default();
        let unknown_for_long = established >= self.config.patience.reconcile;
        let gone = match self.status_of(id) {
            Some(MemberStatus::Failed | MemberStatus::Left) => true,
            Some(MemberStatus::Alive | MemberStatus::Suspect | MemberStatus::Leaving) => false,
            None => unknown_for_long || self.is_replaced(id),
        };
        gone && !server.hears(id, config.last_contact_threshold)
    }

    /// Whether another live server of this cluster bears the name of this one: it came back without its data.
    fn is_replaced(&self, id: NodeId) -> bool {
        let Some(old) = self.gossip.member(id) else { return false };
        self.live_servers().any(|member| member.id != id && member.name == old.name && !self.is_foreign(member.id))
    }

    fn status_of(&self, id: NodeId) -> Option<MemberStatus> {
        self.gossip.member(id).map(|member| member.status)
    }
}
