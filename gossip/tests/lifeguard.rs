//! What each part of Lifeguard is worth: the experiment of `sick_members.rs` with one part after another left out, and with all of them.
#![cfg(feature = "planted-bugs")]

mod world;

use quorate_gossip::Part;
use world::sick::{CUT_OFF, Illness, MUTE, Reports, STARVED, STOPPED, usual};

const SEEDS: u64 = 2;

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
    println!("{:<60} {sum:?}", format!("without {without:?}"));
    sum
}

/// A column of the table.
fn column(illness: Illness) {
    reports(illness, &[]);
    for part in Part::ALL {
        reports(illness, &[part]);
    }
    reports(illness, &Part::ALL);
}

#[test]
fn without_it_those_cut_off_fail_the_healthy() {
    let wrong = |without: &[Part]| {
        let reports = reports(CUT_OFF, without);
        reports.at_healthy + reports.at_sick
    };
    assert_eq!(wrong(&[]), 0);
    assert!(wrong(&Part::ALL) > 100, "an experiment that sees nothing proves nothing");
}

#[test]
#[ignore = "takes minutes, and prints the table: `cargo test -p quorate-gossip --features planted-bugs --test lifeguard -- --ignored --nocapture`"]
fn the_column_of_those_cut_off() {
    column(CUT_OFF);
}

#[test]
#[ignore = "as the others"]
fn the_column_of_the_mute() {
    column(MUTE);
}

#[test]
#[ignore = "as the others"]
fn the_column_of_those_stopped() {
    column(STOPPED);
}

#[test]
#[ignore = "as the others"]
fn the_column_of_those_starved() {
    column(STARVED);
}
