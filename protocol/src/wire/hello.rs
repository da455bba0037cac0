//! The first frame in each direction of a connection between two agents.

use super::{VERSION_MAX, VERSION_MIN, WireError};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The longest greeting, in bytes.
pub const MAX_HELLO: usize = 4096;

/// The version of the greeting itself. It stays readable by every later build, because it is what versions are agreed with:
/// later builds add fields, with defaults.
const HELLO_VERSION: u8 = 1;

/// What an agent says of itself before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest version of the wire that the sender understands.
    pub version_min: u8,
    /// The highest version of the wire that the sender understands.
    pub version_max: u8,
    /// Where the sender can be dialled.
    pub address: SocketAddr,
    /// The sender's name.
    pub name: String,
    /// Drawn anew at every start, so that connections from before a restart are known to be dead.
    pub boot: u64,
}

impl Hello {
    /// The greeting of an agent of this build.
    pub fn new(address: SocketAddr, name: String, boot: u64) -> Hello {
        Hello { version_min: VERSION_MIN, version_max: VERSION_MAX, address, name, boot }
    }

    /// The highest version of the wire that this build and the sender both understand, if any.
    pub fn common_version(&self) -> Option<u8> {
        let highest = self.version_max.min(VERSION_MAX);
        (highest >= self.version_min.max(VERSION_MIN)).then_some(highest)
    }

    /// The frame's content, without its length.
    pub fn encode(&self) -> Vec<u8> {
        super::to_named(HELLO_VERSION, self)
    }

    /// Reads what [`Hello::encode`] wrote, whatever fields were added since.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are longer than [`MAX_HELLO`], not a greeting, or malformed.
    pub fn decode(bytes: &[u8]) -> Result<Hello, WireError> {
        if bytes.len() > MAX_HELLO {
            return Err(WireError::TooLong { length: bytes.len(), limit: MAX_HELLO });
        }
        match bytes.split_first() {
            None => Err(WireError::Truncated),
            Some((&HELLO_VERSION, rest)) => {
                rmp_serde::from_slice(rest).map_err(|error| WireError::Malformed(error.to_string()))
            }
            Some((&version, _)) => Err(WireError::Version(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version_min: u8, version_max: u8) -> Hello {
        Hello { version_min, version_max, ..Hello::new(SocketAddr::from(([127, 0, 0, 1], 8301)), "a".into(), 7) }
    }

    #[test]
    fn bytes_and_back() {
        let hello = hello(1, 1);
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello.clone()));
        for end in 0..hello.encode().len() {
            assert!(Hello::decode(&hello.encode()[..end]).is_err(), "cut at {end}");
        }
        assert!(matches!(Hello::decode(&[1; MAX_HELLO + 1]), Err(WireError::TooLong { .. })));
        assert_eq!(Hello::decode(&[9, 1]), Err(WireError::Version(9)));
    }

    #[test]
    fn versions_meet_at_the_highest_common_one() {
        assert_eq!(hello(VERSION_MIN, VERSION_MAX).common_version(), Some(VERSION_MAX));
        assert_eq!(hello(VERSION_MIN, VERSION_MAX + 3).common_version(), Some(VERSION_MAX));
        assert_eq!(hello(VERSION_MAX + 1, VERSION_MAX + 3).common_version(), None);
    }
}
