//! A request that reached an agent is answered or refused within the agent's patience, unless the process ends.

use super::{Checked, Violation};
use quorate_protocol::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// Beyond what a request itself asks to wait. The agent's patience with a leader and with a server's answer (5 and 8 s), at each
/// of two hops, and the longest pause.
const PATIENCE: Duration = Duration::from_secs(35);

/// The requests that no answer came to yet, by number.
#[derive(Debug, Default)]
pub struct EveryRequestIsAnswered {
    open: BTreeMap<u64, (usize, Time)>,
}

impl EveryRequestIsAnswered {
    /// A request was given to an agent; it asks to wait at most so long.
    pub fn asked(&mut self, now: Time, ticket: u64, agent: usize, wait: Duration) {
        self.open.insert(ticket, (agent, now + wait + PATIENCE));
    }

    /// A request was answered or refused, or its client has given up.
    pub fn ended(&mut self, ticket: u64) {
        self.open.remove(&ticket);
    }

    /// An agent's process has ended, and all its requests with it.
    pub fn agent_ended(&mut self, agent: usize) {
        self.open.retain(|_, (at, _)| *at != agent);
    }

    /// Looks for requests that are overdue.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self, now: Time) -> Checked {
        match self.open.iter().find(|(_, (_, until))| *until < now) {
            Some((ticket, (agent, until))) => Violation::seen(
                "every_request_is_answered",
                format!("request {ticket} at agent {agent} should have been answered by {until:?}"),
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_request_is_seen() {
        let mut check = EveryRequestIsAnswered::default();
        let late = Time::ZERO + PATIENCE + Duration::from_secs(11);
        for ticket in 0..3 {
            check.asked(Time::ZERO, ticket, ticket as usize, Duration::from_secs(10));
        }
        check.ended(0);
        check.agent_ended(1);
        assert_eq!(check.check(Time::ZERO + PATIENCE), Ok(()));
        assert!(check.check(late).is_err());
        check.ended(2);
        assert_eq!(check.check(late), Ok(()));
    }
}
