//! Where nodes are: those with an agent find out, of others it is told.

// A test's helpers may stop it like the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use quorate_protocol::coordinate::{Coordinate, DIMENSIONS};
use quorate_protocol::{Ask, LocalRequest, Refusal, Reply};
use support::*;

fn known(agents: &mut Agents, number: u8) -> Vec<(String, bool)> {
    match agents.ask(number, Ask::Local(LocalRequest::Coordinates)) {
        Reply::Coordinates(nodes) => nodes.into_iter().map(|node| (node.node, node.server)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_are_found_and_others_are_told() {
    let mut agents = server_and_client();
    agents.pass(60 * SECOND);
    assert_eq!(known(&mut agents, 2), [("n1".to_owned(), true), ("n2".to_owned(), false)]);
    let there = Coordinate { place: [0.01; DIMENSIONS], height: 0.0, error: 1.0, adjustment: 0.0 };
    let set = |agents: &mut Agents, node: &str, coordinate| {
        agents.ask(2, Ask::Local(LocalRequest::SetCoordinate { node: node.to_owned(), coordinate }))
    };
    assert_eq!(set(&mut agents, "db-rds", there), Reply::Done);
    assert_eq!(known(&mut agents, 2)[0], ("db-rds".to_owned(), false));
    for (node, coordinate) in [("n1", there), ("x", Coordinate { error: f64::NAN, ..there })] {
        let refused = set(&mut agents, node, coordinate);
        assert!(matches!(refused, Reply::Refused(Refusal::Invalid(_))), "{refused:?}");
    }
}
