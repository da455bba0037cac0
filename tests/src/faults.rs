//! What goes wrong, and when.

use crate::dice::Dice;
use crate::disk::Quality;
use crate::network::Weather;
use std::time::Duration;

/// The mean time between two faults. Most last longer, so they overlap; still there are quiet moments in which something can be
/// committed that the next fault may lose.
const INTERVAL: Duration = Duration::from_millis(2500);

/// Something that goes wrong for a while.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The way from the first to the second of each pair is blocked.
    Cut {
        /// What it is called.
        shape: &'static str,
        /// The pairs.
        links: Vec<(usize, usize)>,
        /// For how long.
        length: Duration,
    },
    /// Processes are killed at once, and each is started again.
    Kill {
        /// Whose, and after how long they start again.
        agents: Vec<(usize, Duration)>,
    },
    /// A server is killed and loses its disk: it comes back as another one.
    LoseDisk {
        /// Whose.
        agent: usize,
        /// After how long it starts again.
        down: Duration,
    },
    /// A server leaves in an orderly way, and comes back.
    Leave {
        /// Who.
        agent: usize,
    },
    /// A process is stopped and continued, as SIGSTOP and SIGCONT do.
    Pause {
        /// Whose.
        agent: usize,
        /// For how long.
        length: Duration,
    },
    /// A disk becomes slow.
    Disk {
        /// Whose.
        agent: usize,
        /// How good it is meanwhile.
        quality: Quality,
        /// For how long.
        length: Duration,
    },
    /// The network becomes worse.
    Weather {
        /// How good it is meanwhile.
        weather: Weather,
        /// For how long.
        length: Duration,
    },
}

/// What a fault is chosen by.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// How many agents there are; the servers come first.
    pub agents: usize,
    /// How many of them are servers.
    pub servers: usize,
    /// Who leads, if somebody does: the most rewarding victim.
    pub leader: Option<usize>,
    /// Whether every server votes, is in one configuration with the others, and runs: then one of them may go for ever.
    pub is_settled: bool,
}

/// Draws what goes wrong next, each after a while, and how long it is until the next draw.
pub fn draw(scene: Scene, dice: &mut Dice) -> (Vec<(Fault, Duration)>, Duration) {
    let faults = match scene.leader {
        Some(leader) if scene.servers > 2 && dice.chance(0.12) => forgotten_promise(scene, leader, dice),
        Some(leader) if scene.servers > 2 && dice.chance(0.12) => left_behind(scene, leader, dice),
        Some(_) if scene.servers > 2 && scene.is_settled && dice.chance(0.2) => {
            let agent = victim(Scene { agents: scene.servers, ..scene }, dice);
            let goes = if dice.chance(0.5) {
                Fault::LoseDisk { agent, down: seconds(dice, 0.1, 4.0) }
            } else {
                Fault::Leave { agent }
            };
            vec![(goes, Duration::ZERO)]
        }
        _ => vec![(one(scene, dice), Duration::ZERO)],
    };
    (faults, dice.around(INTERVAL))
}

/// What happens to a leader right after its election, if something does: the moments in which entries of its own term and of earlier ones are
/// on some disks and not on others (dissertation, figure 3.7).
pub fn ambush(leader: usize, agents: usize, dice: &mut Dice) -> Option<(Fault, Duration)> {
    if !dice.chance(0.3) {
        return None;
    }
    let fault = match dice.below(3) {
        0 => Fault::Kill { agents: vec![(leader, seconds(dice, 0.01, 1.5))] },
        1 => Fault::Pause { agent: leader, length: seconds(dice, 0.1, 3.0) },
        _ => alone(leader, agents, seconds(dice, 0.2, 4.0)),
    };
    Some((fault, seconds(dice, 0.0, 0.05)))
}

/// A follower is cut off from its leader and stands for election again and again, while the others start anew, one after the other: who
/// starts anew has forgotten that it promised the leader a lease.
fn forgotten_promise(scene: Scene, leader: usize, dice: &mut Dice) -> Vec<(Fault, Duration)> {
    let mut followers: Vec<usize> = (0..scene.servers).filter(|server| *server != leader).collect();
    dice.shuffle(&mut followers);
    let Some(rival) = followers.pop() else { return Vec::new() };
    let links = vec![(leader, rival), (rival, leader)];
    let cut = Fault::Cut { shape: "one pair", links, length: seconds(dice, 1.0, 4.0) };
    let restarts = followers.into_iter().map(|follower| {
        let fault = Fault::Kill { agents: vec![(follower, seconds(dice, 0.001, 0.03))] };
        (fault, seconds(dice, 0.4, 1.0))
    });
    std::iter::once((cut, Duration::ZERO)).chain(restarts).collect()
}

/// A follower is cut off until the others have moved on by more than they keep of the log, so that it needs a snapshot. While it gets one, somebody
/// may die.
fn left_behind(scene: Scene, leader: usize, dice: &mut Dice) -> Vec<(Fault, Duration)> {
    let followers: Vec<usize> = (0..scene.servers).filter(|server| *server != leader).collect();
    let Some(follower) = dice.pick(&followers) else { return Vec::new() };
    let length = seconds(dice, 4.0, 10.0);
    let mut faults = vec![(alone(follower, scene.agents, length), Duration::ZERO)];
    if dice.chance(0.6) {
        let victim = dice.pick(&[leader, follower, follower]).unwrap_or(follower);
        let fault = Fault::Kill { agents: vec![(victim, seconds(dice, 0.01, 1.0))] };
        faults.push((fault, length + seconds(dice, 0.0, 0.6)));
    }
    faults
}

fn alone(agent: usize, agents: usize, length: Duration) -> Fault {
    let others = (0..agents).filter(|other| *other != agent);
    Fault::Cut {
        shape: "one alone",
        links: others.flat_map(|other| [(agent, other), (other, agent)]).collect(),
        length,
    }
}

fn seconds(dice: &mut Dice, low: f64, high: f64) -> Duration {
    dice.between(Duration::from_secs_f64(low), Duration::from_secs_f64(high))
}

fn one(scene: Scene, dice: &mut Dice) -> Fault {
    match dice.below(20) {
        0..8 => {
            let (shape, links) = cut(scene, dice);
            // Some are shorter than any timeout, some longer than all of them.
            let length = if dice.chance(0.3) { seconds(dice, 0.05, 0.6) } else { seconds(dice, 0.5, 12.0) };
            Fault::Cut { shape, links, length }
        }
        8..12 => Fault::Kill { agents: vec![(victim(scene, dice), seconds(dice, 0.05, 8.0))] },
        12 => {
            let all = if dice.chance(0.5) { scene.servers } else { scene.agents };
            Fault::Kill { agents: (0..all).map(|agent| (agent, seconds(dice, 0.05, 3.0))).collect() }
        }
        13..16 => {
            let length = if dice.chance(0.5) { seconds(dice, 0.05, 1.0) } else { seconds(dice, 1.0, 6.0) };
            Fault::Pause { agent: victim(scene, dice), length }
        }
        16 => {
            Fault::Disk { agent: dice.below(scene.servers), quality: Quality::SLOW, length: seconds(dice, 1.0, 10.0) }
        }
        17 => Fault::Disk { agent: dice.below(scene.servers), quality: Quality::FULL, length: seconds(dice, 0.1, 4.0) },
        _ => Fault::Weather { weather: storm(dice), length: seconds(dice, 1.0, 8.0) },
    }
}

fn victim(scene: Scene, dice: &mut Dice) -> usize {
    let anybody = dice.below(scene.agents);
    if dice.chance(0.4) { scene.leader.unwrap_or(anybody) } else { anybody }
}

fn storm(dice: &mut Dice) -> Weather {
    let strength = [1.0, 2.0, 5.0][dice.below(3)];
    Weather {
        loss: 0.05 * strength,
        duplication: 0.02 * strength,
        detour: 0.03 * strength,
        delay: dice.between(Duration::from_millis(1), Duration::from_millis(30)),
        jitter: dice.between(Duration::from_millis(1), Duration::from_millis(40)),
    }
}

/// Which ways are blocked.
fn cut(scene: Scene, dice: &mut Dice) -> (&'static str, Vec<(usize, usize)>) {
    let one = victim(scene, dice);
    let others = || (0..scene.agents).filter(move |other| *other != one);
    match dice.below(8) {
        0 | 1 => ("one alone", others().flat_map(|other| [(one, other), (other, one)]).collect()),
        2 => ("one is not heard", others().map(|other| (one, other)).collect()),
        3 => ("one does not hear", others().map(|other| (other, one)).collect()),
        4 => {
            let other = dice.below(scene.agents);
            let links = if one == other { Vec::new() } else { vec![(one, other), (other, one)] };
            ("one pair", links)
        }
        5 => {
            // Two halves that both reach the one in the middle, but not each other.
            let halves = halves(scene.agents, dice);
            ("a bridge", between(&halves).filter(|(from, to)| *from != one && *to != one).collect())
        }
        _ => ("two halves", between(&halves(scene.agents, dice)).collect()),
    }
}

fn halves(agents: usize, dice: &mut Dice) -> Vec<bool> {
    (0..agents).map(|_| dice.chance(0.5)).collect()
}

fn between(halves: &[bool]) -> impl Iterator<Item = (usize, usize)> {
    let pairs = (0..halves.len()).flat_map(|from| (0..halves.len()).map(move |to| (from, to)));
    pairs.filter(|(from, to)| halves[*from] != halves[*to])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Stream;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_of_fault_comes_and_hits_only_who_is_there() {
        let mut dice = Dice::new(3, Stream::Faults, 0);
        let scene = Scene { agents: 5, servers: 3, leader: Some(1), is_settled: true };
        let mut kinds = BTreeSet::new();
        for _ in 0..2000 {
            let (faults, next) = draw(scene, &mut dice);
            assert!(next <= INTERVAL * 4);
            let ambush = ambush(1, 5, &mut dice).map(|(fault, _)| fault);
            kinds.extend(faults.into_iter().map(|(fault, _)| fault).chain(ambush).map(kind_of));
        }
        assert_eq!(kinds.len(), 13, "{kinds:?}");
    }

    fn kind_of(fault: Fault) -> &'static str {
        match fault {
            Fault::Cut { shape, links, .. } => {
                assert!(links.iter().all(|(from, to)| from != to && *from < 5 && *to < 5));
                shape
            }
            Fault::Kill { agents } => {
                assert!(agents.iter().all(|(agent, _)| *agent < 5));
                "kill"
            }
            Fault::Pause { agent, .. } => {
                assert!(agent < 5);
                "pause"
            }
            Fault::LoseDisk { agent, .. } => {
                assert!(agent < 3, "clients have nothing to lose");
                "lost disk"
            }
            Fault::Leave { agent } => {
                assert!(agent < 3, "clients leave in the end");
                "leave"
            }
            Fault::Disk { agent, quality, .. } => {
                assert!(agent < 3, "clients write no log");
                if quality == Quality::FULL { "full disk" } else { "slow disk" }
            }
            Fault::Weather { .. } => "weather",
        }
    }
}
