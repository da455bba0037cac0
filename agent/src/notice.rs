//! What the engine notices, as log lines: fields, not sentences with holes, and a level that says who should be woken.

use quorate_engine::Notice;
use quorate_gossip::MemberEventKind;
use tracing::{debug, error, info, warn};

/// Writes one line for one notice. Tools read the fields `event`, `node` and `name`; they do not change.
pub fn log(notice: &Notice) {
    match notice {
        Notice::Member { kind, member } => {
            let (event, node, address) = (kind.as_str(), &member.name, member.address);
            match kind {
                MemberEventKind::Failed => warn!(event = %event, node = %node, %address, "member"),
                _ => info!(event = %event, node = %node, %address, "member"),
            }
        }
        Notice::UserEvent { event } => {
            let (name, bytes) = (one_word(&event.name), event.payload.len());
            info!(event = %"user", name = %name, ltime = event.ltime, bytes, "user event");
        }
        Notice::Query { query } => {
            let (name, bytes) = (one_word(&query.question.name), query.question.payload.len());
            info!(event = %"query", name = %name, ltime = query.ltime, bytes, "query");
        }
        Notice::KeyringOrder { what, refused } if refused.is_empty() => info!(event = %"keyring", what, "keys changed"),
        Notice::KeyringOrder { what, refused } => warn!(event = %"keyring", what, refused, "keys unchanged"),
        Notice::Joined { address, members } => info!(%address, members, "joined through"),
        Notice::Bootstrapped { servers } => info!(servers = servers.len(), "made the first configuration of a cluster"),
        Notice::OtherCluster { node } => warn!(
            node = %node,
            "this server founded or joined another cluster and stays out of ours: \
             stop it, empty its data directory and start it without -bootstrap-expect and -dev to add it"
        ),
        Notice::LeaderChanged { leader: Some(leader), term } => info!(%leader, %term, "leader changed"),
        Notice::LeaderChanged { leader: None, term } => warn!(%term, "no leader"),
        Notice::BecameLeader { term } => info!(%term, "this server leads"),
        Notice::LostLeadership { term } => warn!(%term, "this server no longer leads"),
        Notice::CheckChanged { check_id, status } => info!(check = %check_id, %status, "check changed"),
        Notice::ServiceReaped { service_id, check_id } => {
            warn!(service = %service_id, check = %check_id, "service deregistered: critical for too long");
        }
        Notice::NotInDns { service_id, problem } => warn!(service = %service_id, "{problem}"),
        Notice::Reloaded { services, gone } => {
            info!(services, gone, "services and checks as the configuration says now")
        }
        Notice::Synced { writes } => debug!(writes, "local services and checks brought to the catalogue"),
        Notice::SyncFailed { why } => {
            warn!(why, "local services and checks are not in the catalogue yet; trying again");
        }
        Notice::Reconciled { node, what } => debug!(node = %node, member = %what, "catalogue follows member"),
        Notice::ServerChanged { id, node, what } => info!(server = %id, node = %node, what, "servers"),
        Notice::SnapshotInstalled { index } => {
            warn!(%index, "took the leader's snapshot: this server had fallen too far behind")
        }
        Notice::SnapshotRefused { why } => warn!(why, "the leader's snapshot cannot be read; waiting for another"),
        Notice::QuorumRecovered { index } => {
            warn!(%index, "the quorum was given up: this server is the only one of its cluster")
        }
        Notice::ReplicaDiffers { index } => error!(%index, "the servers' states differ: one of them drifted apart"),
        Notice::WriteRefused { what, why } => warn!(what, why, "the catalogue refused a write"),
    }
}

/// A name as a field that tools can read.
fn one_word(name: &str) -> String {
    name.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}
