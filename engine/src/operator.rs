//! What operators ask of the leader: who takes part in Raft, taking a server out, handing over, how well the servers are.

use crate::Engine;
use crate::source::Source;
use quorate_protocol::go::quote;
use quorate_protocol::{LogIndex, NodeId, OperatorRequest, PeerSelector, RaftConfiguration, Refusal, Reply, Time};
use quorate_raft::{Change, ChangeError, TransferError};

/// The name of a server that gossip does not know (Consul's word).
pub const UNKNOWN: &str = "(unknown)";

/// What an operator waits for.
#[derive(Debug)]
pub struct Order {
    what: What,
    source: Source,
    /// When the operator is told that it was not seen to be done.
    pub until: Time,
}

#[derive(Debug)]
enum What {
    /// That the configuration without this server, which stands at this index, is committed.
    Removal { id: NodeId, index: LogIndex },
    /// That another server leads.
    Transfer,
}

impl Engine {
    /// Does what an operator asks.
    pub(crate) fn operate(&mut self, now: Time, source: Source, request: OperatorRequest) {
        match request {
            OperatorRequest::RaftConfiguration => {
                let reply = Reply::RaftConfiguration(self.raft_configuration());
                self.reply(source, reply);
            }
            OperatorRequest::RemovePeer(selector) => {
                let begun = self.begin_removal(now, source, &selector);
                self.refuse_unless_begun(source, begun);
            }
            OperatorRequest::AutopilotState => {
                let reply = Reply::Autopilot(self.autopilot_state(now));
                self.reply(source, reply);
            }
            OperatorRequest::TransferLeader { to } => {
                let begun = self.begin_transfer(now, source, to);
                self.refuse_unless_begun(source, begun);
            }
        }
    }

    fn refuse_unless_begun(&mut self, source: Source, begun: Result<(), Refusal>) {
        match begun {
            Ok(()) => self.end_orders(),
            Err(refusal) => self.reply(source, Reply::Refused(refusal)),
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
    fn begin_removal(&mut self, now: Time, source: Source, selector: &PeerSelector) -> Result<(), Refusal> {
        let servers = self.raft_configuration().servers;
        let found = servers.iter().find(|server| match selector {
            PeerSelector::Id(id) => server.id == *id,
            PeerSelector::Address(address) => server.address == *address,
        });
        let id = found.map(|server| server.id).ok_or_else(|| match selector {
            PeerSelector::Id(id) => not_found("id", &id.to_string()),
            PeerSelector::Address(address) => not_found("address", &address.to_string()),
        })?;
        let until = now + self.config.patience.reply;
        let server = self.server.as_mut().ok_or(Refusal::NoLeader)?;
        let leader = server.leader.as_mut().ok_or(Refusal::NoLeader)?;
        match server.raft.change_configuration(now, Change::Remove { id }) {
            Ok(index) => leader.orders.push(Order { what: What::Removal { id, index }, source, until }),
            Err(ChangeError::NotLeader(_)) => return Err(Refusal::NoLeader),
            Err(why) => return Err(Refusal::Invalid(why.to_string())),
        }
        Ok(())
    }

    /// Hands the leadership over. The reply comes when this server leads no longer.
    fn begin_transfer(&mut self, now: Time, source: Source, to: Option<NodeId>) -> Result<(), Refusal> {
        let server = self.server.as_mut().ok_or(Refusal::NoLeader)?;
        if let Some(id) = to.filter(|id| !server.raft.configuration().peers.contains_key(id)) {
            return Err(not_found("id", &id.to_string()));
        }
        let leader = server.leader.as_mut().ok_or(Refusal::NoLeader)?;
        // Raft gives it up after one election timeout.
        let until = now + server.election_timeout * 2;
        match server.raft.transfer_leadership(now, to) {
            Ok(()) => leader.orders.push(Order { what: What::Transfer, source, until }),
            Err(TransferError::NotLeader(_)) => return Err(Refusal::NoLeader),
            Err(why) => return Err(Refusal::Invalid(why.to_string())),
        }
        Ok(())
    }

    /// Tells operators that a server is out, if it is by now.
    pub(crate) fn end_orders(&mut self) {
        let Some(server) = &mut self.server else { return };
        let Some(leader) = &mut server.leader else { return };
        let commit = server.raft.commit_index();
        let is_done = |order: &mut Order| matches!(order.what, What::Removal { index, .. } if index <= commit);
        let done: Vec<Order> = leader.orders.extract_if(.., is_done).collect();
        done.into_iter().for_each(|order| self.reply(order.source, Reply::Done));
    }

    pub(crate) fn time_out_orders(&mut self, now: Time) {
        let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) else { return };
        let late: Vec<Order> = leader.orders.extract_if(.., |order| order.until <= now).collect();
        for order in late {
            let refusal = match order.what {
                What::Removal { .. } => Refusal::Unknown,
                What::Transfer => Refusal::Invalid("no other server took over in time; this one leads on".to_owned()),
            };
            self.reply(order.source, Reply::Refused(refusal));
        }
    }

    /// Leadership is gone: as was ordered, or because this server was the one to be taken out, or in between.
    pub(crate) fn lose_orders(&mut self, orders: Vec<Order>) {
        for order in orders {
            let out = |id: NodeId, index: LogIndex| {
                self.raft()
                    .is_some_and(|raft| raft.commit_index() >= index && !raft.configuration().peers.contains_key(&id))
            };
            let done = match order.what {
                What::Removal { id, index } => out(id, index),
                What::Transfer => true,
            };
            self.reply(order.source, if done { Reply::Done } else { Reply::Refused(Refusal::Unknown) });
        }
    }
}

/// Consul's sentence.
fn not_found(what: &str, value: &str) -> Refusal {
    Refusal::NotFound(format!("{what} {} was not found in the Raft configuration", quote(value)))
}
