//! Parts of Lifeguard that can be left out, to see what each is worth and that the tests would see it missing. Without the feature `planted-bugs` none is.

use crate::machine::Gossip;

/// A part of Lifeguard, as `detector.rs` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A suspicion lasts the shortest time whoever found it.
    Confirmations,
    /// What another holds for failed is failed.
    WeighedVerdicts,
    /// Probes are as fast as ever, however few are answered.
    LocalHealth,
    /// Helpers say nothing where they get no answer.
    Nacks,
    /// A suspect hears of its suspicion when gossip brings it.
    SuspectToldFirst,
    /// Whom no datagram reaches is not asked over a stream.
    Stream,
    /// Time that this agent slept counts like any other.
    OwnPause,
}

impl Part {
    /// All there are.
    #[cfg(feature = "planted-bugs")]
    pub const ALL: [Part; 7] = [
        Part::Confirmations,
        Part::WeighedVerdicts,
        Part::LocalHealth,
        Part::Nacks,
        Part::SuspectToldFirst,
        Part::Stream,
        Part::OwnPause,
    ];
}

impl Gossip {
    /// Whether this part is left out.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn lacks(&self, part: Part) -> bool {
        self.without.contains(&part)
    }

    /// Never.
    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) const fn lacks(&self, _part: Part) -> bool {
        false
    }
}
