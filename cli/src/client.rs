//! How an agent is asked.

use crate::command::{Surroundings, flag, is_on, option, value};
use crate::failure::Failure;
use clap::{ArgMatches, Command};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::time::Duration;
use ureq::http::HeaderMap;

const DEFAULT_ADDRESS: &str = "127.0.0.1:8500";
/// Longer than an agent holds a request for want of a leader, and than a leave takes.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a stream may be silent: a snapshot takes as long as it takes, but servers say something while it does. A restore is
/// applied in one piece before its answer comes.
const SILENCE: Duration = Duration::from_secs(300);
/// No refusal is longer than this.
const SENTENCE_MAX: u64 = 64 << 10;
/// No answer is longer: a listing of a thousand values of the largest size.
const ANSWER_MAX: u64 = 1 << 30;
/// What a key or a name may not carry into a path as it is.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// Adds the options of every command that asks an agent.
pub(crate) fn with_options(command: Command) -> Command {
    const HEADING: &str = "Agent";
    command.args(
        [
            option("http-addr", "ADDRESS", "Where the agent is, 127.0.0.1:8500 by default (CONSUL_HTTP_ADDR)"),
            option("token", "TOKEN", "The token to show (CONSUL_HTTP_TOKEN)"),
            option("token-file", "FILE", "A file with the token (CONSUL_HTTP_TOKEN_FILE)"),
            option("datacenter", "NAME", "The datacenter to ask; the agent's own by default"),
            flag("stale", "Let any server answer, however old its data"),
        ]
        .map(|arg| arg.help_heading(HEADING)),
    )
}

/// One agent, over HTTP. Copies share connections and may ask from other threads.
#[derive(Clone)]
pub(crate) struct Client {
    /// With scheme, without a slash at the end.
    address: String,
    token: Option<String>,
    /// Added to every query.
    query: Vec<(&'static str, String)>,
    /// How long an answer may take as a whole.
    patience: Duration,
    http: ureq::Agent,
}

/// An answer that came, whatever it says.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Where the store was, to wait from.
    pub(crate) fn index(&self) -> Option<u64> {
        number(&self.headers, "x-consul-index")
    }

    /// Where the write that it answers is in the log.
    pub(crate) fn log_index(&self) -> Option<u64> {
        number(&self.headers, "x-quorate-index")
    }

    /// The fencing token of the hold of the key that this is about.
    pub(crate) fn fencing_token(&self) -> Option<u64> {
        number(&self.headers, "x-quorate-fencing-token")
    }
}

/// A yes whose body is still to come.
pub(crate) struct Stream {
    /// How many bytes a snapshot's state has before it is packed, where the agent says so: its packed length is not known before its end.
    pub(crate) unpacked: Option<u64>,
    pub(crate) body: Box<dyn Read>,
}

impl Client {
    /// The agent that the options, else the environment, else the default name. `QUORATE_…` goes before `CONSUL_…`.
    pub(crate) fn new(matches: &ArgMatches, surroundings: &Surroundings<'_>) -> Result<Client, Failure> {
        let env = |name: &str| {
            let either = |prefix: &str| (surroundings.env)(&format!("{prefix}_{name}")).filter(|text| !text.is_empty());
            either("QUORATE").or_else(|| either("CONSUL"))
        };
        let given = value(matches, "http-addr").map(str::to_owned).or_else(|| env("HTTP_ADDR"));
        // Consul's way to say https:// for an address without a scheme.
        let tls = env("HTTP_SSL").is_some_and(|text| matches!(text.as_str(), "1" | "t" | "true" | "TRUE" | "True"));
        let given = given.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        let given = if tls && !given.contains("://") { format!("https://{given}") } else { given };
        let mut query = Vec::new();
        if let Some(dc) = value(matches, "datacenter").filter(|dc| !dc.is_empty()) {
            query.push(("dc", dc.to_owned()));
        }
        if is_on(matches, "stale") {
            query.push(("stale", String::new()));
        }
        Ok(Client {
            address: address(&given)?,
            token: token(matches, env)?,
            query,
            patience: PATIENCE,
            http: ureq::Agent::new_with_config(
                ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .timeout_connect(Some(CONNECT_PATIENCE))
                    .user_agent(concat!("quorate/", env!("CARGO_PKG_VERSION")))
                    // An agent is a neighbour: what a proxy calls localhost is another one.
                    .proxy(None)
                    .build(),
            ),
        })
    }

    /// The same agent, for questions whose answers are of no use later.
    pub(crate) fn with_patience(&self, patience: Duration) -> Client {
        Client { patience, ..self.clone() }
    }

    /// Asks for something. `doing` completes "Error …" and names what was wanted.
    pub(crate) fn get(&self, doing: &str, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let request = self.prepared(self.http.get(self.url(path, query)));
        self.received(doing, request.call())
    }

    /// Sets something.
    pub(crate) fn put(&self, doing: &str, path: &str, query: &[(&str, &str)], body: &[u8]) -> Result<Answer, Failure> {
        let request = self.prepared(self.http.put(self.url(path, query)));
        self.received(doing, request.send(body))
    }

    /// Has something done that is not set.
    pub(crate) fn post(&self, doing: &str, path: &str, query: &[(&str, &str)], body: &[u8]) -> Result<Answer, Failure> {
        let request = self.prepared(self.http.post(self.url(path, query)));
        self.received(doing, request.send(body))
    }

    /// Removes something.
    pub(crate) fn delete(&self, doing: &str, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let request = self.prepared(self.http.delete(self.url(path, query)));
        self.received(doing, request.call())
    }

    /// Removes what the body names.
    pub(crate) fn delete_named(
        &self,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let request = self.prepared(self.http.delete(self.url(path, query)));
        self.received(doing, request.force_send_body().send(body))
    }

    /// Asks for something that is too long to hold.
    pub(crate) fn get_stream(&self, doing: &str, path: &str, query: &[(&str, &str)]) -> Result<Stream, Failure> {
        let request = self.prepared(self.http.get(self.url(path, query)));
        let request = request.config().timeout_global(None).timeout_per_read(Some(SILENCE)).build();
        self.streamed(doing, request.call())
    }

    fn streamed(
        &self,
        doing: &str,
        outcome: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Stream, Failure> {
        let response = outcome.map_err(|error| self.unreachable(doing, error))?;
        if response.status() != 200 {
            return Err(self.refused(doing, self.received(doing, Ok(response))?));
        }
        let unpacked = number(response.headers(), "x-quorate-snapshot-size");
        let body = Box::new(response.into_body().into_with_config().limit(u64::MAX).reader());
        Ok(Stream { unpacked, body })
    }

    /// Has something done whose answer comes bit by bit.
    pub(crate) fn put_for_stream(
        &self,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Stream, Failure> {
        let request = self.prepared(self.http.put(self.url(path, query)));
        let request = request.config().timeout_global(None).timeout_per_read(Some(SILENCE)).build();
        self.streamed(doing, request.send(body))
    }

    /// Sets something that is too long to hold.
    pub(crate) fn put_stream(
        &self,
        doing: &str,
        path: &str,
        body: &mut dyn Read,
        length: u64,
    ) -> Result<Answer, Failure> {
        let request = self.prepared(self.http.put(self.url(path, &[]))).header("Content-Length", length.to_string());
        let request = request.config().timeout_global(None).timeout_per_read(Some(SILENCE)).build();
        self.received(doing, request.send(ureq::SendBody::from_reader(body)))
    }

    /// Asks for something that must be there.
    pub(crate) fn get_json<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        self.json(doing, &self.ok(doing, self.get(doing, path, query)?)?)
    }

    /// Reads an answer as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, doing: &str, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            let address = &self.address;
            Failure::new(format!(
                "Error {doing}: what {address} answers is not what an agent says ({error}): is it one? \
                 Name the agent's HTTP address with -http-addr."
            ))
        })
    }

    /// The body of an answer that says yes.
    pub(crate) fn ok(&self, doing: &str, answer: Answer) -> Result<Vec<u8>, Failure> {
        if answer.status == 200 { Ok(answer.body) } else { Err(self.refused(doing, answer)) }
    }

    /// The sentence for an answer that says no.
    pub(crate) fn refused(&self, doing: &str, answer: Answer) -> Failure {
        let said = String::from_utf8_lossy(&answer.body);
        let said = said.trim();
        let next = match answer.status {
            401 | 403 => " Show a token that may do this with -token or -token-file.",
            429 => " Retry in a moment.",
            _ if said.contains("No cluster leader") => " Retry in a few seconds: servers are electing a leader.",
            _ if said.contains("No known") => {
                " Are its servers running? `quorate members` shows whom it sees, `quorate join ADDRESS` joins others."
            }
            _ if said.contains("may or may not have happened") => " Look before you ask again.",
            _ if said.contains("did not answer in time") => " Retry; `quorate members` shows which servers are alive.",
            _ if said.contains("is shutting down") => " Start it again, or name another with -http-addr.",
            _ if said.contains("was not found in the Raft configuration") => {
                " `quorate operator raft list-peers` shows who is in it."
            }
            _ if said.contains("No path to datacenter") => " `quorate catalog datacenters` lists what is known.",
            _ => "",
        };
        let (address, status) = (&self.address, answer.status);
        Failure::new(format!(
            "Error {doing}: the agent at {address} answered: Unexpected response code: {status} ({said}).{next}"
        ))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut url = format!("{}{path}", self.address);
        let own = self.query.iter().map(|(name, value)| (*name, value.as_str()));
        for (i, (name, value)) in query.iter().copied().chain(own).enumerate() {
            url.push(if i == 0 { '?' } else { '&' });
            url.push_str(&format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
        url
    }

    fn prepared<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let request = request.config().timeout_global(Some(self.patience)).build();
        match &self.token {
            Some(token) => request.header("X-Consul-Token", token),
            None => request,
        }
    }

    fn received(
        &self,
        doing: &str,
        outcome: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Failure> {
        let mut response = outcome.map_err(|error| self.unreachable(doing, error))?;
        let status = response.status().as_u16();
        let limit = if status == 200 { ANSWER_MAX } else { SENTENCE_MAX };
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| self.unreachable(doing, error))?;
        Ok(Answer { status, headers: std::mem::take(response.headers_mut()), body })
    }

    fn unreachable(&self, doing: &str, error: ureq::Error) -> Failure {
        let next = match &error {
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "Is an agent running? Start one with `quorate agent -dev`, or name another with -http-addr."
            }
            ureq::Error::HostNotFound => "Is the name right? It comes from -http-addr or CONSUL_HTTP_ADDR.",
            ureq::Error::Timeout(_) => {
                "Is it overloaded, or is a firewall between? The request may have been carried out."
            }
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => "The address comes from -http-addr or CONSUL_HTTP_ADDR.",
            _ => "Is it an agent's HTTP address? Name one with -http-addr.",
        };
        Failure::new(format!("Error {doing}: asked the agent at {}: {error}. {next}", self.address))
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A key or a name as part of a path.
pub(crate) fn in_path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

fn address(given: &str) -> Result<String, Failure> {
    let not_yet = |what: &str| {
        Failure::new(format!(
            "Cannot ask {given}: {what} is not supported yet. Name a plain address with -http-addr, such as \
             127.0.0.1:8500."
        ))
    };
    let (scheme, rest) = given.split_once("://").unwrap_or(("http", given));
    match scheme {
        "http" if rest.is_empty() => Err(Failure::new("-http-addr is empty: name an agent, such as 127.0.0.1:8500.")),
        "http" => Ok(format!("http://{}", rest.trim_end_matches('/'))),
        "https" => Err(not_yet("HTTPS")),
        "unix" => Err(not_yet("a Unix socket")),
        other => Err(not_yet(&format!("the scheme '{other}'"))),
    }
}

fn token(matches: &ArgMatches, env: impl Fn(&str) -> Option<String>) -> Result<Option<String>, Failure> {
    if let Some(token) = value(matches, "token") {
        return Ok(Some(token.to_owned()).filter(|token| !token.is_empty()));
    }
    let file = value(matches, "token-file").map(str::to_owned);
    let in_env = || env("HTTP_TOKEN");
    let Some(file) = file.or_else(|| if in_env().is_some() { None } else { env("HTTP_TOKEN_FILE") }) else {
        return Ok(in_env());
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::new(format!("Error reading the token from '{file}': {error}. Name a readable file with -token-file."))
    })?;
    Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (given, expected) in [
            ("127.0.0.1:8500", "http://127.0.0.1:8500"),
            ("http://[::1]:8500/", "http://[::1]:8500"),
            ("http://gate/prefix/", "http://gate/prefix"),
        ] {
            assert_eq!(address(given).ok().as_deref(), Some(expected));
        }
        for refused in ["https://x", "unix:///tmp/s", "ftp://x", "", "http://"] {
            assert!(matches!(address(refused), Err(Failure::Sentence(_))), "{refused}");
        }
    }

    #[test]
    fn paths_keep_slashes_and_nothing_dangerous() {
        assert_eq!(in_path("a/b c?d#e%f/é"), "a/b%20c%3Fd%23e%25f/%C3%A9");
    }
}
