//! Listening: accepts connections, up to a limit, and ends them in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::bind::{self, Bound};
use super::socket::Socket;
use super::stream::Stream;
use super::tls::ServerTls;
use crate::clock;
use crate::config::Transport;
use crate::metric_set;
use crate::service::BuildError;
use crate::telemetry::thin::Thin;

/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

metric_set! {
    /// Connections of a receiver.
    pub struct ListenerMetrics ["receiver", "transport"];
    /// Number of connections that are open.
    connections: Gauge = "otelcol_receiver_connections", "{connection}";
    /// Number of times that the limit of connections was reached and further ones had to wait.
    connections_limited: Counter = "otelcol_receiver_connections_limited", "{event}";
    /// Number of connections that could not be accepted, or failed in their TLS handshake.
    connections_failed: Counter = "otelcol_receiver_connections_failed", "{connection}";
}

/// A bound port or path.
pub struct Listener {
    bound: Bound,
    endpoint: String,
    tls: Option<ServerTls>,
    max_connections: u32,
    metrics: ListenerMetrics,
}

impl Listener {
    /// Binds `endpoint`: `host:port`, where no host is every address of the machine, or the path
    /// of a Unix socket.
    ///
    /// # Errors
    /// When the name cannot be looked up, or the port or the path is taken.
    pub async fn bind(
        endpoint: &str,
        transport: Transport,
        max_connections: u32,
        tls: Option<ServerTls>,
        metrics: ListenerMetrics,
    ) -> Result<Self, BuildError> {
        match Bound::new(endpoint, transport).await {
            Ok(bound) => {
                let endpoint = endpoint.to_owned();
                Ok(Self { bound, endpoint, tls, max_connections, metrics })
            }
            Err(error) => Err(BuildError::new(format!("cannot listen on {endpoint}: {error}"))),
        }
    }

    /// Accepts connections in the background; each is served by `serve`.
    ///
    /// # Errors
    /// When the socket does not tell its address.
    pub fn serve<S, F>(self, serve: S) -> Result<Server, BuildError>
    where
        S: Fn(Stream, Lifetime) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = self.bound.address().map_err(|error| BuildError::new(error.to_string()))?;
        let endpoint = address.map_or_else(|| self.endpoint.clone(), |address| address.to_string());
        let signals = Signals::default();
        let tasks = TaskTracker::new();
        let accepting = self.accept(Arc::new(serve), signals.clone(), tasks.clone());
        drop(tasks.spawn(accepting));
        Ok(Server { address, endpoint, signals, tasks })
    }

    async fn accept<S, F>(self, serve: Arc<S>, signals: Signals, tasks: TaskTracker)
    where
        S: Fn(Stream, Lifetime) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(self.max_connections as usize));
        let tls = self.tls.map(Arc::new);
        let thin = Thin::new();
        loop {
            if room.available_permits() == 0 {
                self.metrics.connections_limited.increment(1);
                if thin.pass(clock::now()).is_some() {
                    let limit = self.max_connections;
                    warn!(limit, "connection limit reached, further connections wait");
                }
            }
            let permit = tokio::select! {
                () = signals.stop.cancelled() => return,
                permit = Arc::clone(&room).acquire_owned() => {
                    permit.expect("the semaphore is never closed")
                }
            };
            let accepted = tokio::select! {
                () = signals.stop.cancelled() => return,
                accepted = self.bound.accept() => accepted,
            };
            match accepted {
                Ok(socket) => {
                    let open = Open::new(permit, &self.metrics);
                    let failed = self.metrics.connections_failed.clone();
                    let (serve, signals, tls) = (Arc::clone(&serve), signals.clone(), tls.clone());
                    drop(tasks.spawn(async move {
                        let _open = open;
                        match begin(socket, tls.as_deref()).await {
                            Ok(stream) => serve(stream, Lifetime::new(signals)).await,
                            Err(error) => {
                                failed.increment(1);
                                debug!(%error, "connection failed before its first request");
                            }
                        }
                    }));
                }
                // Of one connection only; the next may be well.
                Err(error) if is_of_one_connection(&error) => {
                    self.metrics.connections_failed.increment(1);
                }
                Err(error) => {
                    self.metrics.connections_failed.increment(1);
                    if thin.pass(clock::now()).is_some() {
                        warn!(%error, "cannot accept connections");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn begin(socket: Socket, tls: Option<&ServerTls>) -> io::Result<Stream> {
    bind::prepare(&socket)?;
    let Some(tls) = tls else { return Ok(Stream::plain(socket).must_open()) };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(socket)).await {
        Ok(Ok(stream)) => Ok(Stream::tls(TlsStream::Server(stream)).must_open()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

/// An open connection's place among all.
struct Open {
    _permit: OwnedSemaphorePermit,
    connections: metrics::Gauge,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit, metrics: &ListenerMetrics) -> Self {
        metrics.connections.increment(1.0);
        Self { _permit: permit, connections: metrics.connections.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.decrement(1.0);
    }
}

/// What a server's connections are told.
#[derive(Debug, Clone, Default)]
struct Signals {
    /// Take no further request and end.
    stop: CancellationToken,
    /// End at once.
    kill: CancellationToken,
}

/// A server that accepts connections.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    endpoint: String,
    signals: Signals,
    tasks: TaskTracker,
}

impl Server {
    /// Where it listens, with the port that was really bound; a Unix socket has no such address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where it listens, as text.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Takes no further connection or request.
    pub fn stop(&self) {
        self.signals.stop.cancel();
    }

    /// The same, then waits for what is under way until `deadline` and cuts off the rest.
    pub async fn shutdown(self, deadline: Instant) {
        self.stop();
        self.tasks.close();
        if tokio::time::timeout_at(deadline.into(), self.tasks.wait()).await.is_err() {
            // The accept loop has ended; what is left are connections.
            let connections = self.tasks.len();
            warn!(connections, "connections cut off: their requests did not end in time");
            self.signals.kill.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signals.stop.cancel();
        self.signals.kill.cancel();
    }
}

/// When a connection ends by itself; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Age {
    /// Without a request for this long.
    pub max_idle: Duration,
    /// At this age, ± 10 %.
    pub max_age: Duration,
    /// Requests under way may take this long then.
    pub grace: Duration,
}

/// Runs one connection until it ends.
#[derive(Debug, Clone)]
pub struct Lifetime {
    signals: Signals,
    requests: Arc<AtomicUsize>,
    /// Told when the last request under way has ended.
    quiet: Arc<tokio::sync::Notify>,
}

impl Lifetime {
    fn new(signals: Signals) -> Self {
        Self { signals, requests: Arc::default(), quiet: Arc::default() }
    }

    /// To be held while a request is under way.
    pub fn request(&self) -> RequestGuard {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RequestGuard(self.clone())
    }

    /// Serves `connection` until it ends by itself, by age or because the server stops. In the
    /// latter two it finishes what is under way.
    pub async fn run<C: GracefulConnection>(&self, connection: C, age: Age) {
        let mut connection = pin!(connection);
        let grace = tokio::select! {
            // An error here is the peer's: it went away or broke the protocol.
            _ = connection.as_mut() => return,
            () = self.signals.stop.cancelled() => Duration::ZERO,
            () = after(age.max_age.mul_f64(rand::random_range(0.9..1.1))) => age.grace,
            () = self.idle(age.max_idle) => Duration::ZERO,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = self.signals.kill.cancelled() => {}
            () = after(grace) => {}
        }
    }

    /// Ends when there was no request for `limit`.
    async fn idle(&self, limit: Duration) {
        if limit.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let quiet = self.quiet.notified();
            if self.requests.load(Ordering::Relaxed) > 0 {
                quiet.await;
                continue;
            }
            // A request that comes and goes meanwhile starts the time anew.
            if tokio::time::timeout(limit, quiet).await.is_err()
                && self.requests.load(Ordering::Relaxed) == 0
            {
                return;
            }
        }
    }
}

/// Ends after `delay`; 0 is never.
async fn after(delay: Duration) {
    match delay {
        Duration::ZERO => std::future::pending().await,
        delay => tokio::time::sleep(delay).await,
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct RequestGuard(Lifetime);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}
