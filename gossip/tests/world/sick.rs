//! Lifeguard's experiment (2017, section 5): some members are sick again and again, by turns that the seed draws.

use super::{Agent, World, config, secs};
use quorate_gossip::Config;
use quorate_gossip::MemberEventKind::Failed;
use std::collections::BTreeMap;
use std::time::Duration;

/// How the sick ones are sick, and for how long by turns: milliseconds, between two bounds.
#[derive(Clone, Copy, Debug)]
pub struct Illness {
    pub mode: Mode,
    pub sick_ms: (usize, usize),
    pub well_ms: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Its timers run, but no packet passes.
    CutOff,
    /// It hears others, but nothing that it says arrives.
    Mute,
    /// It does nothing, and packets wait.
    Stopped,
}

/// Packets blocked, as in Lifeguard's paper and the mode `drop` of the bench beside Serf.
pub const CUT_OFF: Illness = Illness { mode: Mode::CutOff, sick_ms: (500, 8000), well_ms: (50, 1000) };
/// The bench's `drop`, hard: hardly a moment of health.
pub const CUT_OFF_HARD: Illness = Illness { mode: Mode::CutOff, sick_ms: (1000, 12_000), well_ms: (20, 300) };
/// A link that comes and goes within probes.
pub const FLAPPING: Illness = Illness { mode: Mode::CutOff, sick_ms: (50, 900), well_ms: (50, 900) };
/// A link of one way.
pub const MUTE: Illness = Illness { mode: Mode::Mute, sick_ms: (500, 8000), well_ms: (50, 1000) };
/// The bench's `stop`: SIGSTOP.
pub const STOPPED: Illness = Illness { mode: Mode::Stopped, sick_ms: (500, 8000), well_ms: (50, 1000) };
/// The bench's `cpu`: a millisecond of it in a second.
pub const STARVED: Illness = Illness { mode: Mode::Stopped, sick_ms: (998, 1000), well_ms: (1, 2) };

/// What was called failed while some were sick: healthy members at healthy ones, healthy ones at sick ones, and sick ones anywhere.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reports {
    pub at_healthy: usize,
    pub at_sick: usize,
    pub of_sick: usize,
    /// How long after the last fell well all saw all alive again.
    pub back: Duration,
}

/// The experiment: the first of the agents fall sick and well by turns for a minute, while so many of a hundred datagrams are lost everywhere.
pub struct Experiment {
    pub agents: usize,
    pub sick: usize,
    pub loss_percent: u32,
    pub illness: Illness,
}

/// As the bench beside Serf does it.
pub const fn usual(illness: Illness) -> Experiment {
    Experiment { agents: 32, sick: 4, loss_percent: 0, illness }
}

impl Experiment {
    pub fn run(&self, seed: u64, change: impl Fn(&mut Config)) -> Reports {
        let mut world = World::new(0, seed);
        for n in 0..self.agents {
            let mut config = config(n, seed);
            change(&mut config);
            world.agents.push(Agent::new(config, world.now));
        }
        for n in 1..self.agents {
            world.join(n, 0);
        }
        world.run_until(secs(60), "everybody sees everybody", World::agrees);
        world.events.clear();
        world.loss_percent = self.loss_percent;
        self.fall_sick_by_turns(&mut world);
        let back = world.run_until(secs(60), "all alive again", World::agrees);
        world.run(secs(8));
        world.run_until(secs(60), "and for good", World::agrees);
        self.reports(&world, back)
    }

    fn fall_sick_by_turns(&self, world: &mut World) {
        let end = world.now + secs(60);
        let draw = |world: &mut World, (least, most): (usize, usize)| {
            Duration::from_millis(u64::try_from(least + world.dice(most - least)).unwrap_or_default())
        };
        // When each becomes sick or well.
        let mut turns = BTreeMap::new();
        for n in 0..self.sick {
            turns.insert((world.now + draw(world, self.illness.well_ms), n), true);
        }
        while let Some(((at, n), falls_sick)) = turns.pop_first().filter(|((at, _), _)| *at < end) {
            let wait = at.since(world.now);
            world.run(wait);
            let length = draw(world, if falls_sick { self.illness.sick_ms } else { self.illness.well_ms });
            match self.illness.mode {
                Mode::CutOff => world.agents[n].group = if falls_sick { u8::try_from(n + 1).unwrap_or(1) } else { 0 },
                Mode::Mute => world.agents[n].mute = falls_sick,
                Mode::Stopped if falls_sick => world.pause(n, length),
                Mode::Stopped => {}
            }
            turns.insert((at + length, n), !falls_sick);
        }
        for agent in &mut world.agents {
            (agent.group, agent.mute) = (0, false);
        }
    }

    fn reports(&self, world: &World, back: Duration) -> Reports {
        let mut reports = Reports { back, ..Reports::default() };
        let is_sick = |name: &str| (0..self.sick).any(|n| name == format!("agent-{n}"));
        for (_, n, event) in world.events.iter().filter(|(_, _, event)| event.kind == Failed) {
            match (is_sick(&event.member.name), *n < self.sick) {
                (true, _) => reports.of_sick += 1,
                (false, true) => reports.at_sick += 1,
                (false, false) => reports.at_healthy += 1,
            }
        }
        reports
    }
}
