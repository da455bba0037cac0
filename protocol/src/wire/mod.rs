//! The words as bytes.
//!
//! Every medium starts with a version byte; numbers are only appended; the bytes of each version are kept as golden files in
//! `protocol/golden/`. A decoder never allocates more than the bytes it was given could describe.
//!
//! | medium | file | encoding |
//! |---|---|---|
//! | datagrams | [`gossip`], [`news`] | version byte, then positional |
//! | the greeting on a QUIC connection | [`hello`] | length, version byte, MessagePack with named fields |
//! | frames on QUIC streams | [`stream`] | length, version byte, MessagePack with named fields |
//! | an agent's own services and checks | [`local`] | version byte, MessagePack with named fields |
//! | log entries on disk and in messages | [`log`] | version byte, MessagePack with named fields |

pub mod answer;
pub mod coordinate;
pub mod digest;
pub mod gossip;
pub mod hello;
pub mod keyring;
pub mod local;
pub mod log;
pub mod news;
pub mod probe;
pub mod stream;

/// The lowest version of the wire that this build understands.
pub const VERSION_MIN: u8 = 1;
/// The highest version of the wire that this build understands.
pub const VERSION_MAX: u8 = 1;

/// Why bytes could not be read. Whoever sent them is at fault or speaks a newer version; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There are no bytes, or they end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// The sender speaks a version outside of [`VERSION_MIN`]..=[`VERSION_MAX`].
    #[error("version {0} of the wire is not understood by this agent")]
    Version(u8),
    /// Longer than the medium allows.
    #[error("{length} bytes are more than the {limit} allowed here")]
    TooLong {
        /// What was announced.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The bytes make no sense.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Writes a version byte and the value as MessagePack with named fields.
pub(crate) fn to_named<T: serde::Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    let written = rmp_serde::encode::write_named(&mut bytes, value);
    // Writing to memory cannot fail, and none of our types refuses to be serialised; a type that does is a bug that the
    // first test of its round trip finds.
    debug_assert!(written.is_ok(), "{written:?}");
    bytes
}

/// Reads what [`to_named`] wrote.
pub(crate) fn from_named<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    match bytes.split_first() {
        None => Err(WireError::Truncated),
        Some((&version, rest)) if (VERSION_MIN..=VERSION_MAX).contains(&version) => {
            rmp_serde::from_slice(rest).map_err(|error| WireError::Malformed(error.to_string()))
        }
        Some((&version, _)) => Err(WireError::Version(version)),
    }
}
