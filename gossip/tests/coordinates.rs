//! Where members find themselves to be, and what a liar cannot do.

mod world;

use quorate_protocol::wire::coordinate::COORDINATE_LEN;
use quorate_protocol::wire::digest::Parts;
use quorate_protocol::wire::gossip::{GossipMessage, PushPull};
use quorate_protocol::wire::stream::Origin;
use std::collections::BTreeMap;
use std::time::Duration;
use world::{World, address, node_id, secs};

/// The estimate of `n` for the round trip between two.
fn estimate(world: &World, n: usize, a: usize, b: usize) -> Option<Duration> {
    let gossip = world.get(n);
    Some(gossip.coordinate(node_id(a))?.distance(&gossip.coordinate(node_id(b))?))
}

#[test]
fn everybody_learns_where_everybody_is() {
    let mut world = World::joined(8, 1);
    world.run(secs(180));
    for n in 0..8 {
        for (a, b) in [(0, 1), (3, 7), (n, 5)] {
            let rtt = estimate(&world, n, a, b).expect("both are known");
            // Packets of this world take 0.1 to 0.5 ms one way.
            let (least, most) = (Duration::from_micros(50), Duration::from_millis(2));
            assert!(a == b || (least..most).contains(&rtt), "{a} {b} at {n}: {rtt:?}");
        }
    }
    assert!(
        world.get(0).counters().keys().all(|name| !name.starts_with("coordinate")),
        "{:?}",
        world.get(0).counters()
    );
}

#[test]
fn a_member_that_is_nowhere_or_speaks_for_others_is_not_believed() {
    let mut world = World::joined(3, 2);
    world.run(secs(60));
    let before = world.get(0).coordinate(node_id(2)).expect("known");
    let nowhere = bytes::Bytes::from(vec![0x7f; COORDINATE_LEN]);
    let here = world.get(0).coordinate(node_id(0)).expect("known");
    let elsewhere = bytes::Bytes::copy_from_slice(&quorate_protocol::wire::coordinate::encode_coordinate(&here));
    let state = PushPull {
        exchange: 1,
        label: "dc1".to_owned(),
        members: Vec::new(),
        parts: Parts::ALL,
        events: Default::default(),
        keys: 0,
        coordinates: BTreeMap::from([
            (node_id(1), nowhere),
            (node_id(2), elsewhere),
            (node_id(99), bytes::Bytes::new()),
        ]),
    };
    let (now, from) = (world.now, Origin { id: node_id(1), address: address(1) });
    world.with(0, |gossip| gossip.handle_message(now, from, GossipMessage::PushPullReply(state)));
    assert_eq!(world.get(0).coordinate(node_id(2)), Some(before));
    assert_eq!(world.get(0).coordinate(node_id(99)), None);
    assert_eq!(world.get(0).counters().get("coordinate_refused"), Some(&1));
}
