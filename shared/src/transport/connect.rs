//! Connecting: where to, over what, and why it failed.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::socket::Socket;
use super::stream::Stream;
use super::tls::ClientTls;
use crate::config::{Balancer, Endpoint, Target};

/// How long connecting may take, TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose peer does not acknowledge bytes for this long is given up, so that a lost
/// node is noticed although its sockets never answer.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(20);

/// Why no connection was made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct ConnectError {
    /// For whoever sent the batch: names no host and no file.
    pub reason: Cow<'static, str>,
    /// For the log.
    pub detail: Arc<str>,
}

impl ConnectError {
    fn new(reason: impl Into<Cow<'static, str>>, detail: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }

    /// A connection on which HTTP could not begin.
    pub(super) fn handshake(target: &Target, error: &hyper::Error) -> Self {
        let detail = format!("HTTP/2 handshake with {target}: {error}");
        Self::new("HTTP/2 with the destination failed", detail)
    }
}

/// Connects to `endpoint`: to the first of its addresses that answers, from a random one on, so
/// that many clients spread over many addresses.
///
/// # Errors
/// Why none of them did.
pub async fn connect(endpoint: &Endpoint, tls: Option<&ClientTls>) -> Result<Stream, ConnectError> {
    in_time(connect_tcp(endpoint, Balancer::RoundRobin, tls)).await
}

/// Connects to `target`; `balancer` says which of its addresses comes first.
///
/// # Errors
/// Why it could not.
pub(super) async fn connect_to(
    target: &Target,
    balancer: Balancer,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    match target {
        Target::Tcp(endpoint) => in_time(connect_tcp(endpoint, balancer, tls)).await,
        Target::Unix(path) => in_time(connect_unix(path, target, tls)).await,
    }
}

async fn in_time(
    connecting: impl Future<Output = Result<Stream, ConnectError>>,
) -> Result<Stream, ConnectError> {
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| {
        let reason = "connecting to the destination took too long";
        Err(ConnectError::new(reason, format!("no connection within {CONNECT_TIMEOUT:?}")))
    })
}

async fn connect_unix(
    path: &str,
    target: &Target,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    match UnixStream::connect(path).await {
        Ok(stream) => handshake(stream, target.host(), target, tls).await,
        Err(error) => {
            let reason = format!("cannot connect to the destination: {}", error.kind());
            Err(ConnectError::new(reason, format!("{target}: {error}")))
        }
    }
}

async fn connect_tcp(
    endpoint: &Endpoint,
    balancer: Balancer,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    let lookup = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let mut addresses: Vec<SocketAddr> = match lookup {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let detail = format!("cannot look up {:?}: {error}", endpoint.host);
            return Err(ConnectError::new("the destination's name cannot be looked up", detail));
        }
    };
    if addresses.is_empty() {
        let detail = format!("{:?} has no address", endpoint.host);
        return Err(ConnectError::new("the destination's name has no address", detail));
    }
    if balancer == Balancer::RoundRobin {
        let first = rand::rng().random_range(0..addresses.len());
        addresses.rotate_left(first);
    }
    let mut last = None;
    for address in addresses {
        let connected = async {
            let stream = TcpStream::connect(address).await?;
            prepare(&stream)?;
            Ok(stream)
        };
        match connected.await {
            Ok(stream) => return handshake(stream, &endpoint.host, endpoint, tls).await,
            Err(error) => last = Some((address, error)),
        }
    }
    let (address, error): (SocketAddr, io::Error) = last.expect("at least one address was tried");
    let reason = format!("cannot connect to the destination: {}", error.kind());
    Err(ConnectError::new(reason, format!("{address}: {error}")))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_keepalive(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))?;
    Ok(())
}

/// Speaks TLS, if it is to be spoken, with the one who has a certificate for `host`.
async fn handshake(
    socket: impl Into<Socket>,
    host: &str,
    target: impl fmt::Display,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    let Some(tls) = tls else { return Ok(Stream::plain(socket)) };
    let name = tls
        .server_name(host)
        .map_err(|detail| ConnectError::new("the destination's name is no name for TLS", detail))?;
    match tls.connector().connect(name, socket.into()).await {
        Ok(stream) => Ok(Stream::tls(TlsStream::Client(stream))),
        Err(error) => {
            let reason = format!("TLS with the destination failed: {}", tls_reason(&error));
            Err(ConnectError::new(reason, format!("TLS handshake with {target}: {error}")))
        }
    }
}

/// What went wrong in a handshake, without the names that rustls puts into its texts.
fn tls_reason(error: &io::Error) -> Cow<'static, str> {
    use rustls::CertificateError as Certificate;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        )) => "its certificate is for another name".into(),
        Some(rustls::Error::InvalidCertificate(
            // The latter is an issuer of the right name with another key.
            Certificate::UnknownIssuer | Certificate::BadSignature,
        )) => "its certificate is not from a trusted issuer".into(),
        Some(rustls::Error::InvalidCertificate(
            Certificate::Expired | Certificate::ExpiredContext { .. },
        )) => "its certificate has expired".into(),
        Some(rustls::Error::AlertReceived(alert)) => format!("it answered {alert:?}").into(),
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS".into(),
        Some(_) => "the handshake was broken off".into(),
        None => error.kind().to_string().into(),
    }
}
