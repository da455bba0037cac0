//! gRPC checks: the standard health service (`grpc.health.v1.Health/Check`) says whether a server, or a service in it, is serving.
//!
//! One call on one connection. gRPC over HTTP/2 is a POST whose bodies are messages with five bytes in front, and whose trailers hold the status
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>); the two messages have one field each, so both are written by hand.

use super::http2::{Http2, connect, until};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use quorate_protocol::Status;
use quorate_protocol::check::GrpcCheck;
use std::time::Duration;

/// Bytes of an answer, at most; a sensible one has two.
const MAX_ANSWER: usize = 64 * 1024;
/// Before a message: a flag for compression, and four bytes of length.
const PREFIX: usize = 5;
/// `NOT_FOUND`: the server does not know the service that was asked about.
const NOT_FOUND: &str = "5";

/// Asks once.
pub(super) async fn probe(check: &GrpcCheck, timeout: Duration) -> (Status, String) {
    let target = match check.service.as_str() {
        "" => check.address.clone(),
        service => format!("{}/{service}", check.address),
    };
    match tokio::time::timeout(timeout, ask(check)).await {
        Ok(Ok(Health::Serving)) => (Status::Passing, format!("gRPC check {target}: success")),
        Ok(Ok(health)) => (Status::Critical, format!("gRPC {target} serving status: {}", health.word())),
        Ok(Err(why)) => (Status::Critical, format!("gRPC {target}: {why}")),
        Err(_) => (Status::Critical, format!("gRPC {target}: no answer within {timeout:?}")),
    }
}

/// `HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Unknown,
    Serving,
    NotServing,
}

impl Health {
    const fn word(self) -> &'static str {
        match self {
            Health::Unknown => "UNKNOWN",
            Health::Serving => "SERVING",
            Health::NotServing => "NOT_SERVING",
        }
    }
}

async fn ask(check: &GrpcCheck) -> Result<Health, String> {
    let Http2 { requests, driver } = connect(&check.address, &check.tls).await?;
    let request = request(check)?;
    let Answer { status, message, trailers } =
        until(driver, exchange(requests, request, encoded(&check.service))).await?;
    if status != StatusCode::OK {
        return Err(format!("the server answered with HTTP status {status}: it does not speak gRPC"));
    }
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => decoded(&message).ok_or_else(|| "the server's answer is not one to a health check".to_owned()),
        NOT_FOUND => Err(format!("the server knows no service {:?}", check.service)),
        code => Err(format!("the server refused with gRPC status {code:?}: {}", text("grpc-message"))),
    }
}

fn request(check: &GrpcCheck) -> Result<Request<()>, String> {
    let scheme = if check.tls.on { "https" } else { "http" };
    Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{}/grpc.health.v1.Health/Check", check.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "Consul Health Check")
        .body(())
        .map_err(|error| format!("the address cannot be asked: {error}"))
}

/// What a server said.
struct Answer {
    status: StatusCode,
    message: Bytes,
    /// With the headers, where a server that refuses at once puts all it has to say.
    trailers: HeaderMap,
}

async fn exchange(mut requests: SendRequest<Bytes>, request: Request<()>, message: Bytes) -> Result<Answer, h2::Error> {
    requests = requests.ready().await?;
    let (response, mut body) = requests.send_request(request, false)?;
    body.send_data(message, true)?;
    let (head, body) = response.await?.into_parts();
    let (message, last) = whole(body).await?;
    let mut trailers = head.headers;
    trailers.extend(last.unwrap_or_default());
    Ok(Answer { status: head.status, message, trailers })
}

/// The body, as much of it as is ever sensible, and what comes after it.
async fn whole(mut body: RecvStream) -> Result<(Bytes, Option<HeaderMap>), h2::Error> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        if bytes.len() + piece.len() > MAX_ANSWER {
            return Ok((Bytes::new(), None));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes.freeze(), body.trailers().await?))
}

/// `HealthCheckRequest { string service = 1; }` with its prefix.
fn encoded(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, length-delimited (<https://protobuf.dev/programming-guides/encoding>).
        message.put_u8(1 << 3 | 2);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message);
    framed.freeze()
}

fn put_varint(bytes: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        bytes.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8((number & 0x7f) as u8);
}

/// `HealthCheckResponse { ServingStatus status = 1; }` after its prefix. A status of zero may be left out.
fn decoded(framed: &[u8]) -> Option<Health> {
    let (prefix, message) = framed.split_at_checked(PREFIX)?;
    let [0, length @ ..] = prefix else { return None };
    if u32::from_be_bytes(length.try_into().ok()?) as usize != message.len() {
        return None;
    }
    match message {
        [] | [0x08, 0] => Some(Health::Unknown),
        [0x08, 1] => Some(Health::Serving),
        // 3 is SERVICE_UNKNOWN, which only a watch says.
        [0x08, _] => Some(Health::NotServing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A server that answers every call with a message and a gRPC status, and gives back what it was asked.
    async fn server(
        status: u16,
        message: &'static [u8],
        grpc_status: &'static str,
    ) -> (String, tokio::task::JoinHandle<(String, Bytes)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let head =
                http::Response::builder().status(status).header("content-type", "application/grpc").body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(Bytes::from_static(message), false).unwrap();
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), grpc_status.parse().unwrap())]);
            body.send_trailers(trailers).unwrap();
            let path = request.uri().path().to_owned();
            let asked = tokio::spawn(async move { whole(request.into_body()).await.unwrap().0 });
            while connection.accept().await.is_some() {}
            (path, asked.await.unwrap())
        });
        (address, serving)
    }

    fn check(address: &str, service: &str) -> GrpcCheck {
        GrpcCheck { address: address.into(), service: service.into(), ..GrpcCheck::default() }
    }

    #[tokio::test]
    async fn the_health_service_decides() {
        for (http, message, grpc, expected, output) in [
            (200, &[0, 0, 0, 0, 2, 8, 1][..], "0", Status::Passing, "gRPC check ADDRESS/web: success"),
            (200, &[0, 0, 0, 0, 2, 8, 2], "0", Status::Critical, "gRPC ADDRESS/web serving status: NOT_SERVING"),
            (200, &[0, 0, 0, 0, 0], "0", Status::Critical, "gRPC ADDRESS/web serving status: UNKNOWN"),
            (200, &[], "5", Status::Critical, "gRPC ADDRESS/web: the server knows no service \"web\""),
            (200, &[], "12", Status::Critical, "gRPC ADDRESS/web: the server refused with gRPC status \"12\": "),
            (
                200,
                &[1, 0, 0, 0, 2, 8, 1],
                "0",
                Status::Critical,
                "gRPC ADDRESS/web: the server's answer is not one to a health check",
            ),
            (
                404,
                &[],
                "0",
                Status::Critical,
                "gRPC ADDRESS/web: the server answered with HTTP status 404 Not Found: it does not speak gRPC",
            ),
        ] {
            let (address, serving) = server(http, message, grpc).await;
            let result = probe(&check(&address, "web"), TIMEOUT).await;
            assert_eq!(result, (expected, output.replace("ADDRESS", &address)));
            let asked = serving.await.unwrap();
            assert_eq!(asked, ("/grpc.health.v1.Health/Check".to_owned(), encoded("web")));
        }
    }

    #[tokio::test]
    async fn who_is_not_there_or_says_nothing_is_critical() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (status, output) = probe(&check(&address, ""), Duration::from_millis(50)).await;
        assert_eq!((status, output), (Status::Critical, format!("gRPC {address}: no answer within 50ms")));
        drop(listener);
        let (status, output) = probe(&check(&address, ""), TIMEOUT).await;
        assert_eq!(status, Status::Critical);
        assert!(output.contains("connection refused"), "{output}");
    }

    #[test]
    fn messages_as_protobuf_writes_them() {
        assert_eq!(encoded("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(encoded("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = "x".repeat(300);
        assert_eq!(encoded(&long).get(..8), Some(&[0, 0, 0, 1, 47, 0x0a, 0xac, 2][..]));
        for hostile in
            [&[][..], &[0, 0, 0], &[0, 0xff, 0xff, 0xff, 0xff, 8, 1], &[0, 0, 0, 0, 2, 8], &[0, 0, 0, 0, 2, 9, 1]]
        {
            assert_eq!(decoded(hostile), None, "{hostile:?}");
        }
    }
}
