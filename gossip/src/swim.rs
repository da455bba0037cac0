//! SWIM, done by foca, behind verbs of our own: nobody outside this file and its codec would notice another core.

use crate::codec::Codec;
use crate::config::Timing;
use crate::identity::Identity;
use crate::rumours::Rumours;
use foca::{AccumulatingRuntime, Config, Error, Foca, Member, OwnedNotification, PeriodicParams, State};
use quorate_protocol::wire::gossip::MAX_SEALED;
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

    /// Follows the size of the cluster; returns how long a suspicion now lasts.
    pub(crate) fn resize(&mut self) -> Duration {
        let members = self.alive() + 1;
        if members != self.sized_for && self.foca.set_config(config(&self.timing, members)).is_ok() {
            self.sized_for = members;
        }
        self.timing.suspicion(members)
    }

    /// The next thing to do; ask until there is none after every other call.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        if let Some((to, packet)) = self.runtime.to_send() {
            return Some(Effect::Send(to, packet.to_vec()));
        }
        if let Some((after, timer)) = self.runtime.to_schedule() {
            return Some(Effect::After(after, timer));
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

    /// The suspects, by id.
    pub(crate) fn suspects(&self) -> Vec<Identity> {
        let mut suspects: Vec<Identity> =
            self.members().filter(|member| member.state() == State::Suspect).map(|member| *member.id()).collect();
        suspects.sort_unstable_by_key(|identity| identity.id);
        suspects
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
