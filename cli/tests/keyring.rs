//! `keyring` against an agent that says what the script says.

// Helpers of tests may panic as tests do, and the scripted agent needs a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod scripted;

use scripted::quorate;

#[test]
fn keys_are_listed_as_consul_lists_them() {
    let pools =
        r#"[{"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{"a=":3,"b=":2},"PrimaryKeys":{"a=":3},"NumNodes":3}]"#;
    let ended = quorate("keyring -list", &[(200, pools)]);
    assert_eq!(
        ended.out,
        "==> Gathering installed encryption keys...\n\ndc1 (LAN):\n  a= [3/3] (primary)\n  b= [2/3]\n"
    );
    assert_eq!(ended.asked, ["GET /v1/operator/keyring"]);
    let asked = quorate("keyring -list -local-only -relay-factor=2", &[(200, pools)]).asked;
    assert_eq!(asked, ["GET /v1/operator/keyring?relay-factor=2&local-only=1"]);
}

#[test]
fn keys_are_changed_and_refusals_shown() {
    for (what, method, says) in [
        ("install", "POST", "==> Installing new gossip encryption key...\n"),
        ("use", "PUT", "==> Changing primary gossip encryption key...\n"),
        ("remove", "DELETE", "==> Removing gossip encryption key...\n"),
    ] {
        let ended = quorate(&format!("keyring -{what} a="), &[(200, "")]);
        assert_eq!((ended.code, ended.out.as_str()), (0, says));
        assert_eq!(ended.asked, [format!(r#"{method} /v1/operator/keyring {{"Key":"a="}}"#)]);
    }
    let refused = quorate("keyring -remove a=", &[(500, "n1: Removing the primary key is not allowed")]);
    assert!(refused.code == 1 && refused.err.contains("Removing the primary key is not allowed"), "{refused:?}");
    assert!(quorate("keyring", &[]).err.contains("-install KEY"));
    assert_eq!(quorate("keyring -use a -remove b", &[]).code, 1);
}
