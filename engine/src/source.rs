//! Who asked, so that the reply finds the way back.

use crate::door::Ticket;
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{NodeId, Request, Time};

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A front door of this agent.
    Front(Ticket),
    /// Another agent, under its number.
    Agent { origin: Origin, id: u64 },
    /// The engine itself.
    Own(Own),
}

impl Source {
    /// Whether another agent asked, this one.
    pub fn is_agent(&self, agent: NodeId) -> bool {
        matches!(self, Source::Agent { origin, .. } if origin.id == agent)
    }
}

/// What the engine asks by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Own {
    /// A step of bringing local state to the catalogue.
    Sync(SyncStep),
    /// A change of the catalogue that follows this member.
    Reconcile(NodeId),
    /// The end of something that ends by itself; it is tried again unless it is seen to be applied.
    Expire,
    /// An acquire for whoever waits for a lock under this number.
    Lock(u64),
    /// How the node is whose health an alias check shows, under this number.
    Alias(u64),
    /// A lock that nobody is left to be told of.
    GiveUpLock,
}

/// A step of bringing local state to the catalogue, in the round of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncStep {
    /// Asked for the node's services.
    Services { round: u64 },
    /// Asked for the node's checks.
    Checks { round: u64 },
    /// Wrote a difference.
    Write { round: u64 },
}

/// A request on its way.
#[derive(Debug, Clone)]
pub struct Job {
    /// Who asked.
    pub source: Source,
    /// What is asked.
    pub request: Request,
    /// How often it was passed on between agents.
    pub hops: u8,
    /// When it came to this agent.
    pub arrived: Time,
}
