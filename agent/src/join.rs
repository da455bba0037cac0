//! Joining the agents that the configuration names.

use crate::config::JoinAddress;
use crate::front::Front;
use crate::lookup;
use anyhow::{Result, bail};
use quorate_protocol::{Ask, Cluster, LocalRequest, Reply, Request};
use std::net::IpAddr;
use std::time::Duration;

/// The shortest pause between two look-ups of a name that cannot be resolved; it doubles up to the configured interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Joins through any of these or fails: what `-join` asks for.
///
/// # Errors
/// Nobody answered, or no name could be resolved.
pub async fn once(join: &[JoinAddress], front: &Front) -> Result<()> {
    match through(join.iter().map(ToString::to_string), front).await {
        Reply::Refused(refusal) => bail!("start_join: {refusal}; to keep trying instead, use -retry-join"),
        _ => Ok(()),
    }
}

/// Hands the addresses of names to the engine as soon as they resolve. The engine keeps trying addresses by itself, so that only
/// names are tried again here.
pub async fn by_name(join: Vec<JoinAddress>, interval: Duration, front: Front) {
    let mut unresolved: Vec<JoinAddress> = join.into_iter().filter(|one| one.host.parse::<IpAddr>().is_err()).collect();
    let mut pause = FIRST_PAUSE.min(interval);
    while !unresolved.is_empty() {
        let mut addresses = Vec::new();
        let mut rest = Vec::new();
        for one in unresolved {
            match lookup::addresses(&one).await {
                Ok(found) => addresses.extend(found),
                Err(error) => {
                    tracing::warn!("{error:#}; trying again");
                    rest.push(one);
                }
            }
        }
        unresolved = rest;
        if !addresses.is_empty()
            && let Reply::Refused(refusal) = through(addresses.iter().map(ToString::to_string), &front).await
        {
            tracing::warn!("retry_join: {refusal}");
        }
        if !unresolved.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(interval);
        }
    }
}

async fn through(addresses: impl Iterator<Item = String>, front: &Front) -> Reply {
    let addresses = addresses.collect();
    front.ask(Request::here(Ask::Local(LocalRequest::Join { addresses }))).await
}
