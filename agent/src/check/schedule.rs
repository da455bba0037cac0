//! When a check runs.

use super::Report;
use quorate_protocol::Status;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// When a check runs first, from now, and how often.
pub(super) struct Timing {
    pub(super) first: Duration,
    pub(super) interval: Duration,
}

/// Runs a probe again and again until nobody wants its reports. The moments are fixed at the start, so that they do not drift; a run that
/// takes longer than the interval skips those it missed.
pub(super) async fn run(
    timing: Timing,
    check_id: String,
    reports: mpsc::Sender<Report>,
    mut probe: impl AsyncFnMut() -> (Status, String),
) {
    let mut moments = interval_at(Instant::now() + timing.first, timing.interval);
    moments.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        moments.tick().await;
        let (status, output) = probe().await;
        if reports.send(Report { check_id: check_id.clone(), status, output }).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which runs begin, on tokio's paused clock, of a probe whose runs take so many seconds.
    async fn moments(first: u64, interval: u64, lengths: &[u64]) -> Vec<u64> {
        let start = Instant::now();
        let (sender, mut reports) = mpsc::channel(1);
        let expected = lengths.len();
        let mut lengths = lengths.iter().copied();
        let mut begun = Vec::new();
        let timing = Timing { first: Duration::from_secs(first), interval: Duration::from_secs(interval) };
        let running = run(timing, "id".into(), sender, async || {
            begun.push(start.elapsed().as_secs());
            match lengths.next() {
                Some(length) => tokio::time::sleep(Duration::from_secs(length)).await,
                None => std::future::pending().await,
            }
            (Status::Passing, String::new())
        });
        tokio::select! {
            () = running => {}
            () = async { for _ in 0..expected { reports.recv().await.unwrap(); } } => {}
        }
        begun.truncate(expected);
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn runs_keep_to_their_moments() {
        assert_eq!(moments(3, 10, &[0, 0, 0]).await, [3, 13, 23]);
        assert_eq!(moments(3, 10, &[4, 9, 1]).await, [3, 13, 23], "slow runs do not shift later ones");
        assert_eq!(moments(0, 10, &[25, 0, 0]).await, [0, 25, 30], "missed moments are not made up for");
    }
}
