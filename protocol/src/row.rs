//! A row of the store.

use crate::LogIndex;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// A value of the store with the log indexes at which it was made and last changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<T> {
    /// The value.
    pub value: T,
    /// The log index at which this row was made; a row deleted and made again gets a new one.
    pub create_index: LogIndex,
    /// The log index at which this row last changed. Writing an equal value changes nothing.
    pub modify_index: LogIndex,
}

impl<T> Deref for Row<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
