//! The simulated world and its checkers; runs of the real binary.
