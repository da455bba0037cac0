//! Several candidates, of which one leads at a time; each that goes is followed by the next.
//!
//! ```text
//! cargo run -p quorate-examples --bin leader_election        # an agent at 127.0.0.1:8500, or at QUORATE_HTTP_ADDR
//! ```
//!
//! A candidate needs three requests: a session, which says that it lives; an acquire of the key, which waits in the servers' queue; and
//! a release when it resigns. Here the candidates are three threads, so that the program has an end; elsewhere [`Candidate::stand`] is
//! the whole of it. The second one vanishes without a word, as after a power cut: its session ends, and the key is free again.

// An ordinary program: it has threads and waits.
#![allow(clippy::disallowed_methods)]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How many lead at this moment: what the election is for.
static LEADING: AtomicU32 = AtomicU32::new(0);

fn main() -> Result<()> {
    let key = format!("examples/leader_election/{}", std::process::id());
    let observed = key.clone();
    let observer = thread::spawn(move || observe(&observed, 3));
    let names = ["ada", "bob", "cyd"];
    let candidates = names.map(|name| {
        let candidate = Candidate { name, key: key.clone() };
        // Bob does not resign.
        thread::spawn(move || candidate.stand(name != "bob"))
    });
    for candidate in candidates {
        candidate.join().map_err(|_| anyhow::anyhow!("a candidate panicked"))??;
    }
    observer.join().map_err(|_| anyhow::anyhow!("the observer panicked"))??;
    ureq::delete(agent(&format!("/v1/kv/{key}"))).call()?;
    println!("leader_election: three led, one at a time");
    Ok(())
}

struct Candidate {
    name: &'static str,
    key: String,
}

impl Candidate {
    /// Stands for election, leads once, and goes.
    fn stand(&self, resigns: bool) -> Result<()> {
        let name = self.name;
        // Whoever crashes is followed at once: a lock delay would protect work that does not look at the fencing token.
        let wanted = json!({ "Name": name, "TTL": "10s", "LockDelay": "0s" });
        let made = put("/v1/session/create", &wanted.to_string())?;
        let session = made["ID"].as_str().context("a session has an id")?.to_owned();
        let (stop, stopped) = mpsc::channel();
        let renewing = session.clone();
        let renewer = thread::spawn(move || renew(&renewing, &stopped));
        println!("{name} stands for election");
        // True as soon as it is our turn, false after the wait.
        while put(&format!("/v1/kv/{}?acquire={session}&wait=30s", self.key), name)? != true {
            println!("{name} still waits");
        }
        ensure!(LEADING.fetch_add(1, Ordering::SeqCst) == 0, "{name} was elected while another leads");
        println!("{name} leads");
        thread::sleep(Duration::from_millis(300));
        LEADING.fetch_sub(1, Ordering::SeqCst);
        if resigns {
            println!("{name} resigns");
            put(&format!("/v1/kv/{}?release={session}", self.key), "")?;
        } else {
            println!("{name} vanishes");
        }
        drop(stop);
        renewer.join().map_err(|_| anyhow::anyhow!("the renewer panicked"))?;
        // For one that vanished, the servers do this when its TTL has run out: two times ten seconds, which nobody here waits for.
        put(&format!("/v1/session/destroy/{session}"), "")?;
        Ok(())
    }
}

/// Keeps a session alive until the other end of the channel is gone.
fn renew(session: &str, stopped: &Receiver<()>) {
    while stopped.recv_timeout(Duration::from_secs(3)) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = put(&format!("/v1/session/renew/{session}"), "") {
            // A real leader stops leading when this goes on for a TTL.
            eprintln!("renew: {error:#}");
        }
    }
}

/// Says who leads whenever that changes, until so many have. Anybody can: it takes one blocking query after the other.
fn observe(key: &str, terms: usize) -> Result<()> {
    let (mut index, mut seen) = (0, Vec::<u64>::new());
    while seen.len() < terms {
        let mut answer = ureq::get(agent(&format!("/v1/kv/{key}?index={index}&wait=30s")))
            .config()
            .http_status_as_error(false)
            .build()
            .call()
            .context("observing")?;
        let next = answer.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        // An index that goes back means another history: start over.
        index = next.filter(|next| *next >= index).unwrap_or(0);
        if answer.status() != 200 {
            // Nobody has led yet; there is an index to wait from all the same.
            continue;
        }
        let rows: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let row = &rows[0];
        // Two terms may pass between two answers, so it is the count of holds that says how many there were.
        let count = row["LockIndex"].as_u64().context("a count of holds")?;
        for term in seen.len() as u64 + 1..=count {
            seen.push(term);
            match row["FencingToken"].as_u64() {
                Some(token) if term == count => println!("observer: term {term}, fencing token {token}"),
                _ => println!("observer: term {term}, over already"),
            }
        }
    }
    Ok(())
}

fn put(path: &str, body: &str) -> Result<Value> {
    let mut answer =
        ureq::put(agent(path)).send(body).with_context(|| format!("PUT {path}; does an agent run here?"))?;
    Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
}

/// Where a path of the agent is.
fn agent(path: &str) -> String {
    let given = ["QUORATE_HTTP_ADDR", "CONSUL_HTTP_ADDR"].iter().find_map(|name| std::env::var(name).ok());
    let address = given.unwrap_or_else(|| "127.0.0.1:8500".to_owned());
    let address = address.strip_prefix("http://").unwrap_or(&address);
    format!("http://{}{path}", address.trim_end_matches('/'))
}
