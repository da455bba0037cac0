//! What the leader does besides the log: duties that start and stop together with leadership.

mod autopilot;
mod low_disk;
mod reconcile;

pub(crate) use reconcile::tagged_addresses;
pub use reconcile::{SERVER_SERVICE, desired};

use crate::Engine;
use crate::door::{Notice, Output};
use crate::operator::Order;
use autopilot::Autopilot;
use low_disk::Yielding;
use quorate_protocol::{Member, NodeId, Term, Time};
use std::collections::BTreeMap;

/// The duties of a leader.
#[derive(Debug)]
pub struct Leader {
    term: Term,
    /// Whether an entry of the own term is committed: only then is the store known to be complete.
    established: bool,
    /// Since when it is.
    established_at: Time,
    /// When all members are compared with the catalogue next.
    next_pass: Time,
    /// When the configuration of the servers is compared with the members next.
    next_review: Time,
    autopilot: Autopilot,
    /// How the leadership was offered to others because the disk is low.
    yielding: Yielding,
    /// What operators wait for.
    pub orders: Vec<Order>,
    /// Members for which a change of the catalogue is on its way, as they were when it was wanted.
    reconciling: BTreeMap<NodeId, Member>,
}

impl Leader {
    pub fn deadline(&self) -> Time {
        let orders = self.orders.iter().map(|order| order.until);
        orders.fold(self.next_pass.min(self.next_review), Time::min)
    }

    pub fn is_established(&self) -> bool {
        self.established
    }
}

impl Engine {
    pub(crate) fn become_leader(&mut self, now: Time, term: Term) {
        self.outputs.push_back(Output::Noticed(Notice::BecameLeader { term }));
        let Some(server) = &mut self.server else { return };
        server.leader = Some(Leader {
            term,
            established: false,
            established_at: now,
            next_pass: Time::NEVER,
            next_review: Time::NEVER,
            autopilot: Autopilot::default(),
            yielding: Yielding::default(),
            orders: Vec::new(),
            reconciling: BTreeMap::new(),
        });
    }

    /// An entry was applied; the first of the own term establishes the leader.
    pub(crate) fn notice_own_term(&mut self, now: Time, term: Term) {
        let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) else { return };
        if leader.term == term && !leader.established {
            leader.established = true;
            leader.established_at = now;
            leader.next_pass = now;
            leader.next_review = now;
        }
    }

    /// A server left or came: the next look at them is now.
    pub(crate) fn review_servers_soon(&mut self, now: Time) {
        let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) else { return };
        if leader.established {
            leader.next_review = now;
        }
    }

    pub(crate) fn time_out_leader(&mut self, now: Time) {
        self.time_out_orders(now);
        let interval = self.config.patience.reconcile;
        let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) else { return };
        let review = leader.next_review <= now;
        if leader.next_pass <= now {
            leader.next_pass = now + interval;
            self.reconcile_all(now);
        }
        if review {
            let next = self.review_servers(now);
            if let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) {
                leader.next_review = next;
            }
        }
    }
}
