//! Who is here: SWIM membership and failure detection.

#![deny(clippy::disallowed_methods)]
