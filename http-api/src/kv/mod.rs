//! `/v1/kv/`: keys and values, and who holds them.
//!
//! [`read`] answers `GET`, [`write`] answers `PUT` and `DELETE`, [`stream`] answers `GET ?stream`.

mod read;
mod stream;
mod write;

use crate::call::Door;
use crate::error::Error;
use crate::route::{Routes, methods};
use axum::Router;

const PREFIX: &str = "/v1/kv/";

pub(crate) fn routes() -> Router<Door> {
    Router::new().below(PREFIX, methods().get(read::get).put(write::put).delete(write::delete))
}

fn not_empty(key: String) -> Result<String, Error> {
    if key.is_empty() { Err(Error::BadRequest("Missing key name".to_owned())) } else { Ok(key) }
}
