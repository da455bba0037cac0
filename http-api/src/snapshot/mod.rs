//! `/v1/snapshot`: the whole state, saved and put back.
//!
//! [`archive`] is the file, [`tar`] the container in it. Both ways are streams: a snapshot of any size passes through little memory.

mod archive;
mod restore;
mod save;
mod tar;

use crate::call::Door;
use crate::route::{Routes, methods};
use axum::Router;

pub(crate) fn routes() -> Router<Door> {
    Router::new().exactly("/v1/snapshot", methods().get(save::save).put(restore::restore))
}
