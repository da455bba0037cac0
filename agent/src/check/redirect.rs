//! Where a redirect leads (RFC 9110, section 15.4), for checks that are to follow them.

use super::http::Answer;
use http::StatusCode;
use http::header::LOCATION;
use http::uri::{Authority, PathAndQuery, Uri};
use quorate_protocol::check::HttpCheck;

/// More in a row lead nowhere (as many as Go's client follows).
pub(super) const MOST: usize = 10;
/// What a server was told in confidence is not told to another.
const CONFIDENTIAL: [&str; 4] = ["authorization", "cookie", "host", "proxy-authorization"];

/// What to ask next, and by which method, where an answer is a redirect.
///
/// # Errors
/// It leads where nothing can be asked.
pub(super) fn next(check: &HttpCheck, method: &str, answer: &Answer) -> Result<Option<(HttpCheck, String)>, String> {
    let is_redirect = matches!(
        answer.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).filter(|_| is_redirect)
    else {
        return Ok(None);
    };
    let here: Uri = check.url.parse().map_err(|error| format!("the URL is malformed: {error}"))?;
    let nowhere = || format!("the redirect leads to {location:?}, which cannot be asked");
    let there = resolve(&here, location).ok_or_else(nowhere)?;
    let mut next = HttpCheck { url: there.to_string(), ..check.clone() };
    if there.authority() != here.authority() {
        next.header.retain(|name, _| !CONFIDENTIAL.contains(&name.to_ascii_lowercase().as_str()));
    }
    let keeps_method = matches!(method, "GET" | "HEAD")
        || matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if keeps_method {
        return Ok(Some((next, method.to_owned())));
    }
    next.body.clear();
    Ok(Some((next, "GET".to_owned())))
}

/// A reference seen from a URL (RFC 3986, section 5.2), but for dots in its path, which servers understand.
fn resolve(here: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next()?;
    let scheme = here.scheme()?;
    // A colon in its first part means that it names a scheme.
    if reference.split(['/', '?']).next().is_some_and(|part| part.contains(':')) {
        let whole: Uri = reference.parse().ok()?;
        let can_be_asked = matches!(whole.scheme_str(), Some("http" | "https")) && whole.host().is_some();
        return can_be_asked.then_some(whole);
    }
    if reference.starts_with("//") {
        return format!("{scheme}:{reference}").parse().ok();
    }
    let path = match reference.chars().next() {
        Some('/') => reference.to_owned(),
        Some('?') => format!("{}{reference}", here.path()),
        Some(_) => format!("{}/{reference}", here.path().rsplit_once('/').map_or("", |(folder, _)| folder)),
        None => return None,
    };
    let authority: Authority = here.authority()?.clone();
    let path: PathAndQuery = path.parse().ok()?;
    Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query(path).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn check() -> HttpCheck {
        let header = [("Authorization", "secret"), ("X-Many", "one")];
        let header = header.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
        HttpCheck { url: "http://a:1/b/c?d".into(), header, body: "ping".into(), ..HttpCheck::default() }
    }

    fn answer(status: u16, location: &str) -> Answer {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        Answer { status: StatusCode::from_u16(status).unwrap(), reason: String::new(), headers }
    }

    #[test]
    fn references_are_resolved() {
        for (location, expected) in [
            ("http://x/y?z", Some("http://x/y?z")),
            ("https://x:2/y#part", Some("https://x:2/y")),
            ("//x/y", Some("http://x/y")),
            ("/y?z", Some("http://a:1/y?z")),
            ("y", Some("http://a:1/b/y")),
            ("?z", Some("http://a:1/b/c?z")),
            ("", None),
            ("ftp://x/", None),
            ("http://", None),
        ] {
            let next = next(&check(), "GET", &answer(302, location));
            assert_eq!(next.ok().flatten().map(|(next, _)| next.url).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn the_method_and_confidential_headers_stay_where_they_belong() {
        for (status, method, expected) in
            [(302, "POST", "GET"), (307, "POST", "POST"), (303, "PUT", "GET"), (301, "HEAD", "HEAD")]
        {
            let (next, asked) = next(&check(), method, &answer(status, "/y")).unwrap().unwrap();
            assert_eq!((asked.as_str(), next.body.is_empty()), (expected, expected == "GET"), "{status} {method}");
            assert_eq!(next.header.len(), 2, "the same server may know");
        }
        let (next, _) = next(&check(), "GET", &answer(302, "http://other/")).unwrap().unwrap();
        assert_eq!(next.header.keys().collect::<Vec<_>>(), ["X-Many"]);
        assert!(super::next(&check(), "GET", &answer(200, "/y")).unwrap().is_none());
        assert!(super::next(&check(), "GET", &answer(304, "/y")).unwrap().is_none());
    }
}
