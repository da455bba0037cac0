//! The HTTP door: an accept loop with limits, so that slow or many clients cost little.

use super::ListenError;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A client has so long to send a request's headers (slowloris).
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// All headers of a request together, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Connections of one client address (Consul's `http_max_conns_per_client`).
const MAX_CONNECTIONS_PER_CLIENT: usize = 200;
/// Connections of all clients: below the usual limit of open files, less what the agent itself needs.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections that are finishing their last answer get so long when the agent stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Listens on an address.
///
/// # Errors
/// [`ListenError`] where it cannot be listened on.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let refused = |cause| ListenError::new("ports.http", "-http-port", address, cause);
    TcpListener::bind(address).await.map_err(refused)
}

/// Serves connections until told to stop, then lets answers under way finish.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let clients = Clients::default();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match clients.admit(peer.ip()) {
                Some(place) => serve_connection(stream, router.clone(), place, &graceful, stop.clone()),
                None => refuse(stream),
            },
            Err(error) => {
                // Out of file descriptors, most likely: the clients that are here must go first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

fn serve_connection(
    stream: TcpStream,
    router: Router,
    place: Place,
    graceful: &GracefulShutdown,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES.max(8192))
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30));
    let watcher = graceful.watcher();
    tokio::spawn(async move {
        let begun = tokio::select! {
            begun = tokio::time::timeout(HEADER_TIMEOUT, shows_version(&stream)) => begun.unwrap_or(false),
            _ = stop.wait_for(|stop| *stop) => false,
        };
        if begun {
            let service = TowerToHyperService::new(router);
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            // A client that breaks off is its own business.
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "an HTTP connection broke");
            }
        }
        drop(place);
    });
}

/// Waits until the client has said enough to tell HTTP/2 from HTTP/1; false if it went away. hyper-util waits for that as well, but
/// for ever.
async fn shows_version(stream: &TcpStream) -> bool {
    const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut said = [0; HTTP2.len()];
    loop {
        match stream.peek(&mut said).await {
            Ok(0) | Err(_) => return false,
            // What is there is reported again at once, hence the pause.
            Ok(some) if some < HTTP2.len() && said.get(..some) == HTTP2.get(..some) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(_) => return true,
        }
    }
}

/// Tells a client that it has too many connections, without keeping it.
fn refuse(stream: TcpStream) {
    const SENTENCE: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: text/plain; charset=utf-8\r\n\
        content-length: 52\r\nconnection: close\r\n\r\nYour IP is issuing too many concurrent connections.\n";
    let _ = stream.try_write(SENTENCE);
}

/// Who is connected how often.
#[derive(Debug, Default, Clone)]
struct Clients {
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Clients {
    fn admit(&self, client: IpAddr) -> Option<Place> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = connections.values().sum();
        let own = connections.get(&client).copied().unwrap_or_default();
        if own >= MAX_CONNECTIONS_PER_CLIENT && !client.is_loopback() || all >= MAX_CONNECTIONS {
            return None;
        }
        connections.insert(client, own + 1);
        Some(Place { clients: self.clone(), client })
    }
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.clients.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = connections.get_mut(&self.client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                connections.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Far longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_has_too_many_connections_is_told() {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        refuse(listener.accept().await.unwrap().0);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let clients = Clients::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let places: Vec<Place> = (0..MAX_CONNECTIONS_PER_CLIENT).map(|_| clients.admit(one).unwrap()).collect();
        assert!(clients.admit(one).is_none() && clients.admit(other).is_some());
        drop(places);
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let all: Vec<Place> = (0..MAX_CONNECTIONS).map(|_| clients.admit(loopback).unwrap()).collect();
        assert!(clients.admit(one).is_none());
        assert_eq!(clients.connections.lock().unwrap().len(), 1, "who is refused costs nothing");
        drop(all);
        assert!(clients.admit(one).is_some());
        assert!(clients.connections.lock().unwrap().is_empty());
    }

    async fn served() -> (SocketAddr, watch::Sender<bool>) {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        tokio::spawn(serve(listener, router, stopped));
        (address, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_sent_away() {
        let (address, _stop) = served().await;
        for said in ["", "P", "GET / HTTP/1.1\r\nhost: a"] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let end = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await;
            assert!(end.is_ok(), "after {said:?} it is kept for ever");
        }
    }

    #[tokio::test]
    async fn a_client_that_speaks_slowly_is_answered() {
        let (address, _stop) = served().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        for said in ["P", "OST / HTTP/1.1\r\nhost: a\r\n", "connection: close\r\n\r\n"] {
            client.write_all(said.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
}
