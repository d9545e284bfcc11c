//! Listening: accepts connections, up to a limit, and ends them in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::TlsStream;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::bind::{self, Bound};
use super::connections::{Admission, Connections, Cut, Cuts, Place};
pub use super::connections::{CutMetrics, ExporterCutMetrics};
use super::guarded::{Guarded, Limits};
use super::lifetime::{Lifetime, Signals};
use super::socket::Socket;
use super::stream::Stream;
use super::tls::ServerTls;
use crate::clock;
use crate::config::Transport;
use crate::metric_set;
use crate::service::BuildError;
use crate::telemetry::thin::Thin;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

metric_set! {
    /// Connections of a receiver.
    pub struct ListenerMetrics ["receiver", "transport"];
    /// Number of connections that are open.
    connections: Gauge = "otelcol_receiver_connections", "{connection}";
    /// Number of connections that could not be accepted, or failed in their TLS handshake.
    connections_failed: Counter = "otelcol_receiver_connections_failed", "{connection}";
}

metric_set! {
    /// Connections of an exporter that is asked for what it exports.
    pub struct ExporterListenerMetrics ["exporter"];
    /// Number of connections that are open.
    connections: Gauge = "otelcol_exporter_connections", "{connection}";
    /// Number of connections that could not be accepted, or failed in their TLS handshake.
    connections_failed: Counter = "otelcol_exporter_connections_failed", "{connection}";
}

/// A bound port or path.
pub struct Listener {
    bound: Bound,
    endpoint: String,
    tls: Option<ServerTls>,
}

/// Who may come in, and who must go.
pub struct Door {
    /// Connections at a time.
    pub max_connections: usize,
    /// How long clients may take.
    pub limits: Limits,
    /// What is counted.
    pub metrics: DoorMetrics,
}

/// What a listener counts.
#[derive(Clone)]
pub struct DoorMetrics {
    listener: ListenerMetrics,
    cuts: Cuts,
}

impl DoorMetrics {
    /// For one protocol of a receiver.
    pub fn new(receiver: &str, transport: &str) -> Self {
        let listener = ListenerMetrics::new(&[("receiver", receiver), ("transport", transport)]);
        Self { listener, cuts: Cuts::new(receiver, transport) }
    }

    /// For an exporter that is asked for what it exports.
    pub fn of_exporter(exporter: &str) -> Self {
        let ExporterListenerMetrics { connections, connections_failed } =
            ExporterListenerMetrics::new(&[("exporter", exporter)]);
        let listener = ListenerMetrics { connections, connections_failed };
        Self { listener, cuts: Cuts::of_exporter(exporter) }
    }
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
        tls: Option<ServerTls>,
    ) -> Result<Self, BuildError> {
        match Bound::new(endpoint, transport).await {
            Ok(bound) => Ok(Self { bound, endpoint: endpoint.to_owned(), tls }),
            Err(error) => Err(BuildError::new(format!("cannot listen on {endpoint}: {error}"))),
        }
    }

    /// Accepts connections in the background; each is served by `serve`.
    ///
    /// # Errors
    /// When the socket does not tell its address.
    pub fn serve<S, F>(self, door: Door, serve: S) -> Result<Server, BuildError>
    where
        S: Fn(Guarded, Lifetime) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = self.bound.address().map_err(|error| BuildError::new(error.to_string()))?;
        let endpoint = address.map_or_else(|| self.endpoint.clone(), |address| address.to_string());
        let signals = Signals::default();
        let tasks = TaskTracker::new();
        let accepting = Accepting {
            connections: Connections::new(door.max_connections, door.limits.min_stay),
            tls: self.tls.map(Arc::new),
            limits: door.limits,
            metrics: door.metrics,
            serve: Arc::new(serve),
            signals: signals.clone(),
            tasks: tasks.clone(),
            thin: Thin::new(),
        };
        drop(tasks.spawn(accepting.run(self.bound)));
        Ok(Server { address, endpoint, signals, tasks })
    }
}

/// The accept loop.
struct Accepting<S> {
    connections: Arc<Connections>,
    tls: Option<Arc<ServerTls>>,
    limits: Limits,
    metrics: DoorMetrics,
    serve: Arc<S>,
    signals: Signals,
    tasks: TaskTracker,
    /// Of the messages that each connection could cause.
    thin: Thin,
}

impl<S, F> Accepting<S>
where
    S: Fn(Guarded, Lifetime) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    async fn run(self, bound: Bound) {
        loop {
            let accepted = tokio::select! {
                () = self.signals.stop.cancelled() => return,
                accepted = bound.accept() => accepted,
            };
            match accepted {
                Ok(socket) => self.admit(socket),
                Err(error) => {
                    self.metrics.listener.connections_failed.increment(1);
                    // Of one connection only; the next may be well.
                    if !is_of_one_connection(&error) {
                        self.exhausted(&error).await;
                    }
                }
            }
        }
    }

    /// Descriptors or memory are used up: whoever says nothing gives way, and none is accepted
    /// for a while, which leaves what is freed to those that are served.
    async fn exhausted(&self, error: &io::Error) {
        let gave_way = self.connections.relieve();
        if self.thin.pass(clock::now()).is_some() {
            warn!(%error, gave_way, "cannot accept connections");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    fn admit(&self, socket: Socket) {
        let admission = self.connections.admit(socket.peer());
        if !matches!(admission, Admission::Admitted(_, 0)) && self.thin.pass(clock::now()).is_some()
        {
            let limit = self.connections.limit();
            warn!(limit, "connection limit reached, the longest quiet connections are closed");
        }
        match admission {
            Admission::Refused => self.metrics.cuts.count(Cut::Full),
            Admission::Admitted(place, _) => self.spawn(socket, place),
        }
    }

    fn spawn(&self, socket: Socket, place: Place) {
        let (serve, tls) = (Arc::clone(&self.serve), self.tls.clone());
        let (limits, metrics, signals) = (self.limits, self.metrics.clone(), self.signals.clone());
        let lifetime = Lifetime::new(signals, &place, Arc::clone(&self.connections));
        let open = Open::new(&self.metrics.listener);
        drop(self.tasks.spawn(async move {
            let _open = open;
            let begun = tokio::select! {
                () = place.connection.give_way.notified() => None,
                begun = begin(socket, tls.as_deref(), limits.handshake) => Some(begun),
            };
            match begun {
                None => {}
                Some(Ok(stream)) => {
                    let connection = Arc::clone(&place.connection);
                    serve(Guarded::new(stream, limits, connection), lifetime).await;
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    place.connection.cut(Cut::SlowStart);
                }
                Some(Err(error)) => {
                    metrics.listener.connections_failed.increment(1);
                    debug!(%error, "connection failed before its first request");
                }
            }
            if let Some(cut) = place.connection.reason() {
                metrics.cuts.count(cut);
                debug!(reason = cut.name(), "connection cut");
            }
        }));
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn begin(socket: Socket, tls: Option<&ServerTls>, handshake: Duration) -> io::Result<Stream> {
    bind::prepare(&socket)?;
    let Some(tls) = tls else { return Ok(Stream::plain(socket)) };
    match tokio::time::timeout(handshake, tls.acceptor().accept(socket)).await {
        Ok(Ok(stream)) => Ok(Stream::tls(TlsStream::Server(stream))),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

/// Counts as an open connection until it is dropped.
struct Open(metrics::Gauge);

impl Open {
    fn new(metrics: &ListenerMetrics) -> Self {
        metrics.connections.increment(1.0);
        Self(metrics.connections.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_descriptors_the_quiet_give_way_and_accepting_pauses() {
        let connections = Connections::new(100, Duration::ZERO);
        let accepting = Accepting {
            connections: Arc::clone(&connections),
            tls: None,
            limits: Limits::default(),
            metrics: DoorMetrics::new("otlp", "grpc"),
            serve: Arc::new(|_: Guarded, _: Lifetime| std::future::ready(())),
            signals: Signals::default(),
            tasks: TaskTracker::new(),
            thin: Thin::new(),
        };
        let Admission::Admitted(silent, _) = connections.admit(None) else {
            panic!("there is room")
        };
        let before = clock::now();
        // EMFILE: too many open files.
        accepting.exhausted(&io::Error::from_raw_os_error(24)).await;
        assert_eq!(clock::now() - before, ACCEPT_PAUSE, "it must not spin");
        assert_eq!(silent.connection.reason(), Some(Cut::Quiet));
    }
}
