//! TLS for probes: against the certificates that the host trusts, or against none.

use super::tcp;
use quorate_protocol::check::TlsUse;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to `host:port` on which the server has shown its certificate, for one of these protocols (RFC 7301) if any is named.
///
/// # Errors
/// A sentence for people.
pub(super) async fn connect(
    address: &str,
    wanted: &TlsUse,
    protocols: &[&[u8]],
) -> Result<TlsStream<TcpStream>, String> {
    let connector = connector(wanted.skip_verify)?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = if wanted.server_name.is_empty() { host } else { &wanted.server_name };
    // An IPv6 address stands in brackets beside a port.
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(|error| format!("the host cannot be verified: {error}"))?;
    let dialled = tcp::connect(address).await;
    let stream = dialled.map_err(|error| format!("dial tcp {address}: {}", tcp::in_words(&error)))?;
    let protocols = protocols.iter().map(|name| name.to_vec()).collect();
    connector.with_alpn(protocols).connect(name, stream).await.map_err(|error| format!("tls: {error}"))
}

/// A connector, or the sentence that says why there is none. Made once: the host's certificates are read from many files.
fn connector(skip_verify: bool) -> Result<TlsConnector, &'static str> {
    static TRUSTING_ROOTS: OnceLock<Result<TlsConnector, String>> = OnceLock::new();
    static TRUSTING_ALL: OnceLock<Result<TlsConnector, String>> = OnceLock::new();
    let connector = match skip_verify {
        true => TRUSTING_ALL.get_or_init(trusting_all),
        false => TRUSTING_ROOTS.get_or_init(trusting_roots),
    };
    connector.as_ref().cloned().map_err(String::as_str)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn trusting_roots() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "this host has no certificates of authorities to verify the server with: install them (the package is \
                    mostly called ca-certificates) and restart the agent, or set TLSSkipVerify in the check"
                .into(),
        );
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusting_all() -> Result<TlsConnector, String> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes any certificate, as the check's definition asks; the server must still hold its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
