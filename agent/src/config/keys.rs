//! Reading a JSON object key by key: types are checked, and what nobody asked for is noticed.
//!
//! Keys are compared without regard to case and underscores, so that `ServiceID`, `service_id` and `serviceid` are one key,
//! as they are to Consul. `null` means "not set".

use super::ConfigError;
use quorate_protocol::go;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much of a value a message shows.
const SHOWN_CHARS: usize = 60;

/// What to write where a duration is expected.
pub const DURATION: &str = "a duration such as \"30s\", \"1m30s\" or \"500ms\"";

/// Where a misplaced key belongs, for keys that people write one level too high.
const ELSEWHERE: &[(&str, &str)] = &[
    ("http_port", "ports.http"),
    ("https_port", "ports.https"),
    ("dns_port", "ports.dns"),
    ("serf_lan_port", "ports.serf_lan"),
    ("server_port", "ports.server"),
    ("raft_multiplier", "performance.raft_multiplier"),
    ("kv_max_value_size", "limits.kv_max_value_size"),
    ("node_ttl", "dns_config.node_ttl"),
    ("service_ttl", "dns_config.service_ttl"),
    ("only_passing", "dns_config.only_passing"),
    ("udp_answer_limit", "dns_config.udp_answer_limit"),
    ("node", "node_name"),
    ("name", "node_name"),
    ("bind", "bind_addr"),
    ("client", "client_addr"),
    ("advertise", "advertise_addr"),
    ("join", "retry_join"),
    ("encrypt_key", "encrypt"),
];

/// What was noticed while reading.
#[derive(Debug, Default)]
pub struct Notes {
    /// Sentences for the log: keys that nobody knows, values that were changed.
    pub sentences: Vec<String>,
    /// Paths of keys that Consul knows and that have no effect here.
    pub without_effect: Vec<String>,
    /// Sentences about keys that nobody knows; they are among the others.
    pub unknown: Vec<String>,
    /// Paths of keys that were read.
    pub read: Vec<String>,
}

/// One JSON object being read.
#[derive(Debug)]
pub struct Keys<'f> {
    file: &'f str,
    path: String,
    left: Vec<(String, Value)>,
    known: Vec<&'static str>,
    notes: Notes,
}

impl<'f> Keys<'f> {
    /// Reads the outermost object of a file with `read`.
    ///
    /// # Errors
    /// `value` is no object, or `read` refuses.
    pub fn of_file<T>(
        file: &'f str,
        value: Value,
        read: impl FnOnce(&mut Keys<'f>) -> Result<T, ConfigError>,
    ) -> Result<(T, Notes), ConfigError> {
        let Value::Object(map) = value else {
            let problem = format!("{} was found where an object is expected; wrap the keys in {{ }}", kind(&value));
            return Err(ConfigError::File { path: file.to_owned(), problem });
        };
        let mut keys = Keys::new(file, String::new(), map);
        let result = read(&mut keys)?;
        Ok((result, keys.finish()))
    }

    /// A string.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((path, other)) => Err(self.wrong(&path, &other, "a string in quotes")),
        }
    }

    /// `true` or `false`.
    pub fn switch(&mut self, name: &'static str) -> Result<Option<bool>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some((_, Value::Bool(on))) => Ok(Some(on)),
            Some((path, other)) => Err(self.wrong(&path, &other, "true or false, without quotes")),
        }
    }

    /// A whole number.
    pub fn whole(&mut self, name: &'static str) -> Result<Option<i64>, ConfigError> {
        let Some((path, value)) = self.take(name) else { return Ok(None) };
        match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(&path, &value, "a whole number, without quotes")),
        }
    }

    /// A whole number that `T` can hold.
    pub fn number<T: TryFrom<i64>>(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let path = self.path_of(name);
        let Some(number) = self.whole(name)? else { return Ok(None) };
        T::try_from(number).map(Some).map_err(|_| self.wrong(&path, &Value::from(number), expected))
    }

    /// A duration: Go's text, or a whole number of nanoseconds.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some((path, value)) => self.as_duration(&path, &value).map(Some),
        }
    }

    /// A list of strings; a single string is a list of one.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>, ConfigError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some((path, value)) => self.as_texts(&path, value),
        }
    }

    /// An object whose values are strings.
    pub fn text_map(&mut self, name: &'static str) -> Result<BTreeMap<String, String>, ConfigError> {
        self.map(name, |keys, path, value| match value {
            Value::String(text) => Ok(text),
            other => Err(keys.wrong(path, &other, "a string in quotes")),
        })
    }

    /// An object whose values are lists of strings.
    pub fn texts_map(&mut self, name: &'static str) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
        self.map(name, |keys, path, value| keys.as_texts(path, value))
    }

    /// An object whose values are durations.
    pub fn duration_map(&mut self, name: &'static str) -> Result<BTreeMap<String, Duration>, ConfigError> {
        self.map(name, |keys, path, value| keys.as_duration(path, &value))
    }

    /// An object that `read` understands.
    pub fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Keys<'f>) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some((path, Value::Object(map))) => self.inner(path, map, read).map(Some),
            Some((path, other)) => Err(self.wrong(&path, &other, "an object in { }")),
        }
    }

    /// An object whose values are objects that `read` understands.
    pub fn object_map<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Keys<'f>) -> Result<T, ConfigError>,
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        self.map(name, |keys, path, value| match value {
            Value::Object(map) => keys.inner(path.to_owned(), map, &mut read),
            other => Err(keys.wrong(path, &other, "an object in { }")),
        })
    }

    /// A list of objects that `read` understands; a single object is a list of one.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Keys<'f>) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some((path, value)) = self.take(name) else { return Ok(Vec::new()) };
        let items = match value {
            Value::Array(items) => items,
            single => vec![single],
        };
        let mut all = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{i}]");
            match item {
                Value::Object(map) => all.push(self.inner(path, map, &mut read)?),
                other => return Err(self.wrong(&path, &other, "an object in { }")),
            }
        }
        Ok(all)
    }

    /// Keys that Consul knows and that have no effect here. Whatever they hold is let through.
    pub fn without_effect(&mut self, names: &[&'static str]) {
        for name in names {
            if let Some((path, _)) = self.take(name) {
                self.notes.without_effect.push(path);
            }
        }
    }

    /// Keys that mean nothing and are meant so.
    pub fn silently(&mut self, names: &[&'static str]) {
        for name in names {
            self.take(name);
        }
    }

    /// The value of a key as it was written, without reading it.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.left.iter().find(|(key, value)| fold(key) == fold(name) && !value.is_null()).map(|(_, value)| value)
    }

    /// The path of one of this object's keys, as messages show it.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A refusal of one of this object's keys.
    pub fn refuse(&self, name: &str, value: &str, remedy: &str) -> ConfigError {
        ConfigError::Setting {
            key: self.path_of(name),
            value: value.to_owned(),
            place: format!(" (in {})", self.file),
            remedy: remedy.to_owned(),
        }
    }

    /// A sentence for the log about one of this object's keys.
    pub fn warn(&mut self, name: &str, sentence: &str) {
        let path = self.path_of(name);
        self.notes.sentences.push(format!("{}: {path} {sentence}", self.file));
    }

    fn new(file: &'f str, path: String, map: Map<String, Value>) -> Keys<'f> {
        Keys { file, path, left: map.into_iter().collect(), known: Vec::new(), notes: Notes::default() }
    }

    fn inner<T>(
        &mut self,
        path: String,
        map: Map<String, Value>,
        read: impl FnOnce(&mut Keys<'f>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let mut keys = Keys::new(self.file, path, map);
        let result = read(&mut keys)?;
        let notes = keys.finish();
        self.notes.sentences.extend(notes.sentences);
        self.notes.unknown.extend(notes.unknown);
        self.notes.without_effect.extend(notes.without_effect);
        self.notes.read.extend(notes.read);
        Ok(result)
    }

    fn map<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Keys<'f>, &str, Value) -> Result<T, ConfigError>,
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        match self.take(name) {
            None => Ok(BTreeMap::new()),
            Some((path, Value::Object(map))) => map
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    let result = read(self, &format!("{path}.{key}"), value)?;
                    Ok((key, result))
                })
                .collect(),
            Some((path, other)) => Err(self.wrong(&path, &other, "an object in { }")),
        }
    }

    fn as_texts(&self, path: &str, value: Value) -> Result<Vec<String>, ConfigError> {
        let items = match value {
            Value::String(text) => return Ok(vec![text]),
            Value::Array(items) => items,
            other => return Err(self.wrong(path, &other, "a list of strings in [ ]")),
        };
        items
            .into_iter()
            .enumerate()
            .map(|(i, item)| match item {
                Value::String(text) => Ok(text),
                other => Err(self.wrong(&format!("{path}[{i}]"), &other, "a string in quotes")),
            })
            .collect()
    }

    fn as_duration(&self, path: &str, value: &Value) -> Result<Duration, ConfigError> {
        let duration = match value {
            Value::String(text) => duration(text),
            other => other.as_i64().and_then(not_negative),
        };
        duration.ok_or_else(|| self.wrong(path, value, DURATION))
    }

    /// Takes a key's path and value out, if it is set.
    fn take(&mut self, name: &'static str) -> Option<(String, Value)> {
        self.known.push(name);
        let position = self.left.iter().position(|(key, _)| fold(key) == fold(name))?;
        let (_, value) = self.left.remove(position);
        if value.is_null() {
            return None;
        }
        let path = self.path_of(name);
        self.notes.read.push(path.clone());
        Some((path, value))
    }

    fn wrong(&self, path: &str, value: &Value, expected: &str) -> ConfigError {
        let key = path.to_owned();
        let value = format!("{} ({})", shown(value), kind(value));
        ConfigError::Setting {
            key,
            value,
            place: format!(" (in {})", self.file),
            remedy: format!("{expected} is expected"),
        }
    }

    fn finish(mut self) -> Notes {
        for (key, value) in std::mem::take(&mut self.left) {
            if value.is_null() {
                continue;
            }
            let path = self.path_of(&cut(&key));
            let hint = match self.likely(&key) {
                Some(likely) => format!("; did you mean {likely}?"),
                None => " and is ignored".to_owned(),
            };
            let sentence = format!("{}: the key {path} is unknown{hint}", self.file);
            self.notes.unknown.push(sentence.clone());
            self.notes.sentences.push(sentence);
        }
        self.notes
    }

    /// The key that was probably meant.
    fn likely(&self, key: &str) -> Option<String> {
        let key: String = key.chars().take(SHOWN_CHARS).collect::<String>().to_lowercase().replace('-', "_");
        if self.path.is_empty()
            && let Some((_, place)) = ELSEWHERE.iter().find(|(name, _)| *name == key)
        {
            return Some((*place).to_owned());
        }
        // A third of the letters may differ: enough for a slip, too little for another word.
        let tolerance = (key.chars().count() / 3).clamp(1, 3);
        self.known
            .iter()
            .map(|name| (distance(&key, name), *name))
            .filter(|(distance, _)| *distance <= tolerance)
            .min()
            .map(|(_, name)| self.path_of(name))
    }
}

/// The duration that `text` says; none if it is not one or is negative: nothing here waits for the past.
pub fn duration(text: &str) -> Option<Duration> {
    go::parse_duration(text).ok().and_then(not_negative)
}

fn not_negative(nanos: i64) -> Option<Duration> {
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

/// The beginning of `text`, without control characters.
pub fn cut(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
    if text.chars().count() > SHOWN_CHARS {
        shown.push('…');
    }
    shown
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn fold(key: &str) -> String {
    key.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// How many letters must be added, dropped, changed or swapped with a neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_texts_or_nanoseconds_and_never_negative() {
        let check = |value: Value, expected: Option<Duration>| {
            let read = Keys::of_file("a.json", json!({"wait": value}), |keys| keys.duration("wait"));
            match (read, expected) {
                (Ok((found, _)), Some(_)) => assert_eq!(found, expected, "{value}"),
                (Err(error), None) => {
                    let text = error.to_string();
                    assert!(text.contains(&format!("wait is {value} (")) && text.contains(DURATION), "{text}");
                }
                (found, _) => panic!("{value}: {found:?}"),
            }
        };
        check(json!("1m30s"), Some(Duration::from_secs(90)));
        check(json!("+1.5s"), Some(Duration::from_millis(1_500)));
        check(json!("0"), Some(Duration::ZERO));
        check(json!(5_000_000), Some(Duration::from_millis(5)));
        for bad in [json!(""), json!("30"), json!("-1s"), json!("30 s"), json!("30S"), json!("999999999h")] {
            check(bad, None);
        }
        for bad in [json!(-1), json!(1.5), json!(u64::MAX), json!(true), json!([1])] {
            check(bad, None);
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("port", "ports", 1), ("sevrer", "server", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn one_key_has_many_spellings() {
        for spelling in ["service_id", "ServiceID", "serviceid", "SERVICE_ID"] {
            let value = serde_json::json!({ spelling: "web" });
            let (id, notes) = Keys::of_file("x", value, |keys| keys.text("service_id")).unwrap();
            assert_eq!(id.as_deref(), Some("web"), "{spelling}");
            assert!(notes.sentences.is_empty());
        }
    }
}
