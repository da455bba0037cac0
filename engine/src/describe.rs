//! What an agent says of itself and of the servers.

use crate::Engine;
use quorate_protocol::go::quote;
use quorate_protocol::{AgentDescription, MemberStatus, NodeId, PeerDescription, RaftStatus, Refusal, Reply, Time};
use quorate_raft::Role;
use std::net::SocketAddr;

/// Raft's counters by name.
fn raft_counters(counters: quorate_raft::Counters) -> [(&'static str, u64); 11] {
    let quorate_raft::Counters {
        malformed,
        contradictory,
        stale,
        votes_ignored,
        elections,
        quorum_lost,
        appends_rejected,
        withheld_dropped,
        snapshots_installed,
        snapshots_rejected,
        transfers,
    } = counters;
    [
        ("raft_malformed", malformed),
        ("raft_contradictory", contradictory),
        ("raft_stale", stale),
        ("raft_votes_ignored", votes_ignored),
        ("raft_elections", elections),
        ("raft_quorum_lost", quorum_lost),
        ("raft_appends_rejected", appends_rejected),
        ("raft_withheld_dropped", withheld_dropped),
        ("raft_snapshots_installed", snapshots_installed),
        ("raft_snapshots_rejected", snapshots_rejected),
        ("raft_transfers", transfers),
    ]
}

impl Engine {
    /// What `/v1/agent/self` shows.
    pub(crate) fn describe(&self) -> AgentDescription {
        let with_status =
            |wanted: &[MemberStatus]| self.gossip.members().filter(|member| wanted.contains(&member.status)).count();
        let mut counters = self.counters.clone();
        counters.extend(self.gossip.counters());
        counters.insert("local_health", self.gossip.local_health().into());
        if let Some(raft) = self.raft() {
            counters.extend(raft_counters(raft.counters()));
        }
        AgentDescription {
            member: self.gossip.me().clone(),
            datacenter: self.config.datacenter.clone(),
            server: self.server.is_some(),
            version: self.config.version.clone(),
            raft: self.describe_raft(),
            known_servers: self.live_servers().count(),
            members_alive: with_status(&[MemberStatus::Alive, MemberStatus::Suspect]),
            members_failed: with_status(&[MemberStatus::Failed]),
            members_left: with_status(&[MemberStatus::Left]),
            counters: counters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// Why a member is believed to be as it is; `node` is its name or id.
    pub(crate) fn why(&self, now: Time, node: &str) -> Reply {
        let named = self.gossip.members().find(|member| member.name == node || member.id.to_string() == node);
        match named {
            Some(member) if member.id == self.config.id => Reply::Refused(Refusal::Invalid(format!(
                "{} is this agent itself: ask another one what it holds of it",
                quote(node)
            ))),
            Some(member) => match self.gossip.evidence(now, member.id) {
                Some(evidence) => Reply::Evidence(Box::new(evidence)),
                None => Reply::Refused(Refusal::NotFound(format!("nothing has happened to {} here", quote(node)))),
            },
            None => Reply::Refused(Refusal::NotFound(format!("there is no member {} here", quote(node)))),
        }
    }

    /// Where the leader is, if one is known.
    pub(crate) fn leader_address(&self) -> Option<SocketAddr> {
        let leader = self.raft()?.leader()?;
        if leader == self.config.id { Some(self.config.address) } else { self.address_of(leader) }
    }

    /// Where the voters are.
    pub(crate) fn peer_addresses(&self) -> Vec<SocketAddr> {
        self.describe_peers().into_iter().filter(|peer| peer.voter).map(|peer| peer.address).collect()
    }

    fn describe_raft(&self) -> Option<RaftStatus> {
        let server = self.server.as_ref()?;
        let raft = &server.raft;
        let role = match raft.role() {
            Role::Leader => "Leader",
            Role::PreCandidate | Role::Candidate => "Candidate",
            Role::Follower => "Follower",
            Role::Learner => "Learner",
        };
        Some(RaftStatus {
            role: role.to_owned(),
            term: raft.term(),
            last_index: raft.last_index(),
            commit_index: raft.commit_index(),
            applied_index: server.store.applied_index(),
            leader: raft.leader(),
            peers: self.describe_peers(),
        })
    }

    fn describe_peers(&self) -> Vec<PeerDescription> {
        let Some(raft) = self.raft() else { return Vec::new() };
        let name_of = |id: NodeId| self.gossip.member(id).map(|member| member.name.clone()).unwrap_or_default();
        raft.configuration()
            .peers
            .iter()
            .map(|(id, peer)| PeerDescription {
                id: *id,
                name: name_of(*id),
                address: self.address_of(*id).unwrap_or(peer.address),
                voter: peer.voter,
            })
            .collect()
    }
}
