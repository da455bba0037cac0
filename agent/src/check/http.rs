//! HTTP checks: 2xx is passing, 429 warning, anything else critical.
//!
//! One request, one connection. Redirects are followed only where the definition says so: a service must not be able to point its check at
//! something else (CVE-2022-29153).

use super::output::Tail;
use super::{redirect, tcp, tls};
use ::http::header::{ACCEPT, CONTENT_LENGTH, HOST, USER_AGENT};
use ::http::uri::Scheme;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use quorate_protocol::Status;
use quorate_protocol::check::{HttpCheck, TlsUse};
use std::fmt::Display;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// As Consul's agent says it; servers filter their logs by it.
const AGENT: HeaderValue = HeaderValue::from_static("Consul Health Check");
/// Text is wanted, for it is shown to people.
const ACCEPTED: HeaderValue = HeaderValue::from_static("text/plain, text/*, */*");

/// Bytes of a body that are read, at most: enough to show the end of any sensible page, and an endless one does no harm.
const MAX_READ: usize = 4 * 1024 * 1024;

/// Asks once. The output is what Consul's agent says, with the last `output_size` bytes of the body.
pub(super) async fn probe(check: &HttpCheck, timeout: Duration, output_size: usize) -> (Status, String) {
    let method = if check.method.is_empty() { "GET" } else { &check.method };
    match tokio::time::timeout(timeout, ask_through(check, method, output_size)).await {
        Ok(Ok((Answer { status, reason, .. }, body))) => {
            let health = match status {
                StatusCode::TOO_MANY_REQUESTS => Status::Warning,
                status if status.is_success() => Status::Passing,
                _ => Status::Critical,
            };
            (health, format!("HTTP {method} {}: {} {reason} Output: {body}", check.url, status.as_u16()))
        }
        Ok(Err(reason)) => (Status::Critical, format!("{} \"{}\": {reason}", as_verb(method), check.url)),
        Err(_) => {
            let reason = format!("no complete answer within {timeout:?}");
            (Status::Critical, format!("{} \"{}\": {reason}", as_verb(method), check.url))
        }
    }
}

/// `Get` for `GET`, as in Consul's texts.
fn as_verb(method: &str) -> String {
    let mut letters = method.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect())
        .unwrap_or_default()
}

/// What a server said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The words beside the number, the server's own.
    pub(super) reason: String,
    pub(super) headers: HeaderMap,
}

/// Asks, and asks again where the answer is elsewhere, if that is wanted.
async fn ask_through(check: &HttpCheck, method: &str, output_size: usize) -> Result<(Answer, String), String> {
    let answer = ask(check, method, output_size).await?;
    if !check.follow_redirects {
        return Ok(answer);
    }
    let (mut answer, mut there, mut method) = (answer, check.clone(), method.to_owned());
    for _ in 0..redirect::MOST {
        let Some(next) = redirect::next(&there, &method, &answer.0)? else { return Ok(answer) };
        (there, method) = next;
        answer = ask(&there, &method, output_size).await?;
    }
    Err(format!("stopped after {} redirects", redirect::MOST))
}

async fn ask(check: &HttpCheck, method: &str, output_size: usize) -> Result<(Answer, String), String> {
    let uri: Uri = check.url.parse().map_err(|error| format!("the URL is malformed: {error}"))?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("the URL has no host")?;
    let encrypted = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err("the URL must begin with http:// or https://".into()),
    };
    let request = request(check, &uri, method)?;
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    // An IPv6 address stands in brackets here, as in the URL.
    let address = format!("{host}:{port}");
    let mut tail = Tail::new(output_size);
    let answer = if encrypted {
        let wanted =
            TlsUse { on: true, skip_verify: check.tls_skip_verify, server_name: check.tls_server_name.clone() };
        exchange(tls::connect(&address, &wanted, &[]).await?, request, |bytes| tail.push(bytes)).await?
    } else {
        let dialled = tcp::connect(&address).await;
        let stream = dialled.map_err(|error| format!("dial tcp {address}: {}", tcp::in_words(&error)))?;
        exchange(stream, request, |bytes| tail.push(bytes)).await?
    };
    Ok((answer, tail.into_text()))
}

fn request(check: &HttpCheck, uri: &Uri, method: &str) -> Result<Request<Full<Bytes>>, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("'{method}' is no HTTP method"))?;
    let mut headers = HeaderMap::new();
    for (name, values) in &check.header {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("'{name}' cannot be a header"))?;
        for value in values {
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("the header {name} has a value that cannot be sent"))?;
            headers.append(&parsed, value);
        }
    }
    headers.entry(USER_AGENT).or_insert(AGENT);
    headers.entry(ACCEPT).or_insert(ACCEPTED);
    // The body is known in full; a length from the definition could only contradict it.
    headers.remove(CONTENT_LENGTH);
    if !headers.contains_key(HOST) {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // Without what may stand before it: user and password.
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| "the URL's host cannot be sent")?);
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(check.body.as_bytes())));
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().map_err(|error| format!("the URL's path is malformed: {error}"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Sends the request and reads the answer, on a connection that ends with it; `take` gets the body as it comes.
///
/// # Errors
/// A sentence for people.
pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
    mut take: impl FnMut(&[u8]),
) -> Result<Answer, String> {
    let failed = |error: &dyn Display| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    // Dropped, and the connection with it, when this function ends or is given up.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = response.status();
    let reason = match response.extensions().get::<ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
        None => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    let (head, mut body) = response.into_parts();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        // An answer that breaks off is still an answer, as for Consul.
        let Ok(frame) = frame else { break };
        if let Some(bytes) = frame.data_ref() {
            take(bytes);
            read += bytes.len();
        }
        if read >= MAX_READ {
            break;
        }
    }
    Ok(Answer { status, reason, headers: head.headers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A server that gives one answer, as it stands, and shows the request it got.
    async fn server(answer: &str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_owned();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, &answer).await
        });
        (format!("http://{address}"), serving)
    }

    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
        let mut request = Vec::new();
        while !is_complete(&request) {
            let mut piece = [0; 1024];
            match stream.read(&mut piece).await.unwrap() {
                0 => break,
                count => request.extend_from_slice(&piece[..count]),
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(request).unwrap()
    }

    fn is_complete(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        body.len() >= length
    }

    fn check(url: &str) -> HttpCheck {
        HttpCheck { url: url.into(), ..HttpCheck::default() }
    }

    #[tokio::test]
    async fn the_status_decides_and_the_output_tells() {
        let cases = [
            ("200 OK", Status::Passing),
            ("204 No Content", Status::Passing),
            ("429 Too Many Requests", Status::Warning),
            ("302 Found\r\nLocation: http://127.0.0.1:1/", Status::Critical),
            ("404 Not Found", Status::Critical),
            ("503 Service Unavailable", Status::Critical),
        ];
        for (line, expected) in cases {
            let body = if line.starts_with("204") { "" } else { "fine" };
            let (base, serving) =
                server(&format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
            let url = format!("{base}/health?deep=1");
            let status_text = line.split("\r\n").next().unwrap();
            let output = format!("HTTP GET {url}: {status_text} Output: {body}");
            assert_eq!(probe(&check(&url), TIMEOUT, 4096).await, (expected, output));
            let request = serving.await.unwrap().to_lowercase();
            assert!(request.starts_with("get /health?deep=1 http/1.1\r\n"), "{request}");
            assert!(request.contains("user-agent: consul health check\r\n"), "{request}");
            assert!(request.contains("accept: text/plain, text/*, */*\r\n"), "{request}");
            assert!(request.contains(&format!("host: {}\r\n", &base["http://".len()..])), "{request}");
        }
    }

    #[tokio::test]
    async fn method_headers_and_body_are_the_definitions() {
        let (url, serving) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let header = [
            ("Host", vec!["web.example"]),
            ("User-Agent", vec!["mine"]),
            ("X-Many", vec!["one", "two"]),
            ("Content-Length", vec!["9"]),
        ];
        let header =
            header.map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect())).into();
        let definition = HttpCheck { method: "POST".into(), header, body: "ping".into(), ..check(&url) };
        let (status, output) = probe(&definition, TIMEOUT, 4096).await;
        assert_eq!((status, output), (Status::Passing, format!("HTTP POST {url}: 200 OK Output: ")));
        let request = serving.await.unwrap().to_lowercase();
        assert!(request.starts_with("post / http/1.1\r\n") && request.ends_with("\r\n\r\nping"), "{request}");
        for line in ["host: web.example", "user-agent: mine", "x-many: one", "x-many: two", "content-length: 4"] {
            assert!(request.contains(&format!("{line}\r\n")), "{line} in {request}");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_long_body_is_kept() {
        let body = format!("{}the end", "x".repeat(100_000));
        let (url, _serving) =
            server(&format!("HTTP/1.1 500 Broken\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let output = format!("HTTP GET {url}: 500 Broken Output: xxxthe end");
        assert_eq!(probe(&check(&url), TIMEOUT, 10).await, (Status::Critical, output));
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_critical_and_says_why() {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = format!("http://{unused}/");
        let cases = [
            (refused.as_str(), format!("Get \"{refused}\": dial tcp {unused}: connect: connection refused")),
            ("ftp://127.0.0.1/", "must begin with http:// or https://".into()),
            ("/health", "the URL has no host".into()),
            ("http://", "the URL is malformed".into()),
            ("http://[::1", "the URL is malformed".into()),
        ];
        for (url, expected) in cases {
            let (status, output) = probe(&check(url), TIMEOUT, 4096).await;
            assert_eq!(status, Status::Critical);
            assert!(output.contains(&expected), "{output}");
        }
        let bad_header = HttpCheck { header: [("a b".to_owned(), vec!["c".to_owned()])].into(), ..check(&refused) };
        assert!(probe(&bad_header, TIMEOUT, 4096).await.1.contains("'a b' cannot be a header"));
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (status, output) = probe(&check(&url), Duration::from_millis(50), 4096).await;
        assert_eq!(status, Status::Critical);
        assert!(output.contains("no complete answer within 50ms"), "{output}");
    }

    #[tokio::test]
    async fn redirects_are_followed_where_that_is_asked_for() {
        let (there, _serving) = server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").await;
        let (url, _serving) =
            server(&format!("HTTP/1.1 302 Found\r\nLocation: {there}/x\r\nContent-Length: 0\r\n\r\n")).await;
        let following = HttpCheck { follow_redirects: true, ..check(&url) };
        assert_eq!(
            probe(&following, TIMEOUT, 4096).await,
            (Status::Passing, format!("HTTP GET {url}: 200 OK Output: here"))
        );
        let (url, _serving) = server("HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n").await;
        let following = HttpCheck { follow_redirects: true, ..check(&url) };
        let (status, output) = probe(&following, TIMEOUT, 4096).await;
        assert_eq!(status, Status::Critical);
        assert!(output.contains("leads to \"ftp://x/\""), "{output}");
    }

    #[tokio::test]
    async fn https_verifies_unless_told_not_to() {
        let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            }
        });
        // Nobody vouches for this certificate; where the host trusts nobody at all, that is what is said.
        let (status, output) = probe(&check(&url), TIMEOUT, 4096).await;
        assert_eq!(status, Status::Critical);
        assert!(output.contains("tls: ") || output.contains("ca-certificates"), "{output}");
        let trusting = HttpCheck { tls_skip_verify: true, ..check(&url) };
        let output = format!("HTTP GET {url}: 200 OK Output: ok");
        assert_eq!(probe(&trusting, TIMEOUT, 4096).await, (Status::Passing, output));
        serving.abort();
    }
}
