//! Lifeguard around SWIM: what becomes of probes, suspicions and verdicts.
//!
//! foca probes and spreads what is suspected; everything else about failure is here, because what foca does itself is for a world in
//! which the accuser is always well (Dadgar, Phillips, Currey: Lifeguard, 2017; `reference/gossip.md`, 2 and 8).
//!
//! | part | how |
//! |---|---|
//! | suspicion with confirmations | `suspicion.rs`; who accused travels as [`Accusation`](ProbeWord::Accusation) |
//! | the suspect is told first | a letter of its own when we accuse it, and with every later probe of it |
//! | another's verdict | is weighed here before foca takes it as final: [`Gossip::weigh`] |
//! | local health | `health.rs`; stretches the waits of probes |
//! | nacks | whoever was asked to help and got no answer in 80 % of the probe's timeout says so |
//! | fallback | a suspect that has not refuted by half of the shortest time is asked over a stream by those who accused it first |
//! | own pause | the shell hands in what waited in the sockets first; then all timers and suspicions move by the pause |

use crate::codec::Codec;
use crate::identity::Identity;
use crate::machine::{Due, Gossip};
use crate::planted::Part;
use crate::probe::{Probe, Relay};
use crate::suspicion::{Patience, Suspicion};
use crate::swim::{Spread, SwimTimer};
use foca::{Codec as _, Header, Message, State};
use quorate_protocol::wire::gossip::{GossipMessage, StreamAck, StreamPing};
use quorate_protocol::wire::probe::{Accusation, Nack, ProbeWord};
use quorate_protocol::wire::stream::Origin;
use quorate_protocol::{Cause, NodeId, Time};
use rand::seq::IndexedRandom;
use std::time::Duration;

/// After which part of a probe's timeout a helper says that it got no answer (Lifeguard, 3.1).
const NACK_AFTER: f64 = 0.8;
/// Timers that fire later than this part of a probe's timeout mean that this agent slept.
const PAUSE: f64 = 0.25;

/// A verdict of another that came in a packet and was made a suspicion.
pub(crate) struct Told {
    pub(crate) identity: Identity,
    pub(crate) incarnation: u16,
    pub(crate) by: NodeId,
}

impl Gossip {
    pub(crate) fn patience(&self) -> Patience {
        let mut patience = Patience::new(&self.timing, self.swim.alive() + 1);
        if self.lacks(Part::Confirmations) {
            patience = Patience { longest: patience.shortest, confirmations: 0, ..patience };
        }
        // Whoever hears nothing at all, not even of its helpers, is to doubt itself the longer.
        if self.health.is_worst() && !self.lacks(Part::LocalHealth) { patience.doubled() } else { patience }
    }

    /// How well this agent is by its own lights: 0 (well) to 7 (starved or cut off). Its probes take so many times longer.
    pub fn local_health(&self) -> u32 {
        self.health.score()
    }

    /// Takes note of how late the shell calls: nobody is accused of silence while we did not listen.
    ///
    /// At first nothing is due even then, so that what waits in the sockets is heard before anything is judged, however few datagrams the
    /// shell reads at a time. Not twice in a row: an agent that is always late still has to do something.
    pub(crate) fn note_pause(&mut self, now: Time) {
        let late = self.timers.next().map_or(Duration::ZERO, |due| now.since(due));
        let noticeable = self.timing.probe_timeout.mul_f64(PAUSE);
        if late < noticeable || self.lacks(Part::OwnPause) {
            self.listens_first = false;
            return;
        }
        self.listens_first = !self.listens_first;
        let slept = if self.listens_first { late + noticeable } else { late };
        self.timers.shift(slept);
        self.suspicions.shift(slept);
        self.accounts.pause = Some((now, late));
        let periods = late.as_nanos() / self.timing.probe_period.as_nanos().max(1);
        self.health.worse(usize::try_from(periods).unwrap_or(usize::MAX).saturating_add(1));
        self.count("own_pause");
    }

    /// Looks at a packet before SWIM does. What others declare down becomes a suspicion in it, unless we found the same; a refuted verdict
    /// says nothing any more. (foca takes any word of a death as final, so one sick member could fail all others.)
    pub(crate) fn weigh(&mut self, now: Time, packet: &mut [u8]) -> Vec<Told> {
        let length = packet.len();
        let mut rest = &*packet;
        let Ok(header) = Codec.decode_header(&mut rest) else { return Vec::new() };
        if header.dst != *self.swim.identity() {
            return Vec::new();
        }
        if let Some(relay) = self.probes.received(&header) {
            self.timers.set(now + self.timing.probe_timeout.mul_f64(NACK_AFTER), Due::Nack(relay));
        }
        let Some((count, mut rest)) = rest.split_first_chunk().filter(|_| has_updates(&header)) else {
            return Vec::new();
        };
        let (mut told, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..u16::from_be_bytes(*count) {
            let Ok(member) = Codec.decode_member(&mut rest) else { break };
            let state_at = length - rest.len() - 1;
            if member.state() == State::Down
                && let Some(state) = self.doubt(member.id(), member.incarnation())
            {
                changes.push((state_at, state));
                if state == State::Suspect {
                    let (identity, incarnation) = (*member.id(), member.incarnation());
                    told.push(Told { identity, incarnation, by: header.src.id });
                }
            }
        }
        for (at, state) in changes {
            if let Some(byte) = packet.get_mut(at) {
                *byte = Codec::state_byte(state);
            }
        }
        let is_down = |(identity, state): (Identity, State)| state == State::Down && identity == header.src;
        if self.table.swim(header.src.id).is_some_and(is_down) {
            told.clear();
        }
        told
    }

    /// What to make of the word that a member is down, if not that it is.
    pub(crate) fn doubt(&self, identity: &Identity, incarnation: u16) -> Option<State> {
        if self.lacks(Part::WeighedVerdicts) {
            return None;
        }
        if identity == self.swim.identity() {
            return Some(State::Suspect);
        }
        let (held, state) = self.table.swim(identity.id)?;
        if state == State::Down || self.table.has_left(identity) || identity.order() < held.order() {
            return None;
        }
        if held != *identity {
            return Some(State::Suspect);
        }
        let suspicion = self.suspicions.get(identity.id).filter(|suspicion| suspicion.identity == held);
        let known = suspicion.map_or_else(
            || self.swim.member(identity.id).map_or(0, foca::Member::incarnation),
            |suspicion| suspicion.incarnation,
        );
        if incarnation < known {
            return Some(State::Alive);
        }
        // Where confirmations are not asked for, what another accuses is not confirmed by its own verdict either.
        let patience = self.patience();
        let is_confirmed = |suspicion: &Suspicion| patience.confirmations > 0 && suspicion.is_confirmed(&patience);
        let found_here = suspicion.is_some_and(|suspicion| suspicion.own.is_some() || is_confirmed(suspicion));
        if found_here { None } else { Some(State::Suspect) }
    }

    /// Takes note of the verdicts that [`Gossip::weigh`] made suspicions of.
    pub(crate) fn take_told(&mut self, now: Time, told: Vec<Told>) {
        for Told { identity, incarnation, by } in told {
            self.suspicions.tell(now, &identity, incarnation, by);
            self.arm(now, identity.id);
        }
    }

    /// Looks at a packet that leaves. With a probe of a suspect goes word that it is one.
    pub(crate) fn note_sent(&mut self, header: &Header<Identity>) {
        self.probes.sent(header);
        if matches!(header.message, Message::Ping(_)) && self.suspicions.get(header.dst.id).is_some() {
            self.tell_suspect(header.dst.id);
        }
    }

    /// Says to a suspect itself what it is suspected of: nobody can refute it sooner.
    fn tell_suspect(&mut self, id: NodeId) {
        let told = self.suspicions.get(id).filter(|_| !self.lacks(Part::SuspectToldFirst));
        let Some(suspicion) = told else { return };
        let (identity, incarnation) = (suspicion.identity, suspicion.incarnation);
        let letter = self.swim.letter(self.incarnation, identity, &[(identity, incarnation)], &[]);
        self.post(identity, letter);
    }

    /// Takes in what was said about probes. An accusation is a suspicion, too. Returns whether there was one.
    pub(crate) fn take_words(&mut self) -> bool {
        let mut accused = false;
        while let Some((sender, word)) = self.rumours.take_word() {
            match word {
                ProbeWord::Nack(said) => {
                    if let Some(sender) = sender {
                        self.probes.nack(sender, said.subject, said.probe);
                    }
                }
                ProbeWord::Accusation(said) => {
                    let held = if said.subject == self.me.id {
                        Some(*self.swim.identity())
                    } else {
                        self.table.swim(said.subject).map(|(identity, _)| identity)
                    };
                    let Some(identity) =
                        held.filter(|held| held.generation == said.generation && held.renewal == said.renewal)
                    else {
                        continue;
                    };
                    let suspect = foca::Member::new(identity, said.incarnation, State::Suspect);
                    let applied = self.swim.apply(vec![suspect], Spread::Yes);
                    self.count_error(applied);
                    self.accusations.push((identity, said.incarnation, said.accuser));
                    accused = true;
                }
            }
        }
        accused
    }

    /// Brings the suspicions up to what SWIM now suspects and to who accuses whom.
    pub(crate) fn follow_suspicions(&mut self, now: Time) {
        let patience = self.patience();
        for over in self.suspicions.follow(now, &self.suspects) {
            self.rumours.settle_accusation(&over.identity, over.incarnation);
            self.accounts.suspicion_ended(now, over, patience);
        }
        for (identity, _) in self.suspects.clone() {
            self.arm(now, identity.id);
        }
    }

    /// Takes in accusations, of others and our own.
    pub(crate) fn hear_accusations(&mut self, now: Time) {
        for (identity, incarnation, accuser) in std::mem::take(&mut self.accusations) {
            self.suspicions.accuse(now, &identity, incarnation, accuser);
            self.arm(now, identity.id);
        }
        for (identity, incarnation) in std::mem::take(&mut self.failed_probes) {
            let probe = self.ended_probe.as_ref().filter(|probe| probe.target == identity);
            if self.suspicions.accuse_by(now, &identity, incarnation, probe) {
                self.suspicions.accuse(now, &identity, incarnation, self.me.id);
                self.accuse(&identity, incarnation);
                self.timers.set(now + self.patience().shortest / 2, Due::AskByStream(identity.id));
            }
            self.arm(now, identity.id);
        }
    }

    /// Says, to the suspect first, that our own probe of it failed.
    fn accuse(&mut self, identity: &Identity, incarnation: u16) {
        let said = ProbeWord::Accusation(Accusation {
            subject: identity.id,
            generation: identity.generation,
            renewal: identity.renewal,
            incarnation,
            accuser: self.me.id,
        });
        if !self.lacks(Part::SuspectToldFirst) {
            let letter = self.swim.letter(self.incarnation, *identity, &[(*identity, incarnation)], &[said]);
            self.post(*identity, letter);
        }
        let spread = self.swim.spread(&said.encode());
        self.count_error(spread);
    }

    /// Sets the timer of a suspicion to where it now ends.
    fn arm(&mut self, now: Time, id: NodeId) {
        let deadline = self.suspicions.get(id).and_then(|suspicion| suspicion.deadline(&self.patience()));
        if let Some(at) = deadline.map(|at| at.max(now))
            && self.suspicions.arm(id, at)
        {
            self.timers.set(at, Due::Verdict(id));
        }
    }

    /// A suspicion has lasted its time, unless that changed meanwhile.
    pub(crate) fn judge_suspect(&mut self, now: Time, id: NodeId) {
        self.suspicions.disarm(id);
        let patience = self.patience();
        let Some(suspicion) = self.suspicions.get(id) else { return };
        if suspicion.deadline(&patience).is_none_or(|at| at > now) {
            return self.arm(now, id);
        }
        let cause = if suspicion.is_confirmed(&patience) {
            Cause::Confirmed
        } else if suspicion.told.is_some() {
            Cause::VerdictOfAnother
        } else {
            Cause::Unconfirmed
        };
        let (identity, incarnation, is_ours) = (suspicion.identity, suspicion.incarnation, suspicion.own.is_some());
        self.accounts.verdict(id, cause);
        let down = foca::Member::new(identity, incarnation, State::Down);
        let applied = self.swim.apply(vec![down], Spread::Yes);
        self.count_error(applied);
        if is_ours {
            let obituary = self.swim.obituary(self.incarnation, identity);
            self.post(identity, obituary);
        }
    }

    /// Takes note of a timer of foca's that is due.
    pub(crate) fn note_swim_timer(&mut self, now: Time, timer: &SwimTimer) {
        if let SwimTimer::ProbeRandomMember(token) = timer
            && let Some(probe) = self.probes.ended_by(*token)
        {
            self.probe_ended(now, probe);
        }
    }

    /// What a probe says of this agent, and what an accusation can rest on.
    fn probe_ended(&mut self, now: Time, probe: Probe) {
        let is_there = |(identity, state): (Identity, State)| identity == probe.target && state != State::Down;
        if probe.answered {
            self.health.better();
        } else if self.table.swim(probe.target.id).is_some_and(is_there) {
            // One helper that is there suffices: the others may have crashed together with the target.
            self.health.worse(if probe.nacks.is_empty() { probe.helpers.len().max(1) } else { 0 });
            if self.health.is_worst() && !self.reach_is_set {
                self.reach_is_set = true;
                self.timers.set(now, Due::Reach);
            }
        }
        self.ended_probe = Some(probe);
    }

    /// Nobody answers, so it is probably us who are cut off, and our probes have become rare. Whoever is reached first, however short
    /// the moment, tells us: by a refutation, or that we are held for failed.
    pub(crate) fn reach(&mut self, now: Time) {
        self.reach_is_set = self.health.is_worst();
        if self.reach_is_set {
            if let Some((suspect, _)) = self.suspects.choose(&mut self.rng) {
                self.tell_suspect(suspect.id);
            }
            // Often enough to hit a moment of health of a twentieth of a second.
            self.timers.set(now + self.timing.gossip_interval / 2, Due::Reach);
        }
    }

    /// Half of the shortest time is over, and the suspect has not refuted: it is asked on a road that loses nothing. Not sooner, because a handshake costs a
    /// host that gets hardly any CPU more than all of its probes.
    pub(crate) fn ask_by_stream(&mut self, id: NodeId) {
        if self.lacks(Part::Stream) {
            return;
        }
        if let Some(suspicion) = self.suspicions.ask_by_stream(id, self.me.id) {
            let (suspect, incarnation) = (suspicion.identity, suspicion.incarnation);
            let Identity { generation, renewal, .. } = suspect;
            self.send_message(suspect, GossipMessage::Ping(StreamPing { generation, renewal, incarnation }));
        }
    }

    /// Answers a probe over a stream, with a refutation if it is this life that is suspected.
    pub(crate) fn answer_stream_ping(&mut self, now: Time, from: Origin, ping: StreamPing) {
        let own = *self.swim.identity();
        if (ping.generation, ping.renewal) == (own.generation, own.renewal) {
            let suspect = foca::Member::new(own, ping.incarnation, State::Suspect);
            let applied = self.swim.apply(vec![suspect], Spread::Yes);
            self.count_error(applied);
            self.settle(now);
        }
        let Identity { generation, renewal, .. } = *self.swim.identity();
        let ack = StreamAck { generation, renewal, incarnation: self.incarnation };
        self.answer_message(from, GossipMessage::Ack(ack));
    }

    /// A probe over a stream was answered: that life of the member is alive, whether it is the one that was asked for or a later one.
    pub(crate) fn take_stream_ack(&mut self, now: Time, from: Origin, ack: StreamAck) {
        let asked = self.suspicions.get(from.id).filter(|suspicion| suspicion.by_stream);
        let Some(suspect) = asked.map(|suspicion| suspicion.identity) else {
            return self.count("message_unasked_ack");
        };
        let StreamAck { generation, renewal, incarnation } = ack;
        self.count("probe_answered_by_stream");
        let alive = foca::Member::new(Identity { generation, renewal, ..suspect }, incarnation, State::Alive);
        let applied = self.swim.apply(vec![alive], Spread::Yes);
        self.count_error(applied);
        self.settle(now);
    }

    /// A member that we were asked to probe did not answer: whoever asked shall know that at least we are there.
    pub(crate) fn nack(&mut self, relay: Relay) {
        let Some((origin, _)) = self.table.swim(relay.origin) else { return };
        if self.probes.owes_nack(&relay) && !self.lacks(Part::Nacks) {
            let said = ProbeWord::Nack(Nack { subject: relay.subject, probe: relay.number });
            let letter = self.swim.letter(self.incarnation, origin, &[], &[said]);
            self.post(origin, letter);
        }
    }

    /// Others held us for failed, so we were not well: what we found in that time counts for nothing.
    pub(crate) fn forget_findings(&mut self, now: Time) {
        self.probes.clear();
        self.ended_probe = None;
        self.failed_probes.clear();
        self.suspicions.restart(now);
    }
}

/// Whether a count of members follows the header.
const fn has_updates(header: &Header<Identity>) -> bool {
    !matches!(header.message, Message::Announce | Message::TurnUndead | Message::Broadcast)
}
