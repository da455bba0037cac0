//! Those who wait for something that this agent knows by itself: what happened, what it carries.

use crate::source::Source;
use quorate_protocol::Time;
use std::collections::BTreeMap;

/// More than these do not wait at once.
const MAX_WAITING: usize = 4096;

/// Who waits for what, the first to be given up first.
#[derive(Debug)]
pub struct Followers<Q> {
    waiting: BTreeMap<(Time, u64), (Source, Q)>,
    last: u64,
}

impl<Q> Default for Followers<Q> {
    fn default() -> Followers<Q> {
        Followers { waiting: BTreeMap::new(), last: 0 }
    }
}

/// Too many wait already.
#[derive(Debug)]
pub struct Full;

impl<Q> Followers<Q> {
    /// When the first is given up.
    pub fn deadline(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|((until, _), _)| *until)
    }

    /// Takes one more.
    ///
    /// # Errors
    /// [`Full`].
    pub fn add(&mut self, until: Time, source: Source, question: Q) -> Result<(), Full> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(Full);
        }
        self.last += 1;
        self.waiting.insert((until, self.last), (source, question));
        Ok(())
    }

    /// This one no longer waits.
    pub fn forget(&mut self, source: Source) {
        self.waiting.retain(|_, (one, _)| *one != source);
    }

    /// Takes out one whose time is up.
    pub fn take_due(&mut self, now: Time) -> Option<(Source, Q)> {
        self.deadline().filter(|until| *until <= now)?;
        self.waiting.pop_first().map(|(_, one)| one)
    }

    /// Takes out those whose question is answered.
    pub fn take_answered(&mut self, is_answered: impl Fn(&Q) -> bool) -> Vec<(Source, Q)> {
        let waiting = std::mem::take(&mut self.waiting);
        let (answered, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            waiting.into_iter().partition(|(_, (_, question))| is_answered(question));
        self.waiting = waiting;
        answered.into_values().collect()
    }
}
