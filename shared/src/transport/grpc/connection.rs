//! One HTTP/2 connection of a client: made when it is first needed, and made again when it is
//! lost.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::message::Outgoing;
use crate::config::{Balancer, ClientKeepaliveConfig, GrpcClientConfig, Target};
use crate::transport::connect::{ConnectError, HostLookup, connect_to};
use crate::transport::gathered::Gathered;
use crate::transport::status;
use crate::transport::tls::ClientTls;

/// Flow control: answers are small, so these only have to be larger than any answer.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Size of an answer's headers, in HTTP/2's way of counting.
const MAX_HEADERS: u32 = 64 * 1024;

/// Bytes of one request that may wait for the socket.
const SEND_BUFFER: usize = 1024 * 1024;

/// After a failure the next attempt to connect waits, twice as long each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// How connections of one client are made.
pub(super) struct Dialer {
    pub(super) target: Target,
    balancer: Balancer,
    names: Option<Arc<dyn HostLookup>>,
    tls: Option<ClientTls>,
    keepalive: Option<ClientKeepaliveConfig>,
    send_buffer: usize,
}

/// Whether a request waits while no connection can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until there is one.
    WaitForReady,
    /// No longer than an attempt takes.
    FailFast,
}

/// Why no answer came.
#[derive(Debug)]
pub(super) enum CallError {
    /// There was no connection.
    Connect(ConnectError),
    /// The connection ended before it took the request.
    Unsent(hyper::Error),
    /// The connection or the request failed when it was under way.
    Lost(hyper::Error),
}

pub(super) struct Connection {
    dialer: Arc<Dialer>,
    state: Mutex<State>,
    /// Connections that were made.
    made: AtomicU64,
    in_flight: AtomicUsize,
    /// Told when an attempt to connect has ended, or may begin at once.
    changed: Notify,
}

enum State {
    /// Not wanted yet.
    Idle,
    /// A task is at it.
    Connecting { failures: u32 },
    /// As long as the sender is not closed.
    Connected(Connected),
    /// No attempt before `until`.
    Failed { failures: u32, until: Instant, error: ConnectError },
}

/// A connection that was made.
#[derive(Clone)]
struct Connected {
    sender: SendRequest<Outgoing>,
    /// Tells this connection from the one before.
    number: u64,
}

/// A request under way.
pub(super) struct InFlight<'c>(&'c AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Dialer {
    pub(super) fn new(
        config: &GrpcClientConfig,
        target: Target,
        names: Option<Arc<dyn HostLookup>>,
        tls: Option<ClientTls>,
    ) -> Self {
        let send_buffer = match config.write_buffer_size {
            0 => SEND_BUFFER,
            size => size,
        };
        let keepalive = config.keepalive.as_ref().cloned();
        Self { target, balancer: config.balancer_name, names, tls, keepalive, send_buffer }
    }

    async fn dial(&self) -> Result<SendRequest<Outgoing>, ConnectError> {
        let stream =
            connect_to(&self.target, self.balancer, self.names.as_deref(), self.tls.as_ref())
                .await?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADERS)
            .max_send_buf_size(self.send_buffer);
        if let Some(keepalive) = &self.keepalive {
            builder
                .keep_alive_interval(keepalive.time)
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(keepalive.permit_without_stream);
        }
        let (sender, connection) = builder
            .handshake(TokioIo::new(Gathered::new(stream)))
            .await
            .map_err(|error| ConnectError::handshake(&self.target, &error))?;
        // Ends when the peer closes or the last sender is gone.
        let endpoint = self.target.clone();
        drop(tokio::spawn(async move {
            if let Err(error) = connection.await {
                let error = status::root(&error);
                debug!(%endpoint, %error, "connection lost");
            }
        }));
        Ok(sender)
    }
}

impl Connection {
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        Self {
            dialer,
            state: Mutex::new(State::Idle),
            made: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    /// How little it is wanted for one more request: fewest under way first, and last those that
    /// could not be made, which answer fastest.
    pub(super) fn load(&self) -> (bool, usize) {
        let is_failed = matches!(*self.state(), State::Failed { .. });
        (is_failed, self.in_flight.load(Ordering::Relaxed))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(&*self.state(), State::Connected(connected) if !connected.sender.is_closed())
    }

    /// Counts a request as under way.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// Begins to connect if nobody has tried yet. To be called within a runtime.
    pub(super) fn prepare(self: &Arc<Self>) {
        let mut state = self.state();
        if matches!(*state, State::Idle) {
            *state = State::Connecting { failures: 0 };
            drop(tokio::spawn(Arc::clone(self).open()));
        }
    }

    /// Lets the next request try to connect at once, however short ago that failed.
    pub(super) fn retry_now(&self) {
        if let State::Failed { until, .. } = &mut *self.state() {
            *until = Instant::now();
        }
        self.changed.notify_waiters();
    }

    /// Sends the request that `make` makes; a second time, on a new connection, if the first one
    /// surely did not take it.
    pub(super) async fn call(
        self: &Arc<Self>,
        patience: Patience,
        make: impl Fn() -> Request<Outgoing>,
    ) -> Result<Response<Incoming>, CallError> {
        let mut is_first = true;
        loop {
            let mut connected = self.connected(patience).await.map_err(CallError::Connect)?;
            let mut failed = match connected.sender.try_send_request(make()).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            let was_sent = failed.take_message().is_none();
            let error = failed.into_error();
            if was_sent && !status::is_unprocessed(&error) {
                return Err(CallError::Lost(error));
            }
            if !is_first {
                return Err(CallError::Unsent(error));
            }
            is_first = false;
            self.forget(connected.number);
        }
    }

    /// Sends no further request on connection `number`; those under way may end on it.
    fn forget(&self, number: u64) {
        let mut state = self.state();
        if matches!(&*state, State::Connected(connected) if connected.number == number) {
            *state = State::Idle;
        }
    }

    /// The connection, which is made if there is none.
    async fn connected(self: &Arc<Self>, patience: Patience) -> Result<Connected, ConnectError> {
        loop {
            // Made before the state is read, so that no change between the two is missed.
            let changed = self.changed.notified();
            let retry_at = {
                let mut state = self.state();
                let failures = match &*state {
                    State::Connected(connected) if !connected.sender.is_closed() => {
                        return Ok(connected.clone());
                    }
                    State::Connecting { .. } => None,
                    State::Failed { until, error, .. } if Instant::now() < *until => {
                        if patience == Patience::FailFast {
                            return Err(error.clone());
                        }
                        None
                    }
                    State::Failed { failures, .. } => Some(*failures),
                    State::Idle | State::Connected(_) => Some(0),
                };
                if let Some(failures) = failures {
                    *state = State::Connecting { failures };
                    drop(tokio::spawn(Arc::clone(self).open()));
                }
                match &*state {
                    State::Failed { until, .. } => Some(*until),
                    _ => None,
                }
            };
            match retry_at {
                Some(until) => {
                    // Whichever comes first; the state says what is to be done.
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Connects, notes the outcome and tells those who wait for it.
    async fn open(self: Arc<Self>) {
        let opened = self.dialer.dial().await;
        {
            let endpoint = &self.dialer.target;
            let mut state = self.state();
            let failures = match &*state {
                State::Connecting { failures } => *failures,
                _ => 0,
            };
            *state = match opened {
                Ok(sender) => {
                    if failures > 0 {
                        info!(%endpoint, failures, "connected again");
                    }
                    let number = self.made.fetch_add(1, Ordering::Relaxed);
                    State::Connected(Connected { sender, number })
                }
                Err(error) => {
                    let wait = backoff(failures);
                    warn!(%endpoint, %error, ?wait, "cannot connect");
                    State::Failed { failures: failures + 1, until: Instant::now() + wait, error }
                }
            };
        }
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait after this many earlier failures, ± 20 %.
fn backoff(failures: u32) -> Duration {
    let wait = FIRST_BACKOFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACKOFF);
    wait.mul_f64(rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        for (failures, base) in [(0, 200), (1, 400), (3, 1600), (6, 10_000), (u32::MAX, 10_000)] {
            let wait = backoff(failures).as_millis();
            assert!((base * 8 / 10..=base * 12 / 10).contains(&wait), "{failures}: {wait}");
        }
    }
}
