//! Lock holders whose sessions outlive every fault: no two of them hold one lock at a time, and tokens grow with every hold.

use crate::agent::{Answer, request, wait_until};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const HOLDERS: usize = 3;
const LOCK: &str = "/v1/kv/lock";

/// One hold, as its holder knows it: it was told that it holds after it began, and had not yet asked for the release when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    holder: usize,
    token: u64,
    since: Instant,
    until: Instant,
}

/// Clients that take a lock, hold it for a moment and give it back.
pub struct LockHolders {
    is_over: Arc<AtomicBool>,
    holds: Arc<AtomicU64>,
    holders: Vec<JoinHandle<Result<Vec<Hold>>>>,
}

impl LockHolders {
    /// Starts them; each asks every server in turn.
    pub fn start(urls: &[String]) -> LockHolders {
        let is_over = Arc::new(AtomicBool::new(false));
        let holds = Arc::new(AtomicU64::new(0));
        let holders = (0..HOLDERS)
            .map(|number| {
                let mut holder = Holder { number, urls: urls.to_vec(), asked: number };
                let (is_over, count) = (Arc::clone(&is_over), Arc::clone(&holds));
                std::thread::spawn(move || holder.run(&is_over, &count))
            })
            .collect();
        LockHolders { is_over, holds, holders }
    }

    /// Waits until the lock was held so many more times.
    pub fn await_holds(&self, more: u64) -> Result<()> {
        let until = self.holds.load(Ordering::Relaxed) + more;
        wait_until(&format!("{more} more holds"), || Ok((self.holds.load(Ordering::Relaxed) >= until).then_some(())))
    }

    /// Stops them and checks what they saw; gives the number of holds.
    pub fn finish(self) -> Result<usize> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut holds = Vec::new();
        for holder in self.holders {
            holds.extend(holder.join().map_err(|_| anyhow!("a lock holder panicked"))??);
        }
        check(&mut holds)?;
        Ok(holds.len())
    }
}

fn check(holds: &mut [Hold]) -> Result<()> {
    holds.sort_by_key(|hold| hold.since);
    for (one, next) in holds.iter().zip(holds.iter().skip(1)) {
        ensure!(one.until <= next.since, "two hold the lock at once: {one:?} and {next:?}");
        ensure!(one.token < next.token, "the later hold has no greater token: {one:?} and {next:?}");
    }
    Ok(())
}

struct Holder {
    number: usize,
    urls: Vec<String>,
    asked: usize,
}

impl Holder {
    fn run(&mut self, is_over: &AtomicBool, count: &AtomicU64) -> Result<Vec<Hold>> {
        // Bound to no check: only its own time ends it, which is longer than any run of this test goes without a renewal.
        let made = self.insist("/v1/session/create", br#"{"TTL":"86400s","NodeChecks":[],"Behavior":"release"}"#)?;
        let session = serde_json::from_str::<Value>(&made.body)?["ID"].as_str().context("a session's id")?.to_owned();
        let mut holds = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let acquired = self.try_once(&format!("{LOCK}?acquire={session}"), b"held");
            let since = Instant::now();
            if let Some(Answer { body, token: Some(token), .. }) = acquired.filter(|answer| answer.status == 200)
                && body.trim() == "true"
            {
                holds.push(Hold { holder: self.number, token, since, until: Instant::now() });
                count.fetch_add(1, Ordering::Relaxed);
            }
            // Also when it was not told that it holds: the acquire may have happened all the same.
            self.insist(&format!("{LOCK}?release={session}"), b"free")?;
        }
        Ok(holds)
    }

    fn try_once(&mut self, path: &str, body: &[u8]) -> Option<Answer> {
        let url = format!("{}{path}", self.urls[self.asked % self.urls.len()]);
        let answer = request("PUT", &url, Some(body)).ok().filter(|answer| answer.status == 200);
        if answer.is_none() {
            self.asked += 1;
        }
        answer
    }

    /// Asks until it is told. What is asked so may be done twice.
    fn insist(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        wait_until(path, || Ok(self.try_once(path, body)))
    }
}

#[test]
fn overlapping_holds_and_tokens_that_go_back_are_seen() {
    let start = Instant::now();
    let hold = |holder, token, since, until| {
        let at = |millis| start + Duration::from_millis(millis);
        Hold { holder, token, since: at(since), until: at(until) }
    };
    let cases = [
        ("one after the other", vec![hold(1, 5, 0, 10), hold(2, 8, 10, 20), hold(1, 9, 25, 30)], true),
        ("in any order of noting", vec![hold(2, 8, 10, 20), hold(1, 5, 0, 10)], true),
        ("at once", vec![hold(1, 5, 0, 11), hold(2, 8, 10, 20)], false),
        ("a token that goes back", vec![hold(1, 8, 0, 10), hold(2, 5, 10, 20)], false),
        ("a token of two holds", vec![hold(1, 8, 0, 10), hold(2, 8, 10, 20)], false),
    ];
    for (why, mut holds, is_good) in cases {
        assert_eq!(check(&mut holds).is_ok(), is_good, "{why}");
    }
}
