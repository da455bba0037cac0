//! Whoever operates the servers: hands leadership over, takes a lost server out, saves snapshots and puts them back.

use super::{Clients, Purpose, Wish};
use crate::happened::Happening;
use bytes::Bytes;
use quorate_protocol::{
    Ask, NodeId, OperatorRequest, Outcome, PeerSelector, Refusal, Reply, RestoreWrite, SnapshotDescription,
    SnapshotRequest, Write,
};

/// What the operator is about.
#[derive(Debug)]
pub(super) struct Operator {
    /// Whether snapshots are put back: then keys change in ways that no client asked for.
    restores: bool,
    /// Servers that lost their disks and are to be taken out.
    gone: Vec<NodeId>,
    saving: Option<Saving>,
    /// What was saved whole and is still kept by its server.
    closing: Option<Saving>,
    /// The last snapshot that was saved whole.
    saved: Vec<Bytes>,
    restoring: Option<Restoring>,
    last_restore: u64,
}

#[derive(Debug)]
struct Saving {
    of: SnapshotDescription,
    stale: bool,
    /// Through which agent: it keeps what is stale.
    agent: usize,
    chunks: Vec<Bytes>,
}

#[derive(Debug)]
struct Restoring {
    id: u64,
    next: u64,
}

/// What an operator's request is for.
#[derive(Debug)]
pub(super) enum Task {
    Transfer,
    TakeOut(NodeId),
    Open { stale: bool },
    Chunk,
    Restore(RestoreStep),
    Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestoreStep {
    Begin(u64),
    Chunk,
    Commit,
    Abandon,
}

impl Operator {
    pub fn new(restores: bool) -> Operator {
        Operator {
            restores,
            gone: Vec::new(),
            saving: None,
            closing: None,
            saved: Vec::new(),
            restoring: None,
            last_restore: 0,
        }
    }

    pub fn server_is_gone(&mut self, id: NodeId) {
        self.gone.push(id);
    }

    /// Milliseconds between two requests: what is begun goes on quickly.
    pub fn pause(&self) -> u64 {
        match (self.saving.is_some() || self.restoring.is_some(), self.gone.is_empty()) {
            (true, _) => 60,
            (false, false) => 800,
            (false, true) => 2500,
        }
    }
}

impl Clients {
    pub(super) fn wish_to_operate(&mut self) -> Wish {
        let nth = self.dice.below(12);
        if let Some(saving) = &self.operator.saving {
            let (stale, handle, agent) = (saving.stale, saving.of.handle, saving.agent);
            let number = saving.chunks.len() as u64;
            let chunk = SnapshotRequest::Chunk { stale, handle, number };
            return Wish { through: Some(agent), ..snapshot(chunk, Task::Chunk) };
        }
        if let Some(Saving { of, stale, agent, .. }) = self.operator.closing.take() {
            let close = SnapshotRequest::Close { stale, handle: of.handle };
            return Wish { through: Some(agent), ..snapshot(close, Task::Look) };
        }
        if let Some(restoring) = &self.operator.restoring {
            let Restoring { id, next } = *restoring;
            return match self.operator.saved.get(next as usize) {
                _ if nth == 11 => restore(RestoreWrite::Abandon { id }, RestoreStep::Abandon),
                Some(bytes) => {
                    let chunk = RestoreWrite::Chunk { id, number: next, bytes: bytes.clone() };
                    restore(chunk, RestoreStep::Chunk)
                }
                None => restore(RestoreWrite::Commit { id }, RestoreStep::Commit),
            };
        }
        if let Some(id) = self.operator.gone.first().copied().filter(|_| nth < 8) {
            let remove = OperatorRequest::RemovePeer(PeerSelector::Id(id));
            return Wish::new(Ask::Operator(remove), Purpose::Operate(Task::TakeOut(id)));
        }
        match nth {
            0..5 if !self.healing => {
                let transfer = OperatorRequest::TransferLeader { to: None };
                Wish::new(Ask::Operator(transfer), Purpose::Operate(Task::Transfer))
            }
            0..6 => Wish::new(Ask::Operator(OperatorRequest::AutopilotState), Purpose::Operate(Task::Look)),
            6 => Wish::new(Ask::Operator(OperatorRequest::RaftConfiguration), Purpose::Operate(Task::Look)),
            7 | 8 if self.operator.restores && !self.operator.saved.is_empty() => {
                let id = self.operator.last_restore + 1;
                self.operator.last_restore = id;
                restore(RestoreWrite::Begin { id }, RestoreStep::Begin(id))
            }
            _ => {
                let stale = self.dice.chance(0.3);
                snapshot(SnapshotRequest::Open { stale }, Task::Open { stale })
            }
        }
    }

    pub(super) fn operation_answered(&mut self, agent: usize, task: Task, reply: &Reply) {
        match (task, reply) {
            (Task::Transfer, Reply::Done) => self.happened.once(Happening::Transfer),
            (Task::TakeOut(id), Reply::Done | Reply::Refused(Refusal::NotFound(_))) => {
                self.operator.gone.retain(|gone| *gone != id);
            }
            (Task::Open { stale }, Reply::Snapshot(of)) => {
                self.operator.saving = Some(Saving { of: of.clone(), stale, agent, chunks: Vec::new() });
            }
            (Task::Chunk, Reply::SnapshotChunk { bytes, last }) => {
                let Some(saving) = &mut self.operator.saving else { return };
                saving.chunks.push(bytes.clone());
                if *last {
                    self.happened.once(Happening::SavedForPeople);
                    self.operator.saved = std::mem::take(&mut saving.chunks);
                    self.operator.closing = self.operator.saving.take();
                }
            }
            (Task::Restore(step), Reply::Written { outcome, .. }) => self.restore_answered(step, outcome),
            (task, _) => self.operation_forgotten(task),
        }
    }

    /// It is not known what became of it: begin anew.
    pub(super) fn operation_forgotten(&mut self, task: Task) {
        match task {
            Task::Chunk => self.operator.saving = None,
            Task::Restore(_) => self.operator.restoring = None,
            Task::Transfer | Task::TakeOut(_) | Task::Open { .. } | Task::Look => {}
        }
    }

    fn restore_answered(&mut self, step: RestoreStep, outcome: &Outcome) {
        let is_done = *outcome == Outcome::Done;
        match step {
            RestoreStep::Begin(id) if is_done => self.operator.restoring = Some(Restoring { id, next: 0 }),
            RestoreStep::Chunk if is_done => {
                if let Some(restoring) = &mut self.operator.restoring {
                    restoring.next += 1;
                }
            }
            RestoreStep::Begin(_) | RestoreStep::Chunk | RestoreStep::Abandon => self.operator.restoring = None,
            RestoreStep::Commit => {
                self.operator.restoring = None;
                self.happened.times(Happening::Restored, u64::from(is_done));
            }
        }
    }
}

fn snapshot(request: SnapshotRequest, task: Task) -> Wish {
    Wish::new(Ask::Snapshot(request), Purpose::Operate(task))
}

fn restore(write: RestoreWrite, step: RestoreStep) -> Wish {
    Wish::new(Ask::Write(Write::Restore(write)), Purpose::Operate(Task::Restore(step)))
}
