//! Changing the keys while connections are open.
//!
//! A key is installed everywhere before it is used, and used everywhere before another is removed. In between, agents that are a step
//! apart understand each other: each says which keys it believes, and is shown a certificate under one of these. Once the keys changed,
//! nothing new is written to the connections that were made before; what was, is written out, and then they end.

use super::endpoint::Security;
use super::identity::IdentityError;
use super::limits;
use super::shared::{Shared, lock};
use std::sync::Arc;

/// Makes connections under other keys from now on, the first of them the primary's.
pub(super) fn set_keys(shared: &Arc<Shared>, secrets: &[Vec<u8>]) -> Result<(), IdentityError> {
    let security = Security::of(secrets, shared.id, &shared.datacenter)?;
    shared.endpoint.set_server_config(Some(security.server));
    *lock(&shared.clients) = security.clients;
    let keys = shared.keys_changed();
    let task = shared.clone();
    shared.spawn(async move {
        tokio::time::sleep(limits::OLD_KEYS).await;
        lock(&task.peers).close_from_before(keys);
    });
    Ok(())
}
