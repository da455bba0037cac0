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
    /// What a refusal begins with.
    refusal: &'static str,
}

/// What most endpoints say of a body that they cannot read.
const DECODE_FAILED: &str = "Request decode failed";

/// A length of time as it was written.
enum Length {
    /// Text as Go writes it, in nanoseconds.
    Text(i64),
    /// A bare number.
    Number(i64),
}

impl Fields {
    /// The object that a body is.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for anything else.
    pub(crate) fn parse(body: &[u8]) -> Result<Fields, Error> {
        Fields::parse_saying(DECODE_FAILED, body)
    }

    /// As [`Fields::parse`], for a body that may be left out: none has no fields.
    ///
    /// # Errors
    /// As [`Fields::parse`].
    pub(crate) fn parse_optional(body: &[u8]) -> Result<Fields, Error> {
        if matches!(body.trim_ascii(), b"" | b"null") { Fields::parse(b"{}") } else { Fields::parse(body) }
    }

    /// As [`Fields::parse`], with another beginning of refusals.
    ///
    /// # Errors
    /// As [`Fields::parse`].
    pub(crate) fn parse_saying(refusal: &'static str, body: &[u8]) -> Result<Fields, Error> {
        match read(refusal, body)? {
            Value::Object(object) => Ok(Fields::of(object, String::new(), refusal)),
            _ => Err(failed(refusal, "a JSON object is expected")),
        }
    }

    /// The objects of the list that a body is; `null` is an empty list.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for anything else.
    pub(crate) fn parse_list(refusal: &'static str, body: &[u8]) -> Result<Vec<Fields>, Error> {
        let items = match read(refusal, body)? {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            _ => return Err(failed(refusal, "a JSON list of objects is expected")),
        };
        let object = |item| match item {
            Value::Object(object) => Ok(Fields::of(object, String::new(), refusal)),
            _ => Err(failed(refusal, "a JSON list of objects is expected")),
        };
        items.into_iter().map(object).collect()
    }

    fn of(object: Map<String, Value>, path: String, refusal: &'static str) -> Fields {
        // Go keeps the last of several spellings.
        let left = object.into_iter().map(|(key, value)| (fold(&key), (key, value))).collect();
        Fields { path, left, refusal }
    }

    /// An object within this one.
    fn within(&self, name: &str, object: Map<String, Value>) -> Fields {
        Fields::of(object, format!("{}{name}.", self.path), self.refusal)
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
        Ok(self.take_truth_if_given(name)?.unwrap_or(false))
    }

    /// As [`Fields::take_truth`], for what is not false where it is not given.
    pub(crate) fn take_truth_if_given(&mut self, name: &str) -> Result<Option<bool>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(truth)),
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

    /// Any number; zero where it is not given.
    pub(crate) fn take_real(&mut self, name: &str) -> Result<f64, Error> {
        match self.take(name) {
            None => Ok(0.0),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(name, "a number")),
        }
    }

    /// A list of any numbers.
    pub(crate) fn take_reals(&mut self, name: &str) -> Result<Vec<f64>, Error> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let number = |item: &Value| item.as_f64().ok_or_else(|| self.wrong(name, "a list of numbers"));
                items.iter().map(number).collect()
            }
            Some(_) => Err(self.wrong(name, "a list of numbers")),
        }
    }

    /// A number without sign, up to 2^64-1: flags and indexes.
    pub(crate) fn take_unsigned(&mut self, name: &str) -> Result<Option<u64>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64()),
            Some(_) => Err(self.wrong(name, "a whole number from 0 to 18446744073709551615")),
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
        Ok(self.take_duration_if_given(name)?.unwrap_or_default())
    }

    /// As [`Fields::take_duration`], for what is not zero where it is not given. Empty text does not give it.
    pub(crate) fn take_duration_if_given(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        Ok(self.take_length(name)?.map(|length| match length {
            Length::Text(nanos) | Length::Number(nanos) => Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
        }))
    }

    /// As [`Fields::take_duration_if_given`], but a bare number below 1000 is taken for seconds, as Consul takes the lock delay: people write 15
    /// and mean 15 s.
    pub(crate) fn take_lock_delay(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        Ok(self.take_length(name)?.map(|length| match length {
            Length::Number(seconds @ ..1000) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
            Length::Text(nanos) | Length::Number(nanos) => Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
        }))
    }

    fn take_length(&mut self, name: &str) -> Result<Option<Length>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => {
                go::parse_duration(&text).map(|nanos| Some(Length::Text(nanos))).map_err(|why| self.failed(why))
            }
            Some(Value::Number(number)) => match whole(&number) {
                Some(number) => Ok(Some(Length::Number(number))),
                None => Err(self.wrong(name, "nanoseconds")),
            },
            Some(_) => Err(self.wrong(name, "a duration like \"10s\"")),
        }
    }

    /// As [`Fields::take_texts`], telling an empty list from none. `null` is an empty list: in Go it takes the place of a default.
    pub(crate) fn take_texts_if_given(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let given = self.left.contains_key(&fold(name));
        Ok(Some(self.take_texts(name)?).filter(|_| given))
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
        let Some(value) = self.left.remove(&fold(name)).map(|(_, value)| value) else { return Ok(BTreeMap::new()) };
        match value {
            Value::Null => Ok(BTreeMap::new()),
            value => serde_json::from_value(value).map_err(|_| self.wrong(name, "an object of lists of strings")),
        }
    }

    /// An object within this one, if it is there.
    pub(crate) fn take_object(&mut self, name: &str) -> Result<Option<Fields>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(self.within(name, object))),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    /// A list of objects.
    pub(crate) fn take_objects(&mut self, name: &str) -> Result<Vec<Fields>, Error> {
        self.take_items(name)?
            .into_iter()
            .map(|item| match item {
                Value::Object(object) => Ok(self.within(name, object)),
                _ => Err(self.wrong(name, "a list of objects")),
            })
            .collect()
    }

    /// A map from names, which keep their case, to objects.
    pub(crate) fn take_object_map(&mut self, name: &str) -> Result<Vec<(String, Fields)>, Error> {
        self.take_map(name)?
            .into_iter()
            .map(|(key, value)| match value {
                Value::Object(object) => Ok((key, self.within(name, object))),
                _ => Err(self.wrong(name, "an object of objects")),
            })
            .collect()
    }

    /// Refuses what was not taken.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Go's words, naming the first key that nobody knows.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.left.values().next() {
            None => Ok(()),
            Some((key, _)) => Err(self.failed(format!("json: unknown field {}", quote(key)))),
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
        self.failed(format!("{}{name} must be {expected}", self.path))
    }

    /// What Consul answers to a body that it cannot read.
    pub(crate) fn failed(&self, why: impl std::fmt::Display) -> Error {
        failed(self.refusal, why)
    }
}

fn read(refusal: &'static str, body: &[u8]) -> Result<Value, Error> {
    if body.trim_ascii().is_empty() {
        return Err(failed(refusal, "EOF: the request has no body, JSON is expected"));
    }
    serde_json::from_slice(body).map_err(|error| failed(refusal, error))
}

fn failed(refusal: &'static str, why: impl std::fmt::Display) -> Error {
    Error::BadRequest(format!("{refusal}: {why}"))
}

/// A number without a fraction, also where it is written as `1.5e10`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    // Every whole number up to 2^53 is a float; beyond it nobody writes an exponent.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within the bounds of exact floats")]
    let of_float = |float: f64| (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64);
    number.as_i64().or_else(|| number.as_f64().and_then(of_float))
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
        let mut fields = Fields::parse(br#"{"A":15,"B":"15ns","C":1000,"D":-3,"E":1.5e10,"F":1e300}"#).unwrap();
        for (name, nanos) in [("A", 15_000_000_000), ("B", 15), ("C", 1000), ("D", 0), ("E", 15_000_000_000)] {
            assert_eq!(fields.take_lock_delay(name).unwrap(), Some(Duration::from_nanos(nanos)), "{name}");
        }
        assert!(fields.take_lock_delay("F").is_err());
        assert_eq!(fields.take_lock_delay("G").unwrap(), None);
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
