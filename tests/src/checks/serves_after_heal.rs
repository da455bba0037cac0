//! A healed world serves: in the end every running agent answers a read that is not stale.

use super::{Checked, Violation};
use std::collections::BTreeSet;

/// The agents that served lately.
#[derive(Debug, Default)]
pub struct ServesAfterHeal {
    served: BTreeSet<usize>,
}

impl ServesAfterHeal {
    /// A read that is not stale was answered through this agent.
    pub fn served(&mut self, agent: usize) {
        self.served.insert(agent);
    }

    /// Only what is served from now on counts.
    pub fn forget(&mut self) {
        self.served.clear();
    }

    /// Whether all of these have served.
    ///
    /// # Errors
    /// When one has not.
    pub fn check(&self, running: &[usize]) -> Checked {
        match running.iter().find(|agent| !self.served.contains(agent)) {
            Some(agent) => Violation::seen("serves_after_heal", format!("agent {agent} has answered no read since")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_agent_is_seen() {
        let mut check = ServesAfterHeal::default();
        check.served(0);
        check.forget();
        check.served(1);
        assert_eq!(check.check(&[1]), Ok(()));
        assert!(check.check(&[0, 1]).is_err());
    }
}
