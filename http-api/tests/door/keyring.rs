//! `/v1/operator/keyring`.

use crate::fake::*;
use quorate_protocol::keyring::KeyringChange::{Install, Remove, Use};
use quorate_protocol::keyring::{GossipKey, KeyringReport, KeyringRequest};
use quorate_protocol::{LocalRequest, Reply};

const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn key() -> GossipKey {
    GossipKey::from([7; 32])
}

fn all(members: usize, answered: usize) -> KeyringReport {
    KeyringReport { members, answered, ..KeyringReport::default() }
}

#[tokio::test]
async fn keys_are_listed_as_consul_lists_them() {
    let keys = KeyringReport { keys: [(key(), 3)].into(), primaries: [(key(), 3)].into(), ..all(3, 3) };
    let seen = call("GET /v1/operator/keyring?relay-factor=2", "", [Reply::Keyring(keys)]).await;
    seen.answered(
        200,
        &format!(
            r#"[{{"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{{"{KEY}":3}},"PrimaryKeys":{{"{KEY}":3}},"NumNodes":3}}]"#
        ),
    );
    assert_eq!(seen.local(), &LocalRequest::Keyring { request: KeyringRequest::List, relays: 2, local: false });
    let local = call("GET /v1/operator/keyring?local-only=1", "", [Reply::Keyring(all(1, 1))]).await;
    assert_eq!(local.local(), &LocalRequest::Keyring { request: KeyringRequest::List, relays: 0, local: true });
}

#[tokio::test]
async fn keys_are_changed_everywhere() {
    for (method, change) in [("POST", Install(key())), ("PUT", Use(key())), ("DELETE", Remove(key()))] {
        let body = format!(r#"{{"Key":"{KEY}"}}"#);
        let seen = call(&format!("{method} /v1/operator/keyring"), body.clone(), [Reply::Keyring(all(3, 3))]).await;
        seen.answered(200, "");
        let request = KeyringRequest::Change(change);
        assert_eq!(seen.local(), &LocalRequest::Keyring { request, relays: 0, local: false }, "{method}");
    }
}

#[tokio::test]
async fn refusals_are_consuls() {
    let body = format!(r#"{{"Key":"{KEY}"}}"#);
    let why = "Removing the primary key is not allowed".to_owned();
    let refused =
        KeyringReport { refused: [("n1".to_owned(), why.clone()), ("n2".to_owned(), why)].into(), ..all(2, 2) };
    call("DELETE /v1/operator/keyring", body.clone(), [Reply::Keyring(refused)]).await.answered(
        500,
        "3 errors occurred:\n\t* dc1 (LAN) error: 2/2 nodes reported failure\n\t* n1: Removing the primary key is not allowed\n\t* n2: \
         Removing the primary key is not allowed\n\n",
    );
    call("PUT /v1/operator/keyring", body.clone(), [Reply::Keyring(all(3, 2))])
        .await
        .answered(500, "1 error occurred:\n\t* dc1 (LAN) error: 2/3 nodes reported success\n\n");
    call("POST /v1/operator/keyring", r#"{"Key":"!"}"#, []).await.refused(500, "the key is not base64");
    let short = call("POST /v1/operator/keyring", r#"{"Key":"AAAA"}"#, []).await;
    assert!(short.status == 500 && short.body.contains("this one has 3"), "{}", short.body);
    call("GET /v1/operator/keyring?relay-factor=6", "", []).await.refused(400, "Relay factor must be in range: [0, 5]");
    let local = call("PUT /v1/operator/keyring?local-only", body.clone(), []).await;
    assert_eq!(local.status, 400);
}
