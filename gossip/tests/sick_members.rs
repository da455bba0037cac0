//! Some members are sick again and again, and nobody may suffer for it but they.

mod world;

use quorate_gossip::Timing;
use std::time::Duration;
use world::sick::{CUT_OFF, CUT_OFF_HARD, Experiment, FLAPPING, Illness, MUTE, STARVED, STOPPED, usual};

/// Runs it with some seeds; nobody healthy is called failed by anybody.
fn nobody_healthy_suffers(name: &str, experiment: &Experiment, seeds: u64) {
    for seed in 0..seeds {
        let reports = experiment.run(seed, |_| ());
        println!("{name}, seed {seed}: {reports:?}");
        assert_eq!((reports.at_healthy, reports.at_sick), (0, 0), "{name}, seed {seed}: {reports:?}");
    }
}

#[test]
fn nobody_healthy_is_called_failed_where_some_are_cut_off() {
    nobody_healthy_suffers("cut off", &usual(CUT_OFF), 3);
    nobody_healthy_suffers("cut off, hard", &usual(CUT_OFF_HARD), 6);
}

#[test]
fn nobody_healthy_is_called_failed_where_some_are_stopped_or_starved() {
    nobody_healthy_suffers("stopped", &usual(STOPPED), 3);
    nobody_healthy_suffers("starved", &usual(STARVED), 2);
}

#[test]
fn nobody_healthy_is_called_failed_where_links_flap_or_lead_one_way() {
    nobody_healthy_suffers("flapping", &usual(FLAPPING), 3);
    nobody_healthy_suffers("mute", &usual(MUTE), 3);
}

#[test]
fn nobody_healthy_is_called_failed_where_datagrams_are_lost_too() {
    let lossy = |illness: Illness| Experiment { loss_percent: 5, ..usual(illness) };
    nobody_healthy_suffers("cut off, 5 % lost", &lossy(CUT_OFF), 2);
    nobody_healthy_suffers("stopped, 5 % lost", &lossy(STOPPED), 2);
}

#[test]
fn who_was_cut_off_is_back_soon() {
    let mut back: Vec<Duration> = (0..5).map(|seed| usual(CUT_OFF).run(seed, |_| ()).back).collect();
    back.sort_unstable();
    println!("back after {back:?}");
    assert!(back[2] < Duration::from_secs(8) && back[4] < Duration::from_secs(20), "{back:?}");
}

#[test]
fn the_calm_profile_calls_stalls_no_failures() {
    let stalls = Illness { sick_ms: (500, 5000), ..STOPPED };
    for seed in 0..3 {
        let fast = usual(stalls).run(seed, |_| ());
        let calm = usual(stalls).run(seed, |config| config.timing = Timing::lan_calm());
        println!("seed {seed}: {fast:?} {calm:?}");
        assert_eq!(calm.of_sick, 0, "seed {seed}");
    }
}
