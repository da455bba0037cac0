//! One HTTP request on its way: what was asked, and the way to the cluster.

use crate::body::{self, Limit};
use crate::config::Config;
use crate::error::Error;
use crate::headers::{self, Freshness};
use crate::json;
use crate::percent::decode_path;
use crate::query::Query;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use quorate_protocol::{
    Answer, Ask, Cluster, LocalRequest, LogIndex, Outcome, Read, ReadRequest, Refusal, Reply, Request, StatusRequest,
    Token, Wait, Write,
};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Door {
    cluster: Arc<dyn Cluster>,
    config: Arc<Config>,
    draws: Arc<AtomicU64>,
}

impl Door {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, config: Config) -> Door {
        let draws = Arc::new(AtomicU64::new(config.seed));
        Door { cluster, config: Arc::new(config), draws }
    }

    /// A number that is spread evenly and repeats from a seed: a counter times 2^64 divided by the golden ratio.
    fn draw(&self) -> u64 {
        self.draws.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// One request: its handler reads what it needs from it, asks the cluster through it and answers through it.
pub(crate) struct Call {
    door: Door,
    path: String,
    headers: HeaderMap,
    /// Its parameters.
    pub(crate) query: Query,
}

impl FromRequestParts<Door> for Call {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Call, Error> {
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        Ok(Call { door: door.clone(), path: parts.uri.path().to_owned(), headers: parts.headers.clone(), query })
    }
}

/// What a read found.
pub(crate) struct Found {
    /// The answer.
    pub(crate) answer: Answer,
    /// How fresh it is.
    pub(crate) freshness: Freshness,
}

/// What became of a write.
pub(crate) struct Written {
    /// Its outcome, which is no refusal.
    pub(crate) outcome: Outcome,
    /// Where it is in the log.
    pub(crate) index: LogIndex,
}

impl Call {
    /// What was configured.
    pub(crate) fn config(&self) -> &Config {
        &self.door.config
    }

    /// The datacenter that rows of the answer belong to.
    pub(crate) fn datacenter(&self) -> &str {
        self.query.get("dc").filter(|dc| !dc.is_empty()).unwrap_or(&self.door.config.datacenter)
    }

    /// Where the request goes, if it is to another datacenter than the own.
    pub(crate) fn dc(&self) -> Option<String> {
        self.query.datacenter(&self.door.config.datacenter)
    }

    /// A header of the request, where it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// With whose rights the caller acts: `token`, `X-Consul-Token` or `Authorization: Bearer`, the first that is there.
    pub(crate) fn token(&self) -> Token {
        let bearer = || self.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        let token = self.query.get("token").or_else(|| self.header("x-consul-token")).or_else(bearer);
        Token(token.unwrap_or_default().to_owned())
    }

    /// How long to wait for a change of something that this agent knows by itself.
    ///
    /// # Errors
    /// [`Error::BadRequest`] in Consul's words.
    pub(crate) fn patience(&self) -> Result<Duration, Error> {
        Ok(self.with_jitter(self.query.patience_within(self.config())?))
    }

    /// A number that nobody else names a thing with.
    pub(crate) fn unique(&self) -> u64 {
        self.door.draw()
    }

    /// What follows `prefix` in the path, percent-decoded once: a key or a name, which may hold slashes or be empty.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a bad escape, other text than UTF-8, or a control character.
    pub(crate) fn tail(&self, prefix: &str) -> Result<String, Error> {
        let text = decode_path(self.path.strip_prefix(prefix).unwrap_or_default())?;
        if text.chars().any(char::is_control) {
            return Err(Error::BadRequest(
                "the path holds a control character; keys and names are printable".to_owned(),
            ));
        }
        Ok(text)
    }

    /// As [`Call::tail`], for what must not be empty.
    ///
    /// # Errors
    /// Also [`Error::BadRequest`] with `missing` if it is.
    pub(crate) fn name(&self, prefix: &str, missing: &str) -> Result<String, Error> {
        let name = self.tail(prefix)?;
        if name.is_empty() { Err(Error::BadRequest(missing.to_owned())) } else { Ok(name) }
    }

    /// The body, within the limit of a value.
    ///
    /// # Errors
    /// As [`body::read`].
    pub(crate) async fn value(&self, body: Body) -> Result<Bytes, Error> {
        let hint = "https://www.consul.io/docs/agent/options.html#kv_max_value_size";
        body::read(&self.headers, body, Limit { bytes: self.door.config.max_value_size, hint }).await
    }

    /// The body as JSON text, within the limit of one.
    ///
    /// # Errors
    /// As [`body::read`].
    pub(crate) async fn json(&self, body: Body) -> Result<Bytes, Error> {
        let hint = "docs/http for what each endpoint takes";
        body::read(&self.headers, body, Limit { bytes: self.door.config.max_body_size, hint }).await
    }

    /// A transaction as JSON text, within the limit of one; never less than a value may be, as in Consul.
    ///
    /// # Errors
    /// As [`body::read`].
    pub(crate) async fn transaction(&self, body: Body) -> Result<Bytes, Error> {
        let hint = "https://www.consul.io/docs/agent/options.html#txn_max_req_len";
        let bytes = self.door.config.txn_max_req_len.max(self.door.config.max_value_size);
        body::read(&self.headers, body, Limit { bytes, hint }).await
    }

    /// Asks the store, as fresh and as patiently as the query says.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a bad query, [`Error::Cluster`] if nobody can answer.
    pub(crate) async fn read(&self, read: Read) -> Result<Found, Error> {
        let wait = self.query.wait(&self.door.config)?;
        self.read_until(read, wait).await
    }

    /// As [`Call::read`], but as patiently as `wait` says.
    ///
    /// # Errors
    /// As [`Call::read`].
    pub(crate) async fn read_until(&self, read: Read, wait: Option<Wait>) -> Result<Found, Error> {
        let freshness = self.query.freshness()?;
        let wait = wait.map(|wait| Wait { timeout: self.with_jitter(wait.timeout), ..wait });
        let request = ReadRequest {
            read,
            wait,
            consistency: freshness.consistency,
            max_stale: freshness.max_stale,
            at_least: freshness.at_least,
        };
        match self.ask(self.dc(), Ask::Read(request)).await? {
            Reply::Read { answer, index, known_leader, last_contact } => {
                let consistency = freshness.consistency;
                Ok(Found { answer, freshness: Freshness { index, known_leader, last_contact, consistency } })
            }
            _ => Err(Error::WrongReply),
        }
    }

    /// Up to a sixteenth more, so that clients which started together do not return together.
    fn with_jitter(&self, timeout: Duration) -> Duration {
        let thousandths = (self.door.draw() >> 32) % 1000;
        timeout.saturating_add((timeout / 16_000).saturating_mul(u32::try_from(thousandths).unwrap_or(0)))
    }

    /// Changes the store.
    ///
    /// # Errors
    /// [`Error::Refused`] with the store's reason, [`Error::Cluster`] if nobody can write.
    pub(crate) async fn write(&self, dc: Option<String>, write: Write) -> Result<Written, Error> {
        self.written(dc, Ask::Write(write)).await
    }

    /// As [`Call::write`], for what else ends as a write.
    ///
    /// # Errors
    /// As [`Call::write`].
    pub(crate) async fn written(&self, dc: Option<String>, ask: Ask) -> Result<Written, Error> {
        match self.ask(dc, ask).await? {
            Reply::Written { outcome: Outcome::Refused(why), .. } => Err(Error::Refused(why)),
            Reply::Written { outcome, index } => Ok(Written { outcome, index }),
            _ => Err(Error::WrongReply),
        }
    }

    /// Asks about the servers of the datacenter meant.
    ///
    /// # Errors
    /// [`Error::Cluster`] if nobody can tell.
    pub(crate) async fn status(&self, status: StatusRequest) -> Result<Reply, Error> {
        self.ask(self.query.datacenter(&self.door.config.datacenter), Ask::Status(status)).await
    }

    /// Asks this agent.
    ///
    /// # Errors
    /// [`Error::Cluster`] if it refuses; [`Refusal::Invalid`] was the caller's mistake, so [`Error::BadRequest`].
    pub(crate) async fn local(&self, request: LocalRequest) -> Result<Reply, Error> {
        match self.ask(None, Ask::Local(request)).await {
            Err(Error::Cluster(Refusal::Invalid(why))) => Err(Error::BadRequest(why)),
            other => other,
        }
    }

    /// Has this agent do something.
    ///
    /// # Errors
    /// As [`Call::local`].
    pub(crate) async fn order(&self, request: LocalRequest) -> Result<(), Error> {
        match self.local(request).await? {
            Reply::Done => Ok(()),
            _ => Err(Error::WrongReply),
        }
    }

    /// Asks anything.
    ///
    /// # Errors
    /// [`Error::Cluster`] with the refusal.
    pub(crate) async fn ask(&self, dc: Option<String>, ask: Ask) -> Result<Reply, Error> {
        match self.door.cluster.ask(Request { dc, ask }).await {
            Reply::Refused(refusal) => Err(Error::Cluster(refusal)),
            reply => Ok(reply),
        }
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// [`Error::WrongReply`] if it cannot be written, which no answer of ours is.
    pub(crate) fn answer(&self, body: &impl Serialize) -> Result<Response, Error> {
        json::response(body, self.door.config.pretty || self.query.has("pretty"))
    }

    /// An answer to a write in JSON, with its place in the log.
    ///
    /// # Errors
    /// As [`Call::answer`].
    pub(crate) fn answer_write(&self, index: LogIndex, body: &impl Serialize) -> Result<Response, Error> {
        let mut response = self.answer(body)?;
        headers::write_log_index(index, response.headers_mut());
        Ok(response)
    }

    /// An answer of the store in JSON, with how fresh it is.
    ///
    /// # Errors
    /// As [`Call::answer`].
    pub(crate) fn answer_read(&self, freshness: Freshness, body: &impl Serialize) -> Result<Response, Error> {
        let mut response = self.answer(body)?;
        freshness.write_to(response.headers_mut());
        Ok(response)
    }

    /// As [`Call::answer_read`], also telling how the answer was obtained.
    ///
    /// # Errors
    /// As [`Call::answer`].
    pub(crate) fn answer_catalog(&self, freshness: Freshness, body: &impl Serialize) -> Result<Response, Error> {
        let mut response = self.answer_read(freshness, body)?;
        freshness.write_consistency_to(response.headers_mut());
        Ok(response)
    }
}
