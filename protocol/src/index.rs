//! Places in the log.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first.
            pub const ZERO: $name = $name(0);

            /// The one after this. Saturates: no cluster lives to see it.
            pub const fn next(self) -> $name {
                $name(self.0.saturating_add(1))
            }

            /// The one before this; zero has none and stays.
            pub const fn previous(self) -> $name {
                $name(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

counter! {
    /// A Raft term: one leader at most in each.
    Term
}
counter! {
    /// A place in the replicated log, 1 for the first entry. Rows of the catalogue and keys carry the ones at which they were
    /// made and last changed, and `X-Consul-Index` shows it.
    LogIndex
}
