//! A client of one endpoint: one HTTP/2 connection, made when it is first needed and made again
//! when it is lost.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tower_service::Service;
use tracing::{debug, info, warn};

use super::codec::Opaque;
use super::export_path;
use crate::batch::Batch;
use crate::config::{ClientKeepaliveConfig, Compression, Endpoint, GrpcClientConfig, Headers};
use crate::consumer::Rejected;
use crate::queue::{Delivered, Sender};
use crate::service::BuildError;
use crate::transport::connect::{ConnectError, connect};
use crate::transport::status;
use crate::transport::tls::{Alpn, ClientTls};

/// Flow control: answers are small, so these only have to be larger than any answer.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Bytes of one request that may wait for the socket.
const SEND_BUFFER: usize = 1024 * 1024;

/// After a failure the next attempt to connect waits, twice as long each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Sends batches to one endpoint by OTLP/gRPC.
#[derive(Clone)]
pub struct GrpcClient {
    channel: Channel,
    origin: Uri,
    compression: Option<CompressionEncoding>,
}

impl GrpcClient {
    /// A client of `endpoint`, which may be another one than the settings'. Does not connect.
    ///
    /// # Errors
    /// When the endpoint cannot be read or a TLS file is unusable.
    pub fn new(config: &GrpcClientConfig, endpoint: &str) -> Result<Self, BuildError> {
        let endpoint = Endpoint::parse(endpoint).map_err(BuildError::new)?;
        let tls = match config.tls.is_on() || endpoint.https {
            true => Some(ClientTls::new(&config.tls, Alpn::Http2)?),
            false => None,
        };
        let authority = match config.authority.as_str() {
            "" => endpoint.to_string(),
            authority => authority.to_owned(),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{authority}")
            .parse()
            .map_err(|_| BuildError::new(format!("{authority:?} is no authority")))?;
        let compression = match config.compression {
            Compression::Gzip => Some(CompressionEncoding::Gzip),
            Compression::Zstd => Some(CompressionEncoding::Zstd),
            Compression::None => None,
            Compression::Zlib => return Err(BuildError::new("gRPC speaks gzip and zstd")),
        };
        let channel = Channel(Arc::new(Connection::new(config, endpoint, tls)?));
        Ok(Self { channel, origin, compression })
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.channel.0.endpoint
    }

    async fn export(&self, batch: &Batch) -> Result<Delivered, Status> {
        let mut grpc = tonic::client::Grpc::with_origin(self.channel.clone(), self.origin.clone());
        if let Some(compression) = self.compression {
            grpc = grpc.send_compressed(compression);
        }
        let request = tonic::Request::new(batch.bytes().clone());
        let codec = Opaque::sending(batch.bytes().len());
        let answer = grpc.unary(request, export_path(batch.signal()), codec).await?;
        Ok(crate::otlp::read_answer(answer.get_ref()))
    }
}

impl fmt::Debug for GrpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrpcClient({})", self.origin)
    }
}

#[async_trait]
impl Sender for GrpcClient {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        match self.export(&batch).await {
            Ok(delivered) => Ok(delivered),
            Err(answer) => Err(status::from_grpc(batch, &answer)),
        }
    }
}

/// The connection as tonic's client wants it.
#[derive(Clone)]
struct Channel(Arc<Connection>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let connection = Arc::clone(&self.0);
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, connection.user_agent.clone());
        for (name, value) in connection.headers.iter() {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        Box::pin(async move { connection.call(request).await })
    }
}

/// The one connection of a client.
struct Connection {
    endpoint: Endpoint,
    tls: Option<ClientTls>,
    keepalive: Option<ClientKeepaliveConfig>,
    send_buffer: usize,
    headers: Headers,
    user_agent: HeaderValue,
    wait_for_ready: bool,
    state: Mutex<State>,
    /// Connections that were made.
    made: AtomicU64,
    /// Told when an attempt to connect has ended.
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
    sender: SendRequest<Body>,
    /// Tells this connection from the one before.
    number: u64,
}

impl Connection {
    fn new(
        config: &GrpcClientConfig,
        endpoint: Endpoint,
        tls: Option<ClientTls>,
    ) -> Result<Self, BuildError> {
        let user_agent = match config.user_agent.as_str() {
            "" => concat!("tailrace/", env!("CARGO_PKG_VERSION")),
            user_agent => user_agent,
        };
        let user_agent = HeaderValue::from_str(user_agent)
            .map_err(|_| BuildError::new("user_agent holds visible ASCII characters only"))?;
        let send_buffer = match config.write_buffer_size {
            0 => SEND_BUFFER,
            size => size,
        };
        Ok(Self {
            endpoint,
            tls,
            keepalive: config.keepalive.as_ref().cloned(),
            send_buffer,
            headers: config.headers.clone(),
            user_agent,
            wait_for_ready: config.wait_for_ready,
            state: Mutex::new(State::Idle),
            made: AtomicU64::new(0),
            changed: Notify::new(),
        })
    }

    async fn call(
        self: Arc<Self>,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, Status> {
        let mut first = true;
        loop {
            let mut connected = self.connected().await.map_err(unavailable)?;
            let error = match connected.sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    // The connection ended before it took the request, so it may go out on
                    // another one.
                    Some(unsent) if first => {
                        self.forget(connected.number);
                        request = unsent;
                        first = false;
                        continue;
                    }
                    _ => error.into_error(),
                },
            };
            return Err(unavailable(error));
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
    async fn connected(self: &Arc<Self>) -> Result<Connected, ConnectError> {
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
                        if !self.wait_for_ready {
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
                Some(until) => tokio::time::sleep_until(until).await,
                None => changed.await,
            }
        }
    }

    /// Connects, notes the outcome and tells those who wait for it.
    async fn open(self: Arc<Self>) {
        let opened = self.handshake().await;
        {
            let mut state = self.state();
            let failures = match &*state {
                State::Connecting { failures } => *failures,
                _ => 0,
            };
            *state = match opened {
                Ok(sender) => {
                    if failures > 0 {
                        info!(endpoint = %self.endpoint, failures, "connected again");
                    }
                    let number = self.made.fetch_add(1, Ordering::Relaxed);
                    State::Connected(Connected { sender, number })
                }
                Err(error) => {
                    let wait = backoff(failures);
                    warn!(endpoint = %self.endpoint, %error, ?wait, "cannot connect");
                    State::Failed { failures: failures + 1, until: Instant::now() + wait, error }
                }
            };
        }
        self.changed.notify_waiters();
    }

    async fn handshake(&self) -> Result<SendRequest<Body>, ConnectError> {
        let stream = connect(&self.endpoint, self.tls.as_ref()).await?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(self.send_buffer);
        if let Some(keepalive) = &self.keepalive {
            builder
                .keep_alive_interval(keepalive.time)
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(keepalive.permit_without_stream);
        }
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::handshake(&self.endpoint, &error))?;
        // Ends when the peer closes or the last sender is gone.
        let endpoint = self.endpoint.clone();
        drop(tokio::spawn(async move {
            if let Err(error) = connection.await {
                let error = status::root(&error);
                debug!(%endpoint, %error, "connection lost");
            }
        }));
        Ok(sender)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Status {
    let mut status = Status::unavailable(error.to_string());
    status.set_source(Arc::new(error));
    status
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
