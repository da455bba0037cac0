//! What operators ask of the leader: who takes part in Raft, to take one out, to hand over, how well they are.

use crate::Engine;
use crate::source::{Job, Source};
use quorate_protocol::go::quote;
use quorate_protocol::{Ask, LogIndex, NodeId, OperatorRequest, PeerSelector, RaftConfiguration, Refusal, Reply, Time};
use quorate_raft::{Change, ChangeError, TransferError};

/// A change of the configuration that an operator waits for. Raft makes one at a time.
#[derive(Debug)]
pub struct AwaitedChange {
    /// Where it stands in the log.
    index: LogIndex,
    source: Source,
    /// When whoever asked is told that nobody knows.
    pub until: Time,
}

impl Engine {
    /// Serves an operator's request, on the leader.
    pub(crate) fn serve_operator(&mut self, now: Time, job: Job) {
        let Ask::Operator(request) = job.request.ask else { return };
        let reply = match request {
            OperatorRequest::RaftConfiguration => self.raft_configuration(),
            OperatorRequest::AutopilotState => self.autopilot_state(now).map(Reply::Autopilot),
            OperatorRequest::RemovePeer(selector) => return self.remove_peer(now, job.source, &selector),
            OperatorRequest::TransferLeader { to } => return self.transfer_leader(now, job.source, to),
        };
        self.reply(job.source, reply.unwrap_or(Reply::Refused(Refusal::NoLeader)));
    }

    /// Makes this server the only one of its cluster.
    pub(crate) fn recover_quorum(&mut self, now: Time) -> Reply {
        match self.server.as_mut().map(|server| server.raft.recover(now)) {
            Some(Ok(_)) => Reply::Done,
            Some(Err(why)) => Reply::Refused(Refusal::Invalid(why.to_string())),
            None => Reply::Refused(Refusal::Invalid("this agent is a client; ask a server".to_owned())),
        }
    }

    fn raft_configuration(&self) -> Option<Reply> {
        let raft = self.raft()?;
        // The committed one: what is not committed may be taken back.
        let meta = raft.snapshot_meta(self.store()?.applied_index())?;
        let servers = meta.configuration.peers.iter().map(|(id, peer)| self.describe_raft_server(*id, peer)).collect();
        Some(Reply::RaftConfiguration(RaftConfiguration { servers, index: meta.configuration_index }))
    }

    fn remove_peer(&mut self, now: Time, source: Source, selector: &PeerSelector) {
        let Some(id) = self.find_peer(selector) else {
            let (what, named) = match selector {
                PeerSelector::Id(id) => ("id", id.to_string()),
                PeerSelector::Address(address) => ("address", address.to_string()),
            };
            let why = format!("{what} {} was not found in the Raft configuration", quote(&named));
            return self.reply(source, Reply::Refused(Refusal::NotFound(why)));
        };
        let until = now + self.config.patience.reply;
        let Some(server) = &mut self.server else { return };
        match server.raft.change_configuration(now, Change::Remove { id }) {
            Ok(index) => server.awaited_change = Some(AwaitedChange { index, source, until }),
            Err(ChangeError::NotLeader(_)) => self.reply(source, Reply::Refused(Refusal::NoLeader)),
            Err(why) => self.reply(source, Reply::Refused(Refusal::Invalid(why.to_string()))),
        }
    }

    fn find_peer(&self, selector: &PeerSelector) -> Option<NodeId> {
        let peers = &self.raft()?.configuration().peers;
        let found = peers.iter().find(|(id, peer)| match selector {
            PeerSelector::Id(wanted) => *id == wanted,
            PeerSelector::Address(wanted) => self.address_of(**id).unwrap_or(peer.address) == *wanted,
        });
        found.map(|(id, _)| *id)
    }

    /// Tells the operator who waits for a change, once it is committed.
    pub(crate) fn answer_change(&mut self, committed: LogIndex) {
        let done = |server: &mut crate::server::Server| server.awaited_change.take_if(|one| one.index <= committed);
        if let Some(change) = self.server.as_mut().and_then(done) {
            self.reply(change.source, Reply::Done);
        }
    }

    pub(crate) fn time_out_change(&mut self, now: Time) {
        let overdue = |server: &mut crate::server::Server| server.awaited_change.take_if(|one| one.until <= now);
        if let Some(change) = self.server.as_mut().and_then(overdue) {
            self.reply(change.source, Reply::Refused(Refusal::Unknown));
        }
    }

    /// Leadership is gone: the change may be committed, as when the leader was to be taken out, or nobody here will know.
    pub(crate) fn give_up_change(&mut self) {
        if let Some(committed) = self.raft().map(|raft| raft.commit_index()) {
            self.answer_change(committed);
        }
        if let Some(change) = self.server.as_mut().and_then(|server| server.awaited_change.take()) {
            self.reply(change.source, Reply::Refused(Refusal::Unknown));
        }
    }

    fn transfer_leader(&mut self, now: Time, source: Source, to: Option<NodeId>) {
        match self.hand_over(now, to, Some(source)) {
            Ok(()) => {}
            Err(TransferError::NotLeader(_)) => self.reply(source, Reply::Refused(Refusal::NoLeader)),
            Err(why) => self.reply(source, Reply::Refused(Refusal::Invalid(why.to_string()))),
        }
    }
}
