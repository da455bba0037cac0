//! Coordinates on the wire: what probes measure, and where others say they are.
//!
//! A quarter of the acknowledgements of probes carry the coordinate of whoever sends them, as Serf's all do: each of these, with the time that
//! the probe took, moves the one who probed. The full state brings those of members that were not probed yet.

use crate::codec::Codec;
use crate::identity::Identity;
use crate::machine::Gossip;
use crate::vivaldi::Vivaldi;
use foca::{Codec as _, Header, Message};
use quorate_protocol::coordinate::Coordinate;
use quorate_protocol::wire::coordinate::{COORDINATE_LEN, decode_coordinate, encode_coordinate};
use quorate_protocol::wire::digest::Parts;
use quorate_protocol::wire::gossip::{MAX_PUSH_PULL, MAX_SEALED, kind};
use quorate_protocol::{NodeId, Time};
use std::collections::BTreeMap;

/// One acknowledgement of so many carries a coordinate: at two probes a second 22 bytes a second instead of 88, and still thirty
/// measurements a minute.
const CARRIED: u64 = 4;

/// Where members are.
pub(crate) struct Coordinates {
    vivaldi: Vivaldi,
    known: BTreeMap<NodeId, Coordinate>,
    /// The last probe of each member, by its number, and when it left.
    probes: BTreeMap<NodeId, (u8, Time)>,
    acks: u64,
}

impl Coordinates {
    pub(crate) const fn new() -> Coordinates {
        Coordinates { vivaldi: Vivaldi::new(), known: BTreeMap::new(), probes: BTreeMap::new(), acks: 0 }
    }

    /// Forgets a member that was reaped.
    pub(crate) fn forget(&mut self, id: NodeId) {
        self.vivaldi.forget(id);
        self.known.remove(&id);
        self.probes.remove(&id);
    }
}

impl Gossip {
    /// Where a member is, as far as this one knows; itself among them.
    pub fn coordinate(&self, id: NodeId) -> Option<Coordinate> {
        if id == self.me.id {
            return Some(self.coordinates.vivaldi.here());
        }
        self.coordinates.known.get(&id).copied()
    }

    /// Notes when a probe leaves.
    pub(crate) fn note_probe(&mut self, now: Time, to: &Identity, packet: &[u8]) {
        if let Ok(Header { message: Message::Ping(number), .. }) = Codec.decode_header(packet) {
            self.coordinates.probes.insert(to.id, (number, now));
        }
    }

    /// Has some acknowledgements carry our coordinate. Returns the kind of what is to be sent.
    pub(crate) fn carry_coordinate(&mut self, packet: &mut Vec<u8>) -> u8 {
        if packet.len() + COORDINATE_LEN < MAX_SEALED
            && matches!(Codec.decode_header(packet.as_slice()), Ok(Header { message: Message::Ack(_), .. }))
        {
            self.coordinates.acks += 1;
            if self.coordinates.acks % CARRIED == 1 {
                packet.extend_from_slice(&encode_coordinate(&self.coordinates.vivaldi.here()));
                return kind::SWIM_WITH_COORDINATE;
            }
        }
        kind::SWIM
    }

    /// Takes the coordinate off the end of a packet, and what it tells with it.
    pub(crate) fn take_coordinate(&mut self, now: Time, packet: &mut Vec<u8>) {
        let carried = packet.len().checked_sub(COORDINATE_LEN).map(|at| packet.split_off(at));
        let there = match carried.map(|bytes| decode_coordinate(&bytes)) {
            Some(Ok(there)) => there,
            _ => return self.count("coordinate_refused"),
        };
        let Ok(Header { src, message: Message::Ack(number), .. }) = Codec.decode_header(packet.as_slice()) else {
            return self.count("coordinate_refused");
        };
        if self.table.get(src.id).is_none() {
            return;
        }
        self.coordinates.known.insert(src.id, there);
        if let Some((_, left)) = self.coordinates.probes.get(&src.id).filter(|(probe, _)| *probe == number) {
            let rtt = now.since(*left);
            let moved = self.coordinates.vivaldi.measured(src.id, &there, rtt, &mut self.rng);
            self.coordinates.probes.remove(&src.id);
            self.count_error(moved);
        }
    }

    /// The coordinates of members of these parts, and our own, for the full state.
    pub(crate) fn told_coordinates(&self, parts: Parts) -> BTreeMap<NodeId, bytes::Bytes> {
        let own = (self.me.id, self.coordinates.vivaldi.here());
        let known =
            self.coordinates.known.iter().filter(|(id, _)| parts.contain(**id)).map(|(id, there)| (*id, *there));
        std::iter::once(own)
            .chain(known.take(MAX_PUSH_PULL - 1))
            .map(|(id, there)| (id, bytes::Bytes::copy_from_slice(&encode_coordinate(&there))))
            .collect()
    }

    /// Takes in what another knows: of itself always, of others where nothing is known yet.
    pub(crate) fn merge_coordinates(&mut self, from: NodeId, told: BTreeMap<NodeId, bytes::Bytes>) {
        for (id, bytes) in told.into_iter().take(MAX_PUSH_PULL) {
            let wanted = id == from || !self.coordinates.known.contains_key(&id);
            if !wanted || id == self.me.id || self.table.get(id).is_none() {
                continue;
            }
            match decode_coordinate(&bytes) {
                Ok(there) => drop(self.coordinates.known.insert(id, there)),
                Err(_) => self.count("coordinate_refused"),
            }
        }
    }
}
