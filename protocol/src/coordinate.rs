//! Where members are in a space in which distance is round-trip time.

use crate::wire::WireError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Dimensions of the space besides the height: more gain nothing on the Internet (Ledlie, Gardner, Seltzer, NSDI 2007).
pub const DIMENSIONS: usize = 8;
/// The greatest error that is ever claimed; a newcomer's.
pub const MAX_ERROR: f64 = 1.5;
/// Nothing on Earth is farther, in seconds: what claims to be is refused.
const MAX_COMPONENT: f64 = 60.0;

/// A network coordinate (Vivaldi: Dabek, Cox, Kaashoek, Morris, SIGCOMM 2004), in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// The place.
    pub place: [f64; DIMENSIONS],
    /// How far below the plane: the access link that every path of this node crosses.
    pub height: f64,
    /// How wrong it is believed to be, relative to distances; 1.5 is not to be relied on.
    pub error: f64,
    /// What distances from here are off by, lately.
    pub adjustment: f64,
}

// A checked coordinate holds no number that is not equal to itself.
impl Eq for Coordinate {}

impl Coordinate {
    /// Whether it could be somewhere: all numbers finite and within what is possible.
    ///
    /// # Errors
    /// [`WireError::Malformed`].
    pub fn check(&self) -> Result<(), WireError> {
        let Coordinate { place, height, error, adjustment } = self;
        let near = |number: &f64| number.is_finite() && number.abs() <= MAX_COMPONENT;
        if place.iter().chain([height, adjustment]).all(near) && *height >= 0.0 && (0.0..=MAX_ERROR).contains(error) {
            Ok(())
        } else {
            Err(WireError::Malformed("a coordinate that is nowhere".to_owned()))
        }
    }

    /// The round-trip time between two.
    pub fn distance(&self, other: &Coordinate) -> Duration {
        let raw = self.raw_distance(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        let seconds = if adjusted > 0.0 { adjusted } else { raw };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The same without adjustments, in seconds.
    pub fn raw_distance(&self, other: &Coordinate) -> f64 {
        let squares = self.place.iter().zip(&other.place).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f64>().sqrt() + self.height + other.height
    }
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCoordinate {
    /// Its name.
    pub node: String,
    /// Whether it takes part in the store.
    pub server: bool,
    /// Where.
    pub coordinate: Coordinate,
}
