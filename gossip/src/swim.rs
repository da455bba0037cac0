//! SWIM, done by foca, behind verbs of our own: nobody outside this file and its codec would notice another core.

use crate::codec::{Codec, CodecError};
use crate::config::Timing;
use crate::identity::Identity;
use crate::rumours::Rumours;
use bytes::BufMut;
use foca::{
    AccumulatingRuntime, Codec as _, Config, Error, Foca, Header, Member, Message, OwnedNotification, PeriodicParams,
    State,
};
use quorate_protocol::NodeId;
use quorate_protocol::wire::gossip::MAX_SEALED;
use quorate_protocol::wire::probe::ProbeWord;
use rand_chacha::ChaCha8Rng;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// foca's timers, which come back to [`Swim::handle_timer`].
pub(crate) type SwimTimer = foca::Timer<Identity>;

/// What SWIM wants done.
pub(crate) enum Effect {
    /// Send a packet.
    Send(Identity, Vec<u8>),
    /// Come back after a while.
    After(Duration, SwimTimer),
    /// Come back after a while, later if this agent is not well: the timer paces probes.
    AfterProbe(Duration, SwimTimer),
    /// Our own probe of this incarnation of a member failed. Whether that makes it fail is not SWIM's to say (`suspicion.rs`).
    ProbeFailed(Identity, u16),
    /// Liveness or identities changed: compare with [`Swim::members`].
    Changed,
    /// Nobody else is alive.
    Alone,
    /// Others declared us down, so we are back under a new identity.
    Renewed,
}

/// Liveness of members, by probes, indirect probes, suspicion and incarnations.
pub(crate) struct Swim {
    foca: Foca<Identity, Codec, ChaCha8Rng, Rumours>,
    runtime: AccumulatingRuntime<Identity>,
    timing: Timing,
    sized_for: usize,
}

impl Swim {
    pub(crate) fn new(identity: Identity, timing: Timing, rng: ChaCha8Rng, rumours: Rumours) -> Swim {
        let foca = Foca::with_custom_broadcast(identity, config(&timing, 1), rng, Codec, rumours);
        Swim { foca, runtime: AccumulatingRuntime::new(), timing, sized_for: 1 }
    }

    pub(crate) const fn identity(&self) -> &Identity {
        self.foca.identity()
    }

    /// Everybody known but ourselves, down ones too.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member<Identity>> {
        let own = self.foca.identity().id;
        self.foca.iter_membership_state().filter(move |member| member.id().id != own)
    }

    /// How many others are alive or suspect.
    pub(crate) const fn alive(&self) -> usize {
        self.foca.num_members()
    }

    /// Takes in a packet.
    ///
    /// # Errors
    /// The counter to increase. What the packet said before the error may have been taken in; its sender held a key.
    pub(crate) fn handle_packet(&mut self, packet: &[u8]) -> Result<(), &'static str> {
        counted(self.foca.handle_data(packet, &mut self.runtime))
    }

    /// Does what is due. Of timers due together, the lowest in their order must come first.
    pub(crate) fn handle_timer(&mut self, timer: SwimTimer) -> Result<(), &'static str> {
        counted(self.foca.handle_timer(timer, &mut self.runtime))
    }

    /// Takes in what was learnt by other ways than packets; `spread` passes on what was news.
    pub(crate) fn apply(&mut self, updates: Vec<Member<Identity>>, spread: Spread) -> Result<(), &'static str> {
        counted(self.foca.apply_many(updates.into_iter(), spread == Spread::Yes, &mut self.runtime))
    }

    /// Calls a member that is believed down: if it lives it learns of that and comes back.
    pub(crate) fn call(&mut self, member: Identity) -> Result<(), &'static str> {
        counted(self.foca.announce(member, &mut self.runtime))
    }

    /// Sends news to a few members now rather than at the next interval.
    pub(crate) fn gossip(&mut self) -> Result<(), &'static str> {
        counted(self.foca.gossip(&mut self.runtime))
    }

    /// Passes on a rumour, if it is news.
    pub(crate) fn spread(&mut self, rumour: &[u8]) -> Result<(), &'static str> {
        counted(self.foca.add_broadcast(rumour).map(|_| ()))
    }

    /// Goes on under another identity of the same id; the former one is declared down.
    pub(crate) fn change_identity(&mut self, identity: Identity) -> Result<(), &'static str> {
        counted(self.foca.change_identity(identity, &mut self.runtime))
    }

    /// Forgets a member that is down.
    pub(crate) fn forget(&mut self, identity: Identity) -> Result<(), &'static str> {
        self.handle_timer(foca::Timer::RemoveDown(identity))
    }

    /// Earlier identities of ours that others told us of. They are nobody, and are to be forgotten.
    pub(crate) fn former_selves(&self) -> Vec<Identity> {
        let own = self.foca.identity().id;
        self.foca.iter_membership_state().map(|member| *member.id()).filter(|identity| identity.id == own).collect()
    }

    /// Follows the size of the cluster.
    pub(crate) fn resize(&mut self) {
        let members = self.alive() + 1;
        if members != self.sized_for && self.foca.set_config(config(&self.timing, members)).is_ok() {
            self.sized_for = members;
        }
    }

    /// The next thing to do; ask until there is none after every other call.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        if let Some((to, packet)) = self.runtime.to_send() {
            return Some(Effect::Send(to, packet.to_vec()));
        }
        if let Some((after, timer)) = self.runtime.to_schedule() {
            return Some(match timer {
                // foca's own verdict: it comes after a fixed time, whoever else found what.
                foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                    Effect::ProbeFailed(member_id, incarnation)
                }
                foca::Timer::ProbeRandomMember(_) | foca::Timer::SendIndirectProbe { .. } => {
                    Effect::AfterProbe(after, timer)
                }
                other => Effect::After(after, other),
            });
        }
        self.runtime.to_notify().map(|notification| match notification {
            OwnedNotification::MemberUp(_)
            | OwnedNotification::MemberDown(_)
            | OwnedNotification::Rename(..)
            | OwnedNotification::Active => Effect::Changed,
            OwnedNotification::Idle => Effect::Alone,
            // Defunct: only once no renewal is left, after four billion of them.
            OwnedNotification::Rejoin(_) | OwnedNotification::Defunct => Effect::Renewed,
        })
    }

    /// The suspects and which incarnation of them is, by id.
    pub(crate) fn suspects(&self) -> Vec<(Identity, u16)> {
        let is_suspect = |member: &&Member<Identity>| member.state() == State::Suspect;
        let mut suspects: Vec<(Identity, u16)> =
            self.members().filter(is_suspect).map(|member| (*member.id(), member.incarnation())).collect();
        suspects.sort_unstable_by_key(|(identity, _)| identity.id);
        suspects
    }

    /// What SWIM holds of a member.
    pub(crate) fn member(&self, id: NodeId) -> Option<&Member<Identity>> {
        self.members().find(|member| member.id().id == id)
    }

    /// A packet to one member with just these suspicions and words; it may be the suspect itself.
    pub(crate) fn letter(
        &self,
        incarnation: u16,
        to: Identity,
        suspects: &[(Identity, u16)],
        words: &[ProbeWord],
    ) -> Result<Vec<u8>, CodecError> {
        let mut packet = self.opening(incarnation, to, Message::Gossip)?;
        packet.put_u16(u16::try_from(suspects.len()).unwrap_or(u16::MAX));
        for (identity, incarnation) in suspects.iter().take(usize::from(u16::MAX)) {
            Codec.encode_member(&Member::new(*identity, *incarnation, State::Suspect), &mut packet)?;
        }
        for word in words {
            let bytes = word.encode();
            packet.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
            packet.put_slice(&bytes);
        }
        Ok(packet)
    }

    /// A packet that tells a member that it is held for failed; if it lives, it comes back under a new identity.
    pub(crate) fn obituary(&self, incarnation: u16, to: Identity) -> Result<Vec<u8>, CodecError> {
        self.opening(incarnation, to, Message::TurnUndead)
    }

    fn opening(&self, incarnation: u16, to: Identity, message: Message<Identity>) -> Result<Vec<u8>, CodecError> {
        let header = Header { src: *self.foca.identity(), src_incarnation: incarnation, dst: to, message };
        let mut packet = Vec::with_capacity(256);
        Codec.encode_header(&header, &mut packet)?;
        Ok(packet)
    }
}

/// Whether news learnt is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// It may be news to others.
    Yes,
    /// Others know it, or learn it otherwise.
    No,
}

fn config(timing: &Timing, members: usize) -> Config {
    let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
    Config {
        probe_period: timing.probe_period,
        probe_rtt: timing.probe_timeout,
        num_indirect_probes: at_least_one(timing.indirect_probes),
        max_transmissions: NonZeroU8::new(timing.repetitions(members)).unwrap_or(NonZeroU8::MIN),
        // Its own verdict is not asked for: see `Effect::ProbeFailed`.
        suspect_to_down_after: timing.suspicion(members),
        // The member table reaps, so that a member is not half forgotten.
        remove_down_after: None,
        max_packet_size: at_least_one(MAX_SEALED - 1),
        // A living member that is believed down must hear of it: it is how it comes back.
        notify_down_members: true,
        // Both replaced by push/pull and `Swim::call`, which know failed members from left ones.
        periodic_announce: None,
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams {
            frequency: timing.gossip_interval,
            num_members: at_least_one(timing.gossip_fanout),
        }),
    }
}

fn counted(result: Result<(), Error>) -> Result<(), &'static str> {
    result.map_err(|error| match error {
        Error::DataFromOurselves => "packet_from_self",
        Error::Decode(_) | Error::MalformedPacket | Error::DataTooBig | Error::IndirectForOurselves => {
            "packet_malformed"
        }
        Error::CustomBroadcast(_) => "rumour_malformed",
        Error::IncompleteProbeCycle => "probe_interrupted",
        _ => "swim_refused",
    })
}
