//! What one agent decides.

#![deny(clippy::disallowed_methods)]
