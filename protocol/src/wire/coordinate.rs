//! A coordinate at the end of a datagram of [`kind::SWIM_WITH_COORDINATE`](super::gossip::kind::SWIM_WITH_COORDINATE), and in the full state:
//!
//! ```text
//! coordinate = place:f32*8 height:f32 error:f32 adjustment:f32
//! ```
//!
//! Single precision is a ten-millionth of a distance, and half of the bytes.

use super::WireError;
use crate::coordinate::{Coordinate, DIMENSIONS};

/// How many bytes it takes.
pub const COORDINATE_LEN: usize = 4 * (DIMENSIONS + 3);

/// The bytes of a coordinate.
pub fn encode_coordinate(coordinate: &Coordinate) -> [u8; COORDINATE_LEN] {
    let Coordinate { place, height, error, adjustment } = coordinate;
    let mut bytes = [0; COORDINATE_LEN];
    let numbers = place.iter().chain([height, error, adjustment]);
    #[allow(clippy::cast_possible_truncation, reason = "a checked one is far within what single precision holds")]
    bytes.chunks_exact_mut(4).zip(numbers).for_each(|(four, n)| four.copy_from_slice(&(*n as f32).to_be_bytes()));
    bytes
}

/// Reads them.
///
/// # Errors
/// [`WireError`] when there are too few or too many, or they are nowhere.
pub fn decode_coordinate(bytes: &[u8]) -> Result<Coordinate, WireError> {
    let bytes: &[u8; COORDINATE_LEN] = bytes.try_into().map_err(|_| WireError::Truncated)?;
    let mut numbers = [0.0; DIMENSIONS + 3];
    for (number, four) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
        *number = f64::from(f32::from_be_bytes(four.try_into().map_err(|_| WireError::Truncated)?));
    }
    let [place @ .., height, error, adjustment] = numbers;
    let coordinate = Coordinate { place, height, error, adjustment };
    coordinate.check()?;
    Ok(coordinate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Coordinate =
        Coordinate { place: [0.5, -0.25, 0.0, 0.0, 1.0, 0.0, 0.0, -2.0], height: 0.125, error: 1.5, adjustment: -0.5 };

    #[test]
    fn version_1_is_as_committed() {
        let hex: String = encode_coordinate(&HERE).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../../golden/coordinate-v1.hex").split_whitespace().collect::<String>());
        assert_eq!(decode_coordinate(&encode_coordinate(&HERE)), Ok(HERE));
    }

    #[test]
    fn what_is_nowhere_is_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 61.0, -61.0] {
            for place in 0..DIMENSIONS {
                let mut there = HERE;
                there.place[place] = bad;
                assert!(decode_coordinate(&encode_coordinate(&there)).is_err(), "{bad} at {place}");
            }
            for there in [
                Coordinate { height: bad, ..HERE },
                Coordinate { error: bad, ..HERE },
                Coordinate { adjustment: bad, ..HERE },
            ] {
                assert!(decode_coordinate(&encode_coordinate(&there)).is_err(), "{there:?}");
            }
        }
        assert!(decode_coordinate(&encode_coordinate(&Coordinate { height: -0.1, ..HERE })).is_err());
        assert!(decode_coordinate(&encode_coordinate(&HERE)[1..]).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_somewhere(bytes in prop::collection::vec(any::<u8>(), COORDINATE_LEN)) {
            if let Ok(coordinate) = decode_coordinate(&bytes) {
                prop_assert_eq!(coordinate.check(), Ok(()));
                prop_assert_eq!(encode_coordinate(&coordinate).to_vec(), bytes);
            }
        }
    }
}
