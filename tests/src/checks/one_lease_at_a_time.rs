//! While a leader holds a valid lease, nobody else is elected: reads at the default consistency stand on it (dissertation, 6.4.1).

use super::{Checked, Violation};
use quorate_protocol::Term;

/// A leader that is being replaced, as it sees itself at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Which agent.
    pub agent: usize,
    /// In which term it leads.
    pub term: Term,
    /// Whether it would answer from its lease.
    pub holds_lease: bool,
}

/// An agent was elected for a term while these think that they lead in an earlier one.
///
/// # Errors
/// When one of them still holds a lease.
pub fn elected(agent: usize, term: Term, earlier: &[Earlier]) -> Checked {
    match earlier.iter().find(|one| one.holds_lease && one.term < term) {
        Some(one) => Violation::seen(
            "one_lease_at_a_time",
            format!(
                "agent {agent} is elected for term {term} while agent {} has a lease in term {}",
                one.agent, one.term
            ),
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_lasts_too_long_is_seen() {
        let earlier = |holds_lease| [Earlier { agent: 0, term: Term(4), holds_lease }];
        assert_eq!(elected(1, Term(5), &earlier(false)), Ok(()));
        assert_eq!(elected(1, Term(3), &earlier(true)), Ok(()), "the lease is of a later term");
        assert!(elected(1, Term(5), &earlier(true)).is_err());
    }
}
