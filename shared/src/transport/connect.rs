//! Connecting: where to, over what, and why it failed.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::socket::Socket;
use super::stream::Stream;
use super::tls::ClientTls;
use super::tunnel;
use crate::config::{Balancer, Endpoint, Proxy, Target};

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
    pub(super) fn new(reason: impl Into<Cow<'static, str>>, detail: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }

    /// A connection on which HTTP could not begin.
    pub(super) fn handshake(target: &Target, error: &hyper::Error) -> Self {
        let detail = format!("HTTP/2 handshake with {target}: {error}");
        Self::new("HTTP/2 with the destination failed", detail)
    }
}

/// Looks up names that are dialled, instead of the system.
#[async_trait]
pub trait HostLookup: fmt::Debug + Send + Sync {
    /// The addresses of a name.
    ///
    /// # Errors
    /// Why there is none.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Connects to `endpoint`: to the first of its addresses that answers, from a random one on, so
/// that many clients spread over many addresses.
///
/// # Errors
/// Why none of them did.
pub async fn connect(endpoint: &Endpoint, tls: Option<&ClientTls>) -> Result<Stream, ConnectError> {
    in_time(connect_tcp(endpoint, Balancer::RoundRobin, None, tls)).await
}

/// Connects to `endpoint` by a proxy: with TLS through a tunnel, without to the proxy itself, which
/// is to be sent requests with whole URLs.
///
/// # Errors
/// Why it could not.
pub async fn connect_by(
    proxy: &Proxy,
    endpoint: &Endpoint,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    in_time(async {
        let dialled = dial(&proxy.endpoint, Balancer::RoundRobin, None).await;
        let mut socket = dialled.map_err(|error| {
            let detail = format!("proxy {}: {}", proxy.endpoint, error.detail);
            ConnectError::new("cannot connect to the proxy", detail)
        })?;
        if tls.is_some() {
            tunnel::open(&mut socket, proxy, endpoint).await?;
        }
        Ok(handshake(socket, &endpoint.host, endpoint, tls).await?.by_proxy())
    })
    .await
}

/// Connects to `target`; `balancer` says which of its addresses comes first, and `names` has them,
/// else the system.
///
/// # Errors
/// Why it could not.
pub(super) async fn connect_to(
    target: &Target,
    balancer: Balancer,
    names: Option<&dyn HostLookup>,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    match target {
        Target::Tcp(endpoint) => in_time(connect_tcp(endpoint, balancer, names, tls)).await,
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
    names: Option<&dyn HostLookup>,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    let socket = dial(endpoint, balancer, names).await?;
    handshake(socket, &endpoint.host, endpoint, tls).await
}

async fn dial(
    endpoint: &Endpoint,
    balancer: Balancer,
    names: Option<&dyn HostLookup>,
) -> Result<TcpStream, ConnectError> {
    let mut addresses = match lookup(endpoint, names).await {
        Ok(addresses) => addresses,
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
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some((address, error)),
        }
    }
    let (address, error): (SocketAddr, io::Error) = last.expect("at least one address was tried");
    let reason = format!("cannot connect to the destination: {}", error.kind());
    Err(ConnectError::new(reason, format!("{address}: {error}")))
}

async fn lookup(
    endpoint: &Endpoint,
    names: Option<&dyn HostLookup>,
) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = (endpoint.host.as_str(), endpoint.port);
    match names {
        // The system knows what is an address already.
        Some(names) if host.parse::<IpAddr>().is_err() => {
            let addresses = names.addresses(host).await?;
            Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
        }
        _ => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::net::TcpListener;

    use super::*;

    /// Knows one name, with these addresses in this order.
    #[derive(Debug)]
    struct Known(Vec<IpAddr>);

    #[async_trait]
    impl HostLookup for Known {
        async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            assert_eq!(host, "b.test");
            Ok(self.0.clone())
        }
    }

    // Of this test alone, so that nobody else listens at a port of one that is to refuse.
    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 2, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 2, 0, 2));

    /// The addresses that some connections to a name with two lead to. Where a backend listens on
    /// only one of them the other refuses.
    async fn reached(balancer: Balancer, listening: &[IpAddr]) -> BTreeSet<IpAddr> {
        let mut listeners = vec![TcpListener::bind((listening[0], 0)).await.unwrap()];
        let port = listeners[0].local_addr().unwrap().port();
        for address in &listening[1..] {
            listeners.push(TcpListener::bind((*address, port)).await.unwrap());
        }
        let target = Target::parse(&format!("b.test:{port}")).unwrap();
        let names = Known(vec![ONE, OTHER]);
        let mut reached = BTreeSet::new();
        for _ in 0..40 {
            drop(connect_to(&target, balancer, Some(&names), None).await.unwrap());
            let last = listeners.len() - 1;
            let index = tokio::select! {
                accepted = listeners[0].accept() => accepted.map(|_| 0),
                accepted = listeners[last].accept() => accepted.map(|_| last),
            };
            reached.insert(listening[index.unwrap()]);
        }
        reached
    }

    #[tokio::test]
    async fn pick_first_takes_the_first_address_that_answers_and_round_robin_all() {
        assert_eq!(reached(Balancer::PickFirst, &[ONE, OTHER]).await, [ONE].into());
        assert_eq!(reached(Balancer::PickFirst, &[OTHER]).await, [OTHER].into());
        assert_eq!(reached(Balancer::RoundRobin, &[ONE, OTHER]).await, [ONE, OTHER].into());
        assert_eq!(reached(Balancer::RoundRobin, &[OTHER]).await, [OTHER].into());
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let listener = TcpListener::bind((ONE, 0)).await.unwrap();
        let target = Target::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let names = Known(Vec::new());
        connect_to(&target, Balancer::PickFirst, Some(&names), None).await.unwrap();
        let target = Target::parse("b.test:4317").unwrap();
        let error = connect_to(&target, Balancer::PickFirst, Some(&names), None).await;
        let error = error.err().unwrap();
        assert_eq!(error.reason, "the destination's name has no address");
    }
}
