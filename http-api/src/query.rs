//! Query strings as Consul reads them: bare flags, repeated parameters, and the ones that every read takes.

use crate::config::Config;
use crate::error::Error;
use crate::percent::{decode_query, encode_query};
use quorate_protocol::go::{self, quote};
use quorate_protocol::{Consistency, LogIndex, Page, Wait};
use std::collections::BTreeMap;
use std::time::Duration;

/// The parameters of a request, in the order they were given.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreshnessWanted {
    /// Who may answer.
    pub(crate) consistency: Consistency,
    /// With a stale read: a server that heard nothing from its leader for longer asks it.
    pub(crate) max_stale: Option<Duration>,
    /// The state must be of this log index or later. (An extension.)
    pub(crate) at_least: LogIndex,
}

impl Query {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a bad escape.
    pub(crate) fn parse(raw: &str) -> Result<Query, Error> {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode_query(name)?, decode_query(value)?))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Query { pairs })
    }

    /// The first value of a parameter; empty for a bare flag.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Whether a flag is there: its value does not matter, so `recurse=false` recurses.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every value of a parameter that may be repeated.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The datacenter meant, if it is another than `own`.
    pub(crate) fn datacenter(&self, own: &str) -> Option<String> {
        self.get("dc").filter(|dc| !dc.is_empty() && *dc != own).map(str::to_owned)
    }

    /// A flag whose value is read: absent is false, bare is true.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a value that Go's `strconv.ParseBool` refuses.
    pub(crate) fn truth(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(_) => Err(Error::BadRequest(format!("Invalid value for ?{name}"))),
        }
    }

    /// A number without sign, if it is given.
    ///
    /// # Errors
    /// [`Error::Refused`], in the words and with the status that Consul has for it.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match unsigned(text) {
            Ok(number) => Ok(Some(number)),
            Err(why) => Err(Error::Refused(format!("strconv.ParseUint: parsing {}: {why}", quote(text)))),
        }
    }

    /// The tags that an instance must carry.
    pub(crate) fn tags(&self) -> Vec<String> {
        self.all("tag").filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    }

    /// The pairs `key:value` that a node must carry.
    pub(crate) fn node_meta(&self) -> BTreeMap<String, String> {
        self.all("node-meta")
            .map(|pair| pair.split_once(':').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Refuses a request that combines parameters which exclude one another.
    ///
    /// # Errors
    /// [`Error::BadRequest`] naming all parameters, as Consul does.
    pub(crate) fn at_most_one_of(&self, names: &[&str]) -> Result<(), Error> {
        if names.iter().filter(|name| self.has(name)).count() < 2 {
            return Ok(());
        }
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by_key(|(name, _)| name);
        let shown: Vec<_> =
            pairs.iter().map(|(name, value)| format!("{}={}", encode_query(name), encode_query(value))).collect();
        Err(Error::BadRequest(format!("Conflicting flags: {}", shown.join("&"))))
    }

    /// Refuses `?filter`: an answer that ignores it would be wrong without anyone noticing.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if there is a filter.
    pub(crate) fn no_filter(&self) -> Result<(), Error> {
        if self.get("filter").is_some_and(|filter| !filter.is_empty()) {
            return Err(Error::BadRequest(
                "?filter is not supported yet: leave it out and filter the answer, or use ?tag, ?node-meta and ?passing"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// How fresh an answer must be: `stale`, `consistent`, `leader`, `max_stale`, `cached`, `min-index`.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Consul's words.
    pub(crate) fn freshness(&self) -> Result<FreshnessWanted, Error> {
        let (consistency, max_stale) = self.consistency()?;
        let at_least = match self.get("min-index").filter(|text| !text.is_empty()) {
            None => LogIndex::ZERO,
            Some(text) => LogIndex(unsigned(text).map_err(|_| Error::BadRequest("Invalid min-index".to_owned()))?),
        };
        Ok(FreshnessWanted { consistency, max_stale, at_least })
    }

    fn consistency(&self) -> Result<(Consistency, Option<Duration>), Error> {
        let max_stale = match self.get("max_stale").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => match go::parse_duration(text).ok().and_then(|nanos| u64::try_from(nanos).ok()) {
                Some(nanos) => Some(Duration::from_nanos(nanos)),
                None => return Err(Error::BadRequest(format!("Invalid max_stale value {}", quote(text)))),
            },
        };
        let stale = self.has("stale") || max_stale.is_some();
        let conflict = |with: &str| {
            let sentence = format!("Cannot specify {with} with ?consistent, conflicting semantics.");
            Err(Error::BadRequest(sentence))
        };
        match (stale, self.has("consistent")) {
            (true, true) => conflict("?stale"),
            (_, true) if self.has("cached") => conflict("?cached"),
            (true, false) => Ok((Consistency::Stale, max_stale)),
            (false, true) => Ok((Consistency::Consistent, None)),
            (false, false) => Ok((Consistency::Default, None)),
        }
    }

    /// Whether to wait for a change, and how long, before jitter: `index` and `wait`.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Consul's words.
    pub(crate) fn wait(&self, config: &Config) -> Result<Option<Wait>, Error> {
        let timeout = self.patience_within(config)?;
        Ok(self.index()?.map(|index| Wait { index, timeout }))
    }

    /// How long to wait, within what is configured. Like in Consul, a wait that is no wait means the default.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Consul's words.
    pub(crate) fn patience_within(&self, config: &Config) -> Result<Duration, Error> {
        Ok(self.patience()?.unwrap_or(config.default_query_time).min(config.max_query_time))
    }

    /// The index that the client has seen; none for 0.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Consul's words.
    pub(crate) fn index(&self) -> Result<Option<LogIndex>, Error> {
        match self.get("index").filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => match unsigned(text) {
                Ok(index) => Ok(Some(LogIndex(index)).filter(|index| *index > LogIndex::ZERO)),
                Err(_) => Err(Error::BadRequest("Invalid index".to_owned())),
            },
        }
    }

    /// How long the client is willing to wait; none where it does not say, or says nothing above zero.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Consul's words.
    pub(crate) fn patience(&self) -> Result<Option<Duration>, Error> {
        let asked = match self.get("wait").filter(|text| !text.is_empty()) {
            None => 0,
            Some(text) => go::parse_duration(text).map_err(|_| Error::BadRequest("Invalid wait time".to_owned()))?,
        };
        Ok(u64::try_from(asked).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos))
    }

    /// How long a key is to live; none: until it is deleted. (An extension.)
    ///
    /// # Errors
    /// [`Error::BadRequest`] for what is no duration and for what is too short.
    pub(crate) fn ttl(&self) -> Result<Option<Duration>, Error> {
        self.get("ttl").map(key_ttl).transpose()
    }

    /// Which part of a list is wanted: `limit`, `start-after`. (An extension.)
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a limit that is none.
    pub(crate) fn page(&self) -> Result<Page, Error> {
        let limit = match self.get("limit").map(|text| text.parse::<u32>()) {
            None => None,
            Some(Ok(limit)) if limit > 0 => Some(limit),
            Some(_) => return Err(Error::BadRequest("Invalid limit: a number from 1 to 4294967295".to_owned())),
        };
        Ok(Page { after: self.get("start-after").map(str::to_owned), limit })
    }
}

/// A shorter life would measure the cluster's round trips rather than a client's absence.
const SHORTEST_KEY_TTL: Duration = Duration::from_secs(1);

/// How long a key is to live, as a client writes it.
///
/// # Errors
/// [`Error::BadRequest`] for what is no duration and for what is too short.
pub(crate) fn key_ttl(text: &str) -> Result<Duration, Error> {
    let nanos = go::parse_duration(text).map_err(|why| Error::BadRequest(format!("Invalid ttl: {why}")))?;
    let ttl = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    if ttl < SHORTEST_KEY_TTL {
        let (shown, least) = (quote(text), go::format_duration(SHORTEST_KEY_TTL));
        return Err(Error::BadRequest(format!("Invalid ttl {shown}: a key lives for at least {least}")));
    }
    Ok(ttl)
}

/// As Go's `strconv.ParseUint` in base 10; the error is its reason.
fn unsigned(text: &str) -> Result<u64, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    text.parse().map_err(|_| "value out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(raw: &str) -> Result<(FreshnessWanted, Option<Wait>), String> {
        let read = |query: Query| Ok((query.freshness()?, query.wait(&Config::default())?));
        Query::parse(raw).and_then(read).map_err(|error| match error {
            Error::BadRequest(sentence) => sentence,
            other => format!("{other:?}"),
        })
    }

    fn waits(raw: &str) -> Option<(u64, u64)> {
        let wait = options(raw).unwrap().1?;
        Some((wait.index.0, u64::try_from(wait.timeout.as_millis()).unwrap()))
    }

    #[test]
    fn how_long_to_wait() {
        for (raw, wait) in [
            ("", None),
            ("wait=10s", None),
            ("index=0&wait=30s", None),
            ("index=", None),
            ("index=42", Some((42, 300_000))),
            ("index=42&wait=", Some((42, 300_000))),
            ("index=42&wait=0s", Some((42, 300_000))),
            ("index=42&wait=-5s", Some((42, 300_000))),
            ("index=42&wait=1.8893275260925293s", Some((42, 1_889))),
            ("wait=60000ms&stale=&index=7", Some((7, 60_000))),
            ("index=1&wait=11m", Some((1, 600_000))),
            ("index=18446744073709551615&wait=1s", Some((u64::MAX, 1_000))),
        ] {
            assert_eq!(waits(raw), wait, "{raw}");
        }
    }

    #[test]
    fn refusals_in_consuls_words() {
        let conflict = "Cannot specify ?stale with ?consistent, conflicting semantics.";
        for (raw, sentence) in [
            ("index=-1", "Invalid index"),
            ("index=bad", "Invalid index"),
            ("index=%2b1", "Invalid index"),
            ("index=18446744073709551616", "Invalid index"),
            ("wait=bad&index=1", "Invalid wait time"),
            ("wait=10", "Invalid wait time"),
            ("wait=10d&index=0", "Invalid wait time"),
            ("stale&consistent", conflict),
            ("stale=&consistent=", conflict),
            ("max_stale=5s&consistent", conflict),
            ("max_stale=5", "Invalid max_stale value \"5\""),
            ("min-index=-1", "Invalid min-index"),
            ("cached&consistent", "Cannot specify ?cached with ?consistent, conflicting semantics."),
            ("index=%zz", "invalid URL escape \"%zz\""),
            ("%", "invalid URL escape \"%\""),
        ] {
            assert_eq!(options(raw), Err(sentence.to_owned()), "{raw}");
        }
    }

    #[test]
    fn how_fresh_at_least() {
        let wanted = options("max_stale=1.5s&min-index=7").unwrap().0;
        let max_stale = Some(Duration::from_millis(1500));
        assert_eq!(wanted, FreshnessWanted { consistency: Consistency::Stale, max_stale, at_least: LogIndex(7) });
        assert_eq!(options("min-index=").unwrap().0.at_least, LogIndex::ZERO);
    }

    #[test]
    fn lives_and_pages() {
        let query = |raw| Query::parse(raw).unwrap();
        assert_eq!(query("").ttl().unwrap(), None);
        assert_eq!(query("ttl=90s").ttl().unwrap(), Some(Duration::from_secs(90)));
        for bad in ["ttl", "ttl=", "ttl=30", "ttl=-5s", "ttl=999ms", "ttl=0s"] {
            assert!(query(bad).ttl().is_err(), "{bad}");
        }
        assert_eq!(query("").page().unwrap(), Page::default());
        let page = Page { after: Some("a b".to_owned()), limit: Some(2) };
        assert_eq!(query("limit=2&start-after=a+b").page().unwrap(), page);
        for bad in ["limit", "limit=0", "limit=-1", "limit=4294967296", "limit=x"] {
            assert!(query(bad).page().is_err(), "{bad}");
        }
    }

    #[test]
    fn consistency_by_presence() {
        for (raw, consistency) in [
            ("", Consistency::Default),
            ("leader", Consistency::Default),
            ("cached", Consistency::Default),
            ("stale", Consistency::Stale),
            ("stale=false", Consistency::Stale),
            ("max_stale=2s", Consistency::Stale),
            ("consistent=", Consistency::Consistent),
        ] {
            assert_eq!(options(raw).unwrap().0.consistency, consistency, "{raw}");
        }
    }

    #[test]
    fn values_flags_and_repeats() {
        let query = Query::parse("tag=a&recurse&node-meta=rack:1:2&tag=b+c&&tag=&dc=dc2&x=1=2&node-meta=bare").unwrap();
        assert_eq!(query.tags(), ["a", "b c"]);
        assert!(query.has("recurse") && !query.has("raw"));
        assert_eq!(query.get("x"), Some("1=2"));
        assert_eq!(query.datacenter("dc1").as_deref(), Some("dc2"));
        assert_eq!(query.datacenter("dc2"), None);
        let meta: Vec<_> = query.node_meta().into_iter().collect();
        assert_eq!(meta, [("bare".to_owned(), String::new()), ("rack".to_owned(), "1:2".to_owned())]);
    }

    #[test]
    fn numbers_and_truths() {
        let query = Query::parse("cas=abc&flags=-1&big=18446744073709551616&ok=18446744073709551615&e=").unwrap();
        let refusal = |name| match query.number(name) {
            Err(Error::Refused(sentence)) => sentence,
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal("cas"), r#"strconv.ParseUint: parsing "abc": invalid syntax"#);
        assert_eq!(refusal("flags"), r#"strconv.ParseUint: parsing "-1": invalid syntax"#);
        assert_eq!(refusal("e"), r#"strconv.ParseUint: parsing "": invalid syntax"#);
        assert_eq!(refusal("big"), r#"strconv.ParseUint: parsing "18446744073709551616": value out of range"#);
        assert_eq!(query.number("ok").unwrap(), Some(u64::MAX));
        assert_eq!(query.number("none").unwrap(), None);
        for (raw, truth) in [
            ("", Some(false)),
            ("p", Some(true)),
            ("p=1", Some(true)),
            ("p=false", Some(false)),
            ("p=0", Some(false)),
            ("p=bogus", None),
        ] {
            assert_eq!(Query::parse(raw).unwrap().truth("p").ok(), truth, "{raw}");
        }
    }

    #[test]
    fn conflicting_flags_are_listed_sorted() {
        let query = Query::parse("cas=1&acquire=x").unwrap();
        match query.at_most_one_of(&["cas", "acquire", "release"]) {
            Err(Error::BadRequest(sentence)) => assert_eq!(sentence, "Conflicting flags: acquire=x&cas=1"),
            other => panic!("{other:?}"),
        }
        assert!(query.at_most_one_of(&["cas", "release"]).is_ok());
    }
}
