//! Servers compare the hashes of their states.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::*;

/// Before a learner votes it must know whether it learned right; what it says counts for nobody until then.
#[test]
fn voters_tell_everybody_and_learners_nobody() {
    let (mut agents, leader, _) = three_servers();
    agents.start(config(4, Some(0)));
    agents.pass(3 * SECOND);
    assert!(agents.configuration(leader).get(&id(4)).is_some_and(|peer| !peer.voter));
    for number in 0..1100 {
        agents.send(leader, put("a", &number.to_string()));
    }
    let expected = (1..=3).flat_map(|from| (1..=4).filter(move |to| *to != from).map(move |to| (from, to)));
    assert!(agents.hashes_told.iter().copied().eq(expected), "{:?}", agents.hashes_told);
}
