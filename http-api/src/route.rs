//! From a path and a method to a handler, with Consul's answers where there is none.

use crate::call::Door;
use crate::error::Error;
use axum::Router;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use http::{HeaderValue, Method, StatusCode, Uri, header};

/// The methods of one path. `OPTIONS` comes by itself, anything else is refused by name, `HEAD` too.
pub(crate) struct Methods {
    router: MethodRouter<Door>,
    allow: String,
}

/// A path without methods.
pub(crate) fn methods() -> Methods {
    Methods { router: MethodRouter::new(), allow: "OPTIONS".to_owned() }
}

impl Methods {
    pub(crate) fn get<H: Handler<T, Door>, T: 'static>(self, handler: H) -> Methods {
        Methods { router: self.router.get(handler), allow: self.allow + ",GET" }
    }

    pub(crate) fn put<H: Handler<T, Door>, T: 'static>(self, handler: H) -> Methods {
        Methods { router: self.router.put(handler), allow: self.allow + ",PUT" }
    }

    pub(crate) fn post<H: Handler<T, Door>, T: 'static>(self, handler: H) -> Methods {
        Methods { router: self.router.post(handler), allow: self.allow + ",POST" }
    }

    pub(crate) fn delete<H: Handler<T, Door>, T: 'static>(self, handler: H) -> Methods {
        Methods { router: self.router.delete(handler), allow: self.allow + ",DELETE" }
    }

    fn finish(self) -> MethodRouter<Door> {
        let allow = HeaderValue::try_from(self.allow).unwrap_or(HeaderValue::from_static("OPTIONS"));
        let options = allow.clone();
        let refuse = move |method: Method| async move { Error::MethodNotAllowed { method, allow } };
        self.router
            .options(move || async move { (StatusCode::OK, [(header::ALLOW, options)]) })
            .head(refuse.clone())
            .fallback(refuse)
    }
}

/// Adds paths to a router.
pub(crate) trait Routes {
    /// Exactly this path.
    fn exactly(self, path: &'static str, methods: Methods) -> Self;
    /// This path, which ends in a slash, with whatever follows: a key, a name or an id, which may hold slashes or be
    /// empty. Without the slash it is redirected.
    fn below(self, prefix: &'static str, methods: Methods) -> Self;
}

impl Routes for Router<Door> {
    fn exactly(self, path: &'static str, methods: Methods) -> Router<Door> {
        self.route(path, methods.finish())
    }

    fn below(self, prefix: &'static str, methods: Methods) -> Router<Door> {
        let methods = methods.finish();
        let wildcard = format!("{prefix}{{*tail}}");
        let redirect = any(move |uri: Uri| async move { moved(prefix, uri.query()) });
        self.route(prefix, methods.clone()).route(&wildcard, methods).route(prefix.trim_end_matches('/'), redirect)
    }
}

/// Where a path leads that holds an empty segment, `.` or `..`: Go's router, and so Consul, redirects to the cleaned
/// path. Escaped ones (`%2F%2F`) are part of a key and stay.
pub(crate) fn cleaned(path: &str) -> Option<String> {
    let inner = path.strip_prefix('/')?;
    let last = inner.rsplit('/').next().unwrap_or_default();
    let is_clean = |segment: &str| !matches!(segment, "" | "." | "..");
    let count = inner.split('/').count();
    if inner.split('/').enumerate().all(|(at, segment)| is_clean(segment) || (segment.is_empty() && at + 1 == count)) {
        return None;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in inner.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let slash = if last.is_empty() && !segments.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", segments.join("/")))
}

/// An answer that sends the client to another path.
pub(crate) fn moved(path: &str, query: Option<&str>) -> Response {
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    match HeaderValue::try_from(target) {
        Ok(target) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, target)]).into_response(),
        Err(_) => Error::BadRequest("the path cannot be cleaned".to_owned()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::cleaned;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for path in ["/", "/v1/kv/", "/v1/kv/a", "/v1/kv/a/", "/v1/kv/a%2F%2Fb", "*", "/v1/kv/..a", "/v1/kv/%2e%2e"] {
            assert_eq!(cleaned(path), None, "{path}");
        }
        for (path, clean) in [
            ("/v1/kv//app/config", "/v1/kv/app/config"),
            ("//v1/kv/a", "/v1/kv/a"),
            ("/v1/kv/a//", "/v1/kv/a/"),
            ("/v1/kv/a/./b", "/v1/kv/a/b"),
            ("/v1/kv/../agent/leave", "/v1/agent/leave"),
            ("/../../..", "/"),
            ("//", "/"),
            ("/v1/kv/.", "/v1/kv"),
        ] {
            assert_eq!(cleaned(path).as_deref(), Some(clean), "{path}");
        }
    }
}
