//! A stand-in for the servers' keys and sessions, as far as locks need them.

use super::agent::{self, Asked, Said};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    pub value: String,
    pub flags: u64,
    pub session: String,
    pub modify_index: u64,
}

#[derive(Debug, Default)]
pub struct State {
    pub keys: BTreeMap<String, Key>,
    /// Those alive.
    pub sessions: BTreeSet<String>,
    /// What each was made with.
    pub made: Vec<String>,
    pub renewals: usize,
    /// Whether renewing fails, as without a leader.
    pub renewing_fails: bool,
    /// Whether watching fails.
    pub watching_fails: bool,
    /// How often one of them did.
    pub failures: usize,
    /// Whether nobody is queued: who asks for a key that is held is told so at once.
    pub impatient: bool,
    index: u64,
}

impl State {
    pub fn set(&mut self, key: &str, value: &str, flags: u64, session: &str) {
        self.index += 1;
        let key_set = Key { value: value.to_owned(), flags, session: session.to_owned(), modify_index: self.index };
        self.keys.insert(key.to_owned(), key_set);
    }

    pub fn delete(&mut self, key: &str) {
        self.index += 1;
        self.keys.remove(key);
    }
}

/// The servers.
#[derive(Clone, Default)]
pub struct Keys(Arc<(Mutex<State>, Condvar)>);

impl Keys {
    /// Lets an agent speak for them, and tells where it is.
    pub fn serve(&self) -> String {
        let keys = self.clone();
        agent::agent(move |asked| keys.say(&asked))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Changes something, which wakes those who wait.
    pub fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state());
        self.0.1.notify_all();
    }

    /// Waits until something is so.
    pub fn until(&self, is_so: impl Fn(&State) -> bool) {
        let limit = Duration::from_secs(60);
        let (_state, waited) = self.0.1.wait_timeout_while(self.state(), limit, |state| !is_so(state)).unwrap();
        assert!(!waited.timed_out(), "it never came to that");
    }

    fn say(&self, asked: &Asked) -> Said {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let query: BTreeMap<&str, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name, value.replace("%2D", "-")))
            .collect();
        let said = match (asked.method.as_str(), path.trim_start_matches("/v1/")) {
            ("PUT", path) if path.starts_with("session/") => self.session(path, asked),
            (method, path) => {
                let key = path.strip_prefix("kv/").unwrap();
                match method {
                    "GET" => self.get(key, &query),
                    "PUT" => self.put(key, &query, String::from_utf8_lossy(&asked.body).as_ref()),
                    _ => self.remove(key, &query),
                }
            }
        };
        self.0.1.notify_all();
        said
    }

    fn session(&self, path: &str, asked: &Asked) -> Said {
        let mut state = self.state();
        match path.trim_start_matches("session/").split_once('/') {
            Some(("renew", _)) if state.renewing_fails => {
                state.failures += 1;
                Said::new(500, "No cluster leader")
            }
            Some(("renew", id)) => {
                state.renewals += 1;
                if state.sessions.contains(id) { Said::new(200, "[]") } else { Said::new(404, "not found") }
            }
            Some((_, id)) => {
                state.sessions.remove(id);
                for key in state.keys.values_mut().filter(|key| key.session == id) {
                    key.session.clear();
                }
                Said::new(200, "true")
            }
            None => {
                let id = format!("our-session-{}", state.made.len());
                state.made.push(String::from_utf8_lossy(&asked.body).into_owned());
                state.sessions.insert(id.clone());
                Said::new(200, format!(r#"{{"ID":"{id}"}}"#))
            }
        }
    }

    fn get(&self, key: &str, query: &BTreeMap<&str, String>) -> Said {
        let mut state = self.state();
        if let Some(index) = query.get("index").and_then(|index| index.parse().ok()).filter(|index| *index > 0) {
            let limit = Duration::from_millis(query["wait"].trim_end_matches("ms").parse().unwrap());
            let unchanged = |state: &mut State| state.index <= index && !state.watching_fails;
            state = self.0.1.wait_timeout_while(state, limit, unchanged).unwrap().0;
            if state.watching_fails {
                state.failures += 1;
                return Said::new(500, "No cluster leader");
            }
        }
        let found = state.keys.iter().filter(|(name, _)| match query.contains_key("recurse") {
            true => name.starts_with(key),
            false => *name == key,
        });
        let rows: Vec<String> = found.map(|(name, key)| row(name, key)).collect();
        let said = if rows.is_empty() { Said::new(404, "") } else { Said::new(200, format!("[{}]", rows.join(","))) };
        said.with("X-Consul-Index", state.index.max(1))
    }

    fn put(&self, name: &str, query: &BTreeMap<&str, String>, value: &str) -> Said {
        let mut state = self.state();
        if let (Some(_), Some(wait), false) = (query.get("acquire"), query.get("wait"), state.impatient) {
            let limit = Duration::from_millis(wait.trim_end_matches("ms").parse().unwrap());
            self.0.1.notify_all();
            let held = |state: &mut State| state.keys.get(name).is_some_and(|key| !key.session.is_empty());
            state = self.0.1.wait_timeout_while(state, limit, held).unwrap().0;
        }
        let old = state.keys.get(name).cloned().unwrap_or_default();
        let session = match (query.get("acquire"), query.get("release"), query.get("cas")) {
            (Some(session), ..) if old.session.is_empty() && state.sessions.contains(session) => session.clone(),
            (_, Some(session), _) if old.session == *session => String::new(),
            (.., Some(cas)) if old.modify_index.to_string() == *cas => old.session,
            _ => return Said::new(200, "false"),
        };
        state.set(name, value, query["flags"].parse().unwrap(), &session);
        let said = Said::new(200, "true").with("X-Quorate-Index", state.index);
        if query.contains_key("acquire") { said.with("X-Quorate-Fencing-Token", state.index) } else { said }
    }

    fn remove(&self, name: &str, query: &BTreeMap<&str, String>) -> Said {
        let mut state = self.state();
        let index = state.keys.get(name).map(|key| key.modify_index.to_string());
        if query.get("cas").is_some_and(|cas| index.as_ref() != Some(cas)) {
            return Said::new(200, "false");
        }
        state.delete(name);
        Said::new(200, "true")
    }
}

fn row(name: &str, key: &Key) -> String {
    use base64::Engine as _;
    let value = base64::engine::general_purpose::STANDARD.encode(&key.value);
    let session = if key.session.is_empty() { String::new() } else { format!(r#","Session":"{}""#, key.session) };
    let (flags, index) = (key.flags, key.modify_index);
    format!(r#"{{"Key":"{name}","Value":"{value}","Flags":{flags},"ModifyIndex":{index}{session}}}"#)
}
