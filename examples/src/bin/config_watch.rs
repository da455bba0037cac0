//! A program's configuration, kept current by the change stream.
//!
//! ```text
//! cargo run -p quorate-examples --bin config_watch           # an agent at 127.0.0.1:8500, or at QUORATE_HTTP_ADDR
//! ```
//!
//! Read everything once; its index is where the stream begins. From there on every put and every delete comes once and in order, and after
//! a break the stream goes on from the last `id`. Only a program that was away for so long that the servers no longer remember is
//! told so, and reads everything again.
//!
//! Here another thread changes the configuration, so that the program has something to see, and an end.

// An ordinary program: it has threads.
#![allow(clippy::disallowed_methods)]

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

fn main() -> Result<()> {
    let prefix = format!("examples/config_watch/{}/", std::process::id());
    put(&prefix, "color", "red")?;
    put(&prefix, "size", "small")?;

    let mut configuration = Configuration::read(&prefix)?;
    configuration.show("read");
    let writes = prefix.clone();
    let writer = thread::spawn(move || -> Result<()> {
        put(&writes, "color", "green")?;
        put(&writes, "shape", "round")?;
        ureq::delete(agent(&format!("/v1/kv/{writes}size"))).call()?;
        put(&writes, "color", "blue")?;
        put(&writes, "stop", "now")
    });
    while !configuration.settings.contains_key("stop") {
        // Returns when the connection breaks, which happens when an agent restarts.
        configuration.follow()?;
    }
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;

    let seen: Vec<&str> = configuration.changes.iter().map(String::as_str).collect();
    ensure!(seen == ["color=green", "shape=round", "size is gone", "color=blue", "stop=now"], "{seen:?}");
    ureq::delete(agent(&format!("/v1/kv/{prefix}?recurse"))).call()?;
    println!("config_watch: every change came once and in order");
    Ok(())
}

/// The configuration as this program knows it.
struct Configuration {
    prefix: String,
    settings: BTreeMap<String, String>,
    /// Everything up to here is known.
    index: u64,
    /// What happened, for the end of this story.
    changes: Vec<String>,
}

impl Configuration {
    /// Reads everything.
    fn read(prefix: &str) -> Result<Configuration> {
        let mut answer = ureq::get(agent(&format!("/v1/kv/{prefix}?recurse"))).call().context("reading")?;
        let index = answer.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        let rows: Vec<Value> = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let mut configuration = Configuration {
            prefix: prefix.to_owned(),
            settings: BTreeMap::new(),
            index: index.context("an index")?,
            changes: Vec::new(),
        };
        for row in rows {
            let (name, value) = configuration.setting(&row)?;
            configuration.settings.insert(name, value);
        }
        Ok(configuration)
    }

    /// Follows the stream until it ends, or until there is a reason to stop. (Server-sent events: lines of `name: value`, and an empty one
    /// after each event.)
    fn follow(&mut self) -> Result<()> {
        let question = agent(&format!("/v1/kv/{}?recurse&stream&index={}", self.prefix, self.index));
        // A sign of life comes every half minute; a minute without one is a connection that is dead.
        let request = ureq::get(question).config().timeout_per_read(Some(Duration::from_secs(60))).build();
        let stream = BufReader::new(request.call().context("following")?.into_body().into_reader());
        let (mut event, mut data) = (String::new(), String::new());
        for line in stream.lines() {
            let line = line.context("the stream broke off")?;
            match line.split_once(": ") {
                Some(("event", name)) => event = name.to_owned(),
                Some(("data", json)) => data = json.to_owned(),
                Some(("id", index)) => self.index = index.parse().context("an id is an index")?,
                _ if line.is_empty() && !event.is_empty() => {
                    if self.take(&event, &serde_json::from_str(&data)?)? {
                        return Ok(());
                    }
                    event.clear();
                }
                // A comment.
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes an event; whether it is time to stop following.
    fn take(&mut self, event: &str, data: &Value) -> Result<bool> {
        match event {
            "put" => {
                let (name, value) = self.setting(data)?;
                self.changes.push(format!("{name}={value}"));
                self.settings.insert(name, value);
            }
            "delete" => {
                let name = self.name(data)?;
                self.changes.push(format!("{name} is gone"));
                self.settings.remove(&name);
            }
            // Nothing happened, and nothing before this index will come again.
            "progress" => return Ok(false),
            "compacted" => {
                let Configuration { settings, index, .. } = Configuration::read(&self.prefix)?;
                (self.settings, self.index) = (settings, index);
                return Ok(true);
            }
            other => bail!("an event of a kind that this program does not know: {other}"),
        }
        self.show(event);
        Ok(self.settings.contains_key("stop"))
    }

    fn name(&self, row: &Value) -> Result<String> {
        let key = row["Key"].as_str().context("a key")?;
        Ok(key.strip_prefix(&self.prefix).unwrap_or(key).to_owned())
    }

    fn setting(&self, row: &Value) -> Result<(String, String)> {
        let value = row["Value"].as_str().unwrap_or_default();
        Ok((self.name(row)?, String::from_utf8(base64(value)?)?))
    }

    fn show(&self, why: &str) {
        let settings: Vec<String> = self.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!("{why} up to {}: {}", self.index, settings.join(" "));
    }
}

fn put(prefix: &str, name: &str, value: &str) -> Result<()> {
    let path = format!("/v1/kv/{prefix}{name}");
    ureq::put(agent(&path)).send(value).map(|_| ()).with_context(|| format!("PUT {path}; does an agent run here?"))
}

/// Where a path of the agent is.
fn agent(path: &str) -> String {
    let given = ["QUORATE_HTTP_ADDR", "CONSUL_HTTP_ADDR"].iter().find_map(|name| std::env::var(name).ok());
    let address = given.unwrap_or_else(|| "127.0.0.1:8500".to_owned());
    let address = address.strip_prefix("http://").unwrap_or(&address);
    format!("http://{}{path}", address.trim_end_matches('/'))
}

fn base64(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
}
