//! JSON objects taken apart as Go does it: keys match whatever their case, `null` is the same as absent, and what
//! nobody asked for is an error. Underscores in keys do not count either: `enable_tag_override` is `EnableTagOverride`.

use crate::error::Error;
use quorate_protocol::go::{self, quote};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// An object whose keys are taken one by one.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Where it is in the body, for errors: empty, or `Service.Check.`.
    path: String,
    /// By folded key: the key as it was written, and its value.
    left: BTreeMap<String, (String, Value)>,
}

impl Fields {
    /// The object that a body is.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for anything else.
    pub(crate) fn parse(body: &[u8]) -> Result<Fields, Error> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(failed("EOF: the request has no body, a JSON object is expected"));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(Fields::of(object, String::new())),
            Ok(_) => Err(failed("a JSON object is expected")),
            Err(error) => Err(failed(error)),
        }
    }

    fn of(object: Map<String, Value>, path: String) -> Fields {
        // Go keeps the last of several spellings.
        let left = object.into_iter().map(|(key, value)| (fold(&key), (key, value))).collect();
        Fields { path, left }
    }

    /// Whether nothing was said: no key, or only zero values.
    pub(crate) fn is_blank(&self) -> bool {
        self.left.values().all(|(_, value)| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Bool(true) => false,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
        })
    }

    /// Leaves out keys that are known and mean nothing here.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.left.remove(&fold(name));
        }
    }

    /// Whether a key is there with anything but its zero value; it is left out either way.
    pub(crate) fn take_presence(&mut self, name: &str) -> bool {
        self.take(name).is_some_and(|value| match value {
            Value::Bool(truth) => truth,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        })
    }

    /// # Errors
    /// [`Error::BadRequest`] for anything but text, as for the other kinds below.
    pub(crate) fn take_text(&mut self, name: &str) -> Result<String, Error> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    pub(crate) fn take_truth(&mut self, name: &str) -> Result<bool, Error> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(truth),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A number that may be negative, so that its reader can refuse it in Consul's words.
    pub(crate) fn take_number(&mut self, name: &str) -> Result<Option<i64>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) if number.is_i64() => Ok(number.as_i64()),
            Some(_) => Err(self.wrong(name, "a whole number")),
        }
    }

    pub(crate) fn take_port(&mut self, name: &str) -> Result<u16, Error> {
        let number = self.take_number(name)?.unwrap_or(0);
        u16::try_from(number).map_err(|_| self.wrong(name, "a port from 0 to 65535"))
    }

    /// A count of consecutive results.
    pub(crate) fn take_count(&mut self, name: &str) -> Result<u32, Error> {
        let number = self.take_number(name)?.unwrap_or(0);
        u32::try_from(number).map_err(|_| self.wrong(name, "a count of at least 0"))
    }

    /// Text as Go writes it (`10s`), or a number of nanoseconds. What is negative counts as zero, as it does where
    /// Consul compares.
    pub(crate) fn take_duration(&mut self, name: &str) -> Result<Duration, Error> {
        let nanos = match self.take(name) {
            None => 0,
            Some(Value::String(text)) if text.is_empty() => 0,
            Some(Value::String(text)) => go::parse_duration(&text).map_err(failed)?,
            Some(Value::Number(number)) => number.as_i64().ok_or_else(|| self.wrong(name, "nanoseconds"))?,
            Some(_) => return Err(self.wrong(name, "a duration like \"10s\"")),
        };
        Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }

    pub(crate) fn take_texts(&mut self, name: &str) -> Result<Vec<String>, Error> {
        self.take_items(name)?
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(self.wrong(name, "a list of strings")),
            })
            .collect()
    }

    pub(crate) fn take_text_map(&mut self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        self.take_map(name)?
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                _ => Err(self.wrong(name, "an object of strings")),
            })
            .collect()
    }

    /// A map from text to lists of text, such as HTTP headers.
    pub(crate) fn take_texts_map(&mut self, name: &str) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let wrong = || wrong_type(&self.path, name, "an object of lists of strings");
        let Some(value) = self.left.remove(&fold(name)).map(|(_, value)| value) else { return Ok(BTreeMap::new()) };
        match value {
            Value::Null => Ok(BTreeMap::new()),
            value => serde_json::from_value(value).map_err(|_| wrong()),
        }
    }

    /// An object within this one, if it is there.
    pub(crate) fn take_object(&mut self, name: &str) -> Result<Option<Fields>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields::of(object, format!("{}{name}.", self.path)))),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    /// A list of objects.
    pub(crate) fn take_objects(&mut self, name: &str) -> Result<Vec<Fields>, Error> {
        self.take_items(name)?
            .into_iter()
            .map(|item| match item {
                Value::Object(object) => Ok(Fields::of(object, format!("{}{name}.", self.path))),
                _ => Err(self.wrong(name, "a list of objects")),
            })
            .collect()
    }

    /// A map from names, which keep their case, to objects.
    pub(crate) fn take_object_map(&mut self, name: &str) -> Result<Vec<(String, Fields)>, Error> {
        self.take_map(name)?
            .into_iter()
            .map(|(key, value)| match value {
                Value::Object(object) => Ok((key, Fields::of(object, format!("{}{name}.", self.path)))),
                _ => Err(self.wrong(name, "an object of objects")),
            })
            .collect()
    }

    /// Refuses what was not taken.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Go's words, naming the first key that nobody knows.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.left.into_values().next() {
            None => Ok(()),
            Some((key, _)) => Err(failed(format!("json: unknown field {}", quote(&key)))),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(&fold(name)).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    fn take_items(&mut self, name: &str) -> Result<Vec<Value>, Error> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    fn take_map(&mut self, name: &str) -> Result<Map<String, Value>, Error> {
        match self.take(name) {
            None => Ok(Map::new()),
            Some(Value::Object(items)) => Ok(items),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    fn wrong(&self, name: &str, expected: &str) -> Error {
        wrong_type(&self.path, name, expected)
    }
}

fn wrong_type(path: &str, name: &str, expected: &str) -> Error {
    failed(format!("{path}{name} must be {expected}"))
}

/// What Consul answers to a body that it cannot read.
fn failed(why: impl std::fmt::Display) -> Error {
    Error::BadRequest(format!("Request decode failed: {why}"))
}

fn fold(key: &str) -> String {
    key.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result {
            Err(Error::BadRequest(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_in_any_spelling() {
        for body in
            [r#"{"EnableTagOverride":true}"#, r#"{"enabletagoverride":true}"#, r#"{"enable_tag_override":true}"#]
        {
            let mut fields = Fields::parse(body.as_bytes()).unwrap();
            assert!(fields.take_truth("EnableTagOverride").unwrap());
            fields.finish().unwrap();
        }
    }

    #[test]
    fn null_is_absent_and_absent_is_zero() {
        let mut fields = Fields::parse(br#"{"A":null,"B":null,"C":null,"D":null,"E":null}"#).unwrap();
        assert!(fields.is_blank());
        assert_eq!(fields.take_text("A").unwrap(), "");
        assert_eq!(fields.take_texts("B").unwrap(), Vec::<String>::new());
        assert!(fields.take_texts_map("C").unwrap().is_empty());
        assert!(fields.take_object("D").unwrap().is_none());
        assert_eq!(fields.take_duration("E").unwrap(), Duration::ZERO);
        assert_eq!(fields.take_port("F").unwrap(), 0);
        fields.finish().unwrap();
    }

    #[test]
    fn durations_both_ways() {
        let mut fields = Fields::parse(br#"{"A":"15.0s","B":10000000000,"C":"","D":"-5s","E":"10","F":1.5}"#).unwrap();
        assert_eq!(fields.take_duration("A").unwrap(), Duration::from_secs(15));
        assert_eq!(fields.take_duration("B").unwrap(), Duration::from_secs(10));
        assert_eq!(fields.take_duration("C").unwrap(), Duration::ZERO);
        assert_eq!(fields.take_duration("D").unwrap(), Duration::ZERO);
        assert_eq!(sentence(fields.take_duration("E")), "Request decode failed: time: missing unit in duration \"10\"");
        assert!(fields.take_duration("F").is_err());
    }

    #[test]
    fn refusals_name_the_field() {
        let mut fields = Fields::parse(br#"{"Name":1,"Check":{"HTTP":2},"Bogus":1,"Port":70000}"#).unwrap();
        assert_eq!(sentence(fields.take_text("Name")), "Request decode failed: Name must be a string");
        let mut check = fields.take_object("Check").unwrap().unwrap();
        assert_eq!(sentence(check.take_text("HTTP")), "Request decode failed: Check.HTTP must be a string");
        assert_eq!(sentence(fields.take_port("Port")), "Request decode failed: Port must be a port from 0 to 65535");
        assert_eq!(sentence(fields.finish()), "Request decode failed: json: unknown field \"Bogus\"");
        for body in ["", "  ", "{bad", "[]", "1", "\"x\"", "{} x", "\u{0}"] {
            assert!(sentence(Fields::parse(body.as_bytes())).starts_with("Request decode failed: "), "{body:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(Fields::parse(format!("{{\"a\":{deep}").as_bytes()).is_err());
    }
}
