//! What is known: catalogue, checks and keys, with immutable views.

#![deny(clippy::disallowed_methods)]
