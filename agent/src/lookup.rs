//! Names of agents to join, looked up: the engine knows only addresses.

use crate::config::JoinAddress;
use anyhow::{Context, Result, bail};
use quorate_protocol::Refusal;
use quorate_protocol::go::quote;
use std::net::SocketAddr;
use std::time::Duration;

/// A resolver that takes longer does not answer; whoever asked still wants to hear so.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses of an agent to join.
///
/// # Errors
/// Its name cannot be looked up now, or has no address.
pub async fn addresses(join: &JoinAddress) -> Result<Vec<SocketAddr>> {
    let asked = tokio::net::lookup_host((join.host.as_str(), join.port));
    let answered = tokio::time::timeout(PATIENCE, asked).await.context("no answer in time").and_then(|it| Ok(it?));
    let found: Vec<SocketAddr> =
        answered.with_context(|| format!("the agent to join, {join}, cannot be looked up"))?.collect();
    if found.is_empty() { bail!("the agent to join, {join}, has no address") } else { Ok(found) }
}

/// The addresses that `texts` lead to, with `port` where none is said. Names that lead nowhere are left out as long as
/// another does not.
///
/// # Errors
/// [`Refusal::Invalid`] where a text cannot be joined at all, [`Refusal::Unreachable`] where nothing was found.
pub async fn all(texts: &[String], port: u16) -> Result<Vec<String>, Refusal> {
    let read = |text: &String| {
        JoinAddress::parse(text, port)
            .map_err(|remedy| Refusal::Invalid(format!("{} is not an agent to join: {remedy}", quote(text))))
    };
    let mut found = Vec::new();
    let mut failed = None;
    for join in texts.iter().map(read).collect::<Result<Vec<_>, _>>()? {
        match addresses(&join).await {
            Ok(these) => found.extend(these.iter().map(ToString::to_string)),
            Err(error) => {
                tracing::warn!("{error:#}");
                failed = Some(format!("{error:#}"));
            }
        }
    }
    match failed {
        Some(why) if found.is_empty() => Err(Refusal::Unreachable(why)),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_become_addresses() {
        // A label is 63 bytes at most (RFC 1035, 2.3.4), so that no resolver is asked for this one.
        let nowhere = "x".repeat(64);
        for (texts, expected) in [
            (&["10.0.0.1", "[::1]:9"][..], Ok("10.0.0.1:8301 [::1]:9")),
            (&["::1"], Ok("[::1]:8301")),
            (&[], Ok("")),
            (&["10.0.0.1", &nowhere], Ok("10.0.0.1:8301")),
            (&[&nowhere], Err("cannot be looked up")),
            (&["10.0.0.1", "a b"], Err(r#""a b" is not an agent to join: write a host name"#)),
            (&["10.0.0.1:0"], Err("the port must be a number")),
        ] {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            match (all(&texts, 8301).await, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.join(" "), expected),
                (Err(refusal), Err(expected)) => assert!(refusal.to_string().contains(expected), "{refusal}"),
                (found, _) => panic!("{texts:?}: {found:?}"),
            }
        }
        let localhost = all(&["localhost:9".to_owned()], 8301).await.unwrap();
        assert!(localhost.iter().any(|address| address == "127.0.0.1:9" || address == "[::1]:9"), "{localhost:?}");
    }
}
