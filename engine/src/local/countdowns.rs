//! Moments by which something must have been heard of a check.

use quorate_protocol::Time;
use std::collections::{BTreeMap, BTreeSet};

/// At most one moment for each check id, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Countdowns {
    by_id: BTreeMap<String, Time>,
    in_order: BTreeSet<(Time, String)>,
}

impl Countdowns {
    /// The earliest moment.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// Counts down to this moment, and to no other.
    pub(super) fn set(&mut self, id: &str, at: Time) {
        self.clear(id);
        self.by_id.insert(id.to_owned(), at);
        self.in_order.insert((at, id.to_owned()));
    }

    /// Counts down no more.
    pub(super) fn clear(&mut self, id: &str) {
        if let Some((id, at)) = self.by_id.remove_entry(id) {
            self.in_order.remove(&(at, id));
        }
    }

    /// Takes out one whose moment has come.
    pub(super) fn take_due(&mut self, now: Time) -> Option<String> {
        self.deadline().filter(|at| *at <= now)?;
        let (_, id) = self.in_order.pop_first()?;
        self.by_id.remove(&id);
        Some(id)
    }
}
