//! What operators ask of the leader: who takes part in Raft, taking a server out, how well the servers are.

use crate::Engine;
use crate::source::Source;
use quorate_protocol::go::quote;
use quorate_protocol::{LogIndex, NodeId, OperatorRequest, PeerSelector, RaftConfiguration, Refusal, Reply, Time};
use quorate_raft::{Change, ChangeError};

/// The name of a server that gossip does not know (Consul's word).
pub const UNKNOWN: &str = "(unknown)";

/// A server that an operator takes out, until that is committed.
#[derive(Debug)]
pub struct Removal {
    id: NodeId,
    /// Where the configuration without it stands.
    index: LogIndex,
    source: Source,
    /// When the operator is told that nobody knows.
    pub until: Time,
}

impl Engine {
    /// Does what an operator asks.
    pub(crate) fn operate(&mut self, now: Time, source: Source, request: OperatorRequest) {
        match request {
            OperatorRequest::RaftConfiguration => {
                let reply = Reply::RaftConfiguration(self.raft_configuration());
                self.reply(source, reply);
            }
            OperatorRequest::RemovePeer(selector) => self.remove_peer(now, source, &selector),
            OperatorRequest::AutopilotState => {
                let reply = Reply::Autopilot(self.autopilot_state(now));
                self.reply(source, reply);
            }
            OperatorRequest::TransferLeader { .. } => {
                let why = "this is not served yet".to_owned();
                self.reply(source, Reply::Refused(Refusal::Invalid(why)));
            }
        }
    }

    fn raft_configuration(&self) -> RaftConfiguration {
        let Some(raft) = self.raft() else { return RaftConfiguration { servers: Vec::new(), index: LogIndex::ZERO } };
        let peers = raft.configuration().peers.iter();
        RaftConfiguration {
            servers: peers.map(|(id, peer)| self.raft_server(*id, peer)).collect(),
            index: raft.configuration_index(),
        }
    }

    /// Takes a server out of Raft, healthy or not: the operator knows. The reply comes when that is committed.
    fn remove_peer(&mut self, now: Time, source: Source, selector: &PeerSelector) {
        let servers = self.raft_configuration().servers;
        let found = servers.iter().find(|server| match selector {
            PeerSelector::Id(id) => server.id == *id,
            PeerSelector::Address(address) => server.address == *address,
        });
        let removed = match found {
            Some(found) => self.begin_removal(now, source, found.id),
            None => Err(Refusal::NotFound(match selector {
                PeerSelector::Id(id) => not_found("id", &id.to_string()),
                PeerSelector::Address(address) => not_found("address", &address.to_string()),
            })),
        };
        match removed {
            Ok(()) => self.end_removal(),
            Err(refusal) => self.reply(source, Reply::Refused(refusal)),
        }
    }

    fn begin_removal(&mut self, now: Time, source: Source, id: NodeId) -> Result<(), Refusal> {
        let until = now + self.config.patience.reply;
        let Some(server) = &mut self.server else { return Err(Refusal::NoLeader) };
        let Some(leader) = &mut server.leader else { return Err(Refusal::NoLeader) };
        match server.raft.change_configuration(now, Change::Remove { id }) {
            Ok(index) => {
                leader.removal = Some(Removal { id, index, source, until });
                Ok(())
            }
            Err(ChangeError::NotLeader(_)) => Err(Refusal::NoLeader),
            Err(why) => Err(Refusal::Invalid(why.to_string())),
        }
    }

    /// Tells the operator that the server is out, if it is by now.
    pub(crate) fn end_removal(&mut self) {
        let Some(server) = &mut self.server else { return };
        let Some(leader) = &mut server.leader else { return };
        let commit = server.raft.commit_index();
        if let Some(done) = leader.removal.take_if(|removal| removal.index <= commit) {
            self.reply(done.source, Reply::Done);
        }
    }

    pub(crate) fn time_out_removal(&mut self, now: Time) {
        let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) else { return };
        if let Some(late) = leader.removal.take_if(|removal| removal.until <= now) {
            self.reply(late.source, Reply::Refused(Refusal::Unknown));
        }
    }

    /// Leadership is gone, perhaps because this server was the one to be taken out.
    pub(crate) fn lose_removal(&mut self, removal: Removal) {
        let out = self.raft().is_some_and(|raft| {
            raft.commit_index() >= removal.index && !raft.configuration().peers.contains_key(&removal.id)
        });
        let reply = if out { Reply::Done } else { Reply::Refused(Refusal::Unknown) };
        self.reply(removal.source, reply);
    }
}

/// Consul's sentence.
fn not_found(what: &str, value: &str) -> String {
    format!("{what} {} was not found in the Raft configuration", quote(value))
}
