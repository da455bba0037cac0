//! Runs seeds of the simulated world: `sim SEED`, or `sim --range A..B`.
#![allow(clippy::disallowed_methods, reason = "it measures how fast the simulation is on the real clock")]

use anyhow::{Context, Result, bail};
use quorate_tests::{Options, World};
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: sim SEED | --range A..B   [--agents 5] [--servers 3] [--seconds 120] [--print]

Runs a datacenter of simulated agents and checks every property. A single seed is run twice: the same seed
must give the same trace. --print shows every event.";

fn main() -> ExitCode {
    let run = Asked::from_arguments(std::env::args().skip(1)).and_then(|asked| match asked.range {
        Some(range) => run_range(range, &asked.options),
        None => run_twice(asked.options),
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_twice(options: Options) -> Result<()> {
    let started = Instant::now();
    let first = World::new(options.clone()).run();
    let took = started.elapsed();
    let second = World::new(Options { print: false, ..options.clone() }).run();
    match (&first, &second) {
        (Ok(first), Ok(second)) if first.hash == second.hash => println!("{first}"),
        (Err(first), Err(second)) if first.hash == second.hash => println!("{first}"),
        _ => println!("{first:?}\n\n{second:?}"),
    }
    let hash = |result: &Result<_, Box<quorate_tests::Failure>>| match result {
        Ok(quorate_tests::Summary { hash, .. }) => *hash,
        Err(failure) => failure.hash,
    };
    if hash(&first) != hash(&second) {
        bail!("two runs of seed {} differ: {:016x} and {:016x}", options.seed, hash(&first), hash(&second));
    }
    println!("  the same trace twice; {}", speed(Duration::from_secs(options.seconds), took));
    if first.is_err() {
        bail!("seed {} failed", options.seed);
    }
    Ok(())
}

fn run_range(range: Range<u64>, options: &Options) -> Result<()> {
    let started = Instant::now();
    let (mut runs, mut failed) = (0, Vec::new());
    for seed in range {
        runs += 1;
        match World::new(Options { seed, ..options.clone() }).run() {
            Ok(summary) if options.print => println!("{summary}"),
            Ok(_) => {}
            Err(failure) => {
                let seen = failure.violation.to_string();
                println!("seed {seed} at {:?}: {}", failure.at, seen.lines().next().unwrap_or_default());
                failed.push(seed);
            }
        }
    }
    let simulated = Duration::from_secs(options.seconds) * runs;
    println!("{runs} seeds, {} failed; {}", failed.len(), speed(simulated, started.elapsed()));
    if !failed.is_empty() {
        bail!("failed: {failed:?}");
    }
    Ok(())
}

fn speed(simulated: Duration, took: Duration) -> String {
    let rate = simulated.as_secs_f64() / took.as_secs_f64().max(1e-9);
    format!("{:.0} simulated seconds in {:.2} s: {rate:.0} per second", simulated.as_secs_f64(), took.as_secs_f64())
}

struct Asked {
    options: Options,
    range: Option<Range<u64>>,
}

impl Asked {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Asked> {
        let mut asked = Asked { options: Options::new(0), range: None };
        let mut has_seed = false;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--agents" => asked.options.agents = value()?.parse().context("--agents")?,
                "--servers" => asked.options.servers = value()?.parse().context("--servers")?,
                "--seconds" => asked.options.seconds = value()?.parse().context("--seconds")?,
                "--print" => asked.options.print = true,
                "--range" => {
                    let text = value()?;
                    let (from, to) = text.split_once("..").with_context(|| format!("--range {text} is not A..B"))?;
                    asked.range = Some(from.parse().context("--range")?..to.parse().context("--range")?);
                }
                seed => {
                    asked.options.seed = seed.parse().with_context(|| format!("'{seed}' is no seed\n{USAGE}"))?;
                    has_seed = true;
                }
            }
        }
        let Options { agents, servers, seconds, .. } = asked.options;
        if !has_seed && asked.range.is_none() {
            bail!("{USAGE}");
        }
        if servers == 0 || servers > agents || agents > 200 || seconds < 60 {
            bail!("at least one server, at most as many as agents (up to 200), and 60 seconds or more\n{USAGE}");
        }
        Ok(asked)
    }
}
