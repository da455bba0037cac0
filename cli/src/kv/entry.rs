//! Keys as agents tell of them.

use super::path;
use crate::client::Client;
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// What a question found.
pub(crate) struct Found {
    /// None where the agent says that there are none.
    pub(crate) entries: Vec<Entry>,
    /// To wait from for a change.
    pub(crate) index: u64,
}

/// A key.
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u64,
    pub(crate) lock_index: u64,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
    /// Empty where nobody holds it.
    pub(crate) session: String,
    /// Only where it is held, and where servers tell it.
    pub(crate) fencing_token: Option<u64>,
}

/// Asks for a key, or for all under one.
pub(crate) fn find(client: &Client, doing: &str, key: &str, query: &[(&str, &str)]) -> Result<Found, Failure> {
    let answer = client.get(doing, &path(key), query)?;
    let index = answer.index().unwrap_or(0);
    if answer.status == 404 {
        return Ok(Found { entries: Vec::new(), index });
    }
    let wires: Vec<Wire> = client.json(doing, &client.ok(doing, answer)?)?;
    let entries = wires.into_iter().map(|wire| wire.decoded(doing)).collect::<Result<_, _>>()?;
    Ok(Found { entries, index })
}

/// Reads one key.
pub(super) fn decoded(client: &Client, doing: &str, json: &[u8]) -> Result<Entry, Failure> {
    client.json::<Wire>(doing, json)?.decoded(doing)
}

/// A key in JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wire {
    key: String,
    value: Option<String>,
    flags: u64,
    lock_index: u64,
    create_index: u64,
    modify_index: u64,
    session: String,
    fencing_token: Option<u64>,
}

impl Wire {
    fn decoded(self, doing: &str) -> Result<Entry, Failure> {
        let Wire { key, value, flags, lock_index, create_index, modify_index, session, fencing_token } = self;
        let value = STANDARD.decode(value.unwrap_or_default()).map_err(|error| {
            Failure::new(format!("Error {doing}: the agent sent a value of '{key}' that is not base64 ({error})."))
        })?;
        Ok(Entry { key, value, flags, lock_index, create_index, modify_index, session, fencing_token })
    }
}
