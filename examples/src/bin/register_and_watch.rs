//! A program that registers itself, reports that it is well, and prints who else offers the same service as that changes.
//!
//! ```text
//! cargo run -p quorate-examples --bin register_and_watch -- 8081     # in one terminal; the agent as in the other examples
//! cargo run -p quorate-examples --bin register_and_watch -- 8082     # in another: the first prints it
//! ```
//!
//! It speaks to the agent on this host over HTTP only, as a program in any language would. Stopped with ctrl-c it does not
//! deregister: its TTL check runs out, it turns critical, and a minute later the agent removes it.

// An ordinary program: it has threads and waits.
#![allow(clippy::disallowed_methods)]

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

const SERVICE: &str = "worker";

fn main() -> Result<()> {
    let port: u16 = std::env::args().nth(1).context("usage: register_and_watch PORT")?.parse().context("PORT")?;
    let id = format!("{SERVICE}-{port}");
    let service = json!({
        "ID": id, "Name": SERVICE, "Port": port,
        "Check": {"TTL": "10s", "DeregisterCriticalServiceAfter": "1m"},
    });
    put("/v1/agent/service/register", &service.to_string()).context("registering; does an agent run here?")?;
    thread::spawn(move || {
        loop {
            // Well within the TTL, so that one lost report changes nothing.
            if let Err(error) = put(&format!("/v1/agent/check/pass/service:{id}"), "") {
                eprintln!("report: {error:#}");
            }
            thread::sleep(Duration::from_secs(3));
        }
    });
    watch()
}

/// Prints the healthy instances whenever they change. An index is a place in the store's history: the agent answers as soon
/// as there is something newer, or after `wait`.
fn watch() -> Result<()> {
    let mut index = 0;
    let mut before = Vec::new();
    loop {
        let question = agent(&format!("/v1/health/service/{SERVICE}?passing&wait=60s&index={index}"));
        let mut answer = ureq::get(&question).call().context("watching")?;
        let next = answer.headers().get("x-consul-index").and_then(|value| value.to_str().ok()?.parse().ok());
        // An index that goes back means another history: start over.
        index = next.filter(|next| *next >= index).unwrap_or(0);
        let instances: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let now: Vec<String> = instances.as_array().into_iter().flatten().map(address).collect();
        if now != before {
            println!("{SERVICE}: {}", if now.is_empty() { "nobody".to_owned() } else { now.join(", ") });
            before = now;
        }
    }
}

fn address(instance: &Value) -> String {
    let text = |pointer: &str| instance.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let host = if text("/Service/Address").is_empty() { text("/Node/Address") } else { text("/Service/Address") };
    format!("{host}:{}", instance.pointer("/Service/Port").unwrap_or(&Value::Null))
}

fn put(path: &str, body: &str) -> Result<()> {
    ureq::put(agent(path)).send(body).map(|_| ()).context(path.to_owned())
}

/// Where a path of the agent is.
fn agent(path: &str) -> String {
    let given = ["QUORATE_HTTP_ADDR", "CONSUL_HTTP_ADDR"].iter().find_map(|name| std::env::var(name).ok());
    let address = given.unwrap_or_else(|| "127.0.0.1:8500".to_owned());
    let address = address.strip_prefix("http://").unwrap_or(&address);
    format!("http://{}{path}", address.trim_end_matches('/'))
}
