//! Runs seeds of the simulated world: `sim SEED`, `sim --range A..B`, or `sim --explore MINUTES`.
#![allow(
    clippy::disallowed_methods,
    reason = "it measures how fast the simulation is on the real clock, and uses every core"
)]

use anyhow::{Context, Result, bail};
use quorate_tests::{Failure, Happened, Options, Summary, World};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

const USAGE: &str = "usage: sim SEED | --range A..B | --explore MINUTES
           [--agents 5] [--servers 3] [--seconds 120] [--restores] [--print]

Runs a datacenter of simulated agents and checks every property. A single seed is run twice: the same seed
must give the same trace. --explore draws fresh seeds on every core until the time is up. --restores has operators
put snapshots back, as every eighth seed has anyway. --print shows every event. Built with the feature planted-bugs,
--planted NAME switches on a bug in the servers.";

fn main() -> ExitCode {
    let run = Asked::from_arguments(std::env::args().skip(1)).and_then(|asked| match asked.seeds {
        Seeds::One(seed) => run_twice(asked.options_of(seed)),
        Seeds::Range(ref range) => run_all(range.clone(), None, &asked),
        Seeds::Fresh(length) => run_all(fresh_seeds(), Some(Instant::now() + length), &asked),
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
    let hash = |result: &Result<Summary, Box<Failure>>| match result {
        Ok(summary) => summary.hash,
        Err(failure) => failure.hash,
    };
    if hash(&first) != hash(&second) {
        bail!("two runs of seed {} differ: {:016x} and {:016x}", options.seed, hash(&first), hash(&second));
    }
    println!("  the same trace twice; {}", speed(Duration::from_secs(options.seconds), took, 1));
    if first.is_err() {
        bail!("seed {} failed", options.seed);
    }
    Ok(())
}

/// What has been run so far, on all cores.
struct Progress<S> {
    seeds: S,
    until: Option<Instant>,
    runs: u32,
    failed: Vec<u64>,
    happened: Vec<Happened>,
}

/// Runs seeds on every core, until there are no more or the time is up.
fn run_all(seeds: impl Iterator<Item = u64> + Send, until: Option<Instant>, asked: &Asked) -> Result<()> {
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = Mutex::new(Progress { seeds, until, runs: 0, failed: Vec::new(), happened: Vec::new() });
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(seed) = next_seed(&progress) {
                    let run = World::new(asked.options_of(seed)).run();
                    record(&progress, asked.options.print, run);
                }
            });
        }
    });
    let Progress { runs, failed, happened, .. } = into_inner(progress);
    let simulated = Duration::from_secs(asked.options.seconds) * runs;
    println!("{}", happened.into_iter().sum::<Happened>());
    let hours = simulated.as_secs_f64() / 3600.0;
    let speed = speed(simulated, started.elapsed(), cores);
    println!("{runs} seeds, {} failed; {hours:.1} simulated cluster-hours; {speed}", failed.len());
    if !failed.is_empty() {
        bail!("failed, so they belong into tests/seeds.txt: {failed:?}");
    }
    Ok(())
}

fn next_seed(progress: &Mutex<Progress<impl Iterator<Item = u64>>>) -> Option<u64> {
    let mut progress = lock(progress);
    if progress.until.is_some_and(|until| until <= Instant::now()) {
        return None;
    }
    progress.seeds.next()
}

fn record<S>(progress: &Mutex<Progress<S>>, print: bool, run: Result<Summary, Box<Failure>>) {
    let mut progress = lock(progress);
    progress.runs += 1;
    match run {
        Ok(summary) => {
            if print {
                println!("{summary}");
            }
            progress.happened.push(summary.happened);
        }
        Err(failure) => {
            let seed = failure.options.seed;
            let seen = failure.violation.to_string();
            println!("seed {seed} at {:?}: {}", failure.at, seen.lines().next().unwrap_or_default());
            progress.failed.push(seed);
        }
    }
}

/// A run catches the panics of engines itself: nobody leaves the lock poisoned.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Seeds that nobody has run, far from those that are committed.
fn fresh_seeds() -> Range<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64 * 1000..u64::MAX
}

fn speed(simulated: Duration, took: Duration, cores: usize) -> String {
    let (simulated, took) = (simulated.as_secs_f64(), took.as_secs_f64().max(1e-9));
    let rate = simulated / took / cores as f64;
    format!("{simulated:.0} simulated seconds in {took:.2} s on {cores} cores: {rate:.0} times real time on each")
}

/// Which seeds are run.
enum Seeds {
    One(u64),
    Range(Range<u64>),
    Fresh(Duration),
}

struct Asked {
    /// For every seed, but the seed.
    options: Options,
    restores: bool,
    seeds: Seeds,
}

/// A bug of a server by its name.
#[cfg(feature = "planted-bugs")]
fn planted(name: &str) -> Result<quorate_engine::Planted> {
    let raft = quorate_raft::PlantedBug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    let store = quorate_store::Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    if raft.is_none() && store.is_none() {
        bail!("'{name}' is none of {:?} and {:?}", quorate_raft::PlantedBug::ALL, quorate_store::Bug::ALL);
    }
    Ok(quorate_engine::Planted { raft, store })
}

impl Asked {
    fn options_of(&self, seed: u64) -> Options {
        let restores = self.restores || Options::new(seed).restores;
        Options { seed, restores, ..self.options.clone() }
    }

    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Asked> {
        let mut options = Options::new(0);
        let mut restores = false;
        let mut seeds = None;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--agents" => options.agents = value()?.parse().context("--agents")?,
                "--servers" => options.servers = value()?.parse().context("--servers")?,
                "--seconds" => options.seconds = value()?.parse().context("--seconds")?,
                "--restores" => restores = true,
                "--print" => options.print = true,
                #[cfg(feature = "planted-bugs")]
                "--planted" => options.planted = planted(&value()?)?,
                "--range" => {
                    let text = value()?;
                    let (from, to) = text.split_once("..").with_context(|| format!("--range {text} is not A..B"))?;
                    seeds = Some(Seeds::Range(from.parse().context("--range")?..to.parse().context("--range")?));
                }
                "--explore" => {
                    let minutes: f64 = value()?.parse().context("--explore")?;
                    seeds = Some(Seeds::Fresh(Duration::try_from_secs_f64(minutes * 60.0).context("--explore")?));
                }
                seed => {
                    let seed = seed.parse().with_context(|| format!("'{seed}' is no seed\n{USAGE}"))?;
                    seeds = Some(Seeds::One(seed));
                }
            }
        }
        let Options { agents, servers, seconds, .. } = options;
        if servers == 0 || servers > agents || agents > 200 || seconds < 60 {
            bail!("at least one server, at most as many as agents (up to 200), and 60 seconds or more\n{USAGE}");
        }
        Ok(Asked { options, restores, seeds: seeds.context(USAGE)? })
    }
}
