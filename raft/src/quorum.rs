//! Quorum arithmetic, apart from everything that uses it.

use quorate_protocol::NodeId;
use std::collections::BTreeMap;

/// How many of `voters` are a majority.
pub(crate) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The greatest value that a majority has reached; `None` if nobody votes.
///
/// Fits match indexes (what is committed), heartbeat rounds (which read is confirmed) and moments (how long a lease
/// holds).
pub(crate) fn reached<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    // In falling order, place n/2 is the (n/2 + 1)-th: as many as a majority are at least this.
    values.get(values.len() / 2).copied()
}

/// How an election stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tally {
    /// A majority said yes.
    Won,
    /// A majority can no longer be had.
    Lost,
    /// Too few have answered.
    Open,
}

/// Counts answers, of voters only.
pub(crate) fn tally(voters: impl Iterator<Item = NodeId>, answers: &BTreeMap<NodeId, bool>) -> Tally {
    let (mut total, mut yes, mut no) = (0, 0, 0);
    for voter in voters {
        total += 1;
        match answers.get(&voter) {
            Some(true) => yes += 1,
            Some(false) => no += 1,
            None => {}
        }
    }
    if yes >= majority(total) {
        Tally::Won
    } else if total - no < majority(total) {
        Tally::Lost
    } else {
        Tally::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reached_by_a_majority() {
        let check = |values: &[u64], expected| assert_eq!(reached(values.iter().copied()), expected, "{values:?}");
        check(&[], None);
        check(&[7], Some(7));
        check(&[7, 3], Some(3));
        check(&[1, 9, 5], Some(5));
        check(&[9, 8, 2, 1], Some(2));
        check(&[0, 0, 4, 6, 9], Some(4));
    }

    #[test]
    fn tally_counts_voters_only() {
        let id = |n: u8| NodeId([n; 16]);
        let check = |voters: u8, answers: &[(u8, bool)], expected| {
            let answers = answers.iter().map(|(n, granted)| (id(*n), *granted)).collect();
            assert_eq!(tally((0..voters).map(id), &answers), expected, "{voters} {answers:?}");
        };
        check(0, &[(1, true)], Tally::Lost);
        check(1, &[], Tally::Open);
        check(1, &[(0, true)], Tally::Won);
        check(2, &[(0, true)], Tally::Open);
        check(2, &[(0, true), (1, false)], Tally::Lost);
        check(3, &[(0, true), (1, true)], Tally::Won);
        check(3, &[(0, true), (8, true), (9, true)], Tally::Open);
        check(4, &[(0, true), (1, true)], Tally::Open);
        check(4, &[(0, false), (1, false)], Tally::Lost);
        check(5, &[(0, true), (1, true), (2, true)], Tally::Won);
    }
}
