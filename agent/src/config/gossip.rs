//! How fast gossip is: a profile, and single timings laid over it.

use super::ConfigError;
use super::file::set;
use super::keys::Keys;
use quorate_gossip::Timing;
use quorate_protocol::go::format_duration;
use std::time::Duration;

/// `gossip_lan`: Consul's keys. What is not set is as the profile says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GossipLan {
    /// To how many members news goes at once.
    pub gossip_nodes: Option<i64>,
    /// How often it does.
    pub gossip_interval: Option<Duration>,
    /// How often one member is probed.
    pub probe_interval: Option<Duration>,
    /// How long a probe waits before others help.
    pub probe_timeout: Option<Duration>,
    /// How many probe intervals a confirmed suspicion lasts, times log10 of the members.
    pub suspicion_mult: Option<i64>,
    /// How often news is repeated, times the digits of the number of members.
    pub retransmit_mult: Option<i64>,
}

/// Below, a datagram to one member costs more than what it says; above, news takes seconds from hand to hand.
const GOSSIP_INTERVAL: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(10)];
/// Below, probes meet the scheduler's hiccups and not the network; above, a crash stays unknown for minutes.
const PROBE_INTERVAL: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];
/// Below, an answer on a busy host is late.
const LEAST_PROBE_TIMEOUT: Duration = Duration::from_millis(20);
/// A member of a thousand hears from this many in each interval; more only repeat it.
const MOST_GOSSIP_NODES: u32 = 16;
/// One probe interval is the time in which a suspect is told and can answer; forty are a minute and more.
const MOST_SUSPICION_MULT: u32 = 40;
/// Twice a number that leaves nobody out.
const MOST_RETRANSMIT_MULT: u32 = 16;

impl GossipLan {
    pub(super) fn read(keys: &mut Keys<'_>) -> Result<GossipLan, ConfigError> {
        Ok(GossipLan {
            gossip_nodes: keys.whole("gossip_nodes")?,
            gossip_interval: keys.duration("gossip_interval")?,
            probe_interval: keys.duration("probe_interval")?,
            probe_timeout: keys.duration("probe_timeout")?,
            suspicion_mult: keys.whole("suspicion_mult")?,
            retransmit_mult: keys.whole("retransmit_mult")?,
        })
    }

    pub(super) fn overlay(&mut self, later: GossipLan) {
        let GossipLan { gossip_nodes, gossip_interval, probe_interval, probe_timeout, suspicion_mult, retransmit_mult } =
            later;
        set(&mut self.gossip_nodes, gossip_nodes);
        set(&mut self.gossip_interval, gossip_interval);
        set(&mut self.probe_interval, probe_interval);
        set(&mut self.probe_timeout, probe_timeout);
        set(&mut self.suspicion_mult, suspicion_mult);
        set(&mut self.retransmit_mult, retransmit_mult);
    }

    /// The timings of a profile with these laid over them. `refuse` is called with a key, its value and what to write instead.
    pub(super) fn over(
        self,
        profile: Timing,
        refuse: impl Fn(&str, String, String) -> ConfigError,
    ) -> Result<Timing, ConfigError> {
        let whole = |key: &str, number: Option<i64>, usual: u32, most: u32| match number {
            None => Ok(usual),
            Some(number) => u32::try_from(number)
                .ok()
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(|| refuse(key, number.to_string(), format!("use 1 to {most}; {usual} is this profile's"))),
        };
        let length = |key: &str, length: Option<Duration>, usual: Duration, [least, most]: [Duration; 2]| match length {
            None => Ok(usual),
            Some(length) if (least..=most).contains(&length) => Ok(length),
            Some(other) => {
                let [value, least, most, usual] = [other, least, most, usual].map(format_duration);
                Err(refuse(key, value, format!("use {least} to {most}; {usual} is this profile's")))
            }
        };
        let probe_period =
            length("gossip_lan.probe_interval", self.probe_interval, profile.probe_period, PROBE_INTERVAL)?;
        let probe_timeout = self.probe_timeout.unwrap_or(profile.probe_timeout);
        // The helpers' probes take two round trips in what is left of the interval.
        if !(LEAST_PROBE_TIMEOUT..=probe_period / 2).contains(&probe_timeout) {
            let [value, least, most] = [probe_timeout, LEAST_PROBE_TIMEOUT, probe_period / 2].map(format_duration);
            let remedy = format!("use {least} to {most}, half of the probe interval");
            return Err(refuse("gossip_lan.probe_timeout", value, remedy));
        }
        let fanout = u32::try_from(profile.gossip_fanout).unwrap_or(MOST_GOSSIP_NODES);
        let fanout = whole("gossip_lan.gossip_nodes", self.gossip_nodes, fanout, MOST_GOSSIP_NODES)?;
        Ok(Timing {
            probe_period,
            probe_timeout,
            gossip_fanout: usize::try_from(fanout).unwrap_or(profile.gossip_fanout),
            gossip_interval: length(
                "gossip_lan.gossip_interval",
                self.gossip_interval,
                profile.gossip_interval,
                GOSSIP_INTERVAL,
            )?,
            suspicion_periods: whole(
                "gossip_lan.suspicion_mult",
                self.suspicion_mult,
                profile.suspicion_periods,
                MOST_SUSPICION_MULT,
            )?,
            transmissions: whole(
                "gossip_lan.retransmit_mult",
                self.retransmit_mult,
                profile.transmissions,
                MOST_RETRANSMIT_MULT,
            )?,
            ..profile
        })
    }
}
