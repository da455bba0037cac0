//! Defects that can be switched on, one at a time, to prove that the checkers of the simulator see them (feature
//! `planted-bugs`). Without the feature each question below is a constant `false`, and nothing of this is left.

/// A defect of the store, as it could have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    #[cfg(feature = "planted-bugs")]
    /// An entry is applied again after a later one, at every eighth index.
    AppliedTwice,
    /// A compare-and-set does not see that the entry just before it changed the key.
    CasRace,
    /// A key that is held is given to whoever asks next.
    LockRegranted,
    /// A renewal does not begin the session's TTL anew.
    RenewalLost,
    /// A deletion wakes nobody and is missing in the change stream.
    WatchGap,
    /// Deletions are not remembered, so the index of a prefix goes back.
    IndexGoesBack,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Bug; 6] =
        [Bug::AppliedTwice, Bug::CasRace, Bug::LockRegranted, Bug::RenewalLost, Bug::WatchGap, Bug::IndexGoesBack];
}

/// Which defect is switched on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
    #[cfg(feature = "planted-bugs")]
    pub fn with(bug: Option<Bug>) -> Planted {
        Planted { bug }
    }

    #[cfg(feature = "planted-bugs")]
    pub fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "planted-bugs"))]
    pub const fn has(self, _: Bug) -> bool {
        false
    }
}
