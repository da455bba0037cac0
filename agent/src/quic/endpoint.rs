//! Opening the port: the socket, quinn's endpoint on it, and what both ends of a connection insist on.

use super::counters::Counters;
use super::identity::{self, Credentials, IdentityError};
use super::shared::Shared;
use super::socket::Socket;
use super::{Config, Inbound, limits};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use quorate_protocol::NodeId;
use quorate_protocol::wire::hello::Hello;
use ring::rand::SecureRandom;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The protocol inside QUIC's handshake (ALPN). Versions of the wire are agreed in the greeting, not here.
const ALPN: &[u8] = b"quorate";

/// Why the port could not be opened. The operator fixes it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refused the address.
    #[error("cannot listen on UDP {address}: {cause}: {}", remedy(.cause))]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// Keys or certificates could not be made.
    #[error("cannot secure UDP {address}: {cause}: check the keys encrypt and datacenter")]
    Identity {
        /// The address asked for.
        address: SocketAddr,
        /// What went wrong.
        cause: String,
    },
    /// A caller's mistake: there is no runtime to run on.
    #[error("cannot listen on UDP {address}: there is no tokio runtime here: bind from inside one")]
    NoRuntime {
        /// The address asked for.
        address: SocketAddr,
    },
}

/// What to do about a refused address.
fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "another process has this port; stop it, or choose another with -serf-lan-port (ports.serf_lan)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this host does not have this address; choose one of its own with -bind (bind_addr)"
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not; choose a port above 1023 with -serf-lan-port (ports.serf_lan)"
        }
        _ => "choose another with -bind (bind_addr) or -serf-lan-port (ports.serf_lan)",
    }
}

/// Binds and configures everything; nothing runs yet but quinn's own task.
pub(super) fn open(config: Config, inbound: mpsc::Sender<Inbound>) -> Result<Arc<Shared>, BindError> {
    let address = config.bind;
    let socket_error = |cause| BindError::Socket { address, cause };
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| BindError::NoRuntime { address })?;
    let counters = Arc::new(Counters::new());
    let socket = bind_udp(address).map_err(socket_error)?;
    let socket = Socket::new(socket, inbound.clone(), counters.clone()).map_err(socket_error)?;
    let socket = Arc::new(socket);
    let identity_error = |cause: IdentityError| BindError::Identity { address, cause: cause.to_string() };
    let security = Security::of(&config.secrets, config.id, &config.datacenter).map_err(identity_error)?;
    let endpoint = quinn::Endpoint::new_with_abstract_socket(
        endpoint_config(&config).map_err(identity_error)?,
        Some(security.server),
        socket.clone(),
        Arc::new(TokioRuntime),
    )
    .map_err(socket_error)?;
    let mut advertise = config.advertise;
    if advertise.port() == 0 {
        advertise.set_port(socket.local_address().port());
    }
    let hello = Hello::new(advertise, config.name, random_u64().map_err(identity_error)?);
    Ok(Arc::new(Shared::new(
        config.id,
        hello,
        endpoint,
        security.clients,
        config.datacenter,
        socket,
        inbound,
        counters,
        runtime,
    )))
}

/// A non-blocking socket with room for bursts; an IPv6 wildcard address serves IPv4 too.
fn bind_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    // Only a wish: the system may cap it lower (net.core.rmem_max), and the agent works with less.
    let _ = socket.set_recv_buffer_size(limits::SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(limits::SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What both ends of a connection insist on: it follows from the keys.
pub(super) struct Security {
    pub(super) server: ServerConfig,
    pub(super) clients: Clients,
}

/// For dialling.
pub(super) struct Clients {
    plain: ClientConfig,
    /// With keep-alive.
    for_raft: ClientConfig,
}

impl Clients {
    pub(super) fn of(&self, for_raft: bool) -> ClientConfig {
        if for_raft { self.for_raft.clone() } else { self.plain.clone() }
    }
}

impl Security {
    pub(super) fn of(secrets: &[Vec<u8>], id: NodeId, datacenter: &str) -> Result<Security, IdentityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let credentials = Arc::new(Credentials::new(secrets, id, datacenter, provider.clone())?);
        let tls = Tls { provider, credentials };
        let clients = Clients { plain: tls.client(None)?, for_raft: tls.client(Some(limits::KEEP_ALIVE))? };
        Ok(Security { server: tls.server()?, clients })
    }
}

/// Connection ids and reset tokens are keyed by the key at the start and the node id, not drawn at start: so an agent that restarts still
/// recognises packets of its former life and tells their sender at once that the connection is gone (RFC 9000, 10.3), instead of
/// leaving it to the idle timeout. Everything else that arrives unasked goes unanswered.
fn endpoint_config(config: &Config) -> Result<EndpointConfig, IdentityError> {
    let secret = config.secrets.first().ok_or_else(|| other("there is no key"))?;
    let reset = identity::derive(secret, &[b"stateless reset", &config.id.0])?;
    let ids = identity::derive(secret, &[b"connection ids", &config.id.0])?;
    let (first, _) = ids.split_first_chunk::<8>().ok_or_else(|| other("connection ids"))?;
    let ids = u64::from_be_bytes(*first);
    let mut endpoint = EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &reset)));
    endpoint.grease_quic_bit(false).cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    Ok(endpoint)
}

fn random_u64() -> Result<u64, IdentityError> {
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| other("the system has no randomness"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn other(cause: impl std::fmt::Display) -> IdentityError {
    IdentityError::because("QUIC", cause)
}

/// Mutual TLS 1.3, without resumption: a handshake costs a millisecond, and a ticket would outlive what it was issued for.
struct Tls {
    provider: Arc<rustls::crypto::CryptoProvider>,
    credentials: Arc<Credentials>,
}

impl Tls {
    fn server(&self) -> Result<ServerConfig, IdentityError> {
        let mut tls = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(other)?
            .with_client_cert_verifier(self.credentials.clone())
            .with_cert_resolver(self.credentials.clone());
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(other)?));
        server.transport_config(Arc::new(transport(None)?)).max_incoming(limits::MAX_HANDSHAKES);
        Ok(server)
    }

    fn client(&self, keep_alive: Option<Duration>) -> Result<ClientConfig, IdentityError> {
        let mut tls = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(other)?
            .dangerous()
            .with_custom_certificate_verifier(self.credentials.clone())
            .with_client_cert_resolver(self.credentials.clone());
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        tls.enable_sni = false;
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(other)?));
        client.transport_config(Arc::new(transport(keep_alive)?));
        Ok(client)
    }
}

fn transport(keep_alive: Option<Duration>) -> Result<TransportConfig, IdentityError> {
    let mut transport = TransportConfig::default();
    transport
        // The greeting is the only exchange on a bidirectional stream.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(limits::MAX_STREAMS))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW))
        .send_window(u64::from(limits::CONNECTION_WINDOW))
        .max_idle_timeout(Some(limits::IDLE.try_into().map_err(other)?))
        .keep_alive_interval(keep_alive)
        .initial_rtt(limits::INITIAL_RTT)
        // Datagrams go beside QUIC, not through it.
        .datagram_receive_buffer_size(None);
    Ok(transport)
}
