//! A leader whose disk is nearly full takes nothing new. It hands over to a voter whose disk has room.
//!
//! Each server tells the others in a gossip tag that its disk is low. The leader asks one voter without that tag after the other, ever more
//! rarely: a voter that did not take over may be unwell in a way that nobody sees. Where all are low it leads on, and refuses.

use super::autopilot::Seen;
use crate::Engine;
use crate::door::{Notice, Output};
use quorate_protocol::member::tag;
use quorate_protocol::{NodeId, Time};
use std::time::Duration;

/// A new leader whose disk is low waits this long before it hands over in turn. Gossip has told it of the others by then: two whose disks
/// fill up at the same moment do not pass the leadership back and forth.
pub const SETTLE: Duration = Duration::from_secs(1);
/// Between two tries, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What was tried since this server leads and its disk is low.
#[derive(Debug, Default)]
pub struct Yielding {
    tries: u32,
    /// No further try before.
    pause_ends: Time,
}

impl Engine {
    /// Takes note of the space on this server's disk, and tells the others.
    pub(crate) fn handle_disk_space(&mut self, now: Time, low: bool) {
        let Some(server) = &mut self.server else { return };
        server.disk_is_low = low;
        if let Some(leader) = &mut server.leader {
            leader.yielding = Yielding::default();
        }
        let mut tags = self.gossip.me().tags.clone();
        if low {
            tags.insert(tag::DISK.to_owned(), tag::DISK_LOW.to_owned());
        } else {
            tags.remove(tag::DISK);
        }
        self.gossip.set_tags(now, tags);
        self.review_servers_soon(now);
    }

    /// Begins to hand over to a server that has room, if this leader has none. Whether it did.
    pub(super) fn yield_for_room(&mut self, now: Time, servers: &[Seen]) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| server.disk_is_low) else { return false };
        let Some(leader) = &mut server.leader else { return false };
        if now < leader.yielding.pause_ends.max(leader.established_at + SETTLE) {
            return false;
        }
        let mut roomier: Vec<&Seen> = servers.iter().filter(|seen| seen.may_lead_instead()).collect();
        roomier.sort_by_key(|seen| std::cmp::Reverse(seen.match_index));
        let Some(to) = roomier.get(leader.yielding.tries as usize % roomier.len().max(1)).map(|seen| seen.id) else {
            return false;
        };
        let pause = SETTLE.saturating_mul(1 << leader.yielding.tries.min(16)).min(LONGEST_PAUSE);
        leader.yielding = Yielding { tries: leader.yielding.tries.saturating_add(1), pause_ends: now + pause };
        self.hand_over_for_room(now, to)
    }

    fn hand_over_for_room(&mut self, now: Time, to: NodeId) -> bool {
        let begun = self.hand_over(now, Some(to)).is_ok();
        if begun {
            let node = self.name_of(to);
            let what = "asked to lead: the disk of this server is nearly full";
            self.outputs.push_back(Output::Noticed(Notice::ServerChanged { id: to, node, what }));
        }
        begun
    }
}
