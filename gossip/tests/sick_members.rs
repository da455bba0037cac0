//! Lifeguard's experiment: some members are sick again and again, and nobody may suffer for it but they.

mod world;

use quorate_gossip::MemberEventKind::Failed;
use quorate_gossip::Timing;
use std::collections::BTreeMap;
use std::time::Duration;
use world::{World, secs};

const AGENTS: usize = 32;
const SICK: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Its timers run, but no packet passes.
    CutOff,
    /// It does nothing, and packets wait.
    Stopped,
}

/// What was called failed while some were sick: healthy members at healthy ones, healthy ones at sick ones, and sick ones anywhere.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reports {
    at_healthy: usize,
    at_sick: usize,
    of_sick: usize,
}

fn run(mode: Mode, timing: Timing, seed: u64, sick_ms: (usize, usize), well_ms: (usize, usize)) -> Reports {
    let mut world = World::new(0, seed);
    for n in 0..AGENTS {
        let config = quorate_gossip::Config { timing: timing.clone(), ..world::config(n, seed) };
        world.agents.push(world::Agent::new(config, world.now));
    }
    for n in 1..AGENTS {
        world.join(n, 0);
    }
    world.run_until(secs(60), "everybody sees everybody", World::agrees);
    world.events.clear();
    let end = world.now + secs(60);
    let draw = |world: &mut World, (least, most): (usize, usize)| {
        Duration::from_millis(u64::try_from(least + world.dice(most - least)).unwrap_or_default())
    };
    // When each becomes sick or well, by turns.
    let mut turns = BTreeMap::new();
    for n in 0..SICK {
        turns.insert((world.now + draw(&mut world, well_ms), n), true);
    }
    while let Some(((at, n), falls_sick)) = turns.pop_first().filter(|((at, _), _)| *at < end) {
        let wait = at.since(world.now);
        world.run(wait);
        let length = draw(&mut world, if falls_sick { sick_ms } else { well_ms });
        match mode {
            Mode::CutOff => world.agents[n].group = if falls_sick { u8::try_from(n + 1).unwrap_or(1) } else { 0 },
            Mode::Stopped if falls_sick => world.pause(n, length),
            Mode::Stopped => {}
        }
        turns.insert((at + length, n), !falls_sick);
    }
    for agent in &mut world.agents {
        agent.group = 0;
    }
    world.run(secs(8));
    world.run_until(secs(20), "all alive again", World::agrees);
    let mut reports = Reports::default();
    let is_sick = |name: &str| (0..SICK).any(|n| name == format!("agent-{n}"));
    for (_, n, event) in world.events.iter().filter(|(_, _, event)| event.kind == Failed) {
        match (is_sick(&event.member.name), *n < SICK) {
            (true, _) => reports.of_sick += 1,
            (false, true) => reports.at_sick += 1,
            (false, false) => reports.at_healthy += 1,
        }
    }
    reports
}

#[test]
fn nobody_healthy_is_called_failed_by_anybody() {
    for (mode, sick_ms, well_ms) in [
        (Mode::CutOff, (500, 8000), (50, 1000)),
        (Mode::CutOff, (1000, 12_000), (20, 300)),
        (Mode::Stopped, (500, 8000), (50, 1000)),
    ] {
        for seed in 0..3 {
            let reports = run(mode, Timing::lan(), seed, sick_ms, well_ms);
            println!("{mode:?} {sick_ms:?} seed {seed}: {reports:?}");
            assert_eq!((reports.at_healthy, reports.at_sick), (0, 0), "{mode:?}, seed {seed}: {reports:?}");
        }
    }
}

#[test]
fn the_calm_profile_calls_stalls_no_failures() {
    for seed in 0..3 {
        let fast = run(Mode::Stopped, Timing::lan(), seed, (500, 5000), (50, 1000));
        let calm = run(Mode::Stopped, Timing::lan_calm(), seed, (500, 5000), (50, 1000));
        println!("seed {seed}: {fast:?} {calm:?}");
        assert_eq!(calm.of_sick, 0, "seed {seed}");
    }
}
