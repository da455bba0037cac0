//! Keys at rest and inside queries: a version, then named fields.

use super::{VERSION_MAX, WireError, from_named, to_named};
use crate::keyring::{KeyringAnswer, KeyringRequest, KeyringState};

/// The name of the query that carries a [`KeyringRequest`].
pub const KEYRING: &str = "_keyring";

macro_rules! bytes_of {
    ($($type:ty)*) => {$(
        impl $type {
            /// Its bytes.
            pub fn encode(&self) -> Vec<u8> {
                to_named(VERSION_MAX, self)
            }

            /// Reads them.
            ///
            /// # Errors
            /// [`WireError`] when they are of an unknown version or malformed.
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                from_named(bytes)
            }
        }
    )*};
}

bytes_of!(KeyringState KeyringRequest KeyringAnswer);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventId;
    use crate::keyring::{GossipKey, KeyFate, KeyStamp, KeyringChange, MAX_KEYS};
    use crate::query::MAX_QUERY;
    use bytes::Bytes;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_kept_is_read_back_and_a_key_of_another_length_is_not_taken() {
        let stamp = KeyStamp { ltime: 7, order: EventId([3; 16]) };
        let short = GossipKey::try_from(Bytes::from_static(&[9; 16])).unwrap();
        let state = KeyringState {
            primary: (GossipKey::from([1; 32]), stamp),
            keys: BTreeMap::from([(short, KeyFate { stamp, installed: true })]),
        };
        let bytes = state.encode();
        assert_eq!(KeyringState::decode(&bytes), Ok(state));
        let with_length = |length: u8| {
            let mut bytes = bytes.clone();
            let at = bytes.windows(3).position(|three| three == [0xc4, 16, 9]).unwrap();
            bytes.splice(at..at + 18, [vec![0xc4, length], vec![9; usize::from(length)]].concat());
            KeyringState::decode(&bytes)
        };
        assert!(with_length(24).is_ok() && with_length(17).is_err() && with_length(0).is_err());
    }

    #[test]
    fn a_list_of_all_keys_fits_an_answer() {
        let keys = (0..).map(|n| GossipKey::from([n; 32])).take(MAX_KEYS).collect();
        assert!(KeyringAnswer { keys, ..KeyringAnswer::default() }.encode().len() < MAX_QUERY / 2);
        let order = KeyringRequest::Change(KeyringChange::Install(GossipKey::from([1; 32])));
        assert_eq!(KeyringRequest::decode(&order.encode()), Ok(order));
    }
}
