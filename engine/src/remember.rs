//! Members that are to be found again after a restart: whoever was alive, and whoever had failed and may be back.

use crate::Engine;
use quorate_protocol::{MemberStatus, Time};
use rand::seq::IteratorRandom;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// The most addresses kept, 80 kB of them: any of them leads to all others.
const MAX_REMEMBERED: usize = 4096;
/// How long changes are gathered before they are written: members come and go in crowds, and a file is flushed for it.
const GATHERED: Duration = Duration::from_secs(5);
/// How many are asked at the start, beside those that are configured. One that lives is enough.
const ASKED: usize = 16;

/// When it is written down next.
#[derive(Debug, Default)]
pub struct Remembering {
    due: Option<Time>,
}

impl Remembering {
    pub const fn deadline(&self) -> Option<Time> {
        self.due
    }
}

impl Engine {
    /// Joins through some of those that were known before the restart.
    pub(crate) fn join_remembered(&mut self, now: Time) {
        let own = self.config.address;
        let known = self.local.members().iter().copied().filter(|address| *address != own);
        let asked = known.sample(&mut self.rng, ASKED);
        if !asked.is_empty() {
            self.gossip.join(now, asked);
        }
    }

    /// Members came or went.
    pub(crate) fn remember_soon(&mut self, now: Time) {
        self.remembering.due.get_or_insert(now + GATHERED);
    }

    pub(crate) fn time_out_remembering(&mut self, now: Time) {
        if self.remembering.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        let others = || self.gossip.members().filter(|member| member.id != self.config.id);
        // Whoever met nobody yet, or sees only failed ones, is cut off, and needs all that it knew.
        let is_cut_off = others().all(|member| member.status == MemberStatus::Failed);
        if !is_cut_off {
            let expected = others().filter(|member| member.is_alive() || member.status == MemberStatus::Failed);
            let known: BTreeSet<SocketAddr> = expected.map(|member| member.address).take(MAX_REMEMBERED).collect();
            self.save_members(known);
        }
    }

    /// Who leaves does not come back by itself.
    pub(crate) fn forget_members(&mut self) {
        self.remembering.due = None;
        self.save_members(BTreeSet::new());
    }
}
