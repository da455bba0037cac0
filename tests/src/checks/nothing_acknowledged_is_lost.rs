//! What a client was told is done is on the disks of a majority when it is told, and stays.
//!
//! The same for an agent's own services: what it said it registered is there after a restart.

use super::committed_stays::CommittedStays;
use super::{Checked, Violation};
use crate::disk::Found;
use crate::trace::Hash;
use quorate_protocol::raft::Payload;
use quorate_protocol::wire::log::encode_write;
use quorate_protocol::{LogIndex, Service, Write};
use std::collections::BTreeMap;

const PROPERTY: &str = "nothing_acknowledged_is_lost";

/// What was acknowledged.
#[derive(Debug)]
pub struct NothingAcknowledgedIsLost {
    writes: BTreeMap<LogIndex, u64>,
    services: Vec<BTreeMap<String, Registered>>,
}

/// What is known of a service of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It was registered with this port, and that was acknowledged.
    With(u16),
    /// It was deregistered, and that was acknowledged.
    Not,
    /// A change was asked for, and its outcome never learnt.
    Unknown,
}

impl NothingAcknowledgedIsLost {
    /// Nothing acknowledged yet.
    pub fn new(agents: usize) -> NothingAcknowledgedIsLost {
        NothingAcknowledgedIsLost { writes: BTreeMap::new(), services: vec![BTreeMap::new(); agents] }
    }

    /// A client is being told that its write was applied at this index. `electorates` are the voters that may have been asked, each with what its disk
    /// would be found to hold there after a crash now: more than one while the configuration changes.
    ///
    /// # Errors
    /// When no majority would be found to hold it, or two writes are told the same index.
    pub fn write(&mut self, write: &Write, index: LogIndex, electorates: &[Vec<Found>]) -> Checked {
        let digest = Hash::of(&encode_write(write));
        // A snapshot has taken the place of the entry: what it stands for is compared by `committed_stays`.
        let holds = |found: &&Found| match found {
            Found::Entry(entry) => matches!(&entry.payload, Payload::Command(bytes) if Hash::of(bytes) == digest),
            Found::InSnapshot => true,
            Found::Nothing => false,
        };
        let holders = |voters: &Vec<Found>| voters.iter().filter(holds).count();
        if !electorates.iter().any(|voters| holders(voters) > voters.len() / 2) {
            let counts: Vec<(usize, usize)> =
                electorates.iter().map(|voters| (holders(voters), voters.len())).collect();
            let seen = format!("no majority of disks holds the write acknowledged at {index} {counts:?}: {write:?}");
            return Violation::seen(PROPERTY, seen);
        }
        if self.writes.insert(index, digest).is_some() {
            return Violation::seen(PROPERTY, format!("two writes were told that they are at {index}"));
        }
        Ok(())
    }

    /// In the end: every acknowledged write is where it was told to be, in what the servers applied.
    ///
    /// # Errors
    /// When one is not.
    pub fn writes_remain(&self, committed: &CommittedStays) -> Checked {
        for (index, digest) in &self.writes {
            if committed.digest(*index) != Some(*digest) {
                return Violation::seen(
                    PROPERTY,
                    format!("the write acknowledged at {index} is not what is there now"),
                );
            }
        }
        Ok(())
    }

    /// What became known of a service of an agent.
    pub fn service(&mut self, agent: usize, service_id: &str, registered: Registered) {
        self.services[agent].insert(service_id.to_owned(), registered);
    }

    /// What is known of a service of an agent; none if nobody ever asked for it.
    pub fn known(&self, agent: usize, service_id: &str) -> Option<Registered> {
        self.services[agent].get(service_id).copied()
    }

    /// An agent has these services now.
    ///
    /// # Errors
    /// When one is missing, too many, or an old one.
    pub fn services_remain(&self, agent: usize, services: &BTreeMap<String, Service>) -> Checked {
        for (id, registered) in &self.services[agent] {
            let there = services.get(id).map(|service| service.port);
            let fits = match registered {
                Registered::With(port) => there == Some(*port),
                Registered::Not => there.is_none(),
                Registered::Unknown => true,
            };
            if !fits {
                let seen =
                    format!("agent {agent} acknowledged service {id} as {registered:?} and has it with port {there:?}");
                return Violation::seen(PROPERTY, seen);
            }
        }
        Ok(())
    }

    /// How many writes were acknowledged.
    pub fn writes_acknowledged(&self) -> usize {
        self.writes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::logs_match::Held;
    use super::*;
    use quorate_protocol::raft::LogEntry;
    use quorate_protocol::{Deregistration, Term};

    fn write(node: &str) -> Write {
        Write::Deregister(Deregistration::Node { node: node.into() })
    }

    fn entry(index: u64, node: &str) -> LogEntry {
        let payload = Payload::Command(encode_write(&write(node)));
        LogEntry { term: Term(1), index: LogIndex(index), payload }
    }

    #[test]
    fn an_acknowledgement_needs_a_majority_of_disks() {
        let (with, other) = (entry(1, "a"), entry(1, "b"));
        let (with, other) = (Found::Entry(&with), Found::Entry(&other));
        let told =
            |electorates: &[Vec<Found>]| NothingAcknowledgedIsLost::new(0).write(&write("a"), LogIndex(1), electorates);
        assert_eq!(told(&[vec![with, with, Found::Nothing]]), Ok(()));
        assert_eq!(told(&[vec![with, Found::InSnapshot, Found::Nothing]]), Ok(()));
        assert_eq!(told(&[vec![with, Found::Nothing], vec![with]]), Ok(()), "the electorate before the last change");
        assert!(told(&[vec![with, Found::Nothing, Found::Nothing]]).is_err());
        assert!(told(&[vec![with, other, Found::Nothing]]).is_err());
        assert!(told(&[vec![with, Found::Nothing]]).is_err(), "half is no majority");
    }

    #[test]
    fn an_acknowledged_write_that_is_replaced_is_seen() {
        let mut check = NothingAcknowledgedIsLost::new(0);
        let stored = entry(1, "a");
        let disks = [vec![Found::Entry(&stored)]];
        assert_eq!(check.write(&write("a"), LogIndex(1), &disks), Ok(()));
        assert!(check.write(&write("a"), LogIndex(1), &disks).is_err(), "one index for two");
        for (node, remains) in [("a", true), ("b", false)] {
            let mut committed = CommittedStays::default();
            let log = [entry(1, node)];
            committed.applied(0, Term(1), LogIndex(0), LogIndex(1), Held::whole(&log)).expect("it is the first");
            assert_eq!(check.writes_remain(&committed).is_ok(), remains);
        }
        assert!(check.writes_remain(&CommittedStays::default()).is_err());
    }

    #[test]
    fn a_forgotten_service_is_seen() {
        let mut check = NothingAcknowledgedIsLost::new(1);
        check.service(0, "web", Registered::With(80));
        let with_port = |port| BTreeMap::from([("web".to_owned(), Service { port, ..Service::default() })]);
        assert_eq!(check.services_remain(0, &with_port(80)), Ok(()));
        assert!(check.services_remain(0, &with_port(81)).is_err());
        assert!(check.services_remain(0, &BTreeMap::new()).is_err());
        check.service(0, "web", Registered::Not);
        assert!(check.services_remain(0, &with_port(80)).is_err());
        check.service(0, "web", Registered::Unknown);
        assert_eq!(check.services_remain(0, &with_port(80)), Ok(()));
    }
}
