//! A lock alone protects nothing from a holder that was asleep; a lock with a fencing token does.
//!
//! ```text
//! cargo run -p quorate-examples --bin fencing_token          # an agent at 127.0.0.1:8500, or at QUORATE_HTTP_ADDR
//! ```
//!
//! Ada acquires the lock and falls asleep, as a program does in a long collection of garbage or a laptop with its lid closed. Her session
//! ends, Bob acquires the lock and writes. Ada wakes up, believes that she holds the lock, and writes. No lock service can prevent
//! that, since nobody can see that a program is about to wake up. The resource can: every acquire has a greater token than all before,
//! so it refuses whoever shows one that is smaller than the greatest it has seen.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let key = format!("examples/fencing_token/{}", std::process::id());
    let mut file = Resource::default();

    let ada = Holder::acquire("ada", &key)?;
    file.write(&ada, "ada's first line")?;
    println!("ada falls asleep");
    // What the servers do when nobody renews for two TTLs; a minute's wait would show the same.
    put(&format!("/v1/session/destroy/{}", ada.session), "")?;

    let bob = Holder::acquire("bob", &key)?;
    ensure!(bob.token > ada.token, "a later hold has a greater token: {} after {}", bob.token, ada.token);
    file.write(&bob, "bob's line")?;

    println!("ada wakes up, and still believes that she holds the lock");
    let refused = file.write(&ada, "ada's second line").err().context("the late write must be refused")?;
    println!("the resource: {refused:#}");
    ensure!(file.lines == ["ada's first line", "bob's line"], "{:?}", file.lines);

    // A resource that cannot remember may ask instead: whether this token is that of the present hold.
    ensure!(!still_counts(&key, ada.token)? && still_counts(&key, bob.token)?, "only bob's token counts");

    put(&format!("/v1/session/destroy/{}", bob.session), "")?;
    ureq::delete(agent(&format!("/v1/kv/{key}"))).call()?;
    println!("fencing_token: the late write was refused");
    Ok(())
}

/// What the lock protects: a file, a queue, a machine.
#[derive(Default)]
struct Resource {
    greatest: u64,
    lines: Vec<String>,
}

impl Resource {
    /// One comparison is all that it takes.
    fn write(&mut self, holder: &Holder, line: &str) -> Result<()> {
        let Holder { name, token, .. } = holder;
        ensure!(*token >= self.greatest, "{name} shows token {token}, and {} has been here: too late", self.greatest);
        self.greatest = *token;
        self.lines.push(line.to_owned());
        println!("{name} writes with token {token}");
        Ok(())
    }
}

/// Somebody who acquired the lock.
struct Holder {
    name: &'static str,
    session: String,
    token: u64,
}

impl Holder {
    /// Waits for the lock in the servers' queue. The token comes with the answer.
    fn acquire(name: &'static str, key: &str) -> Result<Holder> {
        // Without a lock delay, which is a wait in the hope that whoever sleeps has woken up by then: the token makes it unnecessary.
        let wanted = json!({ "Name": name, "TTL": "60s", "LockDelay": "0s" });
        let (made, _) = put("/v1/session/create", &wanted.to_string())?;
        let session = made["ID"].as_str().context("a session has an id")?.to_owned();
        loop {
            let (held, token) = put(&format!("/v1/kv/{key}?acquire={session}&wait=30s"), name)?;
            if held == true {
                let token = token.context("the agent tells no fencing token: is it Quorate?")?;
                println!("{name} holds the lock, with token {token}");
                return Ok(Holder { name, session, token });
            }
        }
    }
}

/// Whether a token is that of the present hold: 200, or 409 where it is not.
fn still_counts(key: &str, token: u64) -> Result<bool> {
    let question = ureq::get(agent(&format!("/v1/kv/{key}?check-token={token}&consistent")));
    let answer = question.config().http_status_as_error(false).build().call()?;
    match answer.status().as_u16() {
        200 => Ok(true),
        409 => Ok(false),
        other => anyhow::bail!("the agent answers {other} to a question about a token"),
    }
}

/// What the agent says, and the fencing token where it says one.
fn put(path: &str, body: &str) -> Result<(Value, Option<u64>)> {
    let mut answer =
        ureq::put(agent(path)).send(body).with_context(|| format!("PUT {path}; does an agent run here?"))?;
    let token = answer.headers().get("x-quorate-fencing-token").and_then(|token| token.to_str().ok()?.parse().ok());
    Ok((serde_json::from_str(&answer.body_mut().read_to_string()?)?, token))
}

/// Where a path of the agent is.
fn agent(path: &str) -> String {
    let given = ["QUORATE_HTTP_ADDR", "CONSUL_HTTP_ADDR"].iter().find_map(|name| std::env::var(name).ok());
    let address = given.unwrap_or_else(|| "127.0.0.1:8500".to_owned());
    let address = address.strip_prefix("http://").unwrap_or(&address);
    format!("http://{}{path}", address.trim_end_matches('/'))
}
