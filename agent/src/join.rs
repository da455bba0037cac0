//! Joining agents that are named, not numbered: names are looked up here, since the engine knows only addresses.

use crate::config::JoinAddress;
use crate::front::Front;
use anyhow::{Context, Result, bail};
use quorate_protocol::{Ask, Cluster, LocalRequest, Reply, Request};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The shortest pause between two look-ups of a name that cannot be resolved; it doubles up to the configured interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Joins through these or fails: what `-join` asks for.
///
/// # Errors
/// Nobody answered, or no name could be resolved.
pub async fn once(join: &[JoinAddress], front: &Front) -> Result<()> {
    let mut addresses = Vec::new();
    for one in join {
        addresses.extend(resolve(one).await?);
    }
    match front.ask(Request::here(Ask::Local(LocalRequest::Join { addresses }))).await {
        Reply::Refused(refusal) => bail!("start_join: {refusal}; to keep trying instead, use -retry-join"),
        _ => Ok(()),
    }
}

/// Hands the addresses of names to the engine as soon as they resolve. The engine keeps trying addresses by itself.
pub async fn by_name(join: Vec<JoinAddress>, interval: Duration, front: Front) {
    let mut unresolved: Vec<JoinAddress> = join.into_iter().filter(|one| one.host.parse::<IpAddr>().is_err()).collect();
    let mut pause = FIRST_PAUSE.min(interval);
    while !unresolved.is_empty() {
        let mut addresses = Vec::new();
        let mut rest = Vec::new();
        for one in unresolved {
            match resolve(&one).await {
                Ok(found) => addresses.extend(found),
                Err(error) => {
                    tracing::warn!("{error:#}; trying again");
                    rest.push(one);
                }
            }
        }
        unresolved = rest;
        if !addresses.is_empty()
            && let Reply::Refused(refusal) =
                front.ask(Request::here(Ask::Local(LocalRequest::Join { addresses }))).await
        {
            tracing::warn!("retry_join: {refusal}");
        }
        if !unresolved.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(interval);
        }
    }
}

async fn resolve(join: &JoinAddress) -> Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((join.host.as_str(), join.port))
        .await
        .with_context(|| format!("the agent to join, {join}, cannot be looked up"))?
        .collect();
    if found.is_empty() { bail!("the agent to join, {join}, has no address") } else { Ok(found) }
}
