//! Election safety: at most one leader in each term (dissertation, figure 3.2).

use super::{Checked, Violation};
use quorate_protocol::Term;
use std::collections::BTreeMap;

/// Who led in which term.
#[derive(Debug, Default)]
pub struct OneLeaderPerTerm {
    leaders: BTreeMap<Term, usize>,
}

impl OneLeaderPerTerm {
    /// An agent leads in a term.
    ///
    /// # Errors
    /// When another one has led in it.
    pub fn leads(&mut self, agent: usize, term: Term) -> Checked {
        let first = *self.leaders.entry(term).or_insert(agent);
        if first == agent {
            return Ok(());
        }
        Violation::seen("one_leader_per_term", format!("agents {first} and {agent} both lead in term {term}"))
    }

    /// How many terms have had a leader.
    pub fn terms(&self) -> usize {
        self.leaders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_in_one_term_are_seen() {
        let mut check = OneLeaderPerTerm::default();
        assert_eq!(check.leads(0, Term(1)), Ok(()));
        assert_eq!(check.leads(1, Term(2)), Ok(()));
        assert_eq!(check.leads(1, Term(2)), Ok(()), "again the same");
        assert!(check.leads(2, Term(1)).is_err());
    }
}
