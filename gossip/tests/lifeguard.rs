//! What each part of Lifeguard is worth: the experiment of `sick_members.rs` with one part after another left out, and with none of them. Prints the table of
//! `docs/lifeguard.md`.
#![cfg(feature = "planted-bugs")]

mod world;

use quorate_gossip::Part;
use world::sick::{CUT_OFF, Illness, MUTE, Reports, STARVED, STOPPED, usual};

const SEEDS: u64 = 3;

/// The sums over some seeds.
fn reports(illness: Illness, without: &[Part]) -> Reports {
    let mut sum = Reports::default();
    for seed in 0..SEEDS {
        let Reports { at_healthy, at_sick, of_sick, back } =
            usual(illness).run(seed, |config| config.without = without.to_vec());
        sum.at_healthy += at_healthy;
        sum.at_sick += at_sick;
        sum.of_sick += of_sick;
        sum.back = sum.back.max(back);
    }
    sum
}

fn row(name: &str, without: &[Part]) -> Vec<Reports> {
    let row: Vec<Reports> = [CUT_OFF, MUTE, STOPPED, STARVED].map(|illness| reports(illness, without)).into();
    let cells: Vec<String> = row
        .iter()
        .map(|Reports { at_healthy, at_sick, of_sick, back }| {
            format!("{at_healthy} / {at_sick} / {of_sick} ({:.1} s)", back.as_secs_f64())
        })
        .collect();
    println!("| {name} | {} |", cells.join(" | "));
    row
}

#[test]
fn every_part_is_worth_something_and_without_them_healthy_members_are_failed() {
    println!("| without | cut off | mute | stopped | starved |\n| --- | --- | --- | --- | --- |");
    let whole = row("nothing", &[]);
    assert!(whole.iter().all(|reports| (reports.at_healthy, reports.at_sick) == (0, 0)), "{whole:?}");
    for part in Part::ALL {
        row(&format!("{part:?}"), &[part]);
    }
    let bare = row("all of them", &Part::ALL);
    let wrong = |row: &[Reports]| row.iter().map(|reports| reports.at_healthy + reports.at_sick).sum::<usize>();
    assert!(wrong(&bare) > 100, "SWIM alone is known to be worse: these reports count nothing: {bare:?}");
}
