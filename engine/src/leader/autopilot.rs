//! The leader keeps the configuration of Raft in step with the servers that come, go and die: Consul's autopilot.
//!
//! ```text
//!  gossip: a new server ──▶ learner ──▶ voter, once it was healthy for `server_stabilization_time` without a break
//!  gossip: it left ────────────────────▶ out, if the others are a majority of themselves
//!  gossip and Raft: it is silent ──────▶ out, if the others are a healthy majority and enough voters remain
//! ```
//!
//! Enough are `min_quorum`, or three where that is not set. Two voters tolerate no more than three of which one is dead, and of the three one
//! can come back: with its vote, and not as a learner that waits for one. So a dead third server stays until another has come in its place.
//!
//! What gossip believes takes no vote away by itself: whom Raft hears stays, unless it said goodbye. One change at a time; the next look
//! makes the next.

use super::low_disk::SETTLE;
use crate::Engine;
use crate::door::{Notice, Output};
use crate::operator::UNKNOWN;
use quorate_protocol::member::tag;
use quorate_protocol::raft::Peer;
use quorate_protocol::{
    Answer, AutopilotConfig, AutopilotState, LogIndex, Member, MemberStatus, NodeId, RaftServer, Read, ServerHealth,
    Term, Time,
};
use quorate_raft::Change;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks at the servers, at most: a look costs next to nothing.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);
/// At least, however short the stabilization time is set.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);
/// Looks within the stabilization time: that many see a server well before it gets a vote.
const LOOKS: u32 = 4;
/// The dead are taken out down to this many voters, unless `min_quorum` says otherwise: with fewer, no failure is tolerated.
const LEAST_VOTERS: usize = 3;
/// More voters make every write slower and survive no more than two losses in practice.
const MAX_VOTERS: usize = 5;
/// A server that was silent for this many election timeouts, and that gossip gave up as well, is dead: a restart on the spot is
/// shorter.
const DEAD_AFTER: u32 = 10;
/// A heartbeat may be late by one interval without its server being unwell, however low the threshold is set.
const HEARTBEATS: u32 = 3;

/// How well each server was when it was last looked at, since this server leads.
#[derive(Debug, Default)]
pub struct Autopilot {
    health: BTreeMap<NodeId, Health>,
}

#[derive(Debug, Clone, Copy)]
struct Health {
    healthy: bool,
    /// Since when that is so.
    since: Time,
}

/// A server of the configuration as the leader sees it at one moment.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) id: NodeId,
    peer: Peer,
    /// The leader itself.
    me: bool,
    /// What gossip says, if it knows the server.
    status: Option<MemberStatus>,
    last_contact: Duration,
    pub(super) match_index: LogIndex,
    match_term: Term,
    healthy: bool,
    stable_for: Duration,
    /// Another live server has its name or its address.
    replaced: bool,
    /// It says that its disk has no room.
    disk_is_low: bool,
}

impl Seen {
    /// Whether it could take over from this leader, and take what this one cannot.
    pub(super) fn may_lead_instead(&self) -> bool {
        !self.me && self.peer.voter && self.healthy && !self.disk_is_low
    }

    fn is_gone(&self) -> bool {
        !self.me && matches!(self.status, None | Some(MemberStatus::Failed | MemberStatus::Left))
    }
}

/// A server that is not in the configuration and could be.
#[derive(Debug, Clone)]
struct Newcomer {
    id: NodeId,
    peer: Peer,
    /// It stands in for a server that is still in the configuration: that one goes first.
    replaces: bool,
}

/// What should change next, and why, in words for people.
fn wanted_change(
    settings: &AutopilotConfig,
    election_timeout: Duration,
    servers: &[Seen],
    newcomers: &[Newcomer],
) -> Option<(Change, &'static str)> {
    let voters = servers.iter().filter(|seen| seen.peer.voter).count();
    // Without this server the others go on, and nothing that is committed rests on it alone.
    let others_hold = |id: NodeId| {
        let healthy = servers.iter().filter(|seen| seen.peer.voter && seen.healthy && seen.id != id).count();
        healthy * 2 > voters
    };
    let silent = |seen: &Seen, timeouts: u32| seen.last_contact > election_timeout * timeouts;
    let least_voters = match settings.min_quorum {
        0 => LEAST_VOTERS,
        set => set as usize,
    };
    let enough_remain = |seen: &Seen| !seen.peer.voter || voters > least_voters;
    let remove = |seen: &Seen, why| (Change::Remove { id: seen.id }, why);

    // If it came back, one that left could still save those who cannot decide anything without it; once out, it could not.
    let decide_without = |left: &Seen| {
        let others = servers.iter().filter(|seen| seen.peer.voter && seen.id != left.id);
        !left.peer.voter || others.clone().filter(|seen| seen.healthy).count() * 2 > others.count()
    };
    let left = |seen: &&Seen| !seen.me && seen.status == Some(MemberStatus::Left) && decide_without(seen);
    if let Some(left) = servers.iter().find(left) {
        return Some(remove(left, "removed from Raft: it left"));
    }
    let replaced = |seen: &&Seen| seen.replaced && seen.is_gone() && silent(seen, 1) && others_hold(seen.id);
    if let Some(old) = servers.iter().find(replaced) {
        return Some(remove(old, "removed from Raft: it came back under a new identity"));
    }
    let dead = |seen: &&Seen| {
        let cleanup = settings.cleanup_dead_servers && enough_remain(seen);
        cleanup && seen.is_gone() && silent(seen, DEAD_AFTER) && others_hold(seen.id)
    };
    if let Some(dead) = servers.iter().find(dead) {
        return Some(remove(dead, "removed from Raft: it is dead and the others are a healthy majority"));
    }
    if let Some(new) = newcomers.iter().find(|new| !new.replaces) {
        return Some((Change::Add { id: new.id, peer: new.peer.clone() }, "added to Raft as a learner"));
    }
    let stable = |seen: &&Seen| {
        !seen.peer.voter && seen.healthy && seen.stable_for >= settings.server_stabilization_time && voters < MAX_VOTERS
    };
    servers.iter().find(stable).map(|seen| {
        let peer = Peer { voter: true, ..seen.peer.clone() };
        (Change::Add { id: seen.id, peer }, "given a vote in Raft")
    })
}

impl Engine {
    /// Looks at the servers and makes the one change that is wanted most. Tells when to look again.
    pub(super) fn review_servers(&mut self, now: Time) -> Time {
        let settings = self.autopilot_settings();
        let servers = self.look_at_servers(now, &settings);
        if !self.yield_for_room(now, &servers) {
            self.change_servers(now, &settings, &servers);
        }
        let stabilization = settings.server_stabilization_time;
        let longest = if self.gossip.me().has_low_disk() { SETTLE } else { LONGEST_INTERVAL };
        let interval = (stabilization / LOOKS).clamp(SHORTEST_INTERVAL, longest);
        // A learner gets its vote when its time is up, not at the first look after that.
        let ripening = servers.iter().filter(|seen| !seen.peer.voter && seen.healthy);
        let ripe = ripening.map(|seen| stabilization.saturating_sub(seen.stable_for)).filter(|left| !left.is_zero());
        now + ripe.min().map_or(interval, |left| left.min(interval))
    }

    fn change_servers(&mut self, now: Time, settings: &AutopilotConfig, servers: &[Seen]) {
        let newcomers = self.newcomers(servers);
        let Some(server) = &mut self.server else { return };
        if server.raft.configuration_index() > server.raft.commit_index() {
            return;
        }
        let Some((change, what)) = wanted_change(settings, server.election_timeout, servers, &newcomers) else {
            return;
        };
        let (Change::Add { id, .. } | Change::Remove { id }) = change;
        let node = self.name_of(id);
        let Some(server) = &mut self.server else { return };
        match server.raft.change_configuration(now, change) {
            Ok(_) => self.outputs.push_back(Output::Noticed(Notice::ServerChanged { id, node, what })),
            Err(_) => self.count("configuration_changes_refused"),
        }
    }

    /// How well the servers are, for operators.
    pub(crate) fn autopilot_state(&mut self, now: Time) -> AutopilotState {
        let settings = self.autopilot_settings();
        let seen = self.look_at_servers(now, &settings);
        let voters = seen.iter().filter(|seen| seen.peer.voter);
        let majority = voters.clone().count() / 2 + 1;
        let spare = voters.filter(|seen| seen.healthy).count().saturating_sub(majority);
        AutopilotState {
            healthy: seen.iter().all(|seen| seen.healthy),
            failure_tolerance: u32::try_from(spare).unwrap_or(u32::MAX),
            servers: seen.iter().map(|seen| self.server_health(seen)).collect(),
        }
    }

    fn server_health(&self, seen: &Seen) -> ServerHealth {
        let build = self.gossip.member(seen.id).and_then(|member| member.tags.get(tag::BUILD));
        ServerHealth {
            server: self.raft_server(seen.id, &seen.peer),
            serf_status: seen.status.map_or("none", |status| status.as_str()).to_owned(),
            version: build.cloned().unwrap_or_default(),
            last_contact: seen.last_contact,
            last_term: seen.match_term,
            last_index: seen.match_index,
            healthy: seen.healthy,
            stable_for: seen.stable_for,
        }
    }

    /// A server that takes part in Raft, in an operator's words.
    pub(crate) fn raft_server(&self, id: NodeId, peer: &Peer) -> RaftServer {
        RaftServer {
            id,
            node: self.name_of(id),
            address: self.address_of(id).unwrap_or(peer.address),
            leader: self.raft().and_then(|raft| raft.leader()) == Some(id),
            voter: peer.voter,
        }
    }

    pub(crate) fn name_of(&self, id: NodeId) -> String {
        self.gossip.member(id).map_or_else(|| UNKNOWN.to_owned(), |member| member.name.clone())
    }

    fn autopilot_settings(&self) -> AutopilotConfig {
        match self.store().map(|store| store.view().read(&Read::Autopilot).0) {
            Some(Answer::Autopilot(row)) => row.value.clone(),
            _ => AutopilotConfig::default(),
        }
    }

    /// Looks at every server of the configuration, and remembers since when each is as well or unwell as it is.
    fn look_at_servers(&mut self, now: Time, settings: &AutopilotConfig) -> Vec<Seen> {
        let Some(raft) = self.raft() else { return Vec::new() };
        let peers = raft.configuration().peers.clone();
        let mut seen: Vec<Seen> = peers.into_iter().map(|(id, peer)| self.look_at(settings, id, peer)).collect();
        let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) else { return seen };
        let known = &mut leader.autopilot.health;
        known.retain(|id, _| seen.iter().any(|seen| seen.id == *id));
        for one in &mut seen {
            let health = known.entry(one.id).or_insert(Health { healthy: one.healthy, since: now });
            if health.healthy != one.healthy {
                *health = Health { healthy: one.healthy, since: now };
            }
            one.stable_for = now.since(health.since);
        }
        seen
    }

    fn look_at(&self, settings: &AutopilotConfig, id: NodeId, peer: Peer) -> Seen {
        let me = id == self.config.id;
        let member = self.gossip.member(id);
        let server = self.server.as_ref();
        let last_index = server.map(|server| server.raft.last_index()).unwrap_or_default();
        let heartbeats = server.map(|server| server.heartbeat_interval * HEARTBEATS).unwrap_or_default();
        let progress = server.and_then(|server| server.raft.progress(id));
        let (match_index, match_term, last_contact) = match progress {
            // The last entry of a leader is one of its own term.
            _ if me => (last_index, server.map(|server| server.raft.term()).unwrap_or_default(), Duration::ZERO),
            Some(seen) => (seen.match_index, seen.match_term.unwrap_or_default(), seen.last_contact),
            None => (LogIndex::ZERO, Term::ZERO, Duration::MAX),
        };
        let heard = last_contact <= settings.last_contact_threshold.max(heartbeats);
        let trails = last_index.0 - match_index.0.min(last_index.0) > settings.max_trailing_logs;
        let alive = member.is_some_and(|member| member.is_alive());
        let has_name = |name: &str| member.is_some_and(|member| member.name == name);
        let is_like = |other: &Member| has_name(&other.name) || other.address == peer.address;
        let replaced = self.live_servers().any(|other| other.id != id && is_like(other));
        Seen {
            id,
            me,
            status: member.map(|member| member.status),
            last_contact,
            match_index,
            match_term,
            // One that never accepted anything is not well, however short the log is.
            healthy: me || alive && heard && !trails && match_index > LogIndex::ZERO,
            stable_for: Duration::ZERO,
            replaced,
            disk_is_low: member.is_some_and(Member::has_low_disk),
            peer,
        }
    }

    /// Live servers of this cluster, or of none yet, that are not in the configuration.
    fn unconfigured_servers(&self) -> impl Iterator<Item = &Member> {
        let configuration = self.raft().map(|raft| raft.configuration());
        let is_known = move |id: NodeId| configuration.is_some_and(|known| known.peers.contains_key(&id));
        self.live_servers().filter(move |member| !is_known(member.id) && !self.is_foreign(member.id))
    }

    fn newcomers(&self, servers: &[Seen]) -> Vec<Newcomer> {
        let name = |id| self.gossip.member(id).map(|member| member.name.as_str());
        // Two cannot be at one address, whether gossip has noticed yet or not; two live ones may have been given one name.
        let replaces = |new: &Member, old: &Seen| {
            old.peer.address == new.address || old.is_gone() && name(old.id) == Some(new.name.as_str())
        };
        self.unconfigured_servers()
            .map(|member| Newcomer {
                id: member.id,
                peer: Peer { address: member.address, voter: false },
                replaces: servers.iter().any(|old| replaces(member, old)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(300);

    /// Five voters of which the first leads: two are well, two are heard and not well, and the last is dead.
    fn five(well: usize) -> Vec<Seen> {
        let seen = |number: u8| {
            let dead = number == 5;
            Seen {
                id: NodeId([number; 16]),
                peer: Peer { address: ([10, 0, 0, number], 8301).into(), voter: true },
                me: number == 1,
                status: Some(if dead { MemberStatus::Failed } else { MemberStatus::Alive }),
                last_contact: if dead { TIMEOUT * (DEAD_AFTER + 1) } else { Duration::ZERO },
                match_index: LogIndex(9),
                match_term: Term(1),
                healthy: !dead && usize::from(number) <= well,
                stable_for: Duration::ZERO,
                replaced: false,
                disk_is_low: false,
            }
        };
        (1..=5).map(seen).collect()
    }

    fn removed(servers: &[Seen]) -> Option<NodeId> {
        removed_with(0, servers)
    }

    fn removed_with(min_quorum: u32, servers: &[Seen]) -> Option<NodeId> {
        let settings = AutopilotConfig { min_quorum, ..AutopilotConfig::default() };
        match wanted_change(&settings, TIMEOUT, servers, &[])?.0 {
            Change::Remove { id } => Some(id),
            Change::Add { .. } => None,
        }
    }

    #[test]
    fn three_voters_are_kept_unless_fewer_are_asked_for() {
        let dead = NodeId([5; 16]);
        let five = five(4);
        let last = |count: usize| &five[five.len() - count..];
        assert_eq!([5, 4, 3].map(|voters| removed(last(voters))), [Some(dead), Some(dead), None]);
        let asked = [1, 2, 3].map(|least| removed_with(least, last(3)));
        assert_eq!(asked, [Some(dead), Some(dead), None]);
        assert_eq!(removed_with(4, last(4)), None);
        let mut learner = last(4).to_vec();
        learner[3].peer.voter = false;
        assert_eq!(removed(&learner), Some(dead), "no vote is lost with a learner");
    }

    #[test]
    fn a_dead_server_counts_as_long_as_the_others_are_no_healthy_majority_of_all() {
        let dead = NodeId([5; 16]);
        assert_eq!([2, 3, 4].map(|well| removed(&five(well))), [None, Some(dead), Some(dead)]);
        let mut replaced = five(2);
        replaced.iter_mut().for_each(|seen| seen.replaced = true);
        assert_eq!(removed(&replaced), None, "nor is it replaced then");
    }

    #[test]
    fn a_server_that_is_only_silent_for_a_moment_is_not_dead() {
        let mut servers = five(4);
        servers.iter_mut().for_each(|seen| seen.last_contact = seen.last_contact.min(TIMEOUT * DEAD_AFTER));
        assert_eq!(removed(&servers), None);
        servers.iter_mut().for_each(|seen| seen.replaced = seen.id == NodeId([5; 16]));
        assert_eq!(removed(&servers), Some(NodeId([5; 16])), "unless another one is in its place");
    }

    #[test]
    fn a_server_that_left_keeps_its_vote_while_the_others_cannot_decide_without_it() {
        // Of three, one left while another is dead, or just elected this leader and was not heard since.
        let mut three = five(5)[..3].to_vec();
        three[1].status = Some(MemberStatus::Left);
        three[2].healthy = false;
        assert_eq!(removed(&three), None, "it is the only one that could come back and help");
        three[1].peer.voter = false;
        assert_eq!(removed(&three), Some(NodeId([2; 16])), "without a vote it does not matter");
        three[1].peer.voter = true;
        three[2].healthy = true;
        assert_eq!(removed(&three), Some(NodeId([2; 16])));
    }
}
