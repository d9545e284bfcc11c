//! Binding: where a server listens, and the file of a Unix socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::TcpKeepalive;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

use super::socket::Socket;
use crate::config::Transport;

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: u32 = 1024;

/// The owner and the group of a Unix socket may connect.
const SOCKET_MODE: u32 = 0o660;

/// A peer that is gone without a word is noticed after a quiet time, by this many probes. As the
/// Collector's runtime does it, in seconds rather than the kernel's hours.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 9;

/// A socket that is bound and listens.
pub(super) enum Bound {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, and its file; none if its name is an abstract one.
    Unix(UnixListener, Option<SocketFile>),
}

impl Bound {
    /// Binds `endpoint`: `host:port`, where no host is every address of the machine, or the path
    /// of a Unix socket.
    pub(super) async fn new(endpoint: &str, transport: Transport) -> io::Result<Self> {
        if transport == Transport::Unix {
            return bind_unix(endpoint).await;
        }
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses(endpoint, transport).await? {
            match bind_tcp(address) {
                Ok(tcp) => return Ok(Bound::Tcp(tcp)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address with the port that was really bound; a Unix socket has none.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Bound::Tcp(tcp) => tcp.local_addr().map(Some),
            Bound::Unix(..) => Ok(None),
        }
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Bound::Tcp(tcp) => Ok(tcp.accept().await?.0.into()),
            Bound::Unix(unix, _file) => Ok(unix.accept().await?.0.into()),
        }
    }
}

/// Readies an accepted connection.
pub(super) fn prepare(socket: &Socket) -> io::Result<()> {
    let Socket::Tcp(tcp) = socket else { return Ok(()) };
    tcp.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER);
    let probes = probes.with_interval(PROBE_EVERY).with_retries(PROBES);
    socket2::SockRef::from(tcp).set_tcp_keepalive(&probes)
}

async fn addresses(endpoint: &str, transport: Transport) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = match endpoint.strip_prefix(':') {
        Some(port) => {
            let port = port.parse().map_err(io::Error::other)?;
            // The first takes IPv4 as well; the second is for machines without IPv6.
            vec![
                SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)),
                SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port)),
            ]
        }
        None => {
            let mut found: Vec<_> = tokio::net::lookup_host(endpoint).await?.collect();
            // `localhost` is 127.0.0.1 for those who do not say otherwise.
            found.sort_by_key(SocketAddr::is_ipv6);
            found
        }
    };
    addresses.retain(|address| match transport {
        Transport::Tcp4 => address.is_ipv4(),
        Transport::Tcp6 => address.is_ipv6(),
        Transport::Tcp | Transport::Unix => true,
    });
    Ok(addresses)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// `@name` is a name of Linux's abstract namespace, as in Go; anything else is a file.
async fn bind_unix(endpoint: &str) -> io::Result<Bound> {
    if let Some(name) = endpoint.strip_prefix('@') {
        return Ok(Bound::Unix(UnixListener::bind(format!("\0{name}"))?, None));
    }
    let path = Path::new(endpoint);
    remove_stale(path).await?;
    let unix = UnixListener::bind(path)?;
    let file = SocketFile::new(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(Bound::Unix(unix, Some(file)))
}

/// Removes the socket of a process that ended without doing so: one that nobody answers at.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other("the file exists and is no socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket; removed when this is dropped, unless another took its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number.
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot remove the socket's file");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bind(path: &Path) -> io::Result<Bound> {
        Bound::new(path.to_str().unwrap(), Transport::Unix).await
    }

    #[tokio::test]
    async fn a_socket_is_for_owner_and_group_and_goes_when_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("otlp.sock");
        let bound = bind(&path).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(bound.address().unwrap(), None);
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("otlp.sock");
        // A process that is killed leaves its file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = bind(&path).await.unwrap();
        let second = bind(&path).await.err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        let (connected, accepted) = tokio::join!(UnixStream::connect(&path), bound.accept());
        assert!(connected.is_ok() && accepted.is_ok(), "the first lives on");
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        let error = bind(&path).await.err().unwrap();
        assert_eq!(error.to_string(), "the file exists and is no socket");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("otlp.sock");
        let first = bind(&path).await.unwrap();
        // Whoever replaces the file takes over, which is how a rename is rolled out.
        fs::remove_file(&path).unwrap();
        let second = bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_peer_that_vanished_is_probed_for() {
        let bound = Bound::new("127.0.0.1:0", Transport::Tcp).await.unwrap();
        let address = bound.address().unwrap().unwrap();
        let (_peer, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(address), bound.accept());
        let accepted = accepted.unwrap();
        prepare(&accepted).unwrap();
        let Socket::Tcp(tcp) = accepted else { panic!("bound to TCP") };
        let socket = socket2::SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
    }
}
