//! Who is suspected, by whom, and when that becomes a verdict: Lifeguard's LHA-Suspicion.
//!
//! SWIM gives every suspicion the same time, so one member that is cut off fails everybody else. Here the time depends on how many members
//! found the suspect silent *by their own probes*:
//!
//! ```text
//!   time
//!   6x ┤●                       one accuser: it may be the accuser that is ill
//!      │   ·
//!   3x ┤       ●                the first confirmation (on a log curve, as memberlist's)
//!      │            ·
//!   1x ┤                  ●     k = 2 confirmations
//!      └┬───────┬─────────┬──▶ confirmations
//! ```
//!
//! * Only who accused the suspect itself may judge alone; the others need the confirmations, or another's verdict.
//! * Another's verdict is no fact either: it gives the suspect the shortest time to refute.
//! * Time that this agent slept does not count.

use crate::config::Timing;
use crate::identity::Identity;
use crate::probe::Probe;
use quorate_protocol::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many independent confirmations make a suspicion as short as it can be (memberlist: SuspicionMult - 2).
const CONFIRMATIONS: usize = 2;
/// From how many members on there are enough of them to ask for confirmations; below, two crashes would leave too few.
const ENOUGH_MEMBERS: usize = 5;
/// How much longer than the shortest time a suspicion lasts that nobody confirms (memberlist's SuspicionMaxTimeoutMult).
const LONGEST: u32 = 6;
/// More accusers than this change nothing, so they are not told of.
pub(crate) const MAX_ACCUSERS: usize = CONFIRMATIONS + 1;

/// A suspicion of one incarnation of one life.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion {
    pub(crate) identity: Identity,
    pub(crate) incarnation: u16,
    pub(crate) since: Time,
    /// Whose own probes failed, in the order heard of.
    pub(crate) accusers: Vec<(NodeId, Time)>,
    /// Our own probe that failed, and when it did.
    pub(crate) own: Option<(Probe, Time)>,
    /// Whether we asked it over a stream as well.
    pub(crate) by_stream: bool,
    /// Who holds it for failed, and since when we know.
    pub(crate) told: Option<(NodeId, Time)>,
    /// When the timer that is set for it fires.
    pub(crate) armed: Option<Time>,
}

/// How long suspicions last in a cluster of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
    /// How many confirmations make it the shortest.
    pub(crate) confirmations: usize,
}

impl Patience {
    pub(crate) fn new(timing: &Timing, members: usize) -> Patience {
        let shortest = timing.suspicion(members);
        let confirmations = if members < ENOUGH_MEMBERS { 0 } else { CONFIRMATIONS };
        Patience { shortest, longest: shortest * LONGEST, confirmations }
    }

    /// The same for an agent that has reason to doubt what it finds by itself.
    pub(crate) fn doubled(self) -> Patience {
        Patience { longest: self.longest * 2, ..self }
    }

    /// How long a suspicion lasts that so many have confirmed beside the first accuser.
    pub(crate) fn after(&self, confirmations: usize) -> Duration {
        if confirmations >= self.confirmations {
            return self.shortest;
        }
        let fraction = (confirmations as f64 + 1.0).ln() / (self.confirmations as f64 + 1.0).ln();
        self.longest - (self.longest - self.shortest).mul_f64(fraction)
    }
}

impl Suspicion {
    fn new(now: Time, identity: Identity, incarnation: u16) -> Suspicion {
        Suspicion {
            identity,
            incarnation,
            since: now,
            accusers: Vec::new(),
            own: None,
            by_stream: false,
            told: None,
            armed: None,
        }
    }

    fn is_of(&self, identity: &Identity, incarnation: u16) -> bool {
        self.identity == *identity && self.incarnation == incarnation
    }

    /// How many accusers there are beside the first.
    pub(crate) fn confirmations(&self) -> usize {
        self.accusers.len().saturating_sub(1)
    }

    /// Whether so many found it silent that no time needs to pass but the shortest.
    pub(crate) fn is_confirmed(&self, patience: &Patience) -> bool {
        self.accusers.len() > patience.confirmations
    }

    /// When it becomes a verdict, as things are.
    pub(crate) fn deadline(&self, patience: &Patience) -> Option<Time> {
        let confirmed = self.is_confirmed(patience) || patience.confirmations == 0;
        let by_confirmation = confirmed.then(|| self.since + patience.shortest);
        let alone = self.own.as_ref().map(|(_, at)| *at + patience.after(self.confirmations()));
        let by_verdict = self.told.map(|(_, at)| at + patience.shortest);
        [by_confirmation, alone, by_verdict].into_iter().flatten().min()
    }
}

/// The open suspicions.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    open: BTreeMap<NodeId, Suspicion>,
}

impl Suspicions {
    pub(crate) fn get(&self, id: NodeId) -> Option<&Suspicion> {
        self.open.get(&id)
    }

    /// Makes these the suspects: opens what is new and returns what is over.
    pub(crate) fn follow(&mut self, now: Time, suspects: &[(Identity, u16)]) -> Vec<Suspicion> {
        let mut before = std::mem::take(&mut self.open);
        let mut over = Vec::new();
        for (identity, incarnation) in suspects {
            let suspicion = match before.remove(&identity.id) {
                Some(suspicion) if suspicion.is_of(identity, *incarnation) => suspicion,
                other => {
                    over.extend(other);
                    Suspicion::new(now, *identity, *incarnation)
                }
            };
            self.open.insert(identity.id, suspicion);
        }
        over.extend(before.into_values());
        over
    }

    /// Somebody's own probe failed.
    pub(crate) fn accuse(&mut self, now: Time, identity: &Identity, incarnation: u16, accuser: NodeId) {
        if let Some(suspicion) = self.of(identity, incarnation)
            && suspicion.accusers.len() < MAX_ACCUSERS
            && suspicion.accusers.iter().all(|(known, _)| *known != accuser)
        {
            suspicion.accusers.push((accuser, now));
        }
    }

    /// Our own probe failed. Returns whether that is new.
    pub(crate) fn accuse_by(
        &mut self,
        now: Time,
        identity: &Identity,
        incarnation: u16,
        probe: Option<&Probe>,
    ) -> bool {
        let (Some(suspicion), Some(probe)) = (self.of(identity, incarnation), probe) else { return false };
        let is_new = suspicion.own.is_none();
        let since = suspicion.own.as_ref().map_or(now, |(_, at)| *at);
        suspicion.own = Some((probe.clone(), since));
        is_new
    }

    /// Whether this member, one of the first accusers, is now to ask the suspect over a stream: only they do, so that a suspect that is starved is not kept busy
    /// by handshakes.
    pub(crate) fn ask_by_stream(&mut self, id: NodeId, own: NodeId) -> Option<&Suspicion> {
        let suspicion = self.open.get_mut(&id)?;
        let is_ours = suspicion.accusers.iter().any(|(accuser, _)| *accuser == own);
        (is_ours && !std::mem::replace(&mut suspicion.by_stream, true)).then_some(suspicion)
    }

    /// Somebody holds it for failed.
    pub(crate) fn tell(&mut self, now: Time, identity: &Identity, incarnation: u16, by: NodeId) {
        if let Some(suspicion) = self.of(identity, incarnation)
            && suspicion.told.is_none()
        {
            suspicion.told = Some((by, now));
        }
    }

    /// Notes when the timer for a suspicion fires. Returns false if one fires as soon already.
    pub(crate) fn arm(&mut self, id: NodeId, at: Time) -> bool {
        let Some(suspicion) = self.open.get_mut(&id) else { return false };
        let earlier = suspicion.armed.is_none_or(|armed| at < armed);
        if earlier {
            suspicion.armed = Some(at);
        }
        earlier
    }

    /// The timer for a suspicion fired.
    pub(crate) fn disarm(&mut self, id: NodeId) {
        if let Some(suspicion) = self.open.get_mut(&id) {
            suspicion.armed = None;
        }
    }

    /// This agent slept for so long: nobody could have refuted anything to it.
    pub(crate) fn shift(&mut self, slept: Duration) {
        for suspicion in self.open.values_mut() {
            suspicion.since = suspicion.since + slept;
            suspicion.armed = suspicion.armed.map(|at| at + slept);
            if let Some((_, at)) = &mut suspicion.own {
                *at = *at + slept;
            }
            if let Some((_, at)) = &mut suspicion.told {
                *at = *at + slept;
            }
        }
    }

    /// Begins all anew: it was this agent that others held for failed, so what it found is worth nothing.
    pub(crate) fn restart(&mut self, now: Time) {
        for suspicion in self.open.values_mut() {
            *suspicion = Suspicion::new(now, suspicion.identity, suspicion.incarnation);
        }
    }

    fn of(&mut self, identity: &Identity, incarnation: u16) -> Option<&mut Suspicion> {
        self.open.get_mut(&identity.id).filter(|suspicion| suspicion.is_of(identity, incarnation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn identity(n: u8) -> Identity {
        Identity {
            id: NodeId([n; 16]),
            address: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8301),
            generation: 1,
            renewal: 0,
        }
    }

    fn probe(target: u8) -> Probe {
        Probe { target: identity(target), number: 1, helpers: [].into(), nacks: [].into(), answered: false }
    }

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn the_curve_is_memberlists() {
        let patience = Patience::new(&Timing::lan(), 32);
        let ms = |confirmations| patience.after(confirmations).as_millis();
        assert_eq!((ms(0), ms(1), ms(2), ms(9)), (18_061, 8_565, 3_010, 3_010));
        let few = Patience::new(&Timing::lan(), 4);
        assert_eq!(few.after(0), few.shortest);
    }

    #[test]
    fn who_only_heard_of_it_needs_confirmations_and_who_probed_does_not() {
        let patience = Patience::new(&Timing::lan(), 10);
        let mut suspicions = Suspicions::default();
        suspicions.follow(at(0), &[(identity(1), 0)]);
        let deadline = |suspicions: &Suspicions| suspicions.get(NodeId([1; 16])).unwrap().deadline(&patience);
        assert_eq!(deadline(&suspicions), None, "hearsay");
        suspicions.accuse(at(100), &identity(1), 0, NodeId([2; 16]));
        suspicions.accuse(at(200), &identity(1), 0, NodeId([2; 16]));
        suspicions.accuse(at(200), &identity(1), 7, NodeId([3; 16]));
        assert_eq!(deadline(&suspicions), None, "one, twice, and one of another incarnation");
        assert!(suspicions.accuse_by(at(300), &identity(1), 0, Some(&probe(1))));
        suspicions.accuse(at(300), &identity(1), 0, NodeId([9; 16]));
        assert_eq!(deadline(&suspicions), Some(at(300) + patience.after(1)));
        suspicions.accuse(at(400), &identity(1), 0, NodeId([3; 16]));
        assert_eq!(deadline(&suspicions), Some(at(0) + patience.shortest));
    }

    #[test]
    fn a_verdict_of_another_leaves_the_shortest_time() {
        let patience = Patience::new(&Timing::lan(), 10);
        let mut suspicions = Suspicions::default();
        suspicions.follow(at(0), &[(identity(1), 0)]);
        suspicions.tell(at(500), &identity(1), 0, NodeId([2; 16]));
        suspicions.tell(at(900), &identity(1), 0, NodeId([3; 16]));
        let deadline = |suspicions: &Suspicions| suspicions.get(NodeId([1; 16])).unwrap().deadline(&patience);
        assert_eq!(deadline(&suspicions), Some(at(2500)));
        suspicions.shift(Duration::from_secs(7));
        assert_eq!(deadline(&suspicions), Some(at(9500)), "what we slept does not count");
        suspicions.restart(at(10_000));
        assert_eq!(deadline(&suspicions), None);
    }

    #[test]
    fn a_higher_incarnation_is_another_suspicion() {
        let mut suspicions = Suspicions::default();
        assert!(suspicions.follow(at(0), &[(identity(1), 0), (identity(2), 0)]).is_empty());
        suspicions.accuse(at(0), &identity(1), 0, NodeId([2; 16]));
        let over = suspicions.follow(at(1), &[(identity(1), 1)]);
        assert_eq!(over.len(), 2);
        assert!(suspicions.get(NodeId([1; 16])).unwrap().accusers.is_empty());
        assert!(suspicions.get(NodeId([2; 16])).is_none());
    }
}
