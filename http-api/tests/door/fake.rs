//! A cluster of canned replies, and a client for one request.

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{HeaderMap, Request as HttpRequest};
use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use quorate_http_api::{Config, router};
use quorate_protocol::{
    Answer, Ask, Check, Cluster, LocalRequest, LogIndex, Node, NodeId, Outcome, Read, ReadRequest, Reply, ReplyFuture,
    Request, Row, Service, Status, Wait, Write,
};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

/// Replies in order, then the last one again; without any, `Done`.
#[derive(Default)]
pub struct Script {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Request>>,
}

impl Script {
    pub fn of(replies: impl Into<VecDeque<Reply>>) -> Script {
        Script { replies: Mutex::new(replies.into()), asked: Mutex::default() }
    }

    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Cluster for Script {
    fn ask(&self, request: Request) -> ReplyFuture<'_> {
        self.asked.lock().unwrap().push(request);
        let mut replies = self.replies.lock().unwrap();
        let reply = if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
        Box::pin(async move { reply.unwrap_or(Reply::Done) })
    }
}

/// A cluster that thinks of its replies, and remembers what it was asked.
pub struct Thinking<F> {
    think: F,
    asked: Mutex<Vec<Request>>,
}

impl<F: Fn(&Ask) -> Reply + Send + Sync + 'static> Thinking<F> {
    pub fn of(think: F) -> Arc<Thinking<F>> {
        Arc::new(Thinking { think, asked: Mutex::default() })
    }

    /// What it was asked, as `show` shows it.
    pub fn asked<T>(&self, show: impl Fn(&Ask) -> T) -> Vec<T> {
        self.asked.lock().unwrap().iter().map(|request| show(&request.ask)).collect()
    }
}

impl<F: Fn(&Ask) -> Reply + Send + Sync + 'static> Cluster for Thinking<F> {
    fn ask(&self, request: Request) -> ReplyFuture<'_> {
        // A real one takes a moment, in which a connection may end.
        Box::pin(async move {
            tokio::task::yield_now().await;
            let reply = (self.think)(&request.ask);
            self.asked.lock().unwrap().push(request);
            reply
        })
    }
}

/// A cluster that answers at once what does not wait, has the rest wait for ever, and notices when nobody waits any more.
#[derive(Default)]
pub struct Waiting {
    pub at_once: Option<Reply>,
    pub forgotten: Arc<AtomicBool>,
}

struct Forgets(Arc<AtomicBool>);

impl Drop for Forgets {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Cluster for Waiting {
    fn ask(&self, request: Request) -> ReplyFuture<'_> {
        match (&self.at_once, request.ask) {
            (Some(reply), Ask::Read(ReadRequest { wait: None, .. })) => {
                let reply = reply.clone();
                Box::pin(async move { reply })
            }
            _ => {
                let guard = Forgets(self.forgotten.clone());
                Box::pin(async move {
                    let _guard = guard;
                    std::future::pending().await
                })
            }
        }
    }
}

/// A client that asks, gets as far as it can, and goes away: what waited for it is forgotten, and not before.
pub async fn goes_away(request: &str, at_once: Option<Reply>) -> String {
    let cluster = Waiting { at_once, ..Waiting::default() };
    let forgotten = cluster.forgotten.clone();
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    client.write_all(request.as_bytes()).await.unwrap();
    let builder = Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(router(Arc::new(cluster), Config::default()));
    let mut serve = Box::pin(builder.serve_connection(TokioIo::new(server), service));
    tokio::select! {
        biased;
        _ = &mut serve => panic!("the client still waits"),
        () = settled() => assert!(!forgotten.load(Ordering::Relaxed), "the client still waits"),
    }
    let mut seen = vec![0; 64 * 1024];
    let seen = tokio::select! {
        biased;
        size = client.read(&mut seen) => String::from_utf8(seen[..size.unwrap()].to_vec()).unwrap(),
        () = settled() => String::new(),
    };
    drop(client);
    // The end of the connection is the end of the wait.
    let _ = serve.await;
    assert!(forgotten.load(Ordering::Relaxed), "nobody waits any more");
    seen
}

/// After everything that can go on has gone on.
async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// What came back, and what was asked on the way.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub asked: Vec<Request>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The single thing that was asked of the agent's own datacenter.
    pub fn ask(&self) -> &Ask {
        match self.asked.as_slice() {
            [Request { dc: None, ask }] => ask,
            other => panic!("one request here was expected: {other:?}"),
        }
    }

    pub fn read(&self) -> &ReadRequest {
        match self.ask() {
            Ask::Read(read) => read,
            other => panic!("{other:?}"),
        }
    }

    pub fn local(&self) -> &LocalRequest {
        match self.ask() {
            Ask::Local(local) => local,
            other => panic!("{other:?}"),
        }
    }

    pub fn write(&self) -> &Write {
        match self.ask() {
            Ask::Write(write) => write,
            other => panic!("{other:?}"),
        }
    }

    pub fn answered(&self, status: u16, body: &str) -> &Seen {
        assert_eq!((self.status, self.body.as_str()), (status, body));
        self
    }

    /// An error: plain text, and nothing was asked.
    pub fn refused(&self, status: u16, sentence: &str) -> &Seen {
        self.answered(status, sentence);
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(self.asked, [], "a refused request asks nothing");
        self
    }
}

pub async fn send(request: HttpRequest<Body>, replies: impl Into<VecDeque<Reply>>) -> Seen {
    send_with(Config { node_name: "n1".to_owned(), ..Config::default() }, request, replies).await
}

pub async fn send_with(config: Config, request: HttpRequest<Body>, replies: impl Into<VecDeque<Reply>>) -> Seen {
    let script = Arc::new(Script::of(replies));
    let (parts, body) = router(script.clone(), config).oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let asked = script.asked();
    assert_eq!(parts.headers.get("x-consul-default-acl-policy").unwrap(), "allow");
    Seen { status: parts.status.as_u16(), headers: parts.headers, body, asked }
}

/// `GET /v1/…` and the like, with a body.
pub async fn call(line: &str, body: impl Into<Body>, replies: impl Into<VecDeque<Reply>>) -> Seen {
    let (method, path) = line.split_once(' ').unwrap();
    send(HttpRequest::builder().method(method).uri(path).body(body.into()).unwrap(), replies).await
}

/// A `GET` that a store answers.
pub async fn get(path: &str, answer: Answer) -> Seen {
    call(&format!("GET {path}"), "", [found(answer)]).await
}

/// A `PUT` that the agent or the store does.
pub async fn put(path: &str, body: &str) -> Seen {
    let reply = if path.contains("/agent/") { Reply::Done } else { written(Outcome::Done) };
    call(&format!("PUT {path}"), body.to_owned(), [reply]).await
}

pub fn found(answer: Answer) -> Reply {
    Reply::Read { answer, index: LogIndex(385), known_leader: true, last_contact: Duration::ZERO }
}

pub fn written(outcome: Outcome) -> Reply {
    Reply::Written { outcome, index: LogIndex(386) }
}

/// At once, at the default consistency.
pub fn now(read: Read) -> ReadRequest {
    ReadRequest::now(read)
}

/// The wait that was asked for, in milliseconds; what jitter may add is checked here.
pub fn waited(wait: Option<Wait>, index: u64, millis: u64) {
    let wait = wait.expect("a blocking read");
    let (least, most) = (Duration::from_millis(millis), Duration::from_millis(millis + millis / 16));
    assert_eq!(wait.index, LogIndex(index));
    assert!(least <= wait.timeout && wait.timeout <= most, "{:?} is not {least:?} to {most:?}", wait.timeout);
}

pub fn row<T>(value: T, create: u64, modify: u64) -> Arc<Row<T>> {
    Arc::new(Row { value, create_index: LogIndex(create), modify_index: LogIndex(modify) })
}

pub fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn node() -> Node {
    Node {
        id: Some(NodeId([0xab; 16])),
        name: "n1".to_owned(),
        address: "127.0.0.1".to_owned(),
        tagged_addresses: texts([("lan", "127.0.0.1"), ("wan", "127.0.0.1")]),
        meta: texts([("consul-network-segment", "")]),
    }
}

pub fn service() -> Service {
    Service {
        id: "web1".to_owned(),
        name: "web".to_owned(),
        tags: vec!["tcp".to_owned()],
        address: "127.0.0.22".to_owned(),
        port: 9191,
        ..Service::default()
    }
}

pub fn check() -> Check {
    Check {
        node: "n1".to_owned(),
        id: "service:web1".to_owned(),
        name: "Service 'web' check".to_owned(),
        status: Status::Passing,
        output: "HTTP GET http://x: 200 OK".to_owned(),
        service_id: "web1".to_owned(),
        service_name: "web".to_owned(),
        service_tags: vec!["tcp".to_owned()],
        kind: "http".to_owned(),
        interval: Duration::from_secs(10),
        ..Check::default()
    }
}

/// A body that arrives in pieces, without a declared length, and counts those that were taken.
pub struct Pieces {
    pub size: usize,
    pub left: usize,
    pub taken: Arc<AtomicUsize>,
    /// Whether the connection breaks after the last piece.
    pub breaks: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            return Poll::Ready(self.breaks.then_some(Err(error)));
        }
        self.left -= 1;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.size])))))
    }
}

/// `left` pieces of `size` bytes, and how many of them were taken.
pub fn pieces(size: usize, left: usize) -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    (Body::new(Pieces { size, left, taken: taken.clone(), breaks: false }), taken)
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
