//! Health-check probes: what an agent does to find out whether its services are well.
//!
//! ```text
//!  start(definition) ─▶ schedule ─▶ http | tcp ─▶ Report ─▶ the engine's queue
//! ```
//!
//! One kind of check, one file. A probe only looks and reports; what a result means (thresholds, telling the catalogue) is decided in the
//! engine, and checks with a TTL are its own, for they need only a timer.

mod http;
mod output;
mod schedule;
mod tcp;
mod tls;

use quorate_protocol::check::CheckKind;
use quorate_protocol::{CheckDefinition, Status};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long a run may take where the definition does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs are not closer together, whatever a definition says, so that a mistyped unit does not become a flood.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// The first run comes within the interval, and within this: nobody should wait five minutes to see a new service.
const LONGEST_FIRST_OFFSET: Duration = Duration::from_secs(10);

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub check_id: String,
    /// How it went.
    pub status: Status,
    /// What it saw.
    pub output: String,
}

/// A check that runs until this is dropped; a run under way is given up then.
#[derive(Debug)]
pub struct RunningCheck(Option<JoinHandle<()>>);

impl Drop for RunningCheck {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// Starts to run a check. The first run is at a random moment within the interval, so that many checks do not run at once; the following
/// ones are each an interval apart, however long a run takes.
///
/// Must be called inside a tokio runtime. A kind that does not run by itself does nothing.
pub fn start(definition: CheckDefinition, reports: mpsc::Sender<Report>) -> RunningCheck {
    let interval = definition.kind.interval().max(SHORTEST_INTERVAL);
    let timeout = match definition.kind.timeout() {
        Duration::ZERO => DEFAULT_TIMEOUT,
        timeout => timeout,
    };
    let output_size = output::size(definition.output_max_size);
    let check_id = definition.id;
    let timing = schedule::Timing { first: random_below(interval.min(LONGEST_FIRST_OFFSET)), interval };
    let task = match definition.kind {
        CheckKind::None | CheckKind::Ttl { .. } => return RunningCheck(None),
        CheckKind::Http(check) => tokio::spawn(schedule::run(timing, check_id, reports, async move || {
            http::probe(&check, timeout, output_size).await
        })),
        CheckKind::Tcp { address, .. } => {
            tokio::spawn(schedule::run(timing, check_id, reports, async move || tcp::probe(&address, timeout).await))
        }
    };
    RunningCheck(Some(task))
}

fn random_below(limit: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness all checks would run at once, which is unkind but not wrong.
    let _ = SystemRandom::new().fill(&mut bytes);
    limit.mul_f64(f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_started_check_reports_until_it_is_dropped() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let kind = CheckKind::Tcp { address: address.clone(), interval: Duration::ZERO, timeout: Duration::ZERO };
        let definition = CheckDefinition { id: "web".into(), kind, ..CheckDefinition::default() };
        let (sender, mut reports) = mpsc::channel(8);
        let running = start(definition, sender);
        let report = tokio::time::timeout(Duration::from_secs(10), reports.recv()).await.unwrap().unwrap();
        let output = format!("TCP connect {address}: Success");
        assert_eq!(report, Report { check_id: "web".into(), status: Status::Passing, output });
        drop(running);
        // Its task was the only sender.
        while tokio::time::timeout(Duration::from_secs(10), reports.recv()).await.unwrap().is_some() {}
    }

    #[tokio::test]
    async fn a_ttl_is_not_a_probe() {
        let (sender, mut reports) = mpsc::channel(8);
        let kind = CheckKind::Ttl { ttl: Duration::from_secs(1) };
        let _running = start(CheckDefinition { kind, ..CheckDefinition::default() }, sender);
        assert_eq!(reports.recv().await, None);
    }

    #[test]
    fn random_offsets_stay_below_the_limit() {
        let limit = Duration::from_millis(1500);
        let offsets: Vec<_> = (0..100).map(|_| random_below(limit)).collect();
        assert!(offsets.iter().all(|offset| *offset < limit));
        assert!(offsets.iter().any(|offset| *offset != offsets[0]));
    }
}
