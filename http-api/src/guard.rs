//! What every request passes before a handler sees it, and every answer on its way out.

use crate::error::Error;
use crate::headers;
use crate::route::{cleaned, moved};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Uri, header};
use quorate_protocol::go::quote;

/// Cleans the path, keeps pages of other origins from changing anything, and marks the answer.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let redirect = cleaned(request.uri().path()).map(|path| moved(&path, request.uri().query()));
    let mut response = match (redirect, refuse_foreign_origin(request.method(), request.uri(), request.headers())) {
        (_, Err(error)) => error.into_response(),
        (Some(response), Ok(())) => response,
        (None, Ok(())) => next.run(request).await,
    };
    headers::write_acl_policy(response.headers_mut());
    // The query string may hold a token and stays out of logs.
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered an HTTP request");
    response
}

/// A browser names the origin of the page that sends a request (RFC 6454, 7). A page from elsewhere may read nothing,
/// but a simple request would still reach an agent on this machine and change it.
fn refuse_foreign_origin(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
    let (scheme, from) = origin.split_once("://").unwrap_or(("", ""));
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = |authority: &str| {
        let authority = authority.to_ascii_lowercase();
        authority.strip_suffix(port).map_or(authority.clone(), str::to_owned)
    };
    if !from.is_empty() && bare(from) == bare(host) {
        return Ok(());
    }
    Err(Error::Forbidden(format!(
        "a page of {} may not change this agent: send the request without an Origin header, or from the agent's own \
         address",
        quote(origin)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_the_own_origin_changes_anything() {
        let check = |method: Method, origin: Option<&'static str>, host: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            if let Some(host) = host {
                headers.insert(header::HOST, HeaderValue::from_static(host));
            }
            refuse_foreign_origin(&method, &Uri::from_static("/v1/kv/a"), &headers).is_ok()
        };
        let here = Some("localhost:8500");
        assert!(check(Method::PUT, None, here));
        assert!(check(Method::PUT, None, None));
        assert!(check(Method::PUT, Some("http://localhost:8500"), here));
        assert!(check(Method::PUT, Some("http://LOCALHOST"), Some("localhost:80")));
        assert!(check(Method::PUT, Some("https://q.example"), Some("q.example:443")));
        assert!(check(Method::GET, Some("https://evil.example"), here));
        for origin in ["https://evil.example", "null", "", "http://localhost", "http://localhost:8501", "http://"] {
            for method in [Method::PUT, Method::DELETE, Method::POST, Method::PATCH] {
                assert!(!check(method, Some(origin), here), "{origin}");
            }
        }
        assert!(!check(Method::PUT, Some("://"), None));
    }
}
