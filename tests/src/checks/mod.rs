//! What must always hold: one property, one file.
//!
//! | holds at every step | holds within a bound after the world has healed |
//! |---|---|
//! | [`promises_are_on_disk`], [`snapshots_carry_configuration`], [`one_leader_per_term`], [`one_lease_at_a_time`], [`logs_match`], [`committed_stays`], [`applied_states_equal`], [`index_never_goes_back`], [`nothing_acknowledged_is_lost`], [`kv_is_linearizable`], [`reads_are_confirmed`], [`monotonic_reads`], [`max_stale_holds`], [`state_follows_log`], [`lock_has_one_owner`], [`ttl_never_fires_early`], [`changes_complete`] | [`every_request_is_answered`], [`no_wakeup_lost`], [`members_converge_after_heal`], [`catalog_follows_members`], [`local_services_reach_catalog`], [`servers_converge_after_heal`], [`serves_after_heal`] |
//!
//! A checker sees what leaves an engine and what is on its disk, keeps what it must compare, and looks only at what is new: the
//! world runs each of them at every step. Each can fail: the tests beside it feed it a history that breaks its property.

pub mod applied_states_equal;
pub mod catalog_follows_members;
pub mod changes_complete;
pub mod committed_stays;
pub mod every_request_is_answered;
pub mod index_never_goes_back;
pub mod kv_is_linearizable;
pub mod local_services_reach_catalog;
pub mod lock_has_one_owner;
pub mod logs_match;
pub mod max_stale_holds;
pub mod members_converge_after_heal;
pub mod monotonic_reads;
pub mod no_wakeup_lost;
pub mod nothing_acknowledged_is_lost;
pub mod one_leader_per_term;
pub mod one_lease_at_a_time;
pub mod promises_are_on_disk;
pub mod reads_are_confirmed;
pub mod servers_converge_after_heal;
pub mod serves_after_heal;
pub mod snapshots_carry_configuration;
pub mod state_follows_log;
pub mod ttl_never_fires_early;

use std::fmt;

/// A property does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name, which is its file's.
    pub property: &'static str,
    /// What was seen.
    pub seen: String,
}

/// What a checker says.
pub type Checked = Result<(), Violation>;

impl Violation {
    /// A property does not hold: this was seen.
    pub fn new(property: &'static str, seen: impl Into<String>) -> Violation {
        Violation { property, seen: seen.into() }
    }

    /// The same as a result.
    ///
    /// # Errors
    /// Always.
    pub fn seen(property: &'static str, seen: impl Into<String>) -> Checked {
        Err(Violation::new(property, seen))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.property, self.seen)
    }
}
