//! Health-check probes: what an agent does to find out whether its services are well.
//!
//! ```text
//!  start(definition) ─▶ schedule ─▶ probe ─▶ http | tcp | udp | grpc | h2ping | script | docker | os_service ─▶ Report ─▶ the engine's queue
//! ```
//!
//! One kind of check, one file; each check is a task that sleeps between its runs. A probe only looks and reports; what a result means
//! (thresholds, telling the catalogue) is decided in the engine, and checks that ask nobody (TTL, alias) are its own.

mod docker;
mod exit;
mod grpc;
mod h2ping;
mod http;
mod http2;
mod os_service;
mod output;
mod program;
mod redirect;
mod schedule;
mod script;
mod tcp;
mod tls;
mod udp;

use quorate_protocol::check::{CheckKind, SHORTEST_INTERVAL};
use quorate_protocol::{CheckDefinition, Status};
use ring::rand::{SecureRandom, SystemRandom};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long a run may take where the definition does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same of a program, which has more to do than to answer.
const DEFAULT_PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

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
    let CheckDefinition { id, kind, output_max_size, .. } = definition;
    if !kind.is_probed() {
        return RunningCheck(None);
    }
    // Again here, for what was saved by another version.
    let interval = kind.interval().max(SHORTEST_INTERVAL);
    let timeout = match kind.timeout() {
        Duration::ZERO if kind.runs_a_program() => DEFAULT_PROGRAM_TIMEOUT,
        Duration::ZERO => DEFAULT_TIMEOUT,
        timeout => timeout,
    };
    let timing = schedule::Timing { first: random_below(interval.min(LONGEST_FIRST_OFFSET)), interval };
    let run = schedule::run(timing, id, reports, async move || probe(&kind, timeout, output_max_size).await);
    RunningCheck(Some(tokio::spawn(run)))
}

/// One run. In a box, for a check that sleeps, as most do most of the time, should not hold the room that its run takes.
fn probe<'a>(
    kind: &'a CheckKind,
    timeout: Duration,
    output_size: usize,
) -> Pin<Box<dyn Future<Output = (Status, String)> + Send + 'a>> {
    match kind {
        CheckKind::Http(check) => Box::pin(http::probe(check, timeout, output_size)),
        CheckKind::Tcp { address, tls, .. } => Box::pin(tcp::probe(address, tls, timeout)),
        CheckKind::Udp { address, .. } => Box::pin(udp::probe(address, timeout)),
        CheckKind::Grpc(check) => Box::pin(grpc::probe(check, timeout)),
        CheckKind::H2Ping { address, tls, .. } => Box::pin(h2ping::probe(address, tls, timeout)),
        CheckKind::Script { args, .. } => Box::pin(script::probe(args, timeout, output_size)),
        CheckKind::Docker(check) => Box::pin(docker::probe(check, timeout, output_size)),
        CheckKind::OsService { name, .. } => Box::pin(os_service::probe(name, timeout, output_size)),
        CheckKind::None | CheckKind::Ttl { .. } | CheckKind::Alias(_) | CheckKind::Maintenance => {
            Box::pin(std::future::pending())
        }
    }
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
    use quorate_protocol::check::TlsUse;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_started_check_reports_until_it_is_dropped() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let kind = CheckKind::Tcp {
            address: address.clone(),
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            tls: TlsUse::default(),
        };
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
