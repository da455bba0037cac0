//! In what order: a sans-io Raft core.

#![deny(clippy::disallowed_methods)]
