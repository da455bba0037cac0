//! `/v1/coordinate/`.

use crate::fake::*;
use quorate_protocol::coordinate::{Coordinate, DIMENSIONS, NodeCoordinate};
use quorate_protocol::{LocalRequest, Reply};

const HERE: Coordinate = Coordinate { place: [0.5; DIMENSIONS], height: 0.25, error: 1.5, adjustment: -0.125 };
const ROW: &str = r#"{"Node":"n1","Segment":"","Coord":{"Vec":[0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5],"Error":1.5,"Adjustment":-0.125,"Height":0.25}}"#;

fn known() -> [Reply; 1] {
    let node = |name: &str, server| NodeCoordinate { node: name.to_owned(), server, coordinate: HERE };
    [Reply::Coordinates(vec![node("n1", true), node("n2", false)])]
}

#[tokio::test]
async fn nodes_are_shown_as_consul_shows_them() {
    let all = call("GET /v1/coordinate/nodes", "", known()).await;
    all.answered(200, &format!("[{ROW},{}]", ROW.replace("n1", "n2")));
    assert_eq!((all.local(), all.header("x-consul-index")), (&LocalRequest::Coordinates, Some("1")));
    call("GET /v1/coordinate/node/n1", "", known()).await.answered(200, &format!("[{ROW}]"));
    call("GET /v1/coordinate/node/n3", "", known()).await.answered(404, "");
    call("GET /v1/coordinate/node/", "", []).await.refused(400, "Missing node name");
    call("GET /v1/coordinate/datacenters", "", known())
        .await
        .answered(200, &format!(r#"[{{"Datacenter":"dc1","AreaID":"lan","Coordinates":[{ROW}]}}]"#));
}

#[tokio::test]
async fn of_a_node_without_an_agent_it_is_told() {
    let seen = call("PUT /v1/coordinate/update", ROW, [Reply::Done]).await;
    seen.answered(200, "");
    assert_eq!(seen.local(), &LocalRequest::SetCoordinate { node: "n1".to_owned(), coordinate: HERE });
    for (body, why) in [
        ("{}", "Node and Coord are needed"),
        (r#"{"Node":"x","Coord":{"Vec":[1]}}"#, "Coord.Vec must have 8 numbers"),
        (r#"{"Node":"x","Coord":{"Vec":["a"]}}"#, "a list of numbers"),
        (r#"{"Node":"x","Coord":{"Error":"a"}}"#, "a number"),
    ] {
        let refused = call("PUT /v1/coordinate/update", body, []).await;
        assert!(refused.status == 400 && refused.body.contains(why), "{body}: {}", refused.body);
    }
}
