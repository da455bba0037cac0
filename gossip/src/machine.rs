//! The machine: its verbs, and what follows from each input.

use crate::codec::{Codec, CodecError};
use crate::config::{Config, Timing};
use crate::coordinates::Coordinates;
use crate::event::{MemberEvent, MemberEventKind};
use crate::evidence::Accounts;
use crate::health::LocalHealth;
use crate::identity::Identity;
use crate::news::Announcements;
use crate::planted::Part;
use crate::probe::{Probe, Probes, Relay};
use crate::rumours::Rumours;
use crate::seal::Seal;
use crate::seeds::Seeds;
use crate::suspicion::Suspicions;
use crate::swim::{Effect, Spread, Swim, SwimTimer};
use crate::table::Table;
use crate::timers::Timers;
use foca::{Codec as _, State};
use quorate_protocol::wire::digest::Parts;
use quorate_protocol::wire::gossip::{
    GossipMessage, MAX_DATAGRAM, MemberRecord, PushPull, Rumour, Stamp, check_tags, kind,
};
use quorate_protocol::wire::stream::{Destination, Origin};
use quorate_protocol::{Member, MemberStatus, NodeId, Query, QueryReply, Time, UserEvent};
use rand::RngExt;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// How often the table is looked through for members to forget.
const REAP_INTERVAL: Duration = Duration::from_secs(60);
/// For how long after its start an agent asks a seed that is no member at each reconnect interval; later with each full exchange.
const SEEKING: Duration = Duration::from_secs(60);
/// How many failed members, and how many suspects, are called at each reconnect interval.
const CALLS: usize = 2;
/// The shortest time between two changes of our own generation: two agents with a copied id quarrel slowly.
const OUTBID_INTERVAL: Duration = Duration::from_secs(1);

/// What leaves the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram; it is sealed.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// At most 1232 bytes.
        bytes: Vec<u8>,
    },
    /// Send a message over a reliable stream. If that fails, nothing needs to be done.
    Message {
        /// Where to.
        to: Destination,
        /// What.
        message: GossipMessage,
    },
    /// The view changed.
    Event(MemberEvent),
    /// Somebody, perhaps this agent, sent out an event. It comes once, and in no order.
    UserEvent(UserEvent),
    /// Somebody, perhaps this agent, asks everybody. It comes once; [`Gossip::answer`] answers it, if it is for this agent.
    Query(Query),
    /// Somebody answers a query of this agent, or says that it arrived; at most once each.
    QueryReply(QueryReply),
    /// The keys are others now: they are to be kept, and connections made under them.
    KeysChanged,
    /// A seed answered.
    Joined {
        /// The address as it was given to [`Gossip::join`].
        address: SocketAddr,
        /// How many members are alive now, this one among them.
        members: usize,
    },
}

/// Gossip membership of one agent, as a sans-io machine; see the [crate] for the picture.
///
/// * What does not open under a key of the ring changes nothing but a counter and is not answered.
/// * Every change of what [`Gossip::members`] shows is one [`Output::Event`]; a member is shown once its name is known.
/// * A living agent never stays down in anybody's view that it can reach: it refutes, or comes back under a new identity.
pub struct Gossip {
    pub(crate) me: Member,
    pub(crate) record_version: u32,
    pub(crate) incarnation: u16,
    left: Option<Stamp>,
    phase: Phase,

    pub(crate) swim: Swim,
    pub(crate) rumours: Rumours,
    pub(crate) table: Table,
    pub(crate) seal: Seal,
    pub(crate) seeds: Seeds,
    pub(crate) news: Announcements,
    pub(crate) coordinates: Coordinates,
    pub(crate) timers: Timers<Due>,
    pub(crate) timing: Timing,
    pub(crate) rng: ChaCha8Rng,

    pub(crate) probes: Probes,
    /// The last probe of ours that ended.
    pub(crate) ended_probe: Option<Probe>,
    pub(crate) suspicions: Suspicions,
    pub(crate) health: LocalHealth,
    pub(crate) accounts: Accounts,
    /// It has just woken and judges nothing yet.
    pub(crate) listens_first: bool,
    /// Who was accused in which incarnation and by whom, not yet taken in; then those whom our own probes accuse.
    pub(crate) accusations: Vec<(Identity, u16, NodeId)>,
    pub(crate) failed_probes: Vec<(Identity, u16)>,

    pub(crate) exchange: u64,
    pub(crate) suspects: Vec<(Identity, u16)>,
    fetch_is_set: bool,
    pub(crate) reach_is_set: bool,
    sync_is_set: bool,
    pass_on_is_set: bool,
    /// When news last went out the moment it came.
    passed_on_at: Time,
    outbid_at: Option<Time>,
    seeks_until: Time,
    pub(crate) outputs: VecDeque<Output>,
    counters: BTreeMap<&'static str, u64>,
    #[cfg(feature = "planted-bugs")]
    pub(crate) without: Vec<crate::planted::Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Leaving { rounds: u32 },
    Left,
}

/// What can be due.
pub(crate) enum Due {
    /// foca's own.
    Swim(SwimTimer),
    /// What is known is compared with a random living member's, and with a failed one's.
    PushPull,
    /// What is known is compared with a random living member's once more, because something big changed.
    Sync,
    /// Failed members are called.
    Reconnect,
    /// Seeds that have not answered are asked.
    Join,
    /// Records that are missing are asked for.
    Fetch,
    /// A suspicion has lasted its time.
    Verdict(NodeId),
    /// A suspect that we accuse has not refuted.
    AskByStream(NodeId),
    /// Nobody answers us: somebody is to be reached.
    Reach,
    /// A member that we were asked to probe has not answered.
    Nack(Relay),
    /// User events and queries are passed on.
    News,
    /// What was just heard is passed on, ahead of the next interval.
    PassOn,
    /// Events that were told of and have not come are asked for again.
    LargeEvents,
    /// The leave is told to a few more.
    LeaveRound,
    /// Failed and left members are forgotten.
    Reap,
}

impl Gossip {
    /// A member that knows only itself. Name and tags beyond the limits of [`Config::check`] are cut to what others can learn.
    pub fn new(config: Config, now: Time) -> Gossip {
        #[cfg(feature = "planted-bugs")]
        let without = config.without.clone();
        let Config { id, name, address, generation, tags, keyring, label, timing, seed, .. } = config;
        let identity = Identity { id, address, generation, renewal: 0 };
        let rumours = Rumours::default();
        let swim = Swim::new(identity, timing.clone(), rng(seed, &identity, b"swim"), rumours.clone());
        let me = Member { id, name, address, tags, status: MemberStatus::Alive, generation };
        let mut rng = rng(seed, &identity, b"machine");
        let mut gossip = Gossip {
            record_version: 0,
            incarnation: 0,
            left: None,
            phase: Phase::Running,
            swim,
            rumours,
            table: Table::new(timing.reap_after),
            seal: Seal::new(keyring, label, &identity, seed),
            news: Announcements::new(),
            coordinates: Coordinates::new(),
            seeds: Seeds::new(timing.join_retry, timing.join_retry_max),
            timers: Timers::default(),
            // Not from one: an answer to a question of an earlier life must not pass for one of this.
            exchange: rng.random::<u64>() >> 1,
            probes: Probes::default(),
            ended_probe: None,
            suspicions: Suspicions::default(),
            health: LocalHealth::default(),
            accounts: Accounts::default(),
            listens_first: false,
            accusations: Vec::new(),
            failed_probes: Vec::new(),
            suspects: Vec::new(),
            fetch_is_set: false,
            reach_is_set: false,
            sync_is_set: false,
            pass_on_is_set: false,
            passed_on_at: now,
            outbid_at: None,
            seeks_until: now + SEEKING,
            outputs: VecDeque::new(),
            counters: BTreeMap::new(),
            #[cfg(feature = "planted-bugs")]
            without,
            me,
            rng,
            timing,
        };
        gossip.cut_to_limits();
        gossip.witness_keys();
        gossip.note(MemberEventKind::Join);
        gossip.spread_own_record();
        // Members that start together must not exchange state together for ever.
        let first = gossip.timing.push_pull_interval.mul_f64(gossip.rng.random::<f64>());
        gossip.timers.set(now + first, Due::PushPull);
        gossip.timers.set(now + gossip.timing.reconnect_interval, Due::Reconnect);
        gossip.timers.set(now + REAP_INTERVAL, Due::Reap);
        gossip.settle(now);
        gossip
    }

    /// Takes in a datagram as it came from the socket. `_from` is not trusted for anything: members say inside the seal where they are.
    pub fn handle_datagram(&mut self, now: Time, _from: SocketAddr, bytes: &[u8]) {
        if self.phase != Phase::Running {
            return;
        }
        match self.seal.open(now, bytes) {
            Ok((kind::NEWS, packet)) => self.handle_news(now, &packet),
            Ok((kind::REPLY, packet)) => self.handle_reply(now, &packet),
            Ok((kind, mut packet)) => {
                if kind == kind::SWIM_WITH_COORDINATE {
                    self.take_coordinate(now, &mut packet);
                }
                let told = self.weigh(now, &mut packet);
                let taken = self.swim.handle_packet(&packet);
                self.count_error(taken);
                self.settle(now);
                self.take_told(now, told);
                self.meet_acquaintance(now, &packet);
            }
            Err(reason) => self.count(reason),
        }
    }

    /// Who probes this agent's former life knows the cluster that this one, restarted, may know nobody of. Asked for it, they also learn
    /// that this agent is back before they would have failed it.
    fn meet_acquaintance(&mut self, now: Time, packet: &[u8]) {
        if self.swim.alive() > 0 {
            return;
        }
        let Ok(foca::Header { src, dst, .. }) = Codec.decode_header(packet) else { return };
        if dst.id == self.me.id && dst.generation < self.me.generation && src.id != self.me.id {
            self.join(now, vec![src.address]);
        }
    }

    /// Takes in a message from a stream whose other end is proven to be `from`.
    pub fn handle_message(&mut self, now: Time, from: Origin, message: GossipMessage) {
        if self.phase != Phase::Running {
            return;
        }
        if let GossipMessage::PushPull(state) | GossipMessage::PushPullReply(state) = &message
            && from.id == self.me.id
        {
            self.seeds.is_self(state.exchange);
        }
        match message {
            GossipMessage::PushPull(mut state) => {
                let (exchange, parts, keys) = (state.exchange, state.parts, state.keys);
                let events = std::mem::take(&mut state.events);
                if self.merge(now, from, state, Spread::Yes) {
                    self.compare_keys(from, keys);
                    let events = self.exchange_events(now, events);
                    let answer = GossipMessage::PushPullReply(PushPull { events, ..self.state(now, exchange, parts) });
                    self.answer_message(from, answer);
                }
            }
            GossipMessage::Events { label, events } if label == self.seal.label() => self.take_events(now, events),
            GossipMessage::Keys { label, state } if label == self.seal.label() => self.merge_keys(now, state),
            GossipMessage::WantEvent { label, id, ltime } if label == self.seal.label() => {
                self.give_event(from, ltime, id)
            }
            GossipMessage::Events { .. } | GossipMessage::WantEvent { .. } | GossipMessage::Keys { .. } => {
                self.count("message_wrong_label")
            }
            GossipMessage::PushPullReply(mut state) => {
                let (exchange, keys) = (state.exchange, state.keys);
                let events = std::mem::take(&mut state.events);
                // What a newcomer is told is news to nobody else.
                let spread = if self.swim.alive() == 0 { Spread::No } else { Spread::Yes };
                if self.merge(now, from, state, spread) {
                    self.compare_keys(from, keys);
                    self.merge_events(now, from, events);
                    if let Some(address) = self.seeds.answered(exchange) {
                        let members = 1 + self.table.living().count();
                        self.outputs.push_back(Output::Joined { address, members });
                    }
                }
            }
            GossipMessage::Ping(ping) => self.answer_stream_ping(now, from, ping),
            GossipMessage::Ack(ack) => self.take_stream_ack(now, from, ack),
            GossipMessage::Digest(digest) => self.compare(now, from, &digest),
        }
    }

    /// Does what is due. After a pause of its own, the shell hands in the datagrams that waited first.
    pub fn handle_timeout(&mut self, now: Time) {
        self.note_pause(now);
        loop {
            let due = self.timers.take_due(now);
            if due.is_empty() || self.phase == Phase::Left {
                return;
            }
            let (mut swim, mut ours) = (Vec::new(), Vec::new());
            for timer in due {
                match timer {
                    Due::Swim(timer) => swim.push(timer),
                    other => ours.push(other),
                }
            }
            // foca wants those due together in its own order; the sort is stable.
            swim.sort();
            for timer in swim {
                self.note_swim_timer(now, &timer);
                let done = self.swim.handle_timer(timer);
                self.count_error(done);
                self.settle(now);
            }
            for timer in ours {
                self.handle_due(now, timer);
            }
        }
    }

    /// When [`Gossip::handle_timeout`] has something to do; never, once it has left.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The next thing to do, oldest first. Ask until there is none after every other call.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Asks for the cluster at these addresses, at once and then ever more rarely until one of them answers. They are remembered and
    /// asked again whenever nobody else is alive. At most 256 are; our own address is left out, or answers at once if it is the only one.
    pub fn join(&mut self, now: Time, addresses: Vec<SocketAddr>) {
        if self.phase != Phase::Running {
            return;
        }
        let own = self.me.address;
        if !addresses.is_empty() && addresses.iter().all(|address| *address == own) {
            let members = 1 + self.table.living().count();
            return self.outputs.push_back(Output::Joined { address: own, members });
        }
        if !addresses.is_empty() && self.swim.alive() == 0 {
            self.news.events.expect_old_ones();
        }
        self.seeds.add(addresses.iter().copied().filter(|address| *address != own));
        for address in addresses.into_iter().filter(|address| *address != own) {
            self.ask_seed(now, address);
        }
        self.timers.set(now + self.timing.join_retry, Due::Join);
    }

    /// Says goodbye, and keeps saying it for some rounds; then [`Gossip::has_left`]. From here on it hears nothing.
    pub fn leave(&mut self, now: Time) {
        if self.phase != Phase::Running {
            return;
        }
        let stamp = Stamp { generation: self.me.generation, version: self.record_version.saturating_add(1) };
        self.left = Some(stamp);
        self.me.status = MemberStatus::Leaving;
        self.timers.clear();
        self.phase = Phase::Leaving { rounds: self.timing.leave_rounds };
        let spread = self.swim.spread(&Rumour::Leave { id: self.me.id, stamp, prune: false }.encode());
        self.count_error(spread);
        // One member hears it on a road that loses nothing.
        if let Some(other) = self.random_living() {
            let goodbye = self.state(now, 0, Parts::of([]));
            self.send_message(other, GossipMessage::PushPullReply(goodbye));
            self.leave_round(now);
        } else {
            self.finish_leaving();
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether it left and said so often enough: the process may end.
    pub fn has_left(&self) -> bool {
        self.phase == Phase::Left
    }

    /// Replaces what this member says of itself. Returns false, and changes nothing, when the tags exceed 512 encoded bytes
    /// (see [`Config::check`]).
    pub fn set_tags(&mut self, now: Time, tags: BTreeMap<String, String>) -> bool {
        if self.phase != Phase::Running || check_tags(&tags).is_err() {
            self.count("tags_refused");
            return false;
        }
        if tags != self.me.tags {
            self.me.tags = tags;
            self.next_record(now);
            self.note(MemberEventKind::Update);
            self.settle(now);
        }
        true
    }

    /// Declares a failed member gone for good, and has everybody forget it at once if `prune` is set. Returns whether a failed (or left)
    /// member has this name. If it lives after all, it takes this back.
    pub fn force_leave(&mut self, now: Time, name: &str, prune: bool) -> bool {
        let gone = |member: &&Member| matches!(member.status, MemberStatus::Failed | MemberStatus::Left);
        let Some(member) = self.members().filter(gone).find(|member| member.name == name) else { return false };
        if prune || member.status == MemberStatus::Failed {
            let (id, generation) = (member.id, member.generation);
            let known = self.rumours.stamp(id).unwrap_or(Stamp { generation, version: 0 });
            let stamp =
                Stamp { generation: known.generation.max(generation), version: known.version.saturating_add(1) };
            let spread = self.swim.spread(&Rumour::Leave { id, stamp, prune }.encode());
            self.count_error(spread);
            self.gossip_now();
            self.settle(now);
        }
        true
    }

    /// This member.
    pub fn me(&self) -> &Member {
        &self.me
    }

    /// All members, this one, failed and left ones among them, ordered by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let (before, after) = self.table.around(self.me.id);
        before.chain(std::iter::once(&self.me)).chain(after)
    }

    /// The member with this id.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        if id == self.me.id { Some(&self.me) } else { self.table.get(id) }
    }

    /// What was refused and why, since the start: `datagram_*` and `message_*` came from outside and changed nothing; `packet_*` and
    /// `rumour_*` held a key but made no sense.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    fn handle_due(&mut self, now: Time, due: Due) {
        match due {
            Due::Swim(timer) => {
                let done = self.swim.handle_timer(timer);
                self.count_error(done);
            }
            Due::PushPull => self.push_pull(now),
            Due::Sync => {
                self.sync_is_set = false;
                self.offer_digest(now);
            }
            Due::Reconnect => self.reconnect(now),
            Due::Join => self.join_round(now),
            Due::Fetch => self.fetch(now),
            Due::Verdict(id) => self.judge_suspect(now, id),
            Due::AskByStream(id) => self.ask_by_stream(id),
            Due::Nack(relay) => self.nack(relay),
            Due::Reach => self.reach(now),
            Due::News => return self.news_round(now),
            Due::PassOn => self.pass_on(now),
            Due::LargeEvents => self.ask_for_late_events(now),
            Due::LeaveRound => return self.leave_round(now),
            Due::Reap => self.reap(now),
        }
        self.settle(now);
    }

    /// Anti-entropy with one random living member, with a failed one in case only we think so, and with a seed that is not there.
    fn push_pull(&mut self, now: Time) {
        self.offer_digest(now);
        if let Some(failed) = self.table.failed().choose(&mut self.rng) {
            self.ask(now, failed, Parts::ALL);
        }
        self.ask_absent_seed(now);
        self.timers.set(now + self.timing.push_pull(self.swim.alive() + 1), Due::PushPull);
    }

    /// A seed that is no member may be in an island of its own, whose members found each other and nobody else.
    fn ask_absent_seed(&mut self, now: Time) {
        let members: BTreeSet<SocketAddr> = self.table.living().map(|identity| identity.address).collect();
        if let Some(seed) = self.seeds.known().filter(|seed| !members.contains(seed)).choose(&mut self.rng) {
            self.ask_seed(now, seed);
        }
    }

    fn reconnect(&mut self, now: Time) {
        for failed in self.table.failed().sample(&mut self.rng, CALLS) {
            let called = self.swim.call(failed);
            self.count_error(called);
        }
        // A suspicion from a time when this agent was cut off: the suspect never heard of it, and foca's timer for it ended with the old
        // identity. Told directly, it refutes.
        for suspect in self.suspects.iter().map(|(identity, _)| *identity).take(CALLS).collect::<Vec<_>>() {
            self.ask(now, suspect, Parts::of([suspect.id]));
        }
        // Where all start at once, islands are many and short-lived.
        if now < self.seeks_until {
            self.ask_absent_seed(now);
        }
        self.timers.set(now + self.timing.reconnect_interval, Due::Reconnect);
    }

    fn join_round(&mut self, now: Time) {
        if let Some((seeds, next)) = self.seeds.round(now) {
            for seed in seeds {
                self.ask_seed(now, seed);
            }
            // Agents that lost the cluster together must not ask for it together.
            let jitter = next.since(now).mul_f64(self.rng.random::<f64>() / 4.0);
            self.timers.set(next + jitter, Due::Join);
        }
    }

    /// Asks for records of members that are only known to live: one of these itself, and somebody else, who probably knows all of them.
    fn fetch(&mut self, now: Time) {
        self.fetch_is_set = false;
        let Some(nameless) = self.table.nameless().choose(&mut self.rng) else { return };
        self.ask(now, nameless, Parts::of([nameless.id]));
        self.offer_digest(now);
        self.fetch_is_set = true;
        self.timers.set(now + Duration::from_secs(1), Due::Fetch);
    }

    fn reap(&mut self, now: Time) {
        for (id, identity) in self.table.reap(now) {
            self.rumours.forget(id);
            self.seal.forget(id);
            self.coordinates.forget(id);
            if let Some(identity) = identity {
                let forgotten = self.swim.forget(identity);
                self.count_error(forgotten);
            }
        }
        self.timers.set(now + REAP_INTERVAL, Due::Reap);
    }

    fn leave_round(&mut self, now: Time) {
        let Phase::Leaving { rounds } = self.phase else { return };
        if rounds == 0 {
            return self.finish_leaving();
        }
        self.phase = Phase::Leaving { rounds: rounds - 1 };
        self.gossip_now();
        self.flush(now);
        // What SWIM plans further on is no longer ours to do.
        self.timers.clear();
        self.timers.set(now + self.timing.gossip_interval, Due::LeaveRound);
    }

    fn finish_leaving(&mut self) {
        self.phase = Phase::Left;
        self.timers.clear();
        self.me.status = MemberStatus::Left;
        self.note(MemberEventKind::Leave);
    }

    /// Brings the view up to what SWIM and the rumours now say. Called after each of them was touched.
    pub(crate) fn settle(&mut self, now: Time) {
        let heard = self.take_rumours(now) | self.take_words();
        let changed = self.flush(now);
        if heard || changed {
            self.pass_on_soon(now);
        }
        let suspects = self.swim.suspects();
        if changed || suspects != self.suspects {
            self.suspects = suspects;
            self.observe_swim(now);
            self.follow_suspicions(now);
        }
        self.hear_accusations(now);
        while let Some(event) = self.table.next_event() {
            self.accounts.changed(now, &event, self.suspicions.get(event.member.id), self.health.score());
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// Returns whether there was any of another.
    fn take_rumours(&mut self, now: Time) -> bool {
        let mut heard = false;
        while let Some(rumour) = self.rumours.take() {
            if rumour.id() == self.me.id {
                self.meet_own_rumour(now, &rumour);
                continue;
            }
            heard = true;
            match rumour {
                Rumour::Record { id, record } => self.table.learn(now, id, record),
                Rumour::Leave { id, stamp, prune } => {
                    if let Some(ended) = self.table.leave(now, id, stamp, prune) {
                        // Not spread as a death: to whom the leave is still news, it must not look like a failure.
                        let down = foca::Member::new(ended, 0, State::Down);
                        let applied = self.swim.apply(vec![down], Spread::No);
                        self.count_error(applied);
                    }
                }
            }
        }
        heard
    }

    /// News does not wait for the next interval at each hand that it passes through. Once in an interval: what follows closely goes with it.
    fn pass_on_soon(&mut self, now: Time) {
        if self.phase == Phase::Running && !std::mem::replace(&mut self.pass_on_is_set, true) {
            // A crowd that hears the same does not speak in the same moment.
            let wait = (self.timing.gossip_interval / 8).mul_f64(self.rng.random::<f64>());
            let at = (now + wait).max(self.passed_on_at + self.timing.gossip_interval);
            self.timers.set(at, Due::PassOn);
        }
    }

    fn pass_on(&mut self, now: Time) {
        self.pass_on_is_set = false;
        self.passed_on_at = now;
        self.gossip_now();
    }

    /// Somebody speaks in our name: a former life that the wall clock hides, or an operator who takes us for dead. An echo of our own
    /// last word is nothing.
    fn meet_own_rumour(&mut self, now: Time, rumour: &Rumour) {
        let echo = matches!(rumour, Rumour::Record { record, .. } if record.stamp <= self.own_stamp());
        if !echo {
            self.take_back_leave(now);
        }
    }

    /// Says anew that we live and how, unless we are in fact leaving.
    pub(crate) fn take_back_leave(&mut self, now: Time) {
        if self.phase == Phase::Running {
            self.next_record(now);
        }
    }

    /// Takes a generation above what others remember of us.
    pub(crate) fn outbid(&mut self, now: Time, generation: u64) {
        let too_soon = self.outbid_at.is_some_and(|last| now.since(last) < OUTBID_INTERVAL);
        let Some(generation) = generation.checked_add(1).filter(|_| !too_soon && self.phase == Phase::Running) else {
            return self.count("generation_conflict");
        };
        self.count("generation_outbid");
        self.outbid_at = Some(now);
        self.me.generation = generation;
        self.record_version = 0;
        self.incarnation = 0;
        let identity = Identity { generation, renewal: 0, ..*self.swim.identity() };
        let changed = self.swim.change_identity(identity);
        self.count_error(changed);
        self.forget_findings(now);
        self.spread_own_record();
        self.note(MemberEventKind::Update);
        self.come_back(now);
    }

    /// Carries out what SWIM wants; returns whether liveness or identities changed.
    fn flush(&mut self, now: Time) -> bool {
        let mut changed = false;
        while let Some(effect) = self.swim.next_effect() {
            match effect {
                Effect::Send(to, packet) => {
                    self.note_probe(now, &to, &packet);
                    self.send_packet(to, packet);
                }
                Effect::After(length, timer) => self.timers.set(now + length, Due::Swim(timer)),
                Effect::AfterProbe(length, timer) => {
                    self.probes.is_paced_by(&timer);
                    let length = if self.lacks(Part::LocalHealth) { length } else { self.health.stretch(length) };
                    self.timers.set(now + length, Due::Swim(timer));
                }
                Effect::ProbeFailed(identity, incarnation) => self.failed_probes.push((identity, incarnation)),
                Effect::Changed => changed = true,
                Effect::Alone => {
                    changed = true;
                    self.seeds.ask_all_again();
                    self.timers.set(now + self.timing.join_retry, Due::Join);
                }
                Effect::Renewed => {
                    changed = true;
                    self.incarnation = 0;
                    self.count("identity_renewed");
                    self.forget_findings(now);
                    self.come_back(now);
                }
            }
        }
        changed
    }

    /// Resumes probing under a new identity, and tells somebody of it on a road that loses nothing.
    fn come_back(&mut self, now: Time) {
        let resumed = self.swim.apply(Vec::new(), Spread::No);
        self.count_error(resumed);
        self.sync_soon(now);
    }

    fn observe_swim(&mut self, now: Time) {
        for former in self.swim.former_selves() {
            let forgotten = self.swim.forget(former);
            self.count_error(forgotten);
        }
        let (failed_before, living_before) = (self.table.failed().count(), self.table.living().count());
        let mut refused = 0;
        for member in self.swim.members() {
            if !self.table.observe(now, *member.id(), member.state()) {
                refused += 1;
            }
        }
        if refused > 0 {
            self.count("table_full");
        }
        if self.table.failed().count() < failed_before {
            // Perhaps the end of a partition: what each side missed is in the full state.
            self.sync_soon(now);
        } else if self.table.living().count() > living_before {
            // Who joins in a crowd is told to few before the crowd is there, and forgotten by some.
            let members = u32::try_from(self.swim.alive() + 1).unwrap_or(u32::MAX);
            self.sync_after(now, self.timing.gossip_interval * members.ilog2());
        }
        if !self.fetch_is_set && self.table.nameless().next().is_some() {
            // Its record is probably on its way in the next rounds of gossip.
            self.fetch_is_set = true;
            self.timers.set(now + self.timing.gossip_interval * 3, Due::Fetch);
        }
        self.swim.resize();
    }

    pub(crate) fn sync_soon(&mut self, now: Time) {
        self.sync_after(now, Duration::ZERO);
    }

    /// Compares what is known with another's, once news has had this time to spread.
    fn sync_after(&mut self, now: Time, at_least: Duration) {
        if !self.sync_is_set {
            self.sync_is_set = true;
            let wait = self.timing.probe_period.mul_f64(self.rng.random::<f64>());
            self.timers.set(now + at_least + wait, Due::Sync);
        }
    }

    fn send_packet(&mut self, to: Identity, mut packet: Vec<u8>) {
        // foca does not tell what it does; its packets do.
        if let Ok(header) = Codec.decode_header(packet.as_slice())
            && header.src == *self.swim.identity()
        {
            if header.src_incarnation > self.incarnation {
                self.health.worse(1);
                self.count("suspicion_refuted");
            }
            self.incarnation = header.src_incarnation;
            self.note_sent(&header);
        }
        let kind = self.carry_coordinate(&mut packet);
        self.send_sealed(to.address, kind, &packet);
    }

    pub(crate) fn send_sealed(&mut self, to: SocketAddr, kind: u8, packet: &[u8]) {
        match self.seal.seal(kind, packet) {
            Some(bytes) if bytes.len() <= MAX_DATAGRAM => {
                self.outputs.push_back(Output::Datagram { to, bytes });
            }
            _ => self.count("packet_too_long"),
        }
    }

    /// Sends a packet that was made here.
    pub(crate) fn post(&mut self, to: Identity, letter: Result<Vec<u8>, CodecError>) {
        match letter {
            Ok(packet) => self.send_packet(to, packet),
            Err(_) => self.count("packet_too_long"),
        }
    }

    pub(crate) fn answer_message(&mut self, to: Origin, message: GossipMessage) {
        self.outputs.push_back(Output::Message { to: to.into(), message });
    }

    pub(crate) fn send_message(&mut self, to: Identity, message: GossipMessage) {
        let to = Destination { id: Some(to.id), address: to.address };
        self.outputs.push_back(Output::Message { to, message });
    }

    fn ask(&mut self, now: Time, other: Identity, parts: Parts) {
        self.exchange += 1;
        let state = self.state(now, self.exchange, parts);
        self.send_message(other, GossipMessage::PushPull(state));
    }

    fn ask_seed(&mut self, now: Time, address: SocketAddr) {
        self.exchange += 1;
        self.seeds.asked(self.exchange, address);
        let message = GossipMessage::PushPull(self.state(now, self.exchange, Parts::ALL));
        self.outputs.push_back(Output::Message { to: Destination { id: None, address }, message });
    }

    pub(crate) fn random_living(&mut self) -> Option<Identity> {
        self.table.living().choose(&mut self.rng)
    }

    fn gossip_now(&mut self) {
        let sent = self.swim.gossip();
        self.count_error(sent);
    }

    /// What this member last said of itself, and its leave.
    pub(crate) fn own_statement(&self) -> (MemberRecord, Option<Stamp>) {
        let record = MemberRecord { stamp: self.own_stamp(), name: self.me.name.clone(), tags: self.me.tags.clone() };
        (record, self.left)
    }

    pub(crate) const fn own_stamp(&self) -> Stamp {
        Stamp { generation: self.me.generation, version: self.record_version }
    }

    /// Says anew what this member is, above all that was ever said of it.
    fn next_record(&mut self, now: Time) {
        let highest = self.rumours.stamp(self.me.id).map_or(self.own_stamp(), |heard| heard.max(self.own_stamp()));
        match highest.version.checked_add(1) {
            Some(version) if highest.generation == self.me.generation => self.record_version = version,
            _ => return self.outbid(now, highest.generation),
        }
        self.spread_own_record();
        self.gossip_now();
    }

    fn spread_own_record(&mut self) {
        let (record, _) = self.own_statement();
        let spread = self.swim.spread(&Rumour::Record { id: self.me.id, record }.encode());
        self.count_error(spread);
    }

    fn cut_to_limits(&mut self) {
        use quorate_protocol::wire::gossip::MAX_NAME;
        if self.me.name.len() > MAX_NAME {
            let end = (0..=MAX_NAME).rev().find(|end| self.me.name.is_char_boundary(*end)).unwrap_or(0);
            self.me.name.truncate(end);
            self.count("name_cut");
        }
        while check_tags(&self.me.tags).is_err() {
            self.me.tags.pop_last();
            self.count("tags_refused");
        }
    }

    fn note(&mut self, kind: MemberEventKind) {
        self.outputs.push_back(Output::Event(MemberEvent { kind, member: self.me.clone() }));
    }

    pub(crate) fn count_error(&mut self, result: Result<(), &'static str>) {
        if let Err(reason) = result {
            self.count(reason);
        }
    }

    pub(crate) fn count(&mut self, reason: &'static str) {
        *self.counters.entry(reason).or_insert(0) += 1;
    }
}

/// Dice for one part of one life of one agent.
fn rng(seed: u64, identity: &Identity, part: &[u8]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(identity.generation.to_be_bytes());
    hash.update(identity.id.0);
    hash.update(part);
    ChaCha8Rng::from_seed(hash.finalize().into())
}
