//! `rtt` against an agent that says what the script says.

// Helpers of tests may panic as tests do, and the scripted agent needs a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scripted;

use scripted::quorate;

const NODES: &str = r#"[
    {"Node":"n1","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1,"Adjustment":0,"Height":0.001}},
    {"Node":"n2","Segment":"","Coord":{"Vec":[0.003,0.004,0,0,0,0,0,0],"Error":1,"Adjustment":-0.0005,"Height":0.002}},
    {"Node":"n3","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1,"Adjustment":-1,"Height":0.001}}
]"#;

#[test]
fn round_trips_are_estimated_as_consul_estimates_them() {
    let ended = quorate("rtt n1 n2", &[(200, NODES)]);
    assert_eq!(ended.out, "Estimated n1 <-> n2 rtt: 7.500 ms (using LAN coordinates)\n");
    assert_eq!(ended.asked, ["GET /v1/coordinate/nodes"]);
    let own = quorate("rtt n2", &[(200, r#"{"Config":{"NodeName":"n1"}}"#), (200, NODES)]);
    assert_eq!(own.out, "Estimated n2 <-> n1 rtt: 7.500 ms (using LAN coordinates)\n");
    let below_zero = quorate("rtt n1 n3", &[(200, NODES)]);
    assert!(below_zero.out.contains("rtt: 2.000 ms"), "{below_zero:?}");
}

#[test]
fn who_is_nowhere_is_named() {
    let ended = quorate("rtt n1 n9", &[(200, NODES)]);
    assert!(ended.code == 1 && ended.err.contains("Could not find a coordinate for node 'n9'"), "{ended:?}");
    assert!(quorate("rtt -wan n1", &[]).err.contains("-wan is not supported yet"));
    assert_eq!(quorate("rtt", &[]).code, 1);
}
