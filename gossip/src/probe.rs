//! The probe under way, and the probes that others asked us to help with.
//!
//! foca sends and judges probes; it does not tell how they go. Its packets do: what passes by in both directions is enough to know whom
//! it asks, who helps, and whether an answer came.

use crate::identity::Identity;
use crate::swim::SwimTimer;
use foca::{Header, Message, TimerToken};
use quorate_protocol::NodeId;
use std::collections::BTreeSet;

/// For how many probes of others this agent keeps in mind that it owes a nack; what is beyond gets none.
const MAX_RELAYS: usize = 256;

/// A probe of ours.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) target: Identity,
    pub(crate) number: u8,
    /// Who was asked to probe it too.
    pub(crate) helpers: BTreeSet<NodeId>,
    /// Which of them said that they got no answer either.
    pub(crate) nacks: BTreeSet<NodeId>,
    pub(crate) answered: bool,
}

/// A probe that another member asked us to help with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Relay {
    pub(crate) origin: NodeId,
    pub(crate) subject: NodeId,
    pub(crate) number: u8,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Probes {
    own: Option<Probe>,
    /// foca's token of the timer that ends it; others are of former lives.
    token: Option<TimerToken>,
    relays: BTreeSet<Relay>,
}

impl Probes {
    /// Takes note of a timer that foca sets.
    pub(crate) fn is_paced_by(&mut self, timer: &SwimTimer) {
        if let SwimTimer::ProbeRandomMember(token) = timer {
            self.token = Some(*token);
        }
    }

    /// The probe of ours that ends with this timer.
    pub(crate) fn ended_by(&mut self, token: TimerToken) -> Option<Probe> {
        self.own.take_if(|_| self.token == Some(token))
    }

    /// Takes note of a packet that leaves.
    pub(crate) fn sent(&mut self, header: &Header<Identity>) {
        match header.message {
            Message::Ping(number) => {
                self.own = Some(Probe {
                    target: header.dst,
                    number,
                    helpers: BTreeSet::new(),
                    nacks: BTreeSet::new(),
                    answered: false,
                });
            }
            Message::PingReq { target, probe_number } => {
                if let Some(probe) = self.under_way(target.id, probe_number) {
                    probe.helpers.insert(header.dst.id);
                }
            }
            _ => {}
        }
    }

    /// Takes note of a packet that came. Returns the probe that we are asked to help with, if we are.
    pub(crate) fn received(&mut self, header: &Header<Identity>) -> Option<Relay> {
        let from = header.src.id;
        match header.message {
            Message::Ack(number) => self.answer(from, number),
            Message::ForwardedAck { origin, probe_number } => self.answer(origin.id, probe_number),
            Message::PingReq { target, probe_number } if self.relays.len() < MAX_RELAYS => {
                let relay = Relay { origin: from, subject: target.id, number: probe_number };
                return self.relays.insert(relay).then_some(relay);
            }
            Message::IndirectAck { target, probe_number } => {
                self.relays.remove(&Relay { origin: target.id, subject: from, number: probe_number });
            }
            _ => {}
        }
        None
    }

    /// Takes note of a nack.
    pub(crate) fn nack(&mut self, from: NodeId, subject: NodeId, number: u8) {
        if let Some(probe) = self.under_way(subject, number)
            && probe.helpers.contains(&from)
        {
            probe.nacks.insert(from);
        }
    }

    /// Takes note that our probe was answered.
    pub(crate) fn answer(&mut self, from: NodeId, number: u8) {
        if let Some(probe) = self.under_way(from, number) {
            probe.answered = true;
        }
    }

    /// Whether the subject of a relayed probe has not answered; it is forgotten by this.
    pub(crate) fn owes_nack(&mut self, relay: &Relay) -> bool {
        self.relays.remove(relay)
    }

    /// Under a new identity nothing is under way.
    pub(crate) fn clear(&mut self) {
        self.own = None;
    }

    fn under_way(&mut self, target: NodeId, number: u8) -> Option<&mut Probe> {
        self.own.as_mut().filter(|probe| probe.target.id == target && probe.number == number)
    }
}
