//! What a gossip machine is told once.

use crate::keyring::Keyring;
use quorate_protocol::NodeId;
use quorate_protocol::wire::WireError;
use quorate_protocol::wire::gossip::{MAX_NAME, check_tags};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Who this member is and how it gossips.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its identity, kept in its data directory.
    pub id: NodeId,
    /// Its name, at most 128 bytes.
    pub name: String,
    /// Where others reach its one port.
    pub address: SocketAddr,
    /// Grows over restarts: the wall clock at the start, in any unit that restarts cannot outrun (milliseconds do). A clock that
    /// went back is survived: the member outbids what others remember of it.
    pub generation: u64,
    /// What it says of itself; see [`Config::check`] for the limit.
    pub tags: BTreeMap<String, String>,
    /// The keys of the cluster.
    pub keyring: Keyring,
    /// The cluster's label, such as its datacenter. Agents with another label are deaf to this one, even under the same key.
    pub label: String,
    /// Intervals and timeouts.
    pub timing: Timing,
    /// Seeds the dice.
    pub seed: u64,
    /// Parts of the failure detector that are left out.
    #[cfg(feature = "planted-bugs")]
    pub without: Vec<crate::planted::Part>,
}

/// Why a [`Config`] cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The name is empty or too long.
    #[error("the node name '{0}' has {length} bytes, 1 to {MAX_NAME} are possible: choose another", length = .0.len())]
    Name(String),
    /// The tags do not fit a datagram.
    #[error("the tags are too long ({0}): shorten or remove some")]
    Tags(WireError),
}

impl Config {
    /// Whether name and tags can be gossiped: a name of 1 to 128 bytes, tags of at most 512 bytes once encoded (Serf's limit).
    ///
    /// [`Gossip::new`](crate::Gossip::new) takes a configuration that fails this as well, but others will not learn what is too long.
    ///
    /// # Errors
    /// [`ConfigError`] that says what to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() || self.name.len() > MAX_NAME {
            return Err(ConfigError::Name(self.name.clone()));
        }
        check_tags(&self.tags).map_err(ConfigError::Tags)
    }
}

/// Intervals and timeouts. All members of a cluster should use the same.
///
/// What follows from the size of the cluster (how long a suspicion lasts, how often news is repeated) is recomputed as it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// How often one member is probed (SWIM's protocol period).
    pub probe_period: Duration,
    /// How long a probe waits before others are asked to probe too. Must be well below the period.
    pub probe_timeout: Duration,
    /// How many others are asked, and how many hear of an event at once.
    pub indirect_probes: usize,
    /// A suspicion lasts this many probe periods, times log10 of the members from 10 members on.
    pub suspicion_periods: u32,
    /// How often news is sent out; nothing is sent when there is none.
    pub gossip_interval: Duration,
    /// To how many each time.
    pub gossip_fanout: usize,
    /// News is repeated this many times the decimal digits of the number of members.
    pub transmissions: u32,
    /// How often the full state is exchanged with one random member (rarer in large clusters).
    pub push_pull_interval: Duration,
    /// How often two failed members are called, in case they live again.
    pub reconnect_interval: Duration,
    /// The first wait before a seed that did not answer is asked again; it doubles up to `join_retry_max`.
    pub join_retry: Duration,
    /// The longest wait between two attempts to join.
    pub join_retry_max: Duration,
    /// How many gossip intervals a leaving member spends on telling others.
    pub leave_rounds: u32,
    /// How long failed and left members are remembered.
    pub reap_after: Duration,
}

impl Timing {
    /// For agents of one datacenter. Finds a crash in about half of Serf's time with as few false verdicts, at two probes a second
    /// (simulated in `reference/gossip.md`, 8).
    pub const fn lan() -> Timing {
        Timing {
            // Half of memberlist's: detection is probe wait + one period + suspicion, and all three follow from it.
            probe_period: Duration::from_millis(500),
            // Far above any LAN round trip; leaves 300 ms for the indirect probe, which takes two.
            probe_timeout: Duration::from_millis(200),
            // SWIM's K; three independent paths make 5 % loss harmless.
            indirect_probes: 3,
            // 2 s up to ten members: time for the suspicion to reach the suspect and the refutation to come back, several times over.
            suspicion_periods: 4,
            // A rumour crosses 32 members in about five rounds; nothing is sent when there is nothing to say.
            gossip_interval: Duration::from_millis(100),
            gossip_fanout: 3,
            // memberlist's 4 left 6 of 100 crashes unknown to somebody for over 5 s; 6 left none, at the same idle cost.
            transmissions: 6,
            // memberlist's: repairs what all repetitions missed.
            push_pull_interval: Duration::from_secs(30),
            // The longest that two healed halves stay apart; two small packets are cheap.
            reconnect_interval: Duration::from_secs(5),
            // Servers that start together find each other in the second round.
            join_retry: Duration::from_secs(1),
            // Consul's `retry_interval`.
            join_retry_max: Duration::from_secs(30),
            // One second, as Serf's LeavePropagateDelay.
            leave_rounds: 10,
            // Consul's `reconnect_timeout`: over a long weekend.
            reap_after: Duration::from_secs(72 * 3600),
        }
    }

    /// For agents of one datacenter on hosts that are often too busy to answer at once: a stall of four seconds is no failure. Probes and
    /// news are as fast as in [`Timing::lan`], verdicts as slow as Serf's.
    pub const fn lan_calm() -> Timing {
        // Serf's suspicion: 4 s up to ten members.
        Timing { suspicion_periods: 8, ..Timing::lan() }
    }

    /// For agents far apart, where round trips take a quarter of a second and paths fail for seconds.
    pub const fn wan() -> Timing {
        Timing {
            // Less than half of memberlist's 5 s; a probe every two seconds costs a slow link nothing.
            probe_period: Duration::from_secs(2),
            // Four round trips around the world.
            probe_timeout: Duration::from_secs(1),
            // 12 s up to ten members: longer than most routes take to heal (memberlist's 6 periods).
            suspicion_periods: 6,
            gossip_interval: Duration::from_millis(300),
            gossip_fanout: 4,
            push_pull_interval: Duration::from_secs(60),
            ..Timing::lan()
        }
    }

    /// For agents on one machine (`-dev`, tests): the network is instant and restarts are frequent, so everything is shorter.
    pub const fn local() -> Timing {
        Timing {
            // A scheduler's hiccup on a busy laptop reaches 100 ms; three periods of patience remain on top.
            probe_period: Duration::from_millis(250),
            probe_timeout: Duration::from_millis(100),
            // Loopback does not lose packets one by one; a second path finds nothing new.
            indirect_probes: 1,
            suspicion_periods: 4,
            gossip_interval: Duration::from_millis(50),
            push_pull_interval: Duration::from_secs(10),
            reconnect_interval: Duration::from_secs(2),
            join_retry: Duration::from_millis(250),
            join_retry_max: Duration::from_secs(5),
            ..Timing::lan()
        }
    }

    /// How long a suspicion lasts among this many members: long enough for the rumour to reach the suspect, whose time grows with the
    /// logarithm of the cluster (SWIM, 4.2).
    pub(crate) fn suspicion(&self, members: usize) -> Duration {
        let scale = (members.max(1) as f64).log10().max(1.0);
        (self.probe_period * self.suspicion_periods).mul_f64(scale)
    }

    /// How often a piece of news is sent by each member that has it.
    pub(crate) fn repetitions(&self, members: usize) -> u8 {
        // ceil(log10(n + 1)) is the number of decimal digits of n. Not below 8, or a pair of members forgets its news in one bad second.
        let digits = members.max(1).ilog10() + 1;
        u8::try_from((self.transmissions * digits).max(8)).unwrap_or(u8::MAX)
    }

    /// How long between two exchanges of the full state: above 32 members the state grows, so it is exchanged less often (memberlist).
    pub(crate) fn push_pull(&self, members: usize) -> Duration {
        let doublings = members.div_ceil(32).next_power_of_two().ilog2();
        self.push_pull_interval * (1 + doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_size_of_the_cluster() {
        let timing = Timing::lan();
        for (members, suspicion_ms, repetitions, push_pull_s) in [
            (1, 2000, 8, 30),
            (9, 2000, 8, 30),
            (10, 2000, 12, 30),
            (33, 3037, 12, 60),
            (100, 4000, 18, 90),
            (1000, 6000, 24, 180),
        ] {
            assert_eq!(timing.suspicion(members).as_millis(), suspicion_ms, "{members}");
            assert_eq!(timing.repetitions(members), repetitions, "{members}");
            assert_eq!(timing.push_pull(members).as_secs(), push_pull_s, "{members}");
        }
    }
}
