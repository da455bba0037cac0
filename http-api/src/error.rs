//! What went wrong as a status and a plain sentence.
//!
//! The sentences are an interface: clients compare them (`reference/consul.md`, 1.10).

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use quorate_protocol::Refusal;

/// Why there is no good answer, named by who should do what.
#[derive(Debug)]
pub(crate) enum Error {
    /// The caller fixes the request: 400.
    BadRequest(String),
    /// The feature is off on this agent, whoever asks: 401, as Consul says it of ACLs.
    Disabled(&'static str),
    /// The caller may not do this from where it is: 403.
    Forbidden(String),
    /// Nothing is there: 404.
    NotFound(String),
    /// The path takes other methods: 405.
    MethodNotAllowed {
        /// What was tried.
        method: Method,
        /// What works.
        allow: HeaderValue,
    },
    /// The caller sends less: 413.
    TooLarge {
        /// Bytes that were sent, as far as they were counted.
        size: u64,
        /// Bytes that are taken.
        limit: usize,
        /// Where the limit is set.
        hint: &'static str,
        /// Whether the rest of the body is still on the way, so that the connection cannot be used again.
        unread: bool,
    },
    /// As [`Error::TooLarge`], for what was read to its end: 413 with this sentence.
    TooMuch(String),
    /// The cluster is not in the state that the caller asks about: 503.
    Unavailable(String),
    /// The caller fixes the request, in Consul's status for what a server refuses: 500.
    Refused(String),
    /// The cluster said no.
    Cluster(Refusal),
    /// The cluster answered another question than the one asked: nobody but a programmer can help.
    WrongReply,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Error::BadRequest(_) => StatusCode::BAD_REQUEST,
            Error::Disabled(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Error::TooLarge { .. } | Error::TooMuch(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Refused(_) | Error::WrongReply => StatusCode::INTERNAL_SERVER_ERROR,
            Error::Cluster(refusal) => match refusal {
                Refusal::NotFound(_) => StatusCode::NOT_FOUND,
                Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
                // Consul's client for Go looks for "500" in an error before it asks again.
                Refusal::NoLeader
                | Refusal::NoServers
                | Refusal::NoPathToDatacenter
                | Refusal::Unknown
                | Refusal::TimedOut
                | Refusal::Invalid(_)
                | Refusal::Unreachable(_)
                | Refusal::Disabled(_)
                | Refusal::Stopping => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// What is said to the client.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Error::BadRequest(sentence) | Error::Forbidden(sentence) | Error::NotFound(sentence) => sentence.clone(),
            Error::Refused(sentence) | Error::TooMuch(sentence) | Error::Unavailable(sentence) => sentence.clone(),
            Error::Disabled(sentence) => (*sentence).to_owned(),
            Error::MethodNotAllowed { method, .. } => format!("method {method} not allowed"),
            Error::TooLarge { size, limit, hint, .. } => {
                format!("Request body({size} bytes) too large, max size: {limit} bytes. See {hint}.")
            }
            Error::Cluster(refusal) => refusal.to_string(),
            Error::WrongReply => {
                "the agent answered another question than the one asked; this is a bug, please report it".to_owned()
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.sentence()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Error::MethodNotAllowed { allow, .. } => {
                headers.insert(ALLOW, allow);
            }
            Error::TooLarge { unread: true, .. } => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status() {
        for (refusal, status, sentence) in [
            (Refusal::NoLeader, 500, "No cluster leader"),
            (Refusal::NoServers, 500, "No known Consul servers"),
            (Refusal::NoPathToDatacenter, 500, "No path to datacenter"),
            (Refusal::Busy, 429, "RPC rate limit exceeded"),
            (Refusal::NotFound("x".to_owned()), 404, "x"),
            (Refusal::Invalid("y".to_owned()), 500, "y"),
            (Refusal::Disabled("z".to_owned()), 500, "z"),
            (Refusal::Stopping, 500, "agent is shutting down"),
        ] {
            let error = Error::Cluster(refusal);
            assert_eq!((error.status().as_u16(), error.sentence().as_str()), (status, sentence));
        }
    }
}
