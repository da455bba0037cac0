//! The other members, as this agent sees them.
//!
//! SWIM says who lives; records say what lives; leaves say who went on purpose. A member is shown once all that is needed to name it
//! is known, and every change of what is shown is one event.

use crate::event::{MemberEvent, MemberEventKind};
use crate::identity::Identity;
use foca::State;
use quorate_protocol::wire::gossip::{MemberRecord, Stamp};
use quorate_protocol::{Member, MemberStatus, NodeId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The most members remembered, failed and left ones among them; further ones are refused. Ten times what one pool is meant for.
pub(crate) const MAX_MEMBERS: usize = 65_536;

/// The member table.
///
/// * A member is shown only with a record; it joins only with a record of its present generation.
/// * Failed and left members stay until their time to be reaped, which all members agree on to the second.
pub(crate) struct Table {
    entries: BTreeMap<NodeId, Entry>,
    reap_after: Duration,
    events: VecDeque<MemberEvent>,
}

pub(crate) struct Entry {
    member: Member,
    swim: Option<(Identity, State)>,
    record: Option<Stamp>,
    left: Option<Stamp>,
    /// Not shown until it lives again.
    pruned: bool,
    shown: bool,
    /// When it is forgotten, unless it lives.
    reap_at: Time,
}

impl Table {
    pub(crate) const fn new(reap_after: Duration) -> Table {
        Table { entries: BTreeMap::new(), reap_after, events: VecDeque::new() }
    }

    /// The next event, oldest first.
    pub(crate) fn next_event(&mut self) -> Option<MemberEvent> {
        self.events.pop_front()
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Member> {
        self.entries.get(&id).filter(|entry| entry.shown).map(|entry| &entry.member)
    }

    /// Those before this id and those after it, by id.
    pub(crate) fn around(&self, id: NodeId) -> (impl Iterator<Item = &Member>, impl Iterator<Item = &Member>) {
        let shown = |(_, entry)| shown(entry);
        (self.entries.range(..id).filter_map(shown), self.entries.range(id..).filter_map(shown))
    }

    /// What SWIM knows of a member.
    pub(crate) fn swim(&self, id: NodeId) -> Option<(Identity, State)> {
        self.entries.get(&id)?.swim
    }

    /// What a member last said of itself, and its leave.
    pub(crate) fn statement(&self, id: NodeId) -> (Option<MemberRecord>, Option<Stamp>) {
        let Some(entry) = self.entries.get(&id) else { return (None, None) };
        let record = entry.record.map(|stamp| MemberRecord {
            stamp,
            name: entry.member.name.clone(),
            tags: entry.member.tags.clone(),
        });
        (record, entry.left)
    }

    /// For how long a member has been down.
    pub(crate) fn down_for(&self, now: Time, id: NodeId) -> Duration {
        self.entries.get(&id).map_or(Duration::ZERO, |entry| self.reap_after.saturating_sub(entry.reap_at.since(now)))
    }

    /// Sets for how long a member that was met as down has been so; others remember it longer than we do.
    pub(crate) fn set_down_for(&mut self, now: Time, id: NodeId, length: Duration) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.reap_at = now + self.reap_after.saturating_sub(length);
        }
    }

    /// Whether an operator had it forgotten at once: it is remembered only so that nobody's hearsay brings it back.
    pub(crate) fn is_pruned(&self, id: NodeId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.pruned)
    }

    /// Whether a leave covers this life of a member.
    pub(crate) fn has_left(&self, identity: &Identity) -> bool {
        self.entries.get(&identity.id).is_some_and(|entry| entry.left_by(identity))
    }

    /// Living members that are not yet known by name.
    pub(crate) fn nameless(&self) -> impl Iterator<Item = Identity> {
        self.entries.values().filter_map(|entry| match entry.swim {
            Some((identity, state)) if state != State::Down && !entry.named_as(&identity) => Some(identity),
            _ => None,
        })
    }

    /// Those that failed, as opposed to left.
    pub(crate) fn failed(&self) -> impl Iterator<Item = Identity> {
        self.entries.values().filter_map(|entry| match entry.swim {
            Some((identity, State::Down)) if !entry.left_by(&identity) => Some(identity),
            _ => None,
        })
    }

    /// Those that live.
    pub(crate) fn living(&self) -> impl Iterator<Item = Identity> {
        self.entries.values().filter_map(|entry| match entry.swim {
            Some((identity, state)) if state != State::Down => Some(identity),
            _ => None,
        })
    }

    /// Takes in what SWIM knows of a member. Returns false when the table is full.
    pub(crate) fn observe(&mut self, now: Time, identity: Identity, state: State) -> bool {
        if self.swim(identity.id) == Some((identity, state)) {
            return true;
        }
        let reap_after = self.reap_after;
        let Some(entry) = self.entry(now, &identity) else { return false };
        let was_down = entry.swim.is_some_and(|(_, state)| state == State::Down);
        if state == State::Down && !was_down {
            entry.reap_at = now + reap_after;
        }
        entry.swim = Some((identity, state));
        let event = entry.settle();
        self.note(identity.id, event);
        true
    }

    /// Takes in what a member said of itself, if it is news.
    pub(crate) fn learn(&mut self, now: Time, id: NodeId, record: MemberRecord) {
        let unknown = Identity { id, address: NOWHERE, generation: record.stamp.generation, renewal: 0 };
        let Some(entry) = self.entry(now, &unknown) else { return };
        if entry.record >= Some(record.stamp) {
            return;
        }
        let changed = entry.member.name != record.name || entry.member.tags != record.tags;
        entry.record = Some(record.stamp);
        entry.member.name = record.name;
        entry.member.tags = record.tags;
        let event = match entry.settle() {
            None if changed && entry.shown && entry.member.is_alive() => Some(MemberEventKind::Update),
            other => other,
        };
        self.note(id, event);
    }

    /// Takes in that a member left. Returns the life that ended by it, if SWIM takes it for alive.
    pub(crate) fn leave(&mut self, now: Time, id: NodeId, stamp: Stamp, prune: bool) -> Option<Identity> {
        let unknown = Identity { id, address: NOWHERE, generation: stamp.generation, renewal: 0 };
        let entry = self.entry(now, &unknown)?;
        entry.left = entry.left.max(Some(stamp));
        entry.pruned |= prune;
        let event = entry.settle();
        let ended = match entry.swim {
            Some((identity, state)) if state != State::Down && entry.left_by(&identity) => Some(identity),
            _ => None,
        };
        self.note(id, event);
        ended
    }

    /// Forgets those whose time is over.
    pub(crate) fn reap(&mut self, now: Time) -> Vec<(NodeId, Option<Identity>)> {
        let gone = |entry: &Entry| entry.reap_at <= now && !entry.swim.is_some_and(|(_, state)| state != State::Down);
        let over: Vec<NodeId> = self.entries.iter().filter(|(_, entry)| gone(entry)).map(|(id, _)| *id).collect();
        over.into_iter()
            .map(|id| {
                let entry = self.entries.remove(&id);
                if let Some(entry) = entry.as_ref().filter(|entry| entry.shown) {
                    self.events.push_back(MemberEvent { kind: MemberEventKind::Reap, member: entry.member.clone() });
                }
                (id, entry.and_then(|entry| entry.swim).map(|(identity, _)| identity))
            })
            .collect()
    }

    fn entry(&mut self, now: Time, identity: &Identity) -> Option<&mut Entry> {
        if !self.entries.contains_key(&identity.id) && self.entries.len() >= MAX_MEMBERS {
            return None;
        }
        let reap_at = now + self.reap_after;
        Some(self.entries.entry(identity.id).or_insert_with(|| Entry::new(identity, reap_at)))
    }

    fn note(&mut self, id: NodeId, kind: Option<MemberEventKind>) {
        if let (Some(kind), Some(entry)) = (kind, self.entries.get(&id)) {
            self.events.push_back(MemberEvent { kind, member: entry.member.clone() });
        }
    }
}

/// The address of a member of which only a record is known; it is not shown.
const NOWHERE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

fn shown(entry: &Entry) -> Option<&Member> {
    entry.shown.then_some(&entry.member)
}

impl Entry {
    fn new(identity: &Identity, reap_at: Time) -> Entry {
        let member = Member {
            id: identity.id,
            name: String::new(),
            address: identity.address,
            tags: BTreeMap::new(),
            status: MemberStatus::Failed,
            generation: identity.generation,
        };
        Entry { member, swim: None, record: None, left: None, pruned: false, shown: false, reap_at }
    }

    /// A leave ends the lives up to its generation, unless a later record took it back.
    fn left_by(&self, identity: &Identity) -> bool {
        self.left.is_some_and(|left| Some(left) > self.record && left.generation >= identity.generation)
    }

    fn named_as(&self, identity: &Identity) -> bool {
        self.record.is_some_and(|stamp| stamp.generation >= identity.generation)
    }

    /// Brings what is shown up to what is known; returns what that is called.
    fn settle(&mut self) -> Option<MemberEventKind> {
        let (identity, state) = self.swim?;
        self.record?;
        let status = match (state, self.left_by(&identity)) {
            (State::Down, true) => MemberStatus::Left,
            (State::Down, false) => MemberStatus::Failed,
            (_, true) => MemberStatus::Leaving,
            (State::Suspect, false) => MemberStatus::Suspect,
            (State::Alive, false) => MemberStatus::Alive,
        };
        let lives = matches!(status, MemberStatus::Alive | MemberStatus::Suspect);
        if self.pruned && status == MemberStatus::Left {
            self.member.status = status;
            return std::mem::replace(&mut self.shown, false).then_some(MemberEventKind::Reap);
        }
        self.pruned &= !lives;
        let known_alive = self.shown && self.member.is_alive();
        if lives && !known_alive && !self.named_as(&identity) {
            // It joins under its own name and with its present tags, or not yet.
            return None;
        }
        let was = std::mem::replace(&mut self.member.status, status);
        let moved = self.member.address != identity.address || self.member.generation != identity.generation;
        self.member.address = identity.address;
        self.member.generation = identity.generation;
        if !std::mem::replace(&mut self.shown, true) {
            // One that was down before we heard of it did not fail before our eyes.
            return lives.then_some(MemberEventKind::Join);
        }
        match (was, status) {
            (MemberStatus::Alive, MemberStatus::Suspect) => Some(MemberEventKind::Suspect),
            (MemberStatus::Suspect, MemberStatus::Alive) => Some(MemberEventKind::Refute),
            (was, now) if was == now => (moved && lives).then_some(MemberEventKind::Update),
            (_, MemberStatus::Alive | MemberStatus::Suspect) => Some(MemberEventKind::Join),
            (_, MemberStatus::Failed) => Some(MemberEventKind::Failed),
            (_, MemberStatus::Left) => Some(MemberEventKind::Leave),
            (_, MemberStatus::Leaving) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberEventKind::{Failed, Join, Reap, Refute, Suspect, Update};

    const ID: NodeId = NodeId([3; 16]);

    /// What is fed to the table about one member.
    enum Fed {
        Swim(u64, u32, State),
        Record(u64, u32, &'static str),
        Leave(u64, u32),
    }
    use Fed::{Leave, Record, Swim};

    fn check(script: &[(Fed, &[MemberEventKind], Option<MemberStatus>)]) {
        let mut table = Table::new(Duration::from_secs(100));
        for (step, (fed, events, status)) in script.iter().enumerate() {
            let now = Time::from_nanos(step as u64);
            match *fed {
                Swim(generation, renewal, state) => {
                    let address = "127.0.0.1:8301".parse().unwrap();
                    table.observe(now, Identity { id: ID, address, generation, renewal }, state);
                }
                Record(generation, version, role) => {
                    let tags = BTreeMap::from([("role".to_owned(), role.to_owned())]);
                    let record = MemberRecord { stamp: Stamp { generation, version }, name: "n".to_owned(), tags };
                    table.learn(now, ID, record);
                }
                Leave(generation, version) => {
                    table.leave(now, ID, Stamp { generation, version }, false);
                }
            }
            let happened: Vec<_> = std::iter::from_fn(|| table.next_event()).map(|event| event.kind).collect();
            assert_eq!(happened, *events, "step {step}");
            assert_eq!(table.get(ID).map(|member| member.status), *status, "step {step}");
        }
    }

    #[test]
    fn joins_once_named_whichever_comes_first() {
        check(&[(Swim(1, 0, State::Alive), &[], None), (Record(1, 0, "a"), &[Join], Some(MemberStatus::Alive))]);
        check(&[(Record(1, 0, "a"), &[], None), (Swim(1, 0, State::Alive), &[Join], Some(MemberStatus::Alive))]);
    }

    #[test]
    fn suspected_refuted_failed_and_back() {
        check(&[
            (Record(1, 0, "a"), &[], None),
            (Swim(1, 0, State::Alive), &[Join], Some(MemberStatus::Alive)),
            (Swim(1, 0, State::Suspect), &[Suspect], Some(MemberStatus::Suspect)),
            (Swim(1, 0, State::Alive), &[Refute], Some(MemberStatus::Alive)),
            (Swim(1, 0, State::Suspect), &[Suspect], Some(MemberStatus::Suspect)),
            (Swim(1, 0, State::Down), &[Failed], Some(MemberStatus::Failed)),
            (Swim(1, 1, State::Alive), &[Join], Some(MemberStatus::Alive)),
            (Record(1, 1, "b"), &[Update], Some(MemberStatus::Alive)),
            (Record(1, 0, "a"), &[], Some(MemberStatus::Alive)),
        ]);
    }

    #[test]
    fn left_is_not_failed_and_a_stale_leave_kills_nobody() {
        check(&[
            (Record(1, 0, "a"), &[], None),
            (Swim(1, 0, State::Alive), &[Join], Some(MemberStatus::Alive)),
            (Leave(1, 1), &[], Some(MemberStatus::Leaving)),
            (Swim(1, 0, State::Down), &[MemberEventKind::Leave], Some(MemberStatus::Left)),
            // Back with another role: not shown as alive under the old one.
            (Swim(2, 0, State::Alive), &[], Some(MemberStatus::Left)),
            (Record(2, 0, "b"), &[Join], Some(MemberStatus::Alive)),
            (Leave(1, 9), &[], Some(MemberStatus::Alive)),
            (Swim(2, 0, State::Down), &[Failed], Some(MemberStatus::Failed)),
            (Leave(2, 1), &[MemberEventKind::Leave], Some(MemberStatus::Left)),
            // The owner took the forced leave back.
            (Record(2, 2, "b"), &[Failed], Some(MemberStatus::Failed)),
            (Swim(2, 1, State::Alive), &[Join], Some(MemberStatus::Alive)),
        ]);
    }

    #[test]
    fn a_restart_while_alive_is_an_update() {
        check(&[
            (Record(1, 0, "a"), &[], None),
            (Swim(1, 0, State::Alive), &[Join], Some(MemberStatus::Alive)),
            (Swim(2, 0, State::Alive), &[Update], Some(MemberStatus::Alive)),
            (Record(2, 0, "a"), &[], Some(MemberStatus::Alive)),
        ]);
    }

    #[test]
    fn reaped_when_its_time_is_over() {
        let mut table = Table::new(Duration::from_secs(100));
        let identity = Identity { id: ID, address: NOWHERE, generation: 1, renewal: 0 };
        let record =
            MemberRecord { stamp: Stamp { generation: 1, version: 0 }, name: "n".to_owned(), tags: BTreeMap::new() };
        table.learn(Time::ZERO, ID, record);
        table.observe(Time::ZERO, identity, State::Alive);
        let at = |s| Time::ZERO + Duration::from_secs(s);
        assert!(table.reap(at(1000)).is_empty(), "the living stay");
        table.observe(at(1000), identity, State::Down);
        assert_eq!(table.down_for(at(1040), ID), Duration::from_secs(40));
        assert!(table.reap(at(1099)).is_empty());
        table.set_down_for(at(1099), ID, Duration::from_secs(100));
        assert_eq!(table.reap(at(1099)), [(ID, Some(identity))]);
        assert!(table.get(ID).is_none());
        assert_eq!(std::iter::from_fn(|| table.next_event()).last().unwrap().kind, Reap);
    }
}
