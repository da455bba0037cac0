//! Who is at the other end: certificates from an authority that the gossip secret stands for.
//!
//! Whoever knows a secret can derive the authority's key and so sign a certificate for itself; whoever does not, cannot. There are
//! no files to manage. What a certificate says is in its one name: `quorate://<datacenter>/node/<node id>`.

use quorate_protocol::NodeId;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType};
use ring::hkdf;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor,
    UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use webpki::{EndEntityCert, KeyUsage};

/// How long a certificate is good for. Short, because nothing revokes one; the secret itself is changed for that.
const LIFETIME: Duration = Duration::from_secs(3 * DAY);
/// How old a certificate gets before a new one is issued: two thirds of its life are left for clocks that run ahead.
const RENEW_AFTER: Duration = Duration::from_secs(DAY);
/// How far a certificate is dated back, for clocks that run behind.
const BACKDATED: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 60 * 60;

/// The head of an unencrypted Ed25519 private key in PKCS #8; the 32 bytes of the key follow (RFC 8410, 7).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Keys could not be made or certificates not be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct IdentityError(String);

impl IdentityError {
    pub(super) fn because(what: &str, cause: impl fmt::Display) -> IdentityError {
        IdentityError(format!("{what}: {cause}"))
    }
}

/// 32 bytes for one purpose, from the gossip secret (HKDF-SHA256, RFC 5869). Different purposes tell nothing about each other.
pub(super) fn derive(secret: &[u8], purpose: &[&[u8]]) -> Result<[u8; 32], IdentityError> {
    let failed = |_| IdentityError("deriving a key from the gossip secret failed".into());
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"quorate mesh 1")
        .extract(secret)
        .expand(purpose, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .map_err(failed)?;
    Ok(key)
}

/// The name in an agent's certificate.
fn name_of(id: NodeId, datacenter: &str) -> String {
    format!("quorate://{datacenter}/node/{id}")
}

/// Who a certificate names: exactly one agent, or nobody. It says nothing about whether the certificate is valid.
pub(super) fn named(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_uri_names();
    let (name, None) = (names.next()?, names.next()) else { return None };
    let (_datacenter, id) = name.strip_prefix("quorate://")?.rsplit_once("/node/")?;
    id.parse().ok()
}

/// What one gossip key stands for: an authority, and this agent's current certificate under it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    current: Mutex<(SystemTime, Arc<CertifiedKey>)>,
}

/// The authorities of all keys, the primary's first. An agent shows the certificate under the first of them that the other end believes (RFC
/// 8446, 4.2.4, both ways), so agents understand each other while a key is being changed.
pub(super) struct Credentials {
    authorities: Vec<Authority>,
    anchors: Vec<TrustAnchor<'static>>,
    /// What the other end is told of them.
    names: Vec<DistinguishedName>,
    name: String,
    provider: Arc<CryptoProvider>,
}

impl Credentials {
    /// Derives the authorities from the secrets and issues the first certificates.
    pub(super) fn new(
        secrets: &[Vec<u8>],
        id: NodeId,
        datacenter: &str,
        provider: Arc<CryptoProvider>,
    ) -> Result<Credentials, IdentityError> {
        let name = name_of(id, datacenter);
        let (mut authorities, mut anchors, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for secret in secrets {
            let (authority, anchor) = Authority::new(secret, &name, &provider)?;
            names.push(DistinguishedName::in_sequence(anchor.subject.as_ref()));
            authorities.push(authority);
            anchors.push(anchor);
        }
        if authorities.is_empty() {
            return Err(IdentityError("there is no key".into()));
        }
        Ok(Credentials { authorities, anchors, names, name, provider })
    }

    /// The certificate to show to whoever believes these authorities; the primary's where it does not say.
    fn shown_to(&self, believed: &[&[u8]]) -> Option<Arc<CertifiedKey>> {
        let place = self.names.iter().position(|name| believed.contains(&name.as_ref())).unwrap_or(0);
        self.authorities.get(place).map(|authority| authority.current(&self.name, &self.provider))
    }
}

impl Authority {
    fn new(
        secret: &[u8],
        name: &str,
        provider: &CryptoProvider,
    ) -> Result<(Authority, TrustAnchor<'static>), IdentityError> {
        let failed = |error: &dyn fmt::Display| IdentityError::because("the authority's certificate", error);
        let mut key = PKCS8_ED25519.to_vec();
        key.extend_from_slice(&derive(secret, &[b"authority"])?);
        let key = PrivatePkcs8KeyDer::from(key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)
            .map_err(|error| IdentityError::because("the authority's key", error))?;
        // Which key it stands for is no secret, no more than in a datagram; only by it are several told apart.
        let fingerprint: String =
            derive(secret, &[b"authority name"])?.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Quorate mesh authority {fingerprint}"));
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
        let anchor = webpki::anchor_from_trusted_cert(certificate.der()).map_err(|error| failed(&error))?.to_owned();
        let issuer = Issuer::new(params, key);
        let now = SystemTime::now();
        let current = Mutex::new((now, issue(&issuer, name, provider, now)?));
        Ok((Authority { issuer, current }, anchor))
    }

    /// The certificate to show, renewed where it is time to.
    fn current(&self, name: &str, provider: &CryptoProvider) -> Arc<CertifiedKey> {
        let now = SystemTime::now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes the certificate look as if it came from the future: renew it as well.
        if now.duration_since(current.0).is_ok_and(|age| age < RENEW_AFTER) {
            return current.1.clone();
        }
        match issue(&self.issuer, name, provider, now) {
            Ok(renewed) => *current = (now, renewed),
            Err(error) => tracing::error!(%error, "the certificate for other agents could not be renewed"),
        }
        current.1.clone()
    }
}

/// Signs a certificate with a new key.
fn issue(
    issuer: &Issuer<'static, KeyPair>,
    name: &str,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Arc<CertifiedKey>, IdentityError> {
    let failed = |error: &dyn fmt::Display| IdentityError::because("issuing the certificate for other agents", error);
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(|error| failed(&error))?;
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|error| failed(&error))?;
    let now = rcgen::date_time_ymd(1970, 1, 1) + since_1970;
    let mut params = CertificateParams::default();
    params.not_before = now - BACKDATED;
    params.not_after = now + LIFETIME;
    params.distinguished_name.push(DnType::CommonName, "Quorate agent");
    params.subject_alt_names = vec![SanType::URI(name.try_into().map_err(|error| failed(&error))?)];
    let certificate = params.signed_by(&key, issuer).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider.key_provider.load_private_key(key).map_err(|error| failed(&error))?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, believed: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown_to(believed)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let believed = hello.certificate_authorities().unwrap_or_default();
        self.shown_to(&believed.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }
}

impl Credentials {
    /// Signed by one of the authorities, not expired, and naming exactly one agent. Which one is looked at after the handshake, for then it can
    /// be compared with who was expected.
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let refused = rustls::Error::InvalidCertificate;
        let algorithms: &[&dyn SignatureVerificationAlgorithm] = self.provider.signature_verification_algorithms.all;
        let end_entity = EndEntityCert::try_from(certificate).map_err(|_| refused(CertificateError::BadEncoding))?;
        // The names alone tell what an agent is; both ends of a connection show the same kind of certificate.
        let usage = KeyUsage::client_auth();
        end_entity.verify_for_usage(algorithms, &self.anchors, intermediates, now, usage, None, None).map_err(
            |error| match error {
                webpki::Error::CertExpired { .. } => refused(CertificateError::Expired),
                webpki::Error::CertNotValidYet { .. } => refused(CertificateError::NotValidYet),
                webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
                    refused(CertificateError::UnknownIssuer)
                }
                _ => refused(CertificateError::ApplicationVerificationFailure),
            },
        )?;
        named(certificate).map(|_| ()).ok_or(refused(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

/// TLS 1.3 is the only version that QUIC and this agent's configuration allow.
fn never_tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not spoken between agents".into())
}

impl ServerCertVerifier for Credentials {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(never_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        Some(&self.names)
    }
}

impl ClientCertVerifier for Credentials {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(never_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(secret: &[u8], node: u8) -> Credentials {
        with_keys(&[secret], node)
    }

    fn with_keys(secrets: &[&[u8]], node: u8) -> Credentials {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.to_vec()).collect();
        Credentials::new(&secrets, NodeId([node; 16]), "dc1", provider).unwrap()
    }

    /// What `of` shows to `to`.
    fn shown(of: &Credentials, to: &Credentials) -> CertificateDer<'static> {
        let believed: Vec<&[u8]> = to.names.iter().map(AsRef::as_ref).collect();
        of.shown_to(&believed).unwrap().cert[0].clone()
    }

    fn at(days: u64) -> UnixTime {
        UnixTime::since_unix_epoch(UnixTime::now().as_secs().checked_add(days * DAY).map(Duration::from_secs).unwrap())
    }

    #[test]
    fn agents_with_one_secret_believe_each_other_and_nobody_else() {
        let (a, b, stranger) = (credentials(b"one", 1), credentials(b"one", 2), credentials(b"two", 3));
        let certificate = |of: &Credentials| shown(of, of);
        assert_eq!(named(&certificate(&b)), Some(NodeId([2; 16])));
        assert_eq!(a.verify(&certificate(&b), &[], at(0)), Ok(()));
        assert_eq!(b.verify(&certificate(&a), &[], at(0)), Ok(()));
        assert!(a.verify(&certificate(&stranger), &[], at(0)).is_err());
        assert!(stranger.verify(&certificate(&a), &[], at(0)).is_err());
        assert_eq!(
            a.verify(&certificate(&b), &[], at(4)),
            Err(rustls::Error::InvalidCertificate(CertificateError::Expired))
        );
    }

    #[test]
    fn a_certificate_is_renewed_in_time() {
        let a = credentials(b"one", 1);
        let current = || a.shown_to(&[]).unwrap();
        let first = current();
        assert!(Arc::ptr_eq(&first, &current()));
        a.authorities[0].current.lock().unwrap().0 -= RENEW_AFTER;
        assert!(!Arc::ptr_eq(&first, &current()));
    }

    #[test]
    fn agents_that_are_a_step_apart_in_changing_the_key_believe_each_other() {
        // Before and after each of: installed, used, removed.
        let steps: [&[&[u8]]; 4] = [&[b"old"], &[b"old", b"new"], &[b"new", b"old"], &[b"new"]];
        for (a, b, understand) in [(0, 1, true), (1, 2, true), (2, 3, true), (0, 2, true), (1, 3, true), (0, 3, false)]
        {
            let (a, b) = (with_keys(steps[a], 1), with_keys(steps[b], 2));
            for (of, to) in [(&a, &b), (&b, &a)] {
                assert_eq!(to.verify(&shown(of, to), &[], at(0)).is_ok(), understand);
            }
        }
        let (both, new) = (with_keys(steps[2], 1), with_keys(steps[3], 2));
        assert_eq!(
            new.verify(&both.shown_to(&[]).unwrap().cert[0], &[], at(0)),
            Ok(()),
            "the primary's, where nothing is said"
        );
    }

    #[test]
    fn purposes_give_different_keys() {
        assert_ne!(derive(b"one", &[b"a"]), derive(b"one", &[b"b"]));
        assert_ne!(derive(b"one", &[b"a"]), derive(b"two", &[b"a"]));
        assert_eq!(derive(b"one", &[b"a"]), derive(b"one", &[b"a"]));
    }
}
