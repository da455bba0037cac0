//! A lock for one: whoever's session holds the key.

use super::recipe::{Hold, Trouble, Try, millis};
use crate::client::Client;
use crate::failure::Failure;
use crate::kv::{find, is_true, path};
use std::time::Duration;

/// What Consul's clients mark the keys of locks with, so that nobody takes another key for one.
const FLAG: u64 = 0x2ddc_cbc0_58a5_0c18;

/// A key that is used for something else is left alone.
pub(super) fn refuse_other_use(client: &Client, key: &str) -> Result<(), Trouble> {
    let found = find(client, &format!("looking at the lock '{key}'"), key, &[])?;
    match found.entries.first() {
        Some(entry) if entry.flags != FLAG => Err(Trouble::Lasting(Failure::new(format!(
            "Lock acquisition failed: the key '{key}' is there and is not a lock (or one for several, see -n). Choose another \
             prefix."
        )))),
        _ => Ok(()),
    }
}

pub(super) fn attempt(client: &Client, key: &str, session: &str, wait: Duration) -> Result<Try, Trouble> {
    let doing = format!("acquiring the lock '{key}'");
    let (flags, wait) = (FLAG.to_string(), millis(wait));
    // The servers queue those who wait, so nobody is passed over and nobody asks in vain.
    let query = [("flags", flags.as_str()), ("acquire", session), ("wait", &wait)];
    let answer = client.put(&doing, &path(key), &query, b"")?;
    let token = answer.fencing_token();
    let said = client.ok(&doing, answer)?;
    Ok(if is_true(&said) { Try::Held(Hold { token }) } else { Try::Taken })
}

pub(super) fn look(
    client: &Client,
    key: &str,
    session: &str,
    index: u64,
    wait: Duration,
) -> Result<(bool, u64), Trouble> {
    let (index, wait) = (index.to_string(), millis(wait));
    let query = [("consistent", ""), ("index", &index), ("wait", &wait)];
    let found = find(client, &format!("watching the lock '{key}'"), key, &query)?;
    Ok((found.entries.first().is_some_and(|entry| entry.session == session), found.index))
}

pub(super) fn release(client: &Client, key: &str, session: &str) -> Result<(), Trouble> {
    let doing = format!("releasing the lock '{key}'");
    let flags = FLAG.to_string();
    let query = [("flags", flags.as_str()), ("release", session)];
    // No means that it is not ours any more.
    client.ok(&doing, client.put(&doing, &path(key), &query, b"")?)?;
    Ok(())
}

/// Removes the key, unless somebody holds it. Whether it is gone.
pub(super) fn clean_up(client: &Client, key: &str) -> Result<bool, Failure> {
    let doing = format!("removing the lock '{key}'");
    let found = find(client, &doing, key, &[])?;
    let Some(entry) = found.entries.first() else { return Ok(true) };
    if !entry.session.is_empty() || entry.flags != FLAG {
        return Ok(false);
    }
    let index = entry.modify_index.to_string();
    Ok(is_true(&client.ok(&doing, client.delete(&doing, &path(key), &[("cas", &index)])?)?))
}
