//! The network: what arrives, when, how often, and what does not.
//!
//! Datagrams are lost, doubled and overtake one another. Reliable streams do what QUIC does: one connection per pair of agents
//! with one stream per lane, each in order; loss shows as delay; a blocked connection keeps what it is given until its
//! idle timeout, and when it breaks everything still under way is lost and the next message opens a new one.

use crate::dice::Dice;
use quorate_protocol::Time;
use quorate_protocol::wire::stream::Lane;
use std::collections::VecDeque;
use std::time::Duration;

/// A connection that hears nothing for so long is closed; the shell's QUIC settings have the same order of size.
const IDLE_TIMEOUT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));
/// What a stream takes while its connection is blocked; the shell drops messages to a slow peer in the same way.
const HELD_LIMIT: usize = 128;
/// How many lanes a connection has.
const LANES: usize = ALL_LANES.len();
/// All of them.
const ALL_LANES: [Lane; 4] = [Lane::Gossip, Lane::Raft, Lane::Snapshot, Lane::Request];

/// How good the network is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// The probability that a datagram is lost, or that a packet of a stream must be sent again.
    pub loss: f64,
    /// The probability that a datagram arrives twice.
    pub duplication: f64,
    /// The probability that something takes many times as long, and so is overtaken.
    pub detour: f64,
    /// The shortest delay.
    pub delay: Duration,
    /// The mean of what is added to it.
    pub jitter: Duration,
}

impl Weather {
    /// A whole and quick network.
    pub const FAIR: Weather = Weather {
        loss: 0.0,
        duplication: 0.0,
        detour: 0.0,
        delay: Duration::from_micros(150),
        jitter: Duration::from_micros(200),
    };
    /// What the hurting phase has at the least: 5 % loss.
    pub const ROUGH: Weather = Weather {
        loss: 0.05,
        duplication: 0.02,
        detour: 0.02,
        delay: Duration::from_micros(200),
        jitter: Duration::from_millis(1),
    };
}

/// The network between agents, which are numbered from 0.
#[derive(Debug)]
pub struct Network {
    agents: usize,
    weather: Weather,
    /// How many partitions block the way from one agent to another, at `from * agents + to`.
    blocked: Vec<u8>,
    connections: Vec<Connection>,
    streams: Vec<Stream>,
    dice: Dice,
    /// What became of what was sent.
    pub counts: Counts,
}

/// What became of what was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams given to the network.
    pub datagrams: u64,
    /// Datagrams lost by chance or by a partition.
    pub datagrams_lost: u64,
    /// Messages given to the network.
    pub messages: u64,
    /// Messages lost with their connection.
    pub messages_lost: u64,
}

/// Both directions between two agents.
#[derive(Debug, Default)]
struct Connection {
    /// Grows whenever it breaks.
    epoch: u64,
    /// When it breaks unless it is whole again before.
    breaks_at: Option<Time>,
    /// It broke, and since then the two could not reach one another.
    broken: bool,
}

/// One lane in one direction.
#[derive(Debug, Default)]
struct Stream {
    /// When the last message that was sent arrives.
    last_arrival: Time,
    /// What was sent while the way was blocked.
    held: VecDeque<Vec<u8>>,
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who sent it.
    pub from: usize,
    /// Who is to receive it.
    pub to: usize,
    /// In which lane.
    pub lane: Lane,
    /// Its frame.
    pub bytes: Vec<u8>,
    epoch: u64,
}

impl Network {
    /// A whole network.
    pub fn new(agents: usize, weather: Weather, dice: Dice) -> Network {
        let fresh = |count| std::iter::repeat_with(Default::default).take(count).collect();
        Network {
            agents,
            weather,
            blocked: vec![0; agents * agents],
            connections: std::iter::repeat_with(Connection::default).take(agents * agents).collect(),
            streams: fresh(agents * agents * LANES),
            dice,
            counts: Counts::default(),
        }
    }

    /// Changes how good it is.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Whether something sent from one agent reaches the other.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        self.blocked[self.link(from, to)] == 0
    }

    /// Sends a datagram: when it arrives, and when its double does.
    pub fn send_datagram(&mut self, now: Time, from: usize, to: usize) -> [Option<Time>; 2] {
        self.counts.datagrams += 1;
        if !self.is_open(from, to) || self.dice.chance(self.weather.loss) {
            self.counts.datagrams_lost += 1;
            return [None, None];
        }
        let first = now + self.delay();
        let second = self.dice.chance(self.weather.duplication).then(|| first + self.delay());
        [Some(first), second]
    }

    /// Sends a message: when it arrives if nothing happens on the way, or nothing if it waits for a partition to end or is lost.
    pub fn send_message(
        &mut self,
        now: Time,
        from: usize,
        to: usize,
        lane: Lane,
        bytes: Vec<u8>,
    ) -> Option<(Time, Envelope)> {
        self.counts.messages += 1;
        self.break_if_due(now, from, to);
        if self.connection(from, to).broken {
            self.counts.messages_lost += 1;
            return None;
        }
        if self.is_open(from, to) {
            return Some(self.put_on_the_way(now, from, to, lane, bytes));
        }
        self.keep(from, to, lane, bytes);
        None
    }

    /// Whether a message that has come to the end of its way arrives: its connection must have held. One that ran into a
    /// partition waits for its end.
    pub fn arrive(&mut self, now: Time, envelope: Envelope) -> Option<Envelope> {
        let (from, to) = (envelope.from, envelope.to);
        self.break_if_due(now, from, to);
        let connection = self.connection(from, to);
        if connection.broken || connection.epoch != envelope.epoch {
            self.counts.messages_lost += 1;
            return None;
        }
        if self.is_open(from, to) {
            return Some(envelope);
        }
        self.keep(from, to, envelope.lane, envelope.bytes);
        None
    }

    /// Blocks the way from one agent to another, once more if it is blocked already.
    pub fn block(&mut self, now: Time, from: usize, to: usize) {
        let link = self.link(from, to);
        self.blocked[link] = self.blocked[link].saturating_add(1);
        let patience = self.dice.between(IDLE_TIMEOUT.0, IDLE_TIMEOUT.1);
        let connection = self.connection_mut(from, to);
        connection.breaks_at.get_or_insert(now + patience);
    }

    /// Takes back one [`Network::block`]; gives what can travel again and when it arrives.
    pub fn unblock(&mut self, now: Time, from: usize, to: usize) -> Vec<(Time, Envelope)> {
        let link = self.link(from, to);
        self.blocked[link] = self.blocked[link].saturating_sub(1);
        if !self.is_open(from, to) {
            return Vec::new();
        }
        self.break_if_due(now, from, to);
        if self.is_open(to, from) {
            let connection = self.connection_mut(from, to);
            connection.breaks_at = None;
            connection.broken = false;
        }
        let mut released = Vec::new();
        for lane in ALL_LANES {
            let place = self.stream(from, to, lane);
            for bytes in std::mem::take(&mut self.streams[place].held) {
                released.push(self.put_on_the_way(now, from, to, lane, bytes));
            }
        }
        released
    }

    /// A process ended: its connections end with it, and what was under way in them is lost.
    pub fn forget(&mut self, agent: usize) {
        for other in 0..self.agents {
            self.break_connection(agent, other);
            // A new process connects anew as soon as both ways are free.
            let is_whole = self.is_open(agent, other) && self.is_open(other, agent);
            self.connection_mut(agent, other).broken = !is_whole;
        }
    }

    fn put_on_the_way(&mut self, now: Time, from: usize, to: usize, lane: Lane, bytes: Vec<u8>) -> (Time, Envelope) {
        let mut delay = self.delay();
        while self.dice.chance(self.weather.loss) {
            // Found missing by its acknowledgements or a probe timeout, and sent again.
            delay += self.delay() * 2 + Duration::from_millis(10);
        }
        let epoch = self.connection(from, to).epoch;
        let place = self.stream(from, to, lane);
        let stream = &mut self.streams[place];
        stream.last_arrival = stream.last_arrival.max(now + delay);
        (stream.last_arrival, Envelope { from, to, lane, bytes, epoch })
    }

    fn keep(&mut self, from: usize, to: usize, lane: Lane, bytes: Vec<u8>) {
        let place = self.stream(from, to, lane);
        let held = &mut self.streams[place].held;
        if held.len() < HELD_LIMIT {
            held.push_back(bytes);
        } else {
            self.counts.messages_lost += 1;
        }
    }

    fn break_if_due(&mut self, now: Time, from: usize, to: usize) {
        if self.connection(from, to).breaks_at.is_some_and(|at| at <= now) {
            self.break_connection(from, to);
            self.connection_mut(from, to).broken = true;
        }
    }

    fn break_connection(&mut self, from: usize, to: usize) {
        let connection = self.connection_mut(from, to);
        connection.epoch += 1;
        connection.breaks_at = None;
        for (from, to) in [(from, to), (to, from)] {
            for lane in ALL_LANES {
                let place = self.stream(from, to, lane);
                self.counts.messages_lost += self.streams[place].held.len() as u64;
                self.streams[place] = Stream::default();
            }
        }
    }

    fn delay(&mut self) -> Duration {
        let delay = self.weather.delay + self.dice.around(self.weather.jitter);
        if self.dice.chance(self.weather.detour) { delay * 30 } else { delay }
    }

    fn link(&self, from: usize, to: usize) -> usize {
        from * self.agents + to
    }

    fn stream(&self, from: usize, to: usize, lane: Lane) -> usize {
        self.link(from, to) * LANES + lane as usize
    }

    fn connection(&self, from: usize, to: usize) -> &Connection {
        &self.connections[self.link(from.min(to), from.max(to))]
    }

    fn connection_mut(&mut self, from: usize, to: usize) -> &mut Connection {
        let place = self.link(from.min(to), from.max(to));
        &mut self.connections[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Stream as DiceOf;

    fn network(weather: Weather) -> Network {
        Network::new(3, weather, Dice::new(1, DiceOf::Network, 0))
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn datagrams_are_lost_and_doubled_about_as_often_as_asked() {
        let mut network = network(Weather { loss: 0.2, duplication: 0.1, ..Weather::ROUGH });
        let sent: Vec<_> = (0..10_000).map(|_| network.send_datagram(at(1), 0, 1)).collect();
        let lost = sent.iter().filter(|arrivals| arrivals[0].is_none()).count();
        let doubled = sent.iter().filter(|arrivals| arrivals[1].is_some()).count();
        assert!((1800..2200).contains(&lost), "{lost}");
        assert!((650..950).contains(&doubled), "{doubled}");
        let overtaken = sent.windows(2).filter(|pair| pair[0][0] > pair[1][0] && pair[1][0].is_some()).count();
        assert!(overtaken > 100, "{overtaken}");
    }

    #[test]
    fn a_stream_keeps_its_order_whatever_is_lost() {
        let mut network = network(Weather { loss: 0.3, ..Weather::ROUGH });
        let arrivals: Vec<Time> = (0..1000)
            .filter_map(|n| network.send_message(at(n / 100), 0, 1, Lane::Raft, vec![0]).map(|(time, _)| time))
            .collect();
        assert_eq!(arrivals.len(), 1000);
        assert!(arrivals.is_sorted());
    }

    #[test]
    fn a_short_partition_delays_and_a_long_one_breaks() {
        for (length, arrives) in [(1, true), (60, false)] {
            let mut network = network(Weather::FAIR);
            network.block(at(10), 0, 1);
            assert_eq!(network.send_datagram(at(10), 0, 1), [None, None]);
            assert_eq!(network.send_message(at(10), 0, 1, Lane::Raft, vec![7]), None);
            let released = network.unblock(at(10 + length), 0, 1);
            assert_eq!(released.len(), usize::from(arrives), "after {length} s");
            for (time, envelope) in released {
                assert_eq!(network.arrive(time, envelope).map(|envelope| envelope.bytes), Some(vec![7]));
            }
            assert!(network.send_message(at(100), 0, 1, Lane::Raft, vec![8]).is_some(), "a new connection is made");
        }
    }

    #[test]
    fn a_partition_of_one_way_leaves_the_other_until_the_connection_breaks() {
        let mut network = network(Weather::FAIR);
        network.block(at(10), 0, 1);
        assert!(network.send_message(at(10), 1, 0, Lane::Raft, vec![1]).is_some());
        assert!(network.send_datagram(at(10), 1, 0)[0].is_some());
        assert_eq!(network.send_message(at(30), 1, 0, Lane::Raft, vec![2]), None, "without acknowledgements it broke");
        assert!(network.send_message(at(30), 0, 2, Lane::Raft, vec![3]).is_some(), "others are not concerned");
    }

    #[test]
    fn what_is_under_way_to_or_from_a_process_that_ends_is_lost() {
        let mut network = network(Weather::FAIR);
        let (time, envelope) = network.send_message(at(1), 0, 1, Lane::Request, vec![1]).expect("the way is open");
        network.forget(1);
        assert_eq!(network.arrive(time, envelope), None);
        let (time, envelope) = network.send_message(at(2), 0, 1, Lane::Request, vec![2]).expect("the way is open");
        assert!(network.arrive(time, envelope).is_some());
    }

    #[test]
    fn two_partitions_of_one_way_must_both_end() {
        let mut network = network(Weather::FAIR);
        network.block(at(1), 0, 1);
        network.block(at(1), 0, 1);
        network.unblock(at(2), 0, 1);
        assert!(!network.is_open(0, 1));
        network.unblock(at(2), 0, 1);
        assert!(network.is_open(0, 1));
    }
}
