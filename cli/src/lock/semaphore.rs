//! Consul's semaphore: a lock for several.
//!
//! ```text
//!  PREFIX/<session>   one for each contender, held by its session, and gone with it
//!  PREFIX/.lock       {"Limit":3,"Holders":{"<session>":true}}, changed by compare-and-set
//! ```
//!
//! A holder without a contender is dead, and whoever comes next strikes it off. The count is right at every moment; who comes
//! next is a race, unlike with a lock for one.

use super::recipe::{Hold, Trouble, Try, millis};
use crate::client::Client;
use crate::failure::Failure;
use crate::kv::{Entry, Found, find, is_true, path};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What Consul's clients mark the keys of semaphores with.
const FLAG: u64 = 0xe0f6_9a2b_aa41_4de0;

#[derive(Debug, Clone)]
pub(super) struct Semaphore {
    prefix: String,
    key: String,
    limit: u32,
}

/// Who holds it, as the key says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Holders {
    limit: u32,
    holders: BTreeMap<String, bool>,
}

/// What is under the prefix.
struct Seen {
    /// The key's index, zero if there is none.
    modify_index: u64,
    /// Only the living.
    holders: Holders,
    contenders: BTreeSet<String>,
    /// To wait from.
    index: u64,
}

impl Semaphore {
    pub(super) fn new(prefix: &str, limit: u32) -> Semaphore {
        Semaphore { prefix: prefix.to_owned(), key: format!("{prefix}/.lock"), limit }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Becomes one of those who want it.
    pub(super) fn contend(&self, client: &Client, session: &str) -> Result<(), Trouble> {
        let doing = format!("contending for the semaphore '{}'", self.key);
        let flags = FLAG.to_string();
        let query = [("flags", flags.as_str()), ("acquire", session)];
        let said = client.ok(&doing, client.put(&doing, &path(&self.contender(session)), &query, b"")?)?;
        if is_true(&said) {
            Ok(())
        } else {
            Err(Failure::new(format!("Error {doing}: the agent did not let us.")).into())
        }
    }

    /// Holds it as soon as there is room.
    pub(super) fn attempt(&self, client: &Client, session: &str, wait: Duration) -> Result<Try, Trouble> {
        let until = Instant::now() + wait;
        let mut index = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut seen = self.see(client, index, left)?;
            if seen.holders.limit != self.limit {
                return Err(Trouble::Lasting(Failure::new(format!(
                    "Lock acquisition failed: '{}' is for {} holders, and -n says {}. All must say the same.",
                    self.key, seen.holders.limit, self.limit
                ))));
            }
            if seen.holders.holders.len() < self.limit as usize {
                seen.holders.holders.insert(session.to_owned(), true);
                if let Some(token) = self.write(client, &seen)? {
                    return Ok(Try::Held(Hold { token }));
                }
                // Somebody was faster: look again at once.
                index = 0;
            } else {
                index = seen.index;
            }
            if Instant::now() >= until {
                return Ok(Try::Taken);
            }
        }
    }

    pub(super) fn look(
        &self,
        client: &Client,
        session: &str,
        index: u64,
        wait: Duration,
    ) -> Result<(bool, u64), Trouble> {
        let seen = self.see(client, index, wait)?;
        Ok((seen.holders.holders.contains_key(session), seen.index))
    }

    pub(super) fn release(&self, client: &Client, session: &str) -> Result<(), Trouble> {
        loop {
            let mut seen = self.see(client, 0, Duration::ZERO)?;
            if seen.holders.holders.remove(session).is_none() || self.write(client, &seen)?.is_some() {
                break;
            }
        }
        let doing = format!("leaving the semaphore '{}'", self.key);
        client.ok(&doing, client.delete(&doing, &path(&self.contender(session)), &[])?)?;
        Ok(())
    }

    /// Removes the key, unless somebody wants it. Whether it is gone.
    pub(super) fn clean_up(&self, client: &Client) -> Result<bool, Failure> {
        let Ok(seen) = self.see(client, 0, Duration::ZERO) else { return Ok(false) };
        if !seen.holders.holders.is_empty() || !seen.contenders.is_empty() {
            return Ok(false);
        }
        if seen.modify_index == 0 {
            return Ok(true);
        }
        let doing = format!("removing the semaphore '{}'", self.key);
        let index = seen.modify_index.to_string();
        Ok(is_true(&client.ok(&doing, client.delete(&doing, &path(&self.key), &[("cas", &index)])?)?))
    }

    fn contender(&self, session: &str) -> String {
        format!("{}/{session}", self.prefix)
    }

    fn see(&self, client: &Client, index: u64, wait: Duration) -> Result<Seen, Trouble> {
        let (index, wait) = (index.to_string(), millis(wait));
        let query = [("recurse", ""), ("consistent", ""), ("index", &index), ("wait", &wait)];
        let doing = format!("watching the semaphore '{}'", self.key);
        self.seen(find(client, &doing, &format!("{}/", self.prefix), &query)?)
    }

    fn seen(&self, found: Found) -> Result<Seen, Trouble> {
        let is_contender = |entry: &&Entry| entry.key != self.key && !entry.session.is_empty();
        let contenders: BTreeSet<String> =
            found.entries.iter().filter(is_contender).map(|entry| entry.session.clone()).collect();
        let (modify_index, mut holders) = match found.entries.iter().find(|entry| entry.key == self.key) {
            None => (0, Holders { limit: self.limit, holders: BTreeMap::new() }),
            Some(entry) => (entry.modify_index, self.listed(entry)?),
        };
        holders.holders.retain(|session, _| contenders.contains(session));
        Ok(Seen { modify_index, holders, contenders, index: found.index })
    }

    fn listed(&self, entry: &Entry) -> Result<Holders, Trouble> {
        let other = |why: &str| {
            Trouble::Lasting(Failure::new(format!(
                "Lock acquisition failed: the key '{}' is there and is not a semaphore ({why}). Choose another prefix.",
                self.key
            )))
        };
        if entry.flags != FLAG {
            return Err(other("or a lock for one, see -n"));
        }
        serde_json::from_slice(&entry.value).map_err(|error| other(&error.to_string()))
    }

    /// Writes who holds it, unless somebody else did meanwhile. The index of the write, where servers tell it, grows with every
    /// hold.
    fn write(&self, client: &Client, seen: &Seen) -> Result<Option<Option<u64>>, Failure> {
        let doing = format!("writing the semaphore '{}'", self.key);
        let (flags, cas) = (FLAG.to_string(), seen.modify_index.to_string());
        let body =
            serde_json::to_vec(&seen.holders).map_err(|error| Failure::new(format!("Error {doing}: {error}.")))?;
        let answer = client.put(&doing, &path(&self.key), &[("flags", &flags), ("cas", &cas)], &body)?;
        let token = answer.log_index();
        Ok(is_true(&client.ok(&doing, answer)?).then_some(token))
    }
}
