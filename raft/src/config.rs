//! What a server must be told about time and sizes.

use crate::output::StartError;
use quorate_protocol::NodeId;
use std::time::Duration;

/// Settings of one server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this is.
    pub id: NodeId,
    /// The least time without a leader before a server stands for election; each wait is drawn from once to twice
    /// this. A leader that has not heard from a majority for this long steps down, and a follower that heard its
    /// leader within it gives no vote. Must be the same on all servers, or leases are not safe.
    pub election_timeout: Duration,
    /// How often a leader shows itself, and how often an unanswered request for a vote is repeated.
    pub heartbeat_interval: Duration,
    /// About how many bytes of entries one append carries; a single larger entry travels alone.
    pub max_append_bytes: usize,
    /// How many entries are kept behind a snapshot, so that who is only a little behind needs no snapshot.
    pub trailing_entries: u64,
    /// About how many bytes of entries are kept there at most, where entries are large.
    pub trailing_bytes: usize,
    /// A snapshot larger than this is not taken from anybody: it is held in memory while it arrives.
    pub max_snapshot_bytes: u64,
    /// Where this server's dice start. Servers need different ones, or their elections collide.
    pub seed: u64,
    /// A mistake to make on purpose.
    #[cfg(feature = "planted-bugs")]
    pub planted: Option<crate::PlantedBug>,
}

impl Config {
    /// For servers in one datacenter, where a round trip takes about a millisecond.
    pub fn lan(id: NodeId, seed: u64) -> Config {
        Config {
            id,
            // A hundred round trips, and more than a scheduler or a slow fsync holds up a process on a busy host. The
            // first of two followers stands after 400 ms on average, so a killed leader is replaced well within a
            // second.
            election_timeout: Duration::from_millis(300),
            // A fifth of the above: four heartbeats in a row may be lost before anybody is nervous.
            heartbeat_interval: Duration::from_millis(60),
            // 2 ms of a 1 Gbit/s link: large enough to amortise a message, small enough not to delay a heartbeat
            // behind it.
            max_append_bytes: 256 * 1024,
            // What a restart of a server misses at a hundred writes a second is some thousands.
            trailing_entries: 4096,
            // A tenth of a second of a 1 Gbit/s link: sending a snapshot instead takes hardly longer.
            trailing_bytes: 16 * 1024 * 1024,
            max_snapshot_bytes: 4 << 30,
            seed,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    /// How long after a heartbeat was sent its acknowledgement by a majority forbids any other leader.
    ///
    /// A follower promises `election_timeout` on its own clock. We allow the clocks of two servers to run at rates
    /// that differ by a tenth: crystals differ by less than a ten-thousandth and NTP slews by at most a
    /// two-thousandth, so what remains is for virtual machines. A clock that stands still while the machine is
    /// suspended breaks the promise; the agent has to give times of a clock that does not.
    pub(crate) fn lease(&self) -> Duration {
        self.election_timeout - self.election_timeout / 10
    }

    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.heartbeat_interval.is_zero() {
            return Err(StartError::Config("heartbeat_interval is zero; set it to about a fifth of election_timeout"));
        }
        if self.election_timeout < self.heartbeat_interval * 2 {
            return Err(StartError::Config("election_timeout is less than two heartbeat_intervals; set five or more"));
        }
        Ok(())
    }
}
