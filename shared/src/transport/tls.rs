//! TLS by rustls, from the Collector's `tls` keys.
//!
//! Files are read when a component is built, and again at a handshake once `reload_interval` has
//! passed; a file that has become unusable leaves the settings as they are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion, version,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::warn;

use crate::clock;
use crate::config::{ClientTlsConfig, Secret, ServerTlsConfig, TlsConfig, TlsVersion};
use crate::service::BuildError;

/// The protocols that a side offers, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2, for gRPC.
    Http2,
    /// HTTP/2 or HTTP/1.1.
    Http,
    /// HTTP/1.1.
    Http1,
}

impl Alpn {
    fn names(self) -> Vec<Vec<u8>> {
        match self {
            Alpn::Http2 => vec![b"h2".to_vec()],
            Alpn::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

/// A side's TLS settings, read again now and then.
struct Reloading<C> {
    interval: Option<Duration>,
    last: Mutex<(Instant, Arc<C>)>,
    load: Box<dyn Fn() -> Result<C, BuildError> + Send + Sync>,
}

impl<C> Reloading<C> {
    fn new(
        interval: Duration,
        load: impl Fn() -> Result<C, BuildError> + Send + Sync + 'static,
    ) -> Result<Self, BuildError> {
        let last = Mutex::new((clock::now(), Arc::new(load()?)));
        let interval = (!interval.is_zero()).then_some(interval);
        Ok(Self { interval, last, load: Box::new(load) })
    }

    fn current(&self) -> Arc<C> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interval) = self.interval
            && clock::now().saturating_duration_since(last.0) >= interval
        {
            last.0 = clock::now();
            match (self.load)() {
                Ok(config) => last.1 = Arc::new(config),
                Err(error) => warn!(%error, "cannot read TLS files again, keeping what was read"),
            }
        }
        Arc::clone(&last.1)
    }
}

/// A client's side.
pub struct ClientTls {
    config: Reloading<ClientConfig>,
    server_name: Option<String>,
}

impl ClientTls {
    /// Reads certificates and keys.
    ///
    /// # Errors
    /// Which file is unusable, and why.
    pub fn new(config: &ClientTlsConfig, alpn: Alpn) -> Result<Self, BuildError> {
        let server_name = match config.server_name_override.as_str() {
            "" => None,
            name => Some(name.to_owned()),
        };
        let config = config.clone();
        let interval = config.common.reload_interval;
        let config = Reloading::new(interval, move || client_config(&config, alpn))?;
        Ok(Self { config, server_name })
    }

    /// The name that the certificate of `host` must have.
    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name:?} is neither a DNS name nor an address"))
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(self.config.current())
    }
}

/// A server's side.
pub struct ServerTls(Reloading<ServerConfig>);

impl ServerTls {
    /// Reads certificates and keys.
    ///
    /// # Errors
    /// Which file is unusable, and why.
    pub fn new(config: &ServerTlsConfig, alpn: Alpn) -> Result<Self, BuildError> {
        let config = config.clone();
        let interval = match (config.common.reload_interval, config.client_ca_file_reload) {
            (Duration::ZERO, true) => Duration::from_secs(1),
            (interval, _) => interval,
        };
        Reloading::new(interval, move || server_config(&config, alpn)).map(Self)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current())
    }
}

fn client_config(config: &ClientTlsConfig, alpn: Alpn) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(&config.common))
        .map_err(|error| BuildError::new(format!("tls: {error}")))?;
    let builder = match config.insecure_skip_verify {
        true => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        }
        false => builder.with_root_certificates(roots(&config.common)?),
    };
    let mut tls = match identity(&config.common)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| BuildError::new(format!("tls: certificate and key: {error}")))?,
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = alpn.names();
    Ok(tls)
}

fn server_config(config: &ServerTlsConfig, alpn: Alpn) -> Result<ServerConfig, BuildError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(&config.common))
        .map_err(|error| BuildError::new(format!("tls: {error}")))?;
    let builder = match config.client_ca_file.as_str() {
        "" => builder.with_no_client_auth(),
        file => {
            let mut store = RootCertStore::empty();
            add_certificates(&mut store, "client_ca_file", &read_file("client_ca_file", file)?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
                .build()
                .map_err(|error| BuildError::new(format!("tls: client_ca_file: {error}")))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (chain, key) = identity(&config.common)?
        .ok_or_else(|| BuildError::new("tls: a server needs a certificate and a key"))?;
    let mut tls = builder
        .with_single_cert(chain, key)
        .map_err(|error| BuildError::new(format!("tls: certificate and key: {error}")))?;
    tls.alpn_protocols = alpn.names();
    Ok(tls)
}

fn versions(config: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    match (config.min_version, config.max_version) {
        (TlsVersion::V1_3, _) => vec![&version::TLS13],
        (_, TlsVersion::V1_2) => vec![&version::TLS12],
        _ => vec![&version::TLS13, &version::TLS12],
    }
}

/// The issuers that a server's certificate may lead to: ours, the system's, or both.
fn roots(config: &TlsConfig) -> Result<RootCertStore, BuildError> {
    let mut store = RootCertStore::empty();
    if let Some(pem) = content("ca_file", &config.ca_file, &config.ca_pem)? {
        add_certificates(&mut store, "ca_file", &pem)?;
    }
    if config.include_system_ca_certs_pool || !config.has_ca() {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            return Err(BuildError::new(
                "tls: the system has no trusted certificates: set ca_file, or insecure: true \
                 to speak without TLS",
            ));
        }
    }
    Ok(store)
}

fn add_certificates(store: &mut RootCertStore, key: &str, pem: &[u8]) -> Result<(), BuildError> {
    let failed = |error: String| BuildError::new(format!("tls: {key}: {error}"));
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        store.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    match store.is_empty() {
        true => Err(failed("holds no certificate".to_owned())),
        false => Ok(()),
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(config: &TlsConfig) -> Result<Option<Identity>, BuildError> {
    let chain = content("cert_file", &config.cert_file, &config.cert_pem)?;
    let key = content("key_file", &config.key_file, &config.key_pem)?;
    let (Some(chain), Some(key)) = (chain, key) else { return Ok(None) };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| BuildError::new(format!("tls: cert_file: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| BuildError::new(format!("tls: key_file: {error}")))?;
    Ok(Some((chain, key)))
}

fn content(key: &str, file: &str, pem: &Secret) -> Result<Option<Vec<u8>>, BuildError> {
    match (file, pem.0.as_str()) {
        ("", "") => Ok(None),
        ("", pem) => Ok(Some(pem.as_bytes().to_vec())),
        (file, _) => read_file(key, file).map(Some),
    }
}

fn read_file(key: &str, file: &str) -> Result<Vec<u8>, BuildError> {
    std::fs::read(file)
        .map_err(|error| BuildError::new(format!("tls: {key}: cannot read {file:?}: {error}")))
}

/// Takes any certificate, but still demands that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
