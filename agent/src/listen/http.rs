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
                Some(place) => serve_connection(stream, router.clone(), place, &graceful),
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

fn serve_connection(stream: TcpStream, router: Router, place: Place, graceful: &GracefulShutdown) {
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
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // A client that breaks off is its own business.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP connection broke");
        }
        drop(place);
    });
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
        let own = connections.entry(client).or_default();
        if *own >= MAX_CONNECTIONS_PER_CLIENT && !client.is_loopback() || all >= MAX_CONNECTIONS {
            return None;
        }
        *own += 1;
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
