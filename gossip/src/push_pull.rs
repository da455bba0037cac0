//! The full state, there and back: anti-entropy over streams. A digest goes first where both probably know the same, and only what differs follows.
//!
//! It repairs whatever repetition in datagrams missed, brings a newcomer everything at once, and lets healed halves of a partition
//! find out what each believes of the other.

use crate::detector::Told;
use crate::digest::hash;
use crate::identity::Identity;
use crate::machine::Gossip;
use crate::swim::Spread;
use foca::{Member, State};
use quorate_protocol::Time;
use quorate_protocol::wire::digest::{Digest, PARTS, Parts};
use quorate_protocol::wire::gossip::{GossipMessage, Liveness, MAX_PUSH_PULL, MemberState, PushPull, Rumour};
use quorate_protocol::wire::stream::Origin;
use std::time::Duration;

/// Records that came with a state are passed on in datagrams while they are few; many are no news, or reach others by their own exchanges.
const MAX_SPREAD: usize = 8;
/// The most members called in one go because the other side holds them alive and we hold them down.
const MAX_CALLS: usize = 32;

impl Gossip {
    /// All we know of these parts, ourselves first.
    pub(crate) fn state(&self, now: Time, exchange: u64, parts: Parts) -> PushPull {
        let mut members = vec![self.own_state()];
        let others = self.swim.members().filter(|member| parts.contain(member.id().id));
        members.extend(others.take(MAX_PUSH_PULL - 1).map(|member| self.member_state(now, member)));
        let events = self.news.events.summary(None);
        PushPull {
            exchange,
            label: self.seal.label().to_owned(),
            members,
            parts,
            events,
            keys: self.keyring().digest(),
            coordinates: self.told_coordinates(parts),
        }
    }

    /// All we know, in short.
    fn digest(&self, now: Time) -> Digest {
        let label = self.seal.label().to_owned();
        let mut digest =
            Digest { label, members: [0; PARTS], events: self.news.events.digest(), keys: self.keyring().digest() };
        let own = std::iter::once(self.own_state());
        for member in own.chain(self.swim.members().map(|member| self.member_state(now, member))) {
            digest.add(member.id, hash(&member));
        }
        digest
    }

    /// Tells a random living member in short what we know; it asks if it knows anything else.
    pub(crate) fn offer_digest(&mut self, now: Time) {
        if let Some(living) = self.random_living() {
            let digest = self.digest(now);
            self.send_message(living, GossipMessage::Digest(digest));
        }
    }

    /// Asks about what another knows differently, and tells it what we know of that.
    pub(crate) fn compare(&mut self, now: Time, from: Origin, others: &Digest) {
        if let Some(reason) = self.foreign(from, &others.label) {
            return self.count(reason);
        }
        let ours = self.digest(now);
        let parts = ours.differing(others);
        self.compare_keys(from, others.keys);
        if !parts.is_empty() || ours.events != others.events || ours.keys != others.keys {
            self.exchange += 1;
            let state = self.state(now, self.exchange, parts);
            self.answer_message(from, GossipMessage::PushPull(state));
        }
    }

    /// Why what another says is not for us, if it is not.
    fn foreign(&self, from: Origin, label: &str) -> Option<&'static str> {
        if from.id == self.me.id {
            Some("message_from_self")
        } else if label != self.seal.label() {
            Some("message_wrong_label")
        } else {
            None
        }
    }

    fn member_state(&self, now: Time, member: &Member<Identity>) -> MemberState {
        let identity = member.id();
        let (record, left) = self.table.statement(identity.id);
        let down_for = match member.state() {
            State::Down => self.table.down_for(now, identity.id).as_secs(),
            State::Alive | State::Suspect => 0,
        };
        MemberState {
            id: identity.id,
            address: identity.address,
            generation: identity.generation,
            renewal: identity.renewal,
            incarnation: member.incarnation(),
            liveness: liveness(member.state()),
            down_for_s: u32::try_from(down_for).unwrap_or(u32::MAX),
            record,
            left,
            pruned: self.table.is_pruned(identity.id),
        }
    }

    fn own_state(&self) -> MemberState {
        let identity = self.swim.identity();
        let (record, left) = self.own_statement();
        MemberState {
            id: identity.id,
            address: identity.address,
            generation: identity.generation,
            renewal: identity.renewal,
            incarnation: self.incarnation,
            liveness: Liveness::Alive,
            down_for_s: 0,
            record: Some(record),
            left,
            pruned: false,
        }
    }

    /// Takes in what another knows. Returns false, having changed nothing, if it is not from our cluster or too much.
    pub(crate) fn merge(&mut self, now: Time, from: Origin, state: PushPull, spread: Spread) -> bool {
        let too_long = (state.members.len() > MAX_PUSH_PULL).then_some("message_too_long");
        if let Some(reason) = self.foreign(from, &state.label).or(too_long) {
            self.count(reason);
            return false;
        }

        self.learn_statements(now, from, &state.members);
        let mut news = News::default();
        for member in &state.members {
            self.judge(now, member, &mut news);
        }
        let told = news.told.into_iter().map(|(identity, incarnation)| Told { identity, incarnation, by: from.id });
        let applied = self.swim.apply(news.updates, spread);
        self.count_error(applied);
        for member in news.calls.into_iter().take(MAX_CALLS) {
            let called = self.swim.call(member);
            self.count_error(called);
        }
        self.settle(now);
        self.take_told(now, told.collect());
        self.merge_coordinates(from.id, state.coordinates);
        for (identity, down_for) in news.met_down {
            self.table.set_down_for(now, identity.id, down_for);
        }
        true
    }

    /// Names, tags and leaves come before liveness, so that nobody is shown as failed who left.
    fn learn_statements(&mut self, now: Time, from: Origin, members: &[MemberState]) {
        let mut news = Vec::new();
        for member in members {
            let record = member.record.as_ref().filter(|record| Some(record.stamp) > self.rumours.stamp(member.id));
            match record.map(|record| record.check()) {
                Some(Err(_)) => self.count("message_bad_record"),
                Some(Ok(())) => news.extend(record.map(|r| Rumour::Record { id: member.id, record: r.clone() })),
                None => {}
            }
            if let Some(stamp) = member.left.filter(|stamp| Some(*stamp) > self.rumours.stamp(member.id)) {
                news.push(Rumour::Leave { id: member.id, stamp, prune: member.pruned });
            }
        }
        let few = news.len() <= MAX_SPREAD;
        for rumour in news {
            if few || rumour.id() == from.id {
                let spread = self.swim.spread(&rumour.encode());
                self.count_error(spread);
            } else {
                self.rumours.admit(rumour);
            }
        }
        self.settle(now);
    }

    /// What to make of the other's view of one member.
    ///
    /// That somebody is down is only taken at their word for those who left or whom we never knew: otherwise it is a suspicion, which
    /// the member can refute.
    fn judge(&mut self, now: Time, member: &MemberState, news: &mut News) {
        let identity =
            Identity { id: member.id, address: member.address, generation: member.generation, renewal: member.renewal };
        if identity.id == self.me.id {
            return self.judge_self(now, identity, member, news);
        }
        let update = |state| Member::new(identity, member.incarnation, state);
        let held = self.table.swim(identity.id);
        let down_for = Duration::from_secs(member.down_for_s.into());
        match (member.liveness, held) {
            // Whom we have forgotten stays forgotten: everybody else forgets it at the same time.
            (Liveness::Down, None) if down_for >= self.timing.reap_after => {}
            (Liveness::Down, None) => {
                news.updates.push(update(State::Down));
                news.met_down.push((identity, down_for));
            }
            _ if self.table.has_left(&identity) => news.updates.push(update(State::Down)),
            // Down is final for an identity: it must learn of it to come back under another.
            (Liveness::Alive | Liveness::Suspect, Some((held, State::Down))) if held == identity => {
                news.calls.push(identity);
            }
            (Liveness::Alive, _) => news.updates.push(update(State::Alive)),
            (Liveness::Suspect, _) => news.updates.push(update(State::Suspect)),
            (Liveness::Down, Some((held, _))) if identity.order() < held.order() => {}
            (Liveness::Down, Some((_, State::Down))) => news.updates.push(update(State::Down)),
            (Liveness::Down, Some((_, State::Alive | State::Suspect))) => {
                let state = self.doubt(&identity, member.incarnation).unwrap_or(State::Down);
                news.updates.push(update(state));
                if state == State::Suspect {
                    news.told.push((identity, member.incarnation));
                }
            }
        }
    }

    fn judge_self(&mut self, now: Time, told: Identity, member: &MemberState, news: &mut News) {
        let own = *self.swim.identity();
        if member.left.is_some_and(|left| left >= self.own_stamp()) {
            self.take_back_leave(now);
        }
        if told == own {
            // Suspected, SWIM refutes; down, it comes back under a new identity.
            let state = match member.liveness {
                Liveness::Alive => return,
                Liveness::Suspect => State::Suspect,
                Liveness::Down => State::Down,
            };
            news.updates.push(Member::new(own, member.incarnation, state));
        } else if told.order() > own.order() {
            self.outbid(now, told.generation.max(own.generation));
        }
    }
}

/// What a state brings.
#[derive(Default)]
struct News {
    updates: Vec<Member<Identity>>,
    /// Alive to the other and down to us.
    calls: Vec<Identity>,
    /// Down to the other, and suspects to us because of that.
    told: Vec<(Identity, u16)>,
    /// Down before we knew them, and for how long.
    met_down: Vec<(Identity, Duration)>,
}

const fn liveness(state: State) -> Liveness {
    match state {
        State::Alive => Liveness::Alive,
        State::Suspect => Liveness::Suspect,
        State::Down => Liveness::Down,
    }
}
